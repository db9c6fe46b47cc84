//! Converts the parts of a story to JSON. In contrast to Envoy's configuration, numbers are YAML's numbers, and the
//! text of a header or of a body is kept as it is written.

use serde_json::{Map, Value as Json};

use crate::config::node::{Node, Value};

/// Converts a step, or a part of a step with its own fields.
pub(super) fn step(node: &Node) -> Json {
    match &node.value {
        Value::List(items) => Json::Array(items.iter().map(step).collect()),
        Value::Map(entries) => Json::Object(entries.iter().map(|(key, node)| field(&key.name, node)).collect()),
        _ => plain(node),
    }
}

fn field(name: &str, node: &Node) -> (String, Json) {
    let value = match (name, &node.value) {
        ("json" | "members" | "metrics" | "fault", _) => plain(node),
        ("headers", Value::Map(entries)) => {
            let texts = entries.iter().map(|(key, node)| (key.name.clone(), text(node)));
            Json::Object(texts.collect::<Map<_, _>>())
        }
        ("body" | "text" | "path", _) => text(node),
        _ => step(node),
    };
    (name.to_owned(), value)
}

/// Returns a scalar as it is written. Null, lists and maps do not change.
fn text(node: &Node) -> Json {
    match (&node.value, &node.plain) {
        (Value::Bool(_) | Value::Int(_), Some(text)) | (Value::String(text), _) => Json::from(text.as_str()),
        _ => plain(node),
    }
}

/// Converts a node by the rules of YAML.
fn plain(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::from(*value),
        Value::Int(number) => Json::from(*number),
        Value::Float(number) => Json::from(*number),
        Value::String(text) => number(node).unwrap_or_else(|| Json::from(text.as_str())),
        Value::List(items) => Json::Array(items.iter().map(plain).collect()),
        Value::Map(entries) => {
            Json::Object(entries.iter().map(|(key, node)| (key.name.clone(), plain(node))).collect())
        }
    }
}

/// Whether the text is a number that Envoy's reader keeps as a string: it has a fraction, or is too large.
fn number(node: &Node) -> Option<Json> {
    let text = node.plain.as_deref()?;
    let digits = text.trim_start_matches(['-', '+']);
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-' | '+'))
        && (digits == "0" || digits.starts_with("0.") || !digits.starts_with('0'));
    if !is_number {
        return None;
    }
    if let Ok(integer) = text.parse::<u64>() {
        return Some(Json::from(integer));
    }
    serde_json::Number::from_f64(text.parse().ok()?).map(Json::Number)
}
