//! Sessions and organisations, prepared for lookups.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use litemap::LiteMap;
use sha2::{Digest, Sha256};

use crate::access::allowed_urls::{AllowedUrls, UrlRule};
use crate::access::quota::Quota;
use crate::base::UnixMillis;

/// The SHA-256 of a raw key. Sessions are stored under it, and log lines show no more of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Hashes a key as a client sends it.
    pub fn of(raw: &[u8]) -> Self {
        KeyHash(Sha256::digest(raw).into())
    }

    /// Reads a map key of the configuration: `sha256:<64 hex digits>`, or the raw key. `None` for a malformed hash.
    pub fn from_config(name: &str) -> Option<Self> {
        let Some(digits) = name.strip_prefix("sha256:") else { return Some(KeyHash::of(name.as_bytes())) };
        let bytes = hex::decode(digits).ok()?;
        Some(KeyHash(bytes.try_into().ok()?))
    }

    /// `sha256:<64 hex digits>`, as in a configuration.
    pub fn fingerprint(&self) -> String {
        let mut digits = [0; 64];
        // Only another length could fail.
        let _ = hex::encode_to_slice(self.0, &mut digits);
        ["sha256:", std::str::from_utf8(&digits).unwrap_or_default()].concat()
    }

    fn shard(&self) -> u8 {
        self.0.first().copied().unwrap_or_default()
    }

    /// The subject number of its counters.
    pub fn subject(&self) -> u64 {
        let first = self.0.first_chunk().copied().unwrap_or_default();
        u64::from_le_bytes(first)
    }
}

/// The limits of one subject.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Requests per period.
    pub rate: Option<Quota>,
    /// Requests per window, with monitors.
    pub quota: Option<Quota>,
}

/// Distinguishes the counters of one key: 0 for the session's own, another number for a right's allowance scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AllowanceScope(pub u64);

/// The right to call an API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Right {
    /// The scope of the counters that it uses.
    pub scope: AllowanceScope,
    /// The right's own limits; `None` means the session's.
    pub limits: Option<Limits>,
    /// The versions that the right is for, if the API has versions.
    pub versions: Vec<String>,
    /// The paths and methods that the right allows; `None` means all.
    pub urls: Option<Arc<AllowedUrls>>,
}

/// The limits and rights of a session. Sessions with the same ones share one plan, because there can be a hundred
/// thousand sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Plan {
    /// The session's own limits.
    pub limits: Limits,
    /// The APIs that the session may call, by id; `None` means all.
    pub rights: Option<LiteMap<String, Right>>,
}

impl Plan {
    /// What the session may do on an API; `None` if it has no right to it.
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
    /// The scope of the counters that it uses.
    pub scope: AllowanceScope,
    /// The limits that apply.
    pub limits: &'p Limits,
    /// The right; `None` if the session has all rights.
    pub right: Option<&'p Right>,
}

/// The parts that the sessions of one document share. It is dropped with the document.
#[derive(Debug, Default)]
pub struct Shared {
    plans: HashSet<Arc<Plan>>,
    urls: HashMap<Vec<UrlRule>, Arc<AllowedUrls>>,
    org_names: HashSet<Arc<str>>,
}

impl Shared {
    /// Returns one shared plan for all equal ones.
    pub fn plan(&mut self, plan: Plan) -> Arc<Plan> {
        if let Some(known) = self.plans.get(&plan) {
            return Arc::clone(known);
        }
        let plan = Arc::new(plan);
        self.plans.insert(Arc::clone(&plan));
        plan
    }

    /// Returns one shared rule set for all equal ones; `None` if there are no rules.
    ///
    /// # Errors
    /// The index of the first wrong rule, and the reason.
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

    /// Returns one shared text for all equal ones.
    pub fn org_name(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.org_names.get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = Arc::from(name);
        self.org_names.insert(Arc::clone(&name));
        name
    }
}

/// Alias, tags and metadata of a session, for templates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// A name for people.
    pub alias: String,
    /// Labels for people.
    pub tags: Vec<String>,
    /// Any data. Values that are not text are stored as JSON.
    pub meta_data: BTreeMap<String, String>,
}

/// A session.
#[derive(Clone, Debug)]
pub struct Session {
    pub hash: KeyHash,
    pub org: Option<OrgIndex>,
    /// The id of an organisation that the configuration does not have.
    pub org_name: Option<Arc<str>>,
    /// True if the session was fetched. Such a session may disappear at the next fetch.
    pub is_fetched: bool,
    pub plan: Arc<Plan>,
    pub expires: Option<UnixMillis>,
    /// True if the key is inactive.
    pub is_inactive: bool,
    /// Alias, tags and metadata; `None` if there are none.
    pub about: Option<Box<About>>,
}

