//! What all readers of JSON share.

use std::mem;

use serde_json::{Map, Value};

/// Reads JSON text. Everything is read by this function: serde_json's parser is compiled anew for each kind of input and
/// each type to read.
///
/// # Errors
/// Why it is none.
pub fn parse(text: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// What an error calls a value.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// An object of these members, whose values are taken. serde's derived code for a struct is ten times as long.
pub fn object(members: &mut [(&str, Value)]) -> Value {
    let mut object = Map::new();
    for (name, value) in members {
        object.insert((*name).to_owned(), mem::take(value));
    }
    Value::Object(object)
}
