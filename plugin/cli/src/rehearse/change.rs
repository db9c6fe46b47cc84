//! `--set`: a change of the configuration that is tried without editing the file.

use anyhow::{Result, bail};
use serde_json::{Map, Value};

/// A path in tollbell's configuration, and its new value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    text: String,
    steps: Vec<String>,
    value: Value,
}

impl Change {
    /// Reads `orgs.acme.quota_max=5000`. A name with a dot is in double quotes or in brackets. The value is JSON, or
    /// else a text. `null` removes the member.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (path, value) = split(text).ok_or("write a path, an equals sign and a value: orgs.acme.quota_max=5000")?;
        let steps = steps(path)?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        Ok(Change { text: text.to_owned(), steps, value })
    }

    /// Makes the change. Missing objects on the way are made.
    ///
    /// # Errors
    /// The path leads through a value that has no members, or names no entry of a list.
    pub(crate) fn apply(&self, config: &mut Value) -> Result<()> {
        let Some((last, way)) = self.steps.split_last() else { return Ok(()) };
        let mut value = config;
        for step in way {
            value = match value {
                Value::Array(list) => self.entry(list, step)?,
                Value::Object(members) => members.entry(step.clone()).or_insert_with(|| Value::Object(Map::new())),
                _ => bail!("--set {}: there is nothing below the value before {step:?}", self.text),
            };
        }
        match value {
            Value::Array(list) => *self.entry(list, last)? = self.value.clone(),
            Value::Object(members) if self.value.is_null() => drop(members.remove(last)),
            Value::Object(members) => drop(members.insert(last.clone(), self.value.clone())),
            _ => bail!("--set {}: there is nothing below the value before {last:?}", self.text),
        }
        Ok(())
    }

    /// An entry of a list by its place, or by its id or name.
    fn entry<'v>(&self, list: &'v mut [Value], step: &str) -> Result<&'v mut Value> {
        let is_named = |entry: &Value| ["api_id", "name"].iter().any(|id| entry.get(id).is_some_and(|id| *id == *step));
        let place = step.parse().ok().or_else(|| list.iter().position(is_named));
        match place.and_then(|place: usize| list.get_mut(place)) {
            Some(entry) => Ok(entry),
            None => bail!(
                "--set {}: no entry of the list is {step:?}: use its place from 0, its api_id or its name",
                self.text
            ),
        }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Splits at the first equals sign outside of quotes.
fn split(text: &str) -> Option<(&str, &str)> {
    let mut is_quoted = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'=' if !is_quoted => return Some((&text[..at], &text[at + 1..])),
            _ => {}
        }
    }
    None
}

fn steps(path: &str) -> Result<Vec<String>, String> {
    let (mut steps, mut rest) = (Vec::new(), path);
    while !rest.is_empty() {
        let (step, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted.split_once('"').ok_or("a quote is not closed")?
        } else if let Some(bracketed) = rest.strip_prefix('[') {
            let (step, after) = bracketed.split_once(']').ok_or("a bracket is not closed")?;
            (step.trim_matches('"'), after)
        } else {
            rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len()))
        };
        if step.is_empty() {
            return Err(format!("{path:?} has an empty name"));
        }
        steps.push(step.to_owned());
        rest = after.strip_prefix('.').unwrap_or(after);
    }
    if steps.is_empty() { Err("the path is empty".to_owned()) } else { Ok(steps) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn set(config: Value, change: &str) -> Result<Value, String> {
        let mut config = config;
        Change::parse(change)?.apply(&mut config).map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn a_change_reaches_its_place() {
        let config = json!({ "orgs": { "acme": { "quota_max": 5 } }, "apis": [{ "api_id": "a" }, { "api_id": "b" }] });
        let changed = |change: &str| set(config.clone(), change).unwrap();
        assert_eq!(changed("orgs.acme.quota_max=7")["orgs"]["acme"]["quota_max"], 7);
        assert_eq!(changed("orgs.new.quota_max=7")["orgs"]["new"], json!({ "quota_max": 7 }));
        assert_eq!(changed("orgs.acme=null")["orgs"], json!({}));
        assert_eq!(changed("apis.b.name=a b")["apis"][1]["name"], "a b");
        assert_eq!(changed("apis[0].use_keyless=true")["apis"][0]["use_keyless"], true);
        assert_eq!(
            changed("keys.\"a.b=c\".monitor={\"trigger_limits\":[1]}")["keys"]["a.b=c"]["monitor"],
            json!({ "trigger_limits": [1] })
        );
        assert_eq!(changed("keys[\"a.b\"].rate=2")["keys"]["a.b"]["rate"], 2);
    }

    #[test]
    fn a_wrong_change_is_refused() {
        let config = json!({ "apis": [], "unmatched": "pass" });
        for (change, expected) in [
            ("orgs", "write a path"),
            ("=1", "the path is empty"),
            ("a..b=1", "has an empty name"),
            ("keys[\"a=1", "write a path"),
            ("keys[a=1", "a bracket is not closed"),
            ("apis.b.name=x", "no entry of the list is \"b\""),
            ("unmatched.x.y=1", "there is nothing below the value before \"x\""),
        ] {
            let error = set(config.clone(), change).unwrap_err();
            assert!(error.contains(expected), "{change}: {error}");
        }
    }
}
