//! From the host's bytes to JSON.
//!
//! Envoy unwraps a `StringValue` and passes its text. Any other message arrives as serialized protobuf. In a `Struct`,
//! every float and every integer outside 32 bits that was written in YAML is a string.

use prost::Message;
use prost_types::value::Kind;
use serde_json::{Map, Number, Value};

use crate::base::json;
use crate::config::ConfigError;
use crate::config::read::duplicates;

/// Reads JSON text or a serialized `google.protobuf.Struct`. Empty input is an empty object.
pub fn to_json(bytes: &[u8]) -> Result<Value, ConfigError> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    let json_error = match json::parse(bytes) {
        Ok(value) => {
            return match duplicates::find(bytes) {
                Some(path) => Err(ConfigError { path, message: "occurs twice in one object".to_owned() }),
                None => Ok(value),
            };
        }
        Err(error) => error,
    };
    // A Struct may begin like JSON text: its first byte is a newline, and a length can be an opening brace.
    let message = match prost_types::Struct::decode(bytes) {
        Ok(decoded) if !looks_like_text(bytes) || !decoded.fields.is_empty() => return Ok(object(decoded)),
        _ => why_not_json(&json_error, bytes),
    };
    let message = format!(
        "neither JSON text (google.protobuf.StringValue) nor a google.protobuf.Struct; read as JSON: {message}"
    );
    Err(ConfigError { path: String::new(), message })
}

/// The position of the error in JSON text, and the usual mistake there. It shows no more of the text than one
/// character, because the text contains secrets.
fn why_not_json(error: &json::NotJson, text: &[u8]) -> String {
    let json::NotJson { line, column, ends_early } = *error;
    let start =
        text.split_inclusive(|byte| *byte == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum::<usize>();
    let rest = text.get(start.saturating_add(column.saturating_sub(1))..).unwrap_or_default();
    let found = String::from_utf8_lossy(rest.get(..4).unwrap_or(rest)).chars().next();
    let what = match found {
        _ if ends_early => "the text ends too early: a bracket or a quote is not closed".to_owned(),
        Some('}' | ']') => "there is an extra comma before this bracket, or a value is missing".to_owned(),
        Some(c @ (',' | ':')) => format!("there is an extra {c:?}, or a value is missing before it"),
        Some('\'') => "texts need double quotes".to_owned(),
        Some('/' | '#') => "JSON has no comments".to_owned(),
        Some('"' | '{' | '[') => "a comma or a colon is missing before this character".to_owned(),
        Some(c) if c.is_control() => "control characters in texts are written as \\n, \\t or \\u0000".to_owned(),
        _ => "expected a text in double quotes, a number, true, false, null, or a comma before it".to_owned(),
    };
    format!("line {line}, column {column}: {what}")
}

fn looks_like_text(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first().is_some_and(u8::is_ascii_graphic)
}

fn object(decoded: prost_types::Struct) -> Value {
    Value::Object(decoded.fields.into_iter().map(|(name, value)| (name, json_of(value))).collect())
}

fn json_of(value: prost_types::Value) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::NumberValue(value)) => number(value),
        Some(Kind::StringValue(value)) => Value::String(value),
        Some(Kind::ListValue(list)) => Value::Array(list.values.into_iter().map(json_of).collect()),
        Some(Kind::StructValue(value)) => object(value),
    }
}

/// Protobuf has only doubles. Whole ones become integers again.
#[allow(clippy::cast_possible_truncation)]
pub fn number(value: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        return Value::from(value as i64);
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}
