//! The reference of the configuration, made from its JSON Schema.

mod examples;
mod sources;

use std::fmt::Write as _;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

use examples::Examples;
pub use examples::configurations;

/// Everything below this line of the page is generated.
pub const MARK: &str = "<!-- `make reference` writes everything below from envoy/tollbell.schema.json. -->";

/// A longer list of values has its own section below the tables.
const MANY: usize = 12;

/// The page with the part below [`MARK`] generated again. Examples are values of the `configurations`.
///
/// # Errors
/// The page has no mark, the schema has an unknown form, or the table of sources does not fit it.
pub fn page(page: &str, schema: &Value, configurations: &[Value]) -> Result<String> {
    let (introduction, _) = page.split_once(MARK).with_context(|| format!("the page has no line {MARK:?}"))?;
    let mut reference = Reference { schema, objects: Vec::new(), lists: Vec::new() };
    reference.find("", schema, "")?;
    if let Some(unknown) = sources::unknown(|object, setting| reference.has(object, setting)) {
        bail!("the table of sources has {unknown}, which is not a setting");
    }
    let examples = Examples::find(&reference, configurations)?;
    let mut text = format!("{introduction}{MARK}\n");
    for object in &reference.objects {
        reference.lists.extend(lists(object.definition));
        write_object(&mut text, object, &reference, &examples)?;
    }
    reference.lists.dedup();
    write_lists(&mut text, &reference.lists);
    Ok(text)
}

struct Reference<'s> {
    schema: &'s Value,
    /// The objects in the order of the page.
    objects: Vec<Object<'s>>,
    /// Long lists of values, in the order of their first use.
    lists: Vec<Vec<&'s str>>,
}

struct Object<'s> {
    /// The name in the schema; empty for the whole configuration.
    name: &'s str,
    definition: &'s Map<String, Value>,
    /// The places in the configuration.
    places: Vec<String>,
}

impl<'s> Reference<'s> {
    /// Finds the objects below a definition, the nearest first.
    fn find(&mut self, name: &'s str, root: &'s Value, place: &str) -> Result<()> {
        let mut found = vec![(name, root, place.to_owned())];
        while !found.is_empty() {
            let mut below = Vec::new();
            for (name, definition, place) in std::mem::take(&mut found) {
                let fields = definition.get("properties").and_then(Value::as_object);
                let Some((definition, fields)) = definition.as_object().zip(fields) else {
                    self.below(definition, &place, &mut below)?;
                    continue;
                };
                if let Some(known) = self.objects.iter_mut().find(|object| object.name == name) {
                    known.places.push(place);
                    continue;
                }
                let dot = if place.is_empty() { "" } else { "." };
                for (field, schema) in fields {
                    self.below(schema, &format!("{place}{dot}{field}"), &mut below)?;
                }
                self.objects.push(Object { name, definition, places: vec![place] });
            }
            found = below;
        }
        Ok(())
    }

    /// The definitions that a schema refers to, with their places.
    fn below(&self, schema: &'s Value, place: &str, found: &mut Vec<(&'s str, &'s Value, String)>) -> Result<()> {
        if let Some(name) = referred(schema) {
            found.push((name, self.definition(name)?, place.to_owned()));
        }
        for choice in choices(schema) {
            self.below(choice, place, found)?;
        }
        if let Some(items) = schema.get("items") {
            self.below(items, &format!("{place}[]"), found)?;
        }
        if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
            self.below(values, &format!("{place}.*"), found)?;
        }
        Ok(())
    }

    fn has(&self, object: &str, setting: &str) -> bool {
        self.objects.iter().any(|known| {
            known.name == object && known.definition.get("properties").is_some_and(|all| all.get(setting).is_some())
        })
    }

    fn definition(&self, name: &str) -> Result<&'s Value> {
        self.schema["$defs"].get(name).with_context(|| format!("no definition {name}"))
    }

    /// A type as text, with a link to the table of an object.
    fn type_of(&self, schema: &Value) -> Result<String> {
        if let Some(name) = referred(schema) {
            let definition = self.definition(name)?;
            let is_object = definition.get("properties").is_some();
            return if is_object {
                Ok(format!("[object](#{})", anchor(&title(name))))
            } else {
                self.type_of(definition)
            };
        }
        // A setting that can be left out may also be null.
        let choices = choices(schema).filter(|choice| choice["type"] != "null");
        let choices: Vec<String> = choices.map(|choice| self.type_of(choice)).collect::<Result<_>>()?;
        if !choices.is_empty() && schema.get("anyOf").is_some() {
            return Ok(choices.join(" or "));
        }
        if let Some(values) = enumerated(schema) {
            return Ok(match values.len() {
                ..=MANY => format!("one of {}", values.iter().map(|value| shown(value)).collect::<Vec<_>>().join(", ")),
                many => format!("one of [{many} names](#{})", list_anchor(&values)),
            });
        }
        let name = schema.get("type").and_then(Value::as_str);
        Ok(match name {
            Some("array") => format!("list of: {}", self.type_of(&schema["items"])?),
            Some("object") => self.map_type(schema)?,
            Some(number @ ("integer" | "number")) => format!("{number}{}", range(schema)),
            Some(other @ ("string" | "boolean")) => other.to_owned(),
            None => "any value".to_owned(),
            Some(other) => bail!("the type {other} is new to the reference"),
        })
    }

    fn map_type(&self, schema: &Value) -> Result<String> {
        let names = schema.get("propertyNames").map(|names| self.type_of(names)).transpose()?;
        let names = names.map_or_else(String::new, |names| format!(" (name: {names})"));
        match schema.get("additionalProperties") {
            Some(values) if values.is_object() => Ok(format!("map{names} of: {}", self.type_of(values)?)),
            _ => Ok("map of any values".to_owned()),
        }
    }
}

