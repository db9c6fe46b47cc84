//! All fields of Tyk's sessions, rights and policies, and their use in tollbell.
//!
//! A fetched session may have any of them. Some fields restrict the key, or mean that its owner is authenticated in
//! another way. Such a field closes the key unless tollbell honours it. An unlisted field closes the key, too, because
//! its restriction is unknown. Empty values are ignored. `docs/sessions.md` shows these lists.

mod lists;

use serde_json::{Map, Value};

pub use lists::{LIMIT, PARTITIONS, POLICY, RIGHT, RULE, SESSION};

/// The use of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It has the same meaning as in Tyk. The text describes it.
    Honoured(&'static str),
    /// It restricts nothing. The text gives the reason.
    Ignored(&'static str),
    /// It closes the key; a field of a right closes the key's right to that API. The text gives the reason.
    Closes(&'static str),
}

/// A field of one of Tyk's objects.
#[derive(Clone, Copy, Debug)]
pub struct SessionField {
    /// Its JSON name.
    pub name: &'static str,
    /// Its use.
    pub usage: Use,
}

impl SessionField {
    /// The field's row in the documentation.
    pub fn row(&self) -> String {
        let (what, text) = match self.usage {
            Use::Honoured(text) => ("honoured", text),
            Use::Ignored(text) => ("ignored", text),
            Use::Closes(text) => ("closes", text),
        };
        format!("| `{}` | {what} | {text} |", self.name)
    }
}

/// The lists by the name of their object, in the order of the documentation.
pub const OBJECTS: [(&str, &[SessionField]); 5] =
    [("session", SESSION), ("right", RIGHT), ("limit", LIMIT), ("policy", POLICY), ("partitions", PARTITIONS)];

/// The fields of a fetched session that close it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// The path of a field that closes the key.
    pub key: Option<String>,
    /// The rights that are closed: the API's id, and the path of the field.
    pub rights: Vec<(String, String)>,
}

/// Checks a session in Tyk's form.
pub fn closed(session: &Value) -> Closed {
    let Some(session) = session.as_object() else { return Closed::default() };
    let mut closed = Closed { key: closing(SESSION, session), rights: Vec::new() };
    closed.key = closed.key.or_else(|| meta_data(session));
    for (api, right) in session.get("access_rights").and_then(Value::as_object).into_iter().flatten() {
        let Some(right) = right.as_object() else { continue };
        let field = closing(RIGHT, right).or_else(|| {
            let limit = right.get("limit").and_then(Value::as_object)?;
            closing(LIMIT, limit).map(|field| format!("limit.{field}"))
        });
        let field = field.or_else(|| wrong_rule(right));
        closed.rights.extend(field.map(|field| (api.clone(), format!("access_rights.{api}.{field}"))));
    }
    closed
}

/// The path in a right's `allowed_urls` that closes the right. An entry without a `url` would allow every path.
fn wrong_rule(right: &Map<String, Value>) -> Option<String> {
    let rules = right.get("allowed_urls").and_then(Value::as_array)?;
    rules.iter().enumerate().find_map(|(place, rule)| {
        let rule = rule.as_object()?;
        let has_url = rule.get("url").and_then(Value::as_str).is_some_and(|url| !url.is_empty());
        let field = closing(RULE, rule).or_else(|| (!has_url).then(|| "url".to_owned()))?;
        Some(format!("allowed_urls[{place}].{field}"))
    })
}

/// The first field that has a value and closes, or is not listed.
fn closing(fields: &[SessionField], object: &Map<String, Value>) -> Option<String> {
    let closes = |name: &str| {
        let known = fields.iter().find(|field| field.name == name);
        known.is_none_or(|field| matches!(field.usage, Use::Closes(_)))
    };
    object.iter().find(|(name, value)| is_set(value) && closes(name)).map(|(name, _)| name.clone())
}

/// The path in a session's metadata that closes it.
fn meta_data(session: &Map<String, Value>) -> Option<String> {
    let meta_data = session.get("meta_data")?.as_object()?;
    special_meta_data(meta_data).map(|(name, _)| format!("meta_data.{name}"))
}

/// An entry of a session's metadata that Tyk acts on, and its effect in Tyk.
pub fn special_meta_data(meta_data: &Map<String, Value>) -> Option<(&'static str, &'static str)> {
    let policies = meta_data.get("policies").and_then(Value::as_array);
    if policies.is_some_and(|list| list.iter().any(Value::is_object)) {
        return Some(("policies", "Tyk takes a session's policies from it"));
    }
    let pattern = meta_data.get("rate_limit_pattern").and_then(Value::as_str);
    pattern
        .filter(|pattern| !pattern.is_empty())
        .map(|_| ("rate_limit_pattern", "Tyk counts all keys of one pattern together, and tollbell each key by itself"))
}

/// True unless a value is empty in Tyk's form, or is -1 for no limit.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64().is_none_or(|number| number != 0.0 && number != -1.0),
        Value::String(text) => !text.is_empty() && text != "0001-01-01T00:00:00Z",
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) if fields.get("enabled") == Some(&Value::Bool(false)) => false,
        Value::Object(fields) => fields.values().any(is_set),
    }
}

#[cfg(test)]
mod tests;