/// An organisation.
#[derive(Clone, Debug)]
pub struct Org {
    pub id: String,
    /// Its limits; empty if they are not enforced.
    pub limits: Limits,
    /// True if the organisation is inactive.
    pub is_inactive: bool,
    /// The shared-data key of its counter page.
    pub page: String,
    /// Its index in [`Directory`].
    pub index: OrgIndex,
}

/// The index of an organisation in [`Directory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OrgIndex(usize);

impl OrgIndex {
    /// The number, which is the same in every VM of a configuration.
    pub fn place(self) -> usize {
        self.0
    }
}

/// The index of a session in [`Directory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionIndex {
    /// The session of a key in the configuration.
    Configured(SessionPlace),
    /// The session of a fetched key.
    Fetched(SessionPlace),
    /// The session of an identity that is not a key.
    Identity(usize),
}

/// The index of a session in [`Sessions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionPlace {
    shard: u8,
    at: usize,
}

/// Sessions by the hashes of their keys, in shards: when one table of a hundred thousand grows, requests would stop.
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
    /// Adds a session. `false` means that its hash exists already.
    pub fn add(&mut self, session: Session) -> bool {
        let shard = self.shards.entry(session.hash.shard()).or_default();
        let is_new = shard.by_hash.insert(session.hash, shard.list.len()).is_none();
        shard.list.push(session);
        self.len = self.len.saturating_add(1);
        is_new
    }

    /// Drops some sessions, and returns whether any are left. Dropping all at once would stop requests.
    pub fn drop_some(&mut self) -> bool {
        if let Some((&first, _)) = self.shards.first() {
            self.shards.remove(&first);
        }
        !self.shards.is_empty()
    }

    /// All sessions, in the order of the first bytes of their hashes.
    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.shards.values().flat_map(|shard| &shard.list)
    }

    pub fn len(&self) -> usize {
        self.len
    }

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
    /// Sessions of identities that are not keys, by source and name. No key finds them.
    identities: Vec<Session>,
    by_identity: HashMap<String, SessionIndex>,
    orgs: Vec<Org>,
    org_by_id: HashMap<String, OrgIndex>,
    /// True while the sessions that are to be fetched have not arrived yet.
    is_incomplete: bool,
}

impl Directory {
    /// Adds a session. `false` means that its hash exists already.
    pub fn add(&mut self, session: Session) -> bool {
        self.configured.add(session)
    }

    /// Adds the session of an identity that is not a key, such as `header:partner`.
    pub fn add_identity(&mut self, name: &str, session: Session) {
        self.by_identity.insert(name.to_owned(), SessionIndex::Identity(self.identities.len()));
        self.identities.push(session);
    }

    /// Records that sessions are to be fetched. Until they arrive, an unknown key may belong to one of them.
    pub fn await_fetched(&mut self) {
        self.is_incomplete = true;
    }

    /// True if all sessions are known.
    pub fn is_complete(&self) -> bool {
        !self.is_incomplete
    }

    /// Replaces the fetched sessions, and returns the former ones. Indexes that were found before are no longer valid.
    pub fn replace_fetched(&mut self, sessions: Sessions) -> Sessions {
        self.is_incomplete = false;
        std::mem::replace(&mut self.fetched, sessions)
    }

    /// The organisation with this id. If it is new, it is added. An empty id is not an organisation.
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

    /// The sessions of keys: first the configured ones, then the fetched ones.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.configured.iter().chain(&self.identities).chain(self.fetched.iter())
    }

    pub fn len(&self) -> usize {
        self.configured.len().saturating_add(self.identities.len()).saturating_add(self.fetched.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn orgs(&self) -> impl Iterator<Item = &Org> {
        self.orgs.iter()
    }

    /// The index of an organisation.
    pub fn org_index(&self, id: &str) -> Option<OrgIndex> {
        self.org_by_id.get(id).copied()
    }

    /// The index of a key's session: a configured session first, then a fetched one.
    pub fn find(&self, hash: &KeyHash) -> Option<SessionIndex> {
        let configured = self.configured.find(hash).map(SessionIndex::Configured);
        configured.or_else(|| self.fetched.find(hash).map(SessionIndex::Fetched))
    }

    /// The index of the session of an identity that is not a key, by source and name, else by the name alone.
    pub fn find_identity(&self, source: &str, name: &str) -> Option<SessionIndex> {
        let by_source = self.by_identity.get(&format!("{source}:{name}")).copied();
        by_source.or_else(|| self.find(&KeyHash::of(name.as_bytes())))
    }

    pub fn session(&self, index: SessionIndex) -> Option<&Session> {
        match index {
            SessionIndex::Configured(place) => self.configured.get(place),
            SessionIndex::Fetched(place) => self.fetched.get(place),
            SessionIndex::Identity(at) => self.identities.get(at),
        }
    }

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
