//! JSON helpers that all readers share.

use std::mem;

pub use go_template::json::float;
use serde_json::{Map, Value};

/// Parses JSON text. All callers use this one function, because the compiler would generate serde_json's parser again
/// for each type of input and output.
///
/// # Errors
/// The position at which the text stops being JSON.
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

/// The position at which a text stops being JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not JSON from line {line}, column {column} on")]
pub struct NotJson {
    /// Line number, from 1.
    pub line: usize,
    /// Byte in the line, from 1; 0 means the end of the line before.
    pub column: usize,
    /// True if the text ends before its value is complete.
    pub ends_early: bool,
}

/// Names a value's type in error messages.
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

/// Builds an object and takes the members' values. The code that serde derives for a struct is ten times as long.
pub fn object(members: &mut [(&str, Value)]) -> Value {
    let mut object = Map::new();
    for (name, value) in members {
        object.insert((*name).to_owned(), mem::take(value));
    }
    Value::Object(object)
}
