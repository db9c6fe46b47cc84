//! Every field of Tyk's sessions, rights and policies, and what becomes of it.
//!
//! A session that is fetched may have any of them. One that narrows what a key may do, or says that its owner is
//! authenticated in another way, closes the key unless it is honoured; so does a field that is not listed, since nobody
//! knows what it narrows. What is empty says nothing. `docs/sessions.md` shows these lists.

mod lists;

use serde_json::{Map, Value};

pub use lists::{LIMIT, PARTITIONS, POLICY, RIGHT, RULE, SESSION};

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It means what it means in Tyk; the text says what that is.
    Honoured(&'static str),
    /// It narrows nothing; the text says why.
    Ignored(&'static str),
    /// It closes the key, or for a right's field the key's right to that API; the text says why.
    Closes(&'static str),
}

/// A field of an object of Tyk's.
#[derive(Clone, Copy, Debug)]
pub struct SessionField {
    /// Its name in JSON.
    pub name: &'static str,
    /// What becomes of it.
    pub usage: Use,
}

impl SessionField {
    /// Its row in the documentation.
    pub fn row(&self) -> String {
        let (what, text) = match self.usage {
            Use::Honoured(text) => ("honoured", text),
            Use::Ignored(text) => ("ignored", text),
            Use::Closes(text) => ("closes", text),
        };
        format!("| `{}` | {what} | {text} |", self.name)
    }
}

/// The lists by the name of their object, as the documentation shows them.
pub const OBJECTS: [(&str, &[SessionField]); 5] =
    [("session", SESSION), ("right", RIGHT), ("limit", LIMIT), ("policy", POLICY), ("partitions", PARTITIONS)];

/// What a fetched session says that is not honoured.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// A field that closes the key, by its path.
    pub key: Option<String>,
    /// Rights that are closed: the API's id, and the field's path.
    pub rights: Vec<(String, String)>,
}

/// Looks through a session as Tyk writes it.
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

/// What the entries of a right's `allowed_urls` say that is not honoured. One without a `url` would allow every path.
fn wrong_rule(right: &Map<String, Value>) -> Option<String> {
    let rules = right.get("allowed_urls").and_then(Value::as_array)?;
    rules.iter().enumerate().find_map(|(place, rule)| {
        let rule = rule.as_object()?;
        let has_url = rule.get("url").and_then(Value::as_str).is_some_and(|url| !url.is_empty());
        let field = closing(RULE, rule).or_else(|| (!has_url).then(|| "url".to_owned()))?;
        Some(format!("allowed_urls[{place}].{field}"))
    })
}

/// The first field that is set and closes, or is not listed.
fn closing(fields: &[SessionField], object: &Map<String, Value>) -> Option<String> {
    let closes = |name: &str| {
        let known = fields.iter().find(|field| field.name == name);
        known.is_none_or(|field| matches!(field.usage, Use::Closes(_)))
    };
    object.iter().find(|(name, value)| is_set(value) && closes(name)).map(|(name, _)| name.clone())
}

/// What Tyk reads in a session's metadata.
fn meta_data(session: &Map<String, Value>) -> Option<String> {
    let meta_data = session.get("meta_data")?.as_object()?;
    special_meta_data(meta_data).map(|(name, _)| format!("meta_data.{name}"))
}

/// An entry of a session's metadata that Tyk acts on, and what it does with it.
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

/// Whether a value says something: not what Tyk writes where nothing is set, or -1 for no limit.
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
