//! A cache of raw keys, so that a repeated key is not hashed again.

use std::borrow::Cow;
use std::hash::BuildHasher;

use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::access::Access;
use crate::access::route::Api;
use crate::access::session::{Directory, KeyHash, OrgIndex, SessionIndex};

/// The maximum number of unknown keys in the cache.
const UNKNOWN: usize = 64;

/// Longer unknown keys are not kept.
const MAX_UNKNOWN_BYTES: usize = 256;

/// Sessions of raw keys that were found before, and keys that are known not to exist. The cache must be cleared when
/// the list of sessions changes.
///
/// The maps' hash function is weak against chosen input. That is safe here: only keys that exist are inserted.
#[derive(Debug, Default)]
pub struct KnownKeys {
    whole: FxHashMap<Vec<u8>, SessionIndex>,
    /// Keys that have another name in Tyk, with that name, by the organisation of the API.
    named: FxHashMap<OrgIndex, FxHashMap<Vec<u8>, Named>>,
    /// Unknown keys, each at a slot that its hash determines. The next key of the same slot replaces it.
    unknown: Vec<Option<(Vec<u8>, KeyHash)>>,
}

/// The session of a key, and Tyk's name for the key.
type Named = (SessionIndex, Vec<u8>);

impl KnownKeys {
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.named.is_empty()
    }

    pub fn clear(&mut self) {
        *self = KnownKeys::default();
    }

    /// The session of a key, and Tyk's name for it if that differs. `hash` is set if the key had to be hashed.
    pub(super) fn find<'k>(
        &mut self,
        (access, directory): (&Access, &Directory),
        api: &Api,
        key: Cow<'k, [u8]>,
        hash: &mut Option<KeyHash>,
    ) -> (Option<SessionIndex>, Cow<'k, [u8]>) {
        match self.whole.get(key.as_ref()) {
            Some(index) => (Some(*index), key),
            None => self.look_up((access, directory), api, key, hash),
        }
    }

    #[cold]
    #[inline(never)]
    fn look_up<'k>(
        &mut self,
        (access, directory): (&Access, &Directory),
        api: &Api,
        key: Cow<'k, [u8]>,
        hash: &mut Option<KeyHash>,
    ) -> (Option<SessionIndex>, Cow<'k, [u8]>) {
        let tokens = &access.tyk_tokens;
        let org = api.org.filter(|_| !tokens.is_empty());
        if let Some((index, name)) = org.and_then(|org| self.named.get(&org)?.get(key.as_ref())) {
            return (Some(*index), Cow::Owned(name.clone()));
        }
        let unknown = self.unknown_at(&key).and_then(|place| place.as_ref());
        let is_unknown = unknown.filter(|(unknown, _)| unknown.as_slice() == key.as_ref());
        match is_unknown {
            Some((_, unknown)) => *hash = Some(*unknown),
            None => {
                let own = *hash.insert(KeyHash::of(&key));
                if let Some(index) = directory.find(&own) {
                    self.whole.insert(key.to_vec(), index);
                    return (Some(index), key);
                }
                self.add_unknown(&key, own);
            }
        }
        let id = directory.org(org).map(|org| org.id.as_str()).unwrap_or_default();
        let found = tokens.of(id, &key).find_map(|name| {
            let known = KeyHash::of(&name);
            Some((directory.find(&known)?, name, known))
        });
        let (Some((index, name, known)), Some(org)) = (found, org) else { return (None, key) };
        *hash = Some(known);
        self.named.entry(org).or_default().insert(key.into_owned(), (index, name.clone()));
        (Some(index), Cow::Owned(name))
    }

    fn unknown_at(&mut self, key: &[u8]) -> Option<&mut Option<(Vec<u8>, KeyHash)>> {
        let place = FxBuildHasher.hash_one(key).checked_rem(self.unknown.len() as u64)?;
        self.unknown.get_mut(usize::try_from(place).ok()?)
    }

    fn add_unknown(&mut self, key: &[u8], hash: KeyHash) {
        if key.len() > MAX_UNKNOWN_BYTES {
            return;
        }
        if self.unknown.is_empty() {
            self.unknown.resize(UNKNOWN, None);
        }
        let Some(place) = self.unknown_at(key) else { return };
        match place {
            Some((unknown, known)) => {
                unknown.clear();
                unknown.extend_from_slice(key);
                *known = hash;
            }
            None => *place = Some((key.to_vec(), hash)),
        }
    }
}
