//! From the host's bytes to JSON.
//!
//! Envoy unwraps a `StringValue` and hands over its text; any other message arrives as serialized protobuf, and in a
//! `Struct` every float and every integer outside 32 bits that was written in YAML is a string.

use serde_json::{Map, Number, Value};

use super::{ConfigError, wire};
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
    if let Some(object) = wire::object(bytes).filter(|object| !looks_like_text(bytes) || !object.is_empty()) {
        return Ok(Value::Object(object));
    }
    let message = format!(
        "neither JSON text (google.protobuf.StringValue) nor a google.protobuf.Struct; read as JSON: {json_error}"
    );
    Err(ConfigError { path: String::new(), message })
}

fn looks_like_text(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first().is_some_and(u8::is_ascii_graphic)
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
