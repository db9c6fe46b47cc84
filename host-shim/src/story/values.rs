//! The parts of a story as JSON. Other than in Envoy's configuration, a number is what YAML takes it for, and the text
//! of a header or of a body is what is written.

use serde_json::{Map, Value as Json};

use crate::config::node::{Node, Value};

/// A step, or a part of one with fields of its own.
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

/// A scalar as it is written; null and what is no scalar stay what they are.
fn text(node: &Node) -> Json {
    match (&node.value, &node.plain) {
        (Value::Bool(_) | Value::Int(_), Some(text)) | (Value::String(text), _) => Json::from(text.as_str()),
        _ => plain(node),
    }
}

/// As YAML has it.
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

/// A number that Envoy's reader takes for a string: with a fraction, or too large for it.
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
