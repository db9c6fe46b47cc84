//! The names of sessions in a key export: keys, hashes of keys, and organisations.
//!
//! For a custom key, Tyk also accepts the chosen id, and makes the key's name from the id and the organisation of the
//! API. tollbell does the same (`tyk_tokens`), so a session is stored only under its complete name.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tollbell_core::config::raw::TykTokens;

use super::source::Errors;

/// How Tyk makes and finds the names of keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Naming {
    /// True if keys are in the export under their hashes.
    pub(super) is_hashed: bool,
    /// The forms of `tyk_tokens`.
    pub(super) forms: Vec<String>,
    /// The minimum length of a key. Shorter keys are refused.
    pub(super) min_length: usize,
}

impl Naming {
    /// `tyk_tokens`.
    pub(super) fn tokens(&self) -> TykTokens {
        let min_token_length = u64::try_from(self.min_length).unwrap_or(u64::MAX);
        TykTokens { forms: self.forms.clone(), min_token_length }
    }
}

/// Why a session's key cannot be used, by the key's name in the configuration.
#[derive(Default)]
pub(super) struct Unusable(BTreeMap<String, String>);

impl Unusable {
    pub(super) fn reason(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

const HASHED: &str = "Its name is a murmur hash, from which its SHA-256 cannot be computed, and others may have the same \
                      hash. Take the key from an export with the keys themselves, or ask its owner for it, and add it as \
                      \"sha256:\" and its SHA-256.";

/// Sorts an export into `keys` and `orgs`. The result contains no key.
pub(super) fn sort(
    file: &str,
    export: Value,
    naming: &Naming,
    orgs: &BTreeSet<String>,
    errors: &Errors,
) -> (Value, Unusable) {
    let (mut keys, mut unusable) = (Map::new(), Unusable::default());
    let (mut organisations, mut twice) = (Map::new(), BTreeSet::new());
    let sessions = sessions(file, export, errors);
    let all: BTreeSet<String> = sessions.iter().map(|(name, _)| plain(name).to_owned()).collect();
    for (name, mut session) in sessions {
        // Its names may be tokens, and the report shows names.
        if let Some(tokens) =
            session.get_mut("oauth_keys").filter(|tokens| tokens.as_object().is_some_and(|map| !map.is_empty()))
        {
            *tokens = Value::Bool(true);
        }
        let name = plain(&name);
        let org = name.strip_prefix("orgkey-").or_else(|| orgs.contains(name).then_some(name));
        if let Some(org) = org {
            organisations.insert(org.to_owned(), session);
            continue;
        }
        let (fingerprint, problem) = identify(name, naming);
        let problem = problem.or_else(|| hidden(name, naming, orgs, &all));
        let name = fingerprint;
        unusable.0.extend(problem.map(|problem| (name.clone(), problem)));
        if keys.contains_key(&name) {
            errors.add(format!("{file}: keys[{name:?}]: the same key occurs twice, raw and hashed"));
            twice.insert(name.clone());
        }
        keys.insert(name, session);
    }
    // It is unknown which of the two is valid.
    keys.retain(|name, _| !twice.contains(name));
    let sorted = [("keys".to_owned(), Value::Object(keys)), ("orgs".to_owned(), Value::Object(organisations))];
    (Value::Object(sorted.into_iter().collect()), unusable)
}

/// The name as in Redis, or without its prefix there.
fn plain(name: &str) -> &str {
    name.strip_prefix("apikey-").unwrap_or(name)
}

/// Names and sessions in the forms that Tyk's gateway, its Redis and its dashboard export.
fn sessions(file: &str, export: Value, errors: &Errors) -> Vec<(String, Value)> {
    let listed =
        |list: &Value| list.as_array().is_some_and(|list| list.iter().all(Value::is_string) && !list.is_empty());
    let inner = ["keys", "data"].into_iter().find_map(|name| {
        let inner = export.get(name)?;
        (inner.is_array() || inner.is_object() && export.get(name)?.get("org_id").is_none()).then(|| inner.clone())
    });
    let export = match inner {
        Some(inner) => inner.get("keys").filter(|keys| keys.is_array()).cloned().unwrap_or(inner),
        None => export,
    };
    if listed(&export) {
        errors.add(format!(
            "{file}: a list of names, as GET /tyk/keys answers: get each session with GET /tyk/keys/{{name}}, and put them \
             into one object by name"
        ));
        return Vec::new();
    }
    let entries: Vec<(Option<String>, Value)> = match export {
        Value::Object(map) => map.into_iter().map(|(name, value)| (Some(name), value)).collect(),
        Value::Array(list) => list.into_iter().map(|value| (None, value)).collect(),
        _ => {
            errors.add(format!("{file}: must be an object of sessions by key"));
            return Vec::new();
        }
    };
    let mut sessions = Vec::new();
    for (index, (name, value)) in entries.into_iter().enumerate() {
        // Redis stores a session as text.
        let value = match &value {
            Value::String(text) => serde_json::from_str(text).unwrap_or(value),
            _ => value,
        };
        let named = |field: &str| value.get(field)?.as_str().filter(|name| !name.is_empty()).map(str::to_owned);
        let name = name.or_else(|| named("key_id")).or_else(|| named("key_hash"));
        let session = value.get("data").filter(|data| data.is_object()).cloned().unwrap_or(value);
        match name {
            Some(name) if session.is_object() && !name.is_empty() => sessions.push((name, session)),
            Some(name) => {
                errors.add(format!("{file}: keys[{:?}]: must be a session, an object", fingerprint(name.as_bytes())));
            }
            None => errors.add(format!("{file}: [{index}]: has neither key_id nor key_hash")),
        }
    }
    sessions
}

/// `sha256:` and the hex digits.
pub(super) fn fingerprint(bytes: &[u8]) -> String {
    let hex = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("sha256:{hex}")
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The name of a key in the configuration, and the reason why it cannot be used, if there is one.
fn identify(name: &str, naming: &Naming) -> (String, Option<String>) {
    if let Some(hex) = name.strip_prefix("sha256:").filter(|hex| is_hex(hex, 64)) {
        return (format!("sha256:{}", hex.to_ascii_lowercase()), None);
    }
    if naming.is_hashed && is_hex(name, 64) {
        return (format!("sha256:{}", name.to_ascii_lowercase()), None);
    }
    let is_murmur = naming.is_hashed && [8, 16, 32].into_iter().any(|length| is_hex(name, length));
    let problem = if is_murmur {
        Some(HASHED.to_owned())
    } else if name.len() < naming.min_length {
        Some(format!(
            "It has fewer than the {} characters of min_token_length. Tyk refuses it, too.",
            naming.min_length
        ))
    } else {
        None
    };
    (fingerprint(name.as_bytes()), problem)
}

/// Tyk prefers an organisation's custom key over a key whose name equals its id.
fn hidden(name: &str, naming: &Naming, orgs: &BTreeSet<String>, all: &BTreeSet<String>) -> Option<String> {
    let is_other = |token: &String| token != name && all.contains(token);
    let hiding = orgs.iter().find(|org| naming.forms.iter().any(|form| is_other(&token(org, name, form))))?;
    Some(format!("In APIs of {hiding}, Tyk reads this key as the id of another custom key. Rename one of the two."))
}

/// Tyk's name for a custom key.
fn token(org: &str, id: &str, form: &str) -> String {
    match form {
        "legacy" => format!("{org}{id}"),
        function => STANDARD.encode(format!(r#"{{"org":"{org}","id":"{id}","h":"{function}"}}"#)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use serde_json::json;

    use super::*;

    fn naming(is_hashed: bool) -> Naming {
        Naming { is_hashed, forms: vec!["sha256".to_owned(), "legacy".to_owned()], min_length: 3 }
    }

    #[test]
    fn names_are_keys_or_hashes() {
        let sha = |key: &str| fingerprint(key.as_bytes());
        let hex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        let uuid = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
        let hashed = |name: &str| identify(name, &naming(true));
        let raw = |name: &str| identify(name, &naming(false));
        assert_eq!(hashed(hex), (format!("sha256:{hex}"), None));
        assert_eq!(raw(hex), (sha(hex), None));
        assert_eq!(raw(&format!("sha256:{hex}")), (format!("sha256:{hex}"), None));
        for hash in ["deadbeef", "deadbeefdeadbeef", uuid] {
            assert_eq!(hashed(hash).1.as_deref(), Some(HASHED), "{hash}");
            assert_eq!(raw(hash), (sha(hash), None));
        }
        for name in [token("acme", "partner", "murmur64"), format!("acme{uuid}"), "acmepartner".to_owned()] {
            assert_eq!((hashed(&name), raw(&name)), ((sha(&name), None), (sha(&name), None)), "a whole name");
        }
        assert!(raw("ab").1.unwrap().contains("min_token_length"));
    }

    #[test]
    fn a_key_that_is_another_ones_id_is_named() {
        let orgs = BTreeSet::from(["acme".to_owned()]);
        let export = |other: &str| json!({ "ten": {}, other: {} });
        for (other, is_hidden) in [
            (token("acme", "ten", "sha256"), true),
            ("acmeten".to_owned(), true),
            (token("acme", "ten", "murmur64"), false),
            (token("globex", "ten", "sha256"), false),
        ] {
            let (_, unusable) = sort("keys.json", export(&other), &naming(false), &orgs, &Errors::default());
            assert_eq!(unusable.reason(&fingerprint(b"ten")).is_some(), is_hidden, "{other}");
            assert_eq!(unusable.reason(&fingerprint(other.as_bytes())), None);
        }
    }

    #[test]
    fn exports_of_every_form_are_read() {
        let session = json!({ "org_id": "acme" });
        let text = session.to_string();
        for export in [
            json!({ "k": session }),
            json!({ "apikey-k": text }),
            json!({ "keys": { "k": session } }),
            json!({ "keys": [{ "key_id": "k", "data": session }], "pages": 1 }),
            json!([{ "key_id": "k", "data": session }]),
        ] {
            let errors = Errors::default();
            let (sorted, _) = sort("keys.json", export, &naming(false), &BTreeSet::new(), &errors);
            assert_eq!(errors.take(), Vec::<String>::new());
            assert_eq!(sorted["keys"], json!({ fingerprint(b"k"): session }));
        }
        let errors = Errors::default();
        let export = json!({ "orgkey-acme": session, "globex": session, "k": { "oauth_keys": { "token": "t" } } });
        let (sorted, _) = sort("keys.json", export, &naming(false), &BTreeSet::from(["globex".to_owned()]), &errors);
        assert_eq!(sorted["orgs"], json!({ "acme": session, "globex": session }));
        assert_eq!(sorted["keys"][fingerprint(b"k")], json!({ "oauth_keys": true }));
        for export in [json!({ "keys": ["a", "b"] }), json!({ "data": { "keys": ["a"] } }), json!(1), json!({ "a": 1 })]
        {
            let errors = Errors::default();
            sort("keys.json", export.clone(), &naming(false), &BTreeSet::new(), &errors);
            assert_eq!(errors.take().len(), 1, "{export}");
        }
    }
}
