//! The names under which sessions stand in a key export: keys, hashes of keys, and organisations.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::source::Errors;

/// What a name in the export stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A key, that tollbell finds under this name.
    Key,
    /// A key that was made by hand, of which Tyk also takes the part that was chosen, for the APIs of an organisation.
    Custom(String),
    /// The hash of a key, of which nothing else can be made.
    Unusable(&'static str),
}

/// The names of an export by what the configuration calls them.
#[derive(Default)]
pub(super) struct Known(BTreeMap<String, Owner>);

impl Known {
    pub(super) fn owner(&self, name: &str) -> Option<&Owner> {
        self.0.get(name)
    }

    /// The keys that were made by hand.
    pub(super) fn custom(&self) -> impl Iterator<Item = &String> {
        self.0.iter().filter(|(_, owner)| matches!(owner, Owner::Custom(_))).map(|(name, _)| name)
    }
}

const HASHED: &str = "its name is a murmur hash, from which no SHA-256 can be made: take it from an export with the keys \
                      themselves, or ask its owner for the key and add it as \"sha256:\" and the SHA-256 of the key";

/// Sorts an export into `keys` and `orgs`. No key is in what comes out.
pub(super) fn sort(
    file: &str,
    export: Value,
    is_hashed: bool,
    orgs: &BTreeSet<String>,
    errors: &Errors,
) -> (Value, Known) {
    let (mut keys, mut known) = (Map::new(), Known::default());
    let mut organisations = Map::new();
    for (name, mut session) in sessions(file, export, errors) {
        // Its names may be tokens, and the report shows names.
        if let Some(tokens) =
            session.get_mut("oauth_keys").filter(|tokens| tokens.as_object().is_some_and(|map| !map.is_empty()))
        {
            *tokens = Value::Bool(true);
        }
        let name = name.strip_prefix("apikey-").unwrap_or(&name);
        let org = name.strip_prefix("orgkey-").or_else(|| orgs.contains(name).then_some(name));
        if let Some(org) = org {
            organisations.insert(org.to_owned(), session);
            continue;
        }
        let (name, owner) = identify(name, session["org_id"].as_str().unwrap_or_default(), is_hashed);
        if known.0.insert(name.clone(), owner).is_some() {
            errors.add(format!("{file}: keys[{name:?}]: the same key twice: once as it is, once as its hash"));
        }
        keys.insert(name, session);
    }
    let sorted = [("keys".to_owned(), Value::Object(keys)), ("orgs".to_owned(), Value::Object(organisations))];
    (Value::Object(sorted.into_iter().collect()), known)
}

/// Names and sessions of the forms in which Tyk's gateway, its Redis and its dashboard give them out.
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
        // Redis keeps a session as text.
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

/// `sha256:` and the hex of it.
pub(super) fn fingerprint(bytes: &[u8]) -> String {
    let hex = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("sha256:{hex}")
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn identify(name: &str, org: &str, is_hashed: bool) -> (String, Owner) {
    if let Some(hex) = name.strip_prefix("sha256:").filter(|hex| is_hex(hex, 64)) {
        return (format!("sha256:{}", hex.to_ascii_lowercase()), Owner::Key);
    }
    if is_hashed && is_hex(name, 64) {
        return (format!("sha256:{}", name.to_ascii_lowercase()), Owner::Key);
    }
    if is_hashed && [8, 16, 32].into_iter().any(|length| is_hex(name, length)) {
        return (fingerprint(name.as_bytes()), Owner::Unusable(HASHED));
    }
    let token = STANDARD.decode(name).or_else(|_| STANDARD_NO_PAD.decode(name)).ok();
    let token: Option<Value> = token.and_then(|token| serde_json::from_slice(&token).ok());
    let id = token.as_ref().and_then(|token| token.get("id")?.as_str());
    let org = token.as_ref().and_then(|token| token.get("org")?.as_str()).unwrap_or(org);
    let chosen = id.or_else(|| name.strip_prefix(org).filter(|_| !org.is_empty())).filter(|id| !id.is_empty());
    match chosen {
        Some(chosen) if !is_hex(chosen, 32) => (fingerprint(chosen.as_bytes()), Owner::Custom(org.to_owned())),
        _ => (fingerprint(name.as_bytes()), Owner::Key),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_keys_hashes_or_organisations() {
        let sha = |key: &str| fingerprint(key.as_bytes());
        let hex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        let uuid = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
        let generated = STANDARD.encode(format!(r#"{{"org":"acme","id":"{uuid}","h":"murmur64"}}"#));
        let custom = STANDARD.encode(r#"{"org":"acme","id":"partner","h":"murmur64"}"#);
        assert_eq!(identify(hex, "acme", true), (format!("sha256:{hex}"), Owner::Key));
        assert_eq!(identify(hex, "acme", false), (sha(hex), Owner::Key));
        assert_eq!(identify(&format!("sha256:{hex}"), "", false), (format!("sha256:{hex}"), Owner::Key));
        for hash in ["deadbeef", "deadbeefdeadbeef", uuid] {
            assert!(matches!(identify(hash, "acme", true), (_, Owner::Unusable(_))), "{hash}");
            assert_eq!(identify(hash, "acme", false), (sha(hash), Owner::Key));
        }
        assert_eq!(identify(&generated, "acme", true), (sha(&generated), Owner::Key));
        assert_eq!(identify(&custom, "acme", false), (sha("partner"), Owner::Custom("acme".to_owned())));
        assert_eq!(identify("acmepartner", "acme", false), (sha("partner"), Owner::Custom("acme".to_owned())));
        assert_eq!(identify(&format!("acme{uuid}"), "acme", false), (sha(&format!("acme{uuid}")), Owner::Key));
        assert_eq!(identify("acme", "acme", false), (sha("acme"), Owner::Key));
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
            let (sorted, _) = sort("keys.json", export, false, &BTreeSet::new(), &errors);
            assert_eq!(errors.take(), Vec::<String>::new());
            assert_eq!(sorted["keys"], json!({ fingerprint(b"k"): session }));
        }
        let errors = Errors::default();
        let export = json!({ "orgkey-acme": session, "globex": session, "k": { "oauth_keys": { "token": "t" } } });
        let (sorted, _) = sort("keys.json", export, false, &BTreeSet::from(["globex".to_owned()]), &errors);
        assert_eq!(sorted["orgs"], json!({ "acme": session, "globex": session }));
        assert_eq!(sorted["keys"][fingerprint(b"k")], json!({ "oauth_keys": true }));
        for export in [json!({ "keys": ["a", "b"] }), json!({ "data": { "keys": ["a"] } }), json!(1), json!({ "a": 1 })]
        {
            let errors = Errors::default();
            sort("keys.json", export.clone(), false, &BTreeSet::new(), &errors);
            assert_eq!(errors.take().len(), 1, "{export}");
        }
    }
}
