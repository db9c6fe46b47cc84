//! What all readers of JSON share.

use std::mem;

pub use go_template::json::float;
use serde_json::{Map, Value};

/// Reads JSON text. Everything is read by this function: serde_json's parser is compiled anew for each kind of input and
/// each type to read.
///
/// # Errors
/// Where it is none.
pub fn parse(text: &[u8]) -> Result<Value, NotJson> {
    let text = std::str::from_utf8(text).map_err(|error| {
        let before = text.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        let column = before.rsplit(|byte| *byte == b'\n').next().map_or(0, <[u8]>::len).saturating_add(1);
        NotJson { line, column, ends_early: false }
    })?;
    serde_json::from_str(text).map_err(|error| NotJson {
        line: error.line(),
        column: error.column(),
        ends_early: error.is_eof(),
    })
}

/// Where a text is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not JSON from line {line}, column {column} on")]
pub struct NotJson {
    /// The line, from 1.
    pub line: usize,
    /// The byte in the line, from 1; 0 for the end of the line before.
    pub column: usize,
    /// The text ends before the value does.
    pub ends_early: bool,
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
