//! Keys and organisations as configured, ready to be looked up.

use std::collections::{BTreeSet, HashMap};

use sha2::{Digest, Sha256};

use crate::quota::Quota;
use crate::units::UnixMillis;

/// The SHA-256 of a raw key: what sessions are stored under, and all that a log may show of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Of a key as a client sends it.
    pub fn of(raw: &[u8]) -> Self {
        KeyHash(Sha256::digest(raw).into())
    }

    /// From a configuration's map key: `sha256:<64 hex digits>`, or the raw key. `None` for a malformed hash.
    pub fn from_config(name: &str) -> Option<Self> {
        let Some(digits) = name.strip_prefix("sha256:") else { return Some(KeyHash::of(name.as_bytes())) };
        let bytes = hex::decode(digits).ok()?;
        Some(KeyHash(bytes.try_into().ok()?))
    }

    /// `sha256:<64 hex digits>`, the form that a configuration takes.
    pub fn fingerprint(&self) -> String {
        format!("sha256:{}", hex::encode(self.0))
    }

    /// A number for counters; never 0.
    pub fn subject(&self) -> u64 {
        let first = self.0.first_chunk().copied().unwrap_or_default();
        u64::from_le_bytes(first).max(1)
    }
}

/// What a key may do.
#[derive(Clone, Debug)]
pub struct Session {
    /// The key's hash.
    pub hash: KeyHash,
    /// The organisation that it belongs to.
    pub org: Option<OrgIndex>,
    /// Its own quota; `None` is unlimited.
    pub quota: Option<Quota>,
    /// When it expires.
    pub expires: Option<UnixMillis>,
    /// Switched off.
    pub is_inactive: bool,
    /// The ids of the APIs that it may call; empty: every one.
    pub access: BTreeSet<String>,
    /// The shared-data key of its counter page.
    pub page: String,
}

impl Session {
    /// Whether the key may call an API.
    pub fn may_call(&self, api_id: &str) -> bool {
        self.access.is_empty() || self.access.contains(api_id)
    }
}

/// An organisation.
#[derive(Clone, Debug)]
pub struct Org {
    /// Its id.
    pub id: String,
    /// Its quota; `None` is unlimited or not enforced.
    pub quota: Option<Quota>,
    /// The shared-data key of its counter page.
    pub page: String,
}

/// An organisation's place in [`Directory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrgIndex(usize);

/// A session's place in [`Directory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionIndex(usize);

/// All keys and organisations.
#[derive(Debug, Default)]
pub struct Directory {
    sessions: Vec<Session>,
    by_hash: HashMap<KeyHash, SessionIndex>,
    orgs: Vec<Org>,
    org_by_id: HashMap<String, OrgIndex>,
}

impl Directory {
    /// Adds a session. `false`: its hash is there already.
    pub fn add(&mut self, session: Session) -> bool {
        let index = SessionIndex(self.sessions.len());
        let is_new = self.by_hash.insert(session.hash, index).is_none();
        self.sessions.push(session);
        is_new
    }

    /// The organisation of that id, made with `quota` where it is new. An empty id is no organisation.
    pub fn org_or_insert(&mut self, id: &str, quota: Option<Quota>) -> Option<OrgIndex> {
        if id.is_empty() {
            return None;
        }
        if let Some(index) = self.org_by_id.get(id) {
            return Some(*index);
        }
        let index = OrgIndex(self.orgs.len());
        self.orgs.push(Org { id: id.to_owned(), quota, page: format!("tb1/o/{id}") });
        self.org_by_id.insert(id.to_owned(), index);
        Some(index)
    }

    /// The place of the session of that key.
    pub fn find(&self, hash: &KeyHash) -> Option<SessionIndex> {
        self.by_hash.get(hash).copied()
    }

    /// The session at that place.
    pub fn session(&self, index: SessionIndex) -> Option<&Session> {
        self.sessions.get(index.0)
    }

    /// The organisation at that place.
    pub fn org(&self, index: Option<OrgIndex>) -> Option<&Org> {
        self.orgs.get(index?.0)
    }
}

/// The shared-data key of a key's own counter page.
pub fn key_page(hash: &KeyHash) -> String {
    format!("tb1/k/{}", hash.fingerprint())
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_raw_key_and_its_hash_are_the_same_session() {
        let hash = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        assert_eq!(KeyHash::from_config(hash), Some(KeyHash::of(b"test")));
        assert_eq!(KeyHash::from_config("test"), Some(KeyHash::of(b"test")));
        assert_eq!(KeyHash::of(b"test").fingerprint(), hash);
        for malformed in
            ["sha256:", "sha256:9f86", "sha256:zz86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]
        {
            assert_eq!(KeyHash::from_config(malformed), None);
        }
    }
}