fn write_object(text: &mut String, object: &Object<'_>, reference: &Reference<'_>, examples: &Examples) -> Result<()> {
    let Object { name, definition, places } = object;
    let fields = definition.get("properties").and_then(Value::as_object).context("an object")?;
    let required: Vec<&str> =
        definition.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    writeln!(text, "\n## {}\n", title(name))?;
    writeln!(text, "{}\n", one_line(definition.get("description").and_then(Value::as_str).unwrap_or_default()))?;
    if !name.is_empty() {
        let places: Vec<String> = places.iter().map(|place| format!("`{place}`")).collect();
        writeln!(text, "Used in: {}.\n", places.join(", "))?;
    }
    writeln!(text, "| Setting | Type | Default | Example | Source | Description |")?;
    writeln!(text, "|---|---|---|---|---|---|")?;
    for (field, schema) in fields {
        let description = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        ensure!(!description.is_empty(), "{name}.{field} has no description");
        let default = if required.contains(&field.as_str()) {
            "required".to_owned()
        } else {
            schema.get("default").map_or_else(|| "–".to_owned(), |value| format!("`{value}`"))
        };
        let kind = cell(&reference.type_of(schema)?);
        let example = examples.of(name, field).map_or_else(|| "–".to_owned(), |value| format!("`{}`", cell(value)));
        let source = sources::source(name, field).with_context(|| {
            format!("{name}: add the object to the table of sources (tests/src/reference/sources.rs)")
        })?;
        let description = cell(&one_line(description));
        writeln!(text, "| `{field}` | {kind} | {} | {example} | {source} | {description} |", cell(&default))?;
    }
    Ok(())
}

fn write_lists(text: &mut String, lists: &[Vec<&str>]) {
    let mut written: Vec<&[&str]> = Vec::new();
    for list in lists {
        if written.iter().any(|other| other == list) {
            continue;
        }
        written.push(list);
        let names: Vec<String> = list.iter().map(|name| format!("`{name}`")).collect();
        let _ = write!(text, "\n## {}\n\n{}\n", list_title(list), names.join(", "));
    }
}

/// The long lists of values in a schema.
fn lists(definition: &Map<String, Value>) -> Vec<Vec<&str>> {
    let mut found = Vec::new();
    for value in definition.values() {
        collect_lists(value, &mut found);
    }
    found
}

fn collect_lists<'s>(schema: &'s Value, found: &mut Vec<Vec<&'s str>>) {
    match schema {
        Value::Object(members) => {
            found.extend(members.get("enum").and_then(strings).filter(|values| values.len() > MANY));
            members.values().for_each(|value| collect_lists(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_lists(value, found)),
        _ => {}
    }
}

fn strings(values: &Value) -> Option<Vec<&str>> {
    values.as_array()?.iter().map(Value::as_str).collect()
}

fn enumerated(schema: &Value) -> Option<Vec<&str>> {
    let own = schema.get("enum").and_then(strings);
    own.or_else(|| choices(schema).find_map(|choice| choice.get("enum").and_then(strings)))
}

fn referred(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.rsplit('/').next()
}

fn choices(schema: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["anyOf", "allOf"].into_iter().filter_map(|name| schema.get(name)?.as_array());
    lists.flatten()
}

fn range(schema: &Value) -> String {
    let number = |name: &str| schema.get(name).map(ToString::to_string);
    let least = number("minimum").map(|least| format!("from {least}"));
    let least = least.or_else(|| number("exclusiveMinimum").map(|least| format!("over {least}")));
    match (least, number("maximum")) {
        (Some(least), Some(most)) => format!(", {least} to {most}"),
        (Some(least), None) => format!(", {least}"),
        (None, Some(most)) => format!(", up to {most}"),
        (None, None) => String::new(),
    }
}

/// `HandlerMeta` as a heading: `Handler meta`.
fn title(name: &str) -> String {
    if name.is_empty() {
        return "The whole configuration".to_owned();
    }
    let mut words = String::new();
    for (place, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && place > 0 {
            words.push(' ');
        }
        words.extend(if place > 0 { letter.to_lowercase().collect::<Vec<_>>() } else { vec![letter] });
    }
    // Abbreviations are written in capital letters.
    let spelled = words.split(' ').map(|word| match word {
        "Api" | "Oas" | "url" => word.to_uppercase(),
        word => word.to_owned(),
    });
    spelled.collect::<Vec<_>>().join(" ")
}

/// The title of a list: its first value and its length. No two lists of the schema have the same title.
fn list_title(list: &[&str]) -> String {
    format!("The {} names from {} on", list.len(), list.first().copied().unwrap_or_default())
}

fn list_anchor(list: &[&str]) -> String {
    anchor(&list_title(list))
}

/// The anchor that Markdown readers generate for a heading.
pub fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

fn shown(value: &str) -> String {
    if value.is_empty() { "`\"\"`".to_owned() } else { format!("`{value}`") }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}
