//! Sessions and organisations, ready to be looked up.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use litemap::LiteMap;
use sha2::{Digest, Sha256};

use crate::access::allowed_urls::{AllowedUrls, UrlRule};
use crate::access::quota::Quota;
use crate::base::UnixMillis;

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
        let mut digits = [0; 64];
        // Only another length could fail.
        let _ = hex::encode_to_slice(self.0, &mut digits);
        ["sha256:", std::str::from_utf8(&digits).unwrap_or_default()].concat()
    }

    fn shard(&self) -> u8 {
        self.0.first().copied().unwrap_or_default()
    }

    /// A number for counters.
    pub fn subject(&self) -> u64 {
        let first = self.0.first_chunk().copied().unwrap_or_default();
        u64::from_le_bytes(first)
    }
}

/// What one subject may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Requests per period.
    pub rate: Option<Quota>,
    /// Requests per window, monitored.
    pub quota: Option<Quota>,
}

/// Tells the counters of one key apart: 0 for the session's own, else what stands for a right's allowance scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AllowanceScope(pub u64);

/// The right to call an API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Right {
    /// Whose counters it uses.
    pub scope: AllowanceScope,
    /// Its limits; `None` for the session's.
    pub limits: Option<Limits>,
    /// The versions that it is for, where the API has versions.
    pub versions: Vec<String>,
    /// The paths and methods that it allows; `None`: all.
    pub urls: Option<Arc<AllowedUrls>>,
}

/// What a session may do. Sessions that may do the same share one, since there can be a hundred thousand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Plan {
    /// The session's own limits.
    pub limits: Limits,
    /// The APIs that it may call, by id; `None`: every one.
    pub rights: Option<LiteMap<String, Right>>,
}

impl Plan {
    /// What it may do on an API; `None` without a right to it.
    pub fn grant(&self, api_id: &str) -> Option<Grant<'_>> {
        let Some(rights) = &self.rights else {
            return Some(Grant { scope: AllowanceScope::default(), limits: &self.limits, right: None });
        };
        let right = rights.get(api_id)?;
        Some(Grant { scope: right.scope, limits: right.limits.as_ref().unwrap_or(&self.limits), right: Some(right) })
    }
}

/// What a session may do on one API.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'p> {
    /// Whose counters it uses.
    pub scope: AllowanceScope,
    /// The limits that apply.
    pub limits: &'p Limits,
    /// The right; `None` where a session has every right.
    pub right: Option<&'p Right>,
}

/// What the sessions of one document have in common. It goes with the document.
#[derive(Debug, Default)]
pub struct Shared {
    plans: HashSet<Arc<Plan>>,
    urls: HashMap<Vec<UrlRule>, Arc<AllowedUrls>>,
    org_names: HashSet<Arc<str>>,
}

impl Shared {
    /// One plan for all that are alike.
    pub fn plan(&mut self, plan: Plan) -> Arc<Plan> {
        if let Some(known) = self.plans.get(&plan) {
            return Arc::clone(known);
        }
        let plan = Arc::new(plan);
        self.plans.insert(Arc::clone(&plan));
        plan
    }

    /// The same rules for all that are alike; `None` where there are none.
    ///
    /// # Errors
    /// The first rule that is wrong, by its place, and why.
    pub fn urls(&mut self, rules: &[UrlRule]) -> Result<Option<Arc<AllowedUrls>>, (usize, String)> {
        if rules.is_empty() {
            return Ok(None);
        }
        if let Some(known) = self.urls.get(rules) {
            return Ok(Some(Arc::clone(known)));
        }
        let made = Arc::new(AllowedUrls::new(rules)?);
        self.urls.insert(rules.to_vec(), Arc::clone(&made));
        Ok(Some(made))
    }

    /// One text for all that are alike.
    pub fn org_name(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.org_names.get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = Arc::from(name);
        self.org_names.insert(Arc::clone(&name));
        name
    }
}

/// What a session says of itself, for templates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// A name for people.
    pub alias: String,
    /// Words for people.
    pub tags: Vec<String>,
    /// Anything; what is not text is written as JSON.
    pub meta_data: BTreeMap<String, String>,
}

/// A session.
#[derive(Clone, Debug)]
pub struct Session {
    /// The key's hash.
    pub hash: KeyHash,
    /// The organisation that it belongs to.
    pub org: Option<OrgIndex>,
    /// The id of an organisation that the configuration does not have.
    pub org_name: Option<Arc<str>>,
    /// Not in the configuration but fetched, and perhaps gone tomorrow.
    pub is_fetched: bool,
    /// What it may do.
    pub plan: Arc<Plan>,
    /// When it expires.
    pub expires: Option<UnixMillis>,
    /// Switched off.
    pub is_inactive: bool,
    /// What it says of itself; `None` for nothing.
    pub about: Option<Box<About>>,
}

/// An organisation.
#[derive(Clone, Debug)]
pub struct Org {
    /// Its id.
    pub id: String,
    /// Its limits; none where they are not enforced.
    pub limits: Limits,
    /// Switched off.
    pub is_inactive: bool,
    /// The shared-data key of its counter page.
    pub page: String,
    /// Its place in [`Directory`].
    pub index: OrgIndex,
}

/// An organisation's place in [`Directory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OrgIndex(usize);

impl OrgIndex {
    /// As a number, the same in every VM of a configuration.
    pub fn place(self) -> usize {
        self.0
    }
}

