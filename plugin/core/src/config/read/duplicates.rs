//! Finds members that occur twice in one JSON object. The parser would take the last of them.

use std::collections::BTreeSet;
use std::mem;

use serde_json::Value;

use crate::base::{item, json, member};
use crate::config::error::key_name;

/// An object or a list that has not ended.
struct Open {
    path: String,
    /// The names so far; `None` for a list.
    names: Option<BTreeSet<String>>,
    /// The index of the next item.
    index: usize,
    /// The path of the value that follows.
    next: String,
}

/// The path of the first member that occurs twice. The text must be valid JSON.
pub fn find(text: &[u8]) -> Option<String> {
    let mut open: Vec<Open> = Vec::new();
    let mut at = 0_usize;
    let mut is_name = false;
    while let Some(byte) = text.get(at) {
        let start = at;
        at = at.saturating_add(1);
        match byte {
            b'"' => {
                let mut is_escaped = false;
                for byte in text.get(at..).unwrap_or_default() {
                    at = at.saturating_add(1);
                    match byte {
                        _ if mem::take(&mut is_escaped) => {}
                        b'\\' => is_escaped = true,
                        b'"' => break,
                        _ => {}
                    }
                }
                let Some(object) = open.last_mut().filter(|_| mem::take(&mut is_name)) else { continue };
                let name = match json::parse(text.get(start..at).unwrap_or_default()) {
                    Ok(Value::String(name)) => name,
                    _ => continue,
                };
                // Names of keys are secrets.
                let shown = if object.path == "keys" { key_name(&name) } else { name.clone() };
                object.next = member(&object.path, &shown);
                if object.names.as_mut().is_some_and(|names| !names.insert(name)) {
                    return Some(mem::take(&mut object.next));
                }
            }
            b'{' | b'[' => {
                let path = open.last_mut().map(Open::next_path).unwrap_or_default();
                is_name = *byte == b'{';
                let names = is_name.then(BTreeSet::new);
                open.push(Open { path, names, index: 0, next: String::new() });
            }
            b'}' | b']' => {
                open.pop();
                is_name = false;
            }
            b',' => {
                if let Some(inner) = open.last_mut() {
                    inner.index = inner.index.saturating_add(1);
                    is_name = inner.names.is_some();
                }
            }
            _ => {}
        }
    }
    None
}

impl Open {
    fn next_path(&mut self) -> String {
        match self.names {
            Some(_) => mem::take(&mut self.next),
            None => item(&self.path, self.index),
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn members_that_occur_twice_are_found_with_their_path() {
        let hash = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        for (text, path) in [
            (r#"{"a": 1, "b": {"a": 2}, "c": [{"a": "a"}, {"a": ","}]}"#, None),
            (r#"{"a": 1, "b": 2, "a": 1}"#, Some("a")),
            (r#"{"a": 1, "\u0061": 1}"#, Some("a")),
            (r#"{"a": [{}, {"b": {"c": "{\"c\":", "d": [], "c": 0}}]}"#, Some("a[1].b.c")),
            (r#"{"a": ["x", ["y"], {"b": 1, "b": 2}]}"#, Some("a[2].b")),
            (r#"{"a": {"b": "\\", "b": 1}}"#, Some("a.b")),
            ("[]", None),
        ] {
            assert_eq!(find(text.as_bytes()).as_deref(), path, "{text}");
        }
        let key = r#"{"keys": {"test": {}, "test": {}}}"#;
        assert_eq!(find(key.as_bytes()), Some(format!("keys[{hash:?}]")));
    }
}
