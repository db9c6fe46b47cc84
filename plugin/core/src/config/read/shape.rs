//! Checks JSON against the schema: unknown fields, wrong types, missing and out-of-range values, each with its path.
//!
//! Wrong values are reported and removed, so that the rest can still be read and checked: all errors are reported at
//! once. Only the parts of JSON Schema that the derived schema uses are implemented.

use serde_json::{Map, Value};

use crate::base::{hint, item, json, member, type_name};
use crate::config::error::{Errors, key_name};
use crate::config::read::decode::number;

/// Marks a map in the schema whose names are secrets. Errors must not show them.
pub const SECRET_NAMES: &str = "x-secret-names";

/// The addition to an error about a number's range.
const RANGE_HINT: &str = "x-hint";

/// Makes `value` conform to `schema`. Reports every part that did not.
pub fn conform(schema: &Value, value: &mut Value, errors: &mut Errors) {
    let mut shape = Shape { root: schema, errors };
    if !shape.visit(schema, value, "") {
        *value = Value::Object(Map::new());
    }
}

struct Shape<'s> {
    root: &'s Value,
    errors: &'s mut Errors,
}

impl<'s> Shape<'s> {
    /// Checks one value. `false` means that the value is unusable and must be removed.
    fn visit(&mut self, schema: &'s Value, value: &mut Value, path: &str) -> bool {
        let schema = self.resolve(schema);
        if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
            return self.visit_any(choices, value, path);
        }
        match schema.get("type").and_then(Value::as_str) {
            Some("object") => match value {
                Value::Object(fields) => {
                    self.visit_object(schema, fields, path);
                    true
                }
                other => self.wrong_type("an object", other, path),
            },
            Some("array") => match value {
                Value::Array(items) => {
                    self.visit_items(schema, items, path);
                    true
                }
                other => self.wrong_type("a list", other, path),
            },
            Some("string") => match value {
                Value::String(text) => self.check_choice(schema, text, path),
                other => self.wrong_type("a string", other, path),
            },
            Some("boolean") => value.is_boolean() || self.wrong_type("true or false", value, path),
            Some("integer") => self.visit_number(schema, value, path, true),
            Some("number") => self.visit_number(schema, value, path, false),
            _ => true,
        }
    }

    /// A value with several possible types. The type of the value chooses.
    fn visit_any(&mut self, choices: &'s [Value], value: &mut Value, path: &str) -> bool {
        let is_of = |schema: &&Value| match self.type_of(schema) {
            Some("string") => value.is_string(),
            Some("array") => value.is_array(),
            Some("object") => value.is_object(),
            Some("boolean") => value.is_boolean(),
            _ => false,
        };
        match choices.iter().find(is_of) {
            Some(schema) => self.visit(schema, value, path),
            None => {
                let names = choices.iter().filter_map(|schema| match self.type_of(schema)? {
                    "string" => Some("a string"),
                    "boolean" => Some("true or false"),
                    "array" if schema.pointer("/items/type").and_then(Value::as_str) == Some("string") => {
                        Some("a list of strings")
                    }
                    "array" => Some("a list"),
                    _ => Some("an object"),
                });
                let expected = names.collect::<Vec<_>>().join(" or ");
                self.wrong_type(&expected, value, path)
            }
        }
    }

    fn resolve(&self, schema: &'s Value) -> &'s Value {
        let reference = schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
        reference.and_then(|pointer| self.root.pointer(pointer)).unwrap_or(schema)
    }

    fn type_of(&self, schema: &'s Value) -> Option<&'s str> {
        self.resolve(schema).get("type").and_then(Value::as_str)
    }

    fn visit_object(&mut self, schema: &'s Value, fields: &mut Map<String, Value>, path: &str) {
        let known = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        let entries_are_objects = others.is_some_and(|others| self.type_of(others) == Some("object"));
        let secret_names = schema.get(SECRET_NAMES).is_some();
        // In YAML, `orgs:` without a value is null and means the default. So does `orders:` under access_rights, whose
        // entry stays.
        fields.retain(|name, value| {
            let is_entry = entries_are_objects && !known.is_some_and(|known| known.contains_key(name));
            if value.is_null() && is_entry {
                *value = Value::Object(Map::new());
            }
            !value.is_null()
        });
        for name in required(schema) {
            if fields.get(name).is_none_or(|value| value.as_str() == Some("")) {
                self.errors.add(member(path, name), "missing");
            }
        }
        fields.retain(|name, value| {
            let shown = if secret_names { key_name(name) } else { name.clone() };
            let place = member(path, &shown);
            match known.and_then(|known| known.get(name)).or(others) {
                Some(schema) => self.visit(schema, value, &place),
                None if schema.get("additionalProperties") == Some(&Value::Bool(true)) => true,
                None => {
                    let names = known.into_iter().flat_map(Map::keys).map(String::as_str);
                    self.errors.add(place, format!("unknown field{}", hint(name, names)));
                    false
                }
            }
        });
    }

    fn visit_items(&mut self, schema: &'s Value, items: &mut Vec<Value>, path: &str) {
        let Some(schema) = schema.get("items") else { return };
        let is_object = self.type_of(schema) == Some("object");
        let mut index = 0_usize;
        items.retain_mut(|value| {
            let usable = self.visit(schema, value, &item(path, index));
            index = index.saturating_add(1);
            if !usable && is_object {
                // An empty object keeps the indexes of the items after it.
                *value = Value::Object(Map::new());
                return true;
            }
            // A list of a few words keeps them in the same way.
            let choices = self.resolve(schema).get("anyOf").and_then(Value::as_array).into_iter().flatten();
            let word = choices.filter_map(|choice| self.resolve(choice).pointer("/enum/0")).next();
            if let Some(word) = word.filter(|_| !usable) {
                *value = word.clone();
                return true;
            }
            usable
        });
    }

    fn visit_number(&mut self, schema: &'s Value, value: &mut Value, path: &str, whole: bool) -> bool {
        let is_unsigned = schema.get("format").and_then(Value::as_str) == Some("uint64");
        let expected = if whole { "a whole number" } else { "a number" };
        let parsed = match &*value {
            Value::String(text) => match text.trim().parse::<i128>() {
                Ok(integer) => i64::try_from(integer)
                    .ok()
                    .map(Value::from)
                    .or_else(|| u64::try_from(integer).ok().map(Value::from)),
                Err(_) => json::float(text.trim()).map(number),
            },
            Value::Number(given) => match given.as_f64() {
                Some(float) if !given.is_i64() && !given.is_u64() => Some(number(float)),
                _ => Some(Value::Number(given.clone())),
            },
            _ => None,
        };
        let parsed = parsed.filter(|parsed| !whole || parsed.is_i64() || is_unsigned && parsed.is_u64());
        let Some(parsed) = parsed else {
            // Numbers from YAML may arrive as strings.
            let shown = match &*value {
                Value::String(text) => Some(format!("{:?}", text.chars().take(40).collect::<String>())),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            };
            let Some(shown) = shown else { return self.wrong_type(expected, value, path) };
            let number = json::float(shown.trim_matches('"').trim());
            let why = match number.filter(|number| number.fract() == 0.0) {
                Some(_) => "is too large".to_owned(),
                None => format!("is not {expected}"),
            };
            self.errors.add(path, format!("{shown} {why}"));
            return false;
        };
        let float = parsed.as_f64().unwrap_or_default();
        let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
        let out_of_range = if bound("minimum").is_some_and(|least| float < least) {
            Some(format!("{parsed} is less than {}", show(schema, "minimum")))
        } else if bound("exclusiveMinimum").is_some_and(|least| float <= least) {
            Some(format!("{parsed} is not more than {}", show(schema, "exclusiveMinimum")))
        } else if bound("maximum").is_some_and(|most| float > most) {
            Some(format!("{parsed} is more than {}", show(schema, "maximum")))
        } else {
            None
        };
        *value = parsed;
        match out_of_range {
            Some(message) => {
                let hint = schema.get(RANGE_HINT).and_then(Value::as_str);
                self.errors.add(path, hint.map_or_else(|| message.clone(), |hint| format!("{message}: {hint}")));
                false
            }
            None => true,
        }
    }

    fn check_choice(&mut self, schema: &Value, text: &mut String, path: &str) -> bool {
        let Some(choices) = schema.get("enum").and_then(Value::as_array) else { return true };
        let choices: Vec<&str> = choices.iter().filter_map(Value::as_str).collect();
        match choices.iter().find(|choice| choice.eq_ignore_ascii_case(text)) {
            Some(choice) => {
                *text = (*choice).to_owned();
                true
            }
            None => {
                let named: Vec<&str> = choices.into_iter().filter(|choice| !choice.is_empty()).collect();
                self.errors.add(path, format!("{text:?} is not one of {}", named.join(", ")));
                false
            }
        }
    }

    fn wrong_type(&mut self, expected: &str, value: &Value, path: &str) -> bool {
        let advice = match value {
            Value::Bool(_) if expected == "a string" => {
                "; YAML reads unquoted y, n, yes, no, on and off as booleans: quote it"
            }
            Value::Number(_) if expected == "a string" => "; quote it",
            _ => "",
        };
        self.errors.add(path, format!("expected {expected}, found {}{advice}", type_name(value)));
        false
    }
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn show(schema: &Value, bound: &str) -> String {
    schema.get(bound).map(Value::to_string).unwrap_or_default()
}