/// A session's place in [`Directory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionIndex {
    /// Of a key in the configuration.
    Configured(SessionPlace),
    /// Of a key that was fetched.
    Fetched(SessionPlace),
    /// Of an identity that is no key.
    Identity(usize),
}

/// A session's place in [`Sessions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionPlace {
    shard: u8,
    at: usize,
}

/// Sessions by their keys' hashes, in shards: a table of a hundred thousand would stop requests whenever it grows.
#[derive(Debug, Default)]
pub struct Sessions {
    shards: LiteMap<u8, Shard>,
    len: usize,
}

#[derive(Debug, Default)]
struct Shard {
    list: Vec<Session>,
    by_hash: HashMap<KeyHash, usize>,
}

impl Sessions {
    /// Adds a session. `false`: its hash is there already.
    pub fn add(&mut self, session: Session) -> bool {
        let shard = self.shards.entry(session.hash.shard()).or_default();
        let is_new = shard.by_hash.insert(session.hash, shard.list.len()).is_none();
        shard.list.push(session);
        self.len = self.len.saturating_add(1);
        is_new
    }

    /// Drops a part of them, and returns whether any are left: dropping all at once would stop requests.
    pub fn drop_some(&mut self) -> bool {
        if let Some((&first, _)) = self.shards.first() {
            self.shards.remove(&first);
        }
        !self.shards.is_empty()
    }

    /// All of them, in the order of their hashes' first bytes.
    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.shards.values().flat_map(|shard| &shard.list)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn find(&self, hash: &KeyHash) -> Option<SessionPlace> {
        let shard = hash.shard();
        let at = *self.shards.get(&shard)?.by_hash.get(hash)?;
        Some(SessionPlace { shard, at })
    }

    fn get(&self, place: SessionPlace) -> Option<&Session> {
        self.shards.get(&place.shard)?.list.get(place.at)
    }
}

/// All sessions and organisations.
#[derive(Debug, Default)]
pub struct Directory {
    configured: Sessions,
    fetched: Sessions,
    /// Sessions of identities that are no keys, by source and name. No key finds them.
    identities: Vec<Session>,
    by_identity: HashMap<String, SessionIndex>,
    orgs: Vec<Org>,
    org_by_id: HashMap<String, OrgIndex>,
    /// Sessions are to be fetched, and have not come yet.
    is_incomplete: bool,
}

impl Directory {
    /// Adds a session. `false`: its hash is there already.
    pub fn add(&mut self, session: Session) -> bool {
        self.configured.add(session)
    }

    /// Adds the session of an identity that is no key, such as `header:partner`.
    pub fn add_identity(&mut self, name: &str, session: Session) {
        self.by_identity.insert(name.to_owned(), SessionIndex::Identity(self.identities.len()));
        self.identities.push(session);
    }

    /// Sessions are to be fetched: until they come, an unknown key may be one of theirs.
    pub fn await_fetched(&mut self) {
        self.is_incomplete = true;
    }

    /// Whether every session is known that there is.
    pub fn is_complete(&self) -> bool {
        !self.is_incomplete
    }

    /// Puts other sessions in the place of those that were fetched before, and returns these. Places found before are no
    /// longer valid.
    pub fn replace_fetched(&mut self, sessions: Sessions) -> Sessions {
        self.is_incomplete = false;
        std::mem::replace(&mut self.fetched, sessions)
    }

    /// The organisation of that id, added with `org` where it is new. An empty id is no organisation.
    pub fn org_or_insert(&mut self, id: &str, limits: Limits, is_inactive: bool) -> Option<OrgIndex> {
        if id.is_empty() {
            return None;
        }
        if let Some(index) = self.org_by_id.get(id) {
            return Some(*index);
        }
        let index = OrgIndex(self.orgs.len());
        self.orgs.push(Org { id: id.to_owned(), limits, is_inactive, page: format!("tb1/o/{id}"), index });
        self.org_by_id.insert(id.to_owned(), index);
        Some(index)
    }

    /// The sessions of keys: those that are configured, then those that were fetched.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.configured.iter().chain(&self.identities).chain(self.fetched.iter())
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.configured.len().saturating_add(self.identities.len()).saturating_add(self.fetched.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All organisations.
    pub fn orgs(&self) -> impl Iterator<Item = &Org> {
        self.orgs.iter()
    }

    /// The place of an organisation.
    pub fn org_index(&self, id: &str) -> Option<OrgIndex> {
        self.org_by_id.get(id).copied()
    }

    /// The place of the session of that key: one that is configured, else one that was fetched.
    pub fn find(&self, hash: &KeyHash) -> Option<SessionIndex> {
        let configured = self.configured.find(hash).map(SessionIndex::Configured);
        configured.or_else(|| self.fetched.find(hash).map(SessionIndex::Fetched))
    }

    /// The place of the session of an identity that is no key: by source and name, else by name alone.
    pub fn find_identity(&self, source: &str, name: &str) -> Option<SessionIndex> {
        let by_source = self.by_identity.get(&format!("{source}:{name}")).copied();
        by_source.or_else(|| self.find(&KeyHash::of(name.as_bytes())))
    }

    /// The session at that place.
    pub fn session(&self, index: SessionIndex) -> Option<&Session> {
        match index {
            SessionIndex::Configured(place) => self.configured.get(place),
            SessionIndex::Fetched(place) => self.fetched.get(place),
            SessionIndex::Identity(at) => self.identities.get(at),
        }
    }

    /// The organisation at that place.
    pub fn org(&self, index: Option<OrgIndex>) -> Option<&Org> {
        self.orgs.get(index?.0)
    }
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
