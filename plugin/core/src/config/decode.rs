//! From the host's bytes to JSON.
//!
//! Envoy unwraps a `StringValue` and hands over its text; any other message arrives as serialized protobuf, and in a
//! `Struct` every float and every integer outside 32 bits that was written in YAML is a string.

use prost::Message;
use prost_types::value::Kind;
use serde_json::{Map, Number, Value};

use super::ConfigError;
use crate::json;

/// Reads JSON text or a serialized `google.protobuf.Struct`. Nothing at all is an empty object.
pub(super) fn to_json(bytes: &[u8]) -> Result<Value, ConfigError> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    let json_error = match json::parse(bytes) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    // A Struct may begin like JSON text: its first byte is a newline, and a length can be an opening brace.
    let message = match prost_types::Struct::decode(bytes) {
        Ok(decoded) if looks_like_text(bytes) && decoded.fields.is_empty() => json_error,
        Ok(decoded) => return Ok(object(decoded)),
        Err(_) => json_error,
    };
    let message = format!(
        "neither JSON text (google.protobuf.StringValue) nor a google.protobuf.Struct; read as JSON: {message}"
    );
    Err(ConfigError { path: String::new(), message })
}

fn looks_like_text(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first().is_some_and(u8::is_ascii_graphic)
}

fn object(decoded: prost_types::Struct) -> Value {
    Value::Object(decoded.fields.into_iter().map(|(name, value)| (name, json(value))).collect())
}

fn json(value: prost_types::Value) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::NumberValue(value)) => number(value),
        Some(Kind::StringValue(value)) => Value::String(value),
        Some(Kind::ListValue(list)) => Value::Array(list.values.into_iter().map(json).collect()),
        Some(Kind::StructValue(value)) => object(value),
    }
}

/// Protobuf knows only doubles: whole ones become integers again.
#[allow(clippy::cast_possible_truncation)]
pub(super) fn number(value: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        return Value::from(value as i64);
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}
