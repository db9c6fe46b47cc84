//! Values of settings, from configurations that the tests run.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Reference, choices, referred};
use crate::project_root;

/// The longest value that fits into the column, in characters.
const LONGEST: usize = 40;

/// The configurations of `envoy/envoy.yaml` and of the examples.
///
/// # Errors
/// A file cannot be read, or contains no configuration.
pub fn configurations() -> Result<Vec<Value>> {
    let root = project_root();
    let mut files = vec![root.join("envoy/envoy.yaml")];
    let mut examples = Vec::new();
    for entry in std::fs::read_dir(root.join("examples"))? {
        examples.push(entry?.path().join("envoy.yaml"));
    }
    examples.sort();
    files.extend(examples);
    let mut configurations = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        let whole: Value = serde_norway::from_str(&text).with_context(|| file.display().to_string())?;
        collect(&whole, &mut configurations).with_context(|| file.display().to_string())?;
    }
    Ok(configurations)
}

/// Collects the `configuration` of each plugin: a Struct, or a StringValue with JSON text.
fn collect(value: &Value, found: &mut Vec<Value>) -> Result<()> {
    match value {
        Value::Object(members) => {
            match members.get("configuration").and_then(|message| message.get("value")) {
                Some(Value::String(text)) => found.push(serde_json::from_str(text)?),
                Some(value) => found.push(value.clone()),
                None => {}
            }
            members.values().try_for_each(|value| collect(value, found))
        }
        Value::Array(values) => values.iter().try_for_each(|value| collect(value, found)),
        _ => Ok(()),
    }
}

/// The first short value of each setting, by object and name.
pub(super) struct Examples(BTreeMap<(String, String), String>);

impl Examples {
    pub(super) fn find(reference: &Reference<'_>, configurations: &[Value]) -> Result<Self> {
        let mut examples = Examples(BTreeMap::new());
        for configuration in configurations {
            examples.add_object(reference, "", reference.schema, configuration)?;
        }
        Ok(examples)
    }

    pub(super) fn of(&self, object: &str, setting: &str) -> Option<&str> {
        self.0.get(&(object.to_owned(), setting.to_owned())).map(String::as_str)
    }

    fn add_object(&mut self, reference: &Reference<'_>, name: &str, definition: &Value, value: &Value) -> Result<()> {
        let settings = definition.get("properties").and_then(Value::as_object);
        let Some((settings, members)) = settings.zip(value.as_object()) else {
            return self.add(reference, definition, value);
        };
        for (setting, schema) in settings {
            let Some(value) = members.get(setting) else { continue };
            let text = value.to_string();
            let is_short =
                text.chars().count() <= LONGEST && !matches!(value, Value::Object(_)) && !text.contains("\\n");
            if is_short {
                self.0.entry((name.to_owned(), setting.clone())).or_insert(text);
            }
            self.add(reference, schema, value)?;
        }
        Ok(())
    }

    fn add(&mut self, reference: &Reference<'_>, schema: &Value, value: &Value) -> Result<()> {
        if let Some(name) = referred(schema) {
            self.add_object(reference, name, reference.definition(name)?, value)?;
        }
        for choice in choices(schema) {
            self.add(reference, choice, value)?;
        }
        if let (Some(items), Value::Array(values)) = (schema.get("items"), value) {
            values.iter().try_for_each(|value| self.add(reference, items, value))?;
        }
        let values = schema.get("additionalProperties").filter(|values| values.is_object());
        if let (Some(schema), Value::Object(members)) = (values, value) {
            members.values().try_for_each(|value| self.add(reference, schema, value))?;
        }
        Ok(())
    }
}
