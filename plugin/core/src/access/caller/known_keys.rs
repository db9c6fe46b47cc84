//! Raw keys that were looked up before, so that a key which comes again is not hashed again.

use std::borrow::Cow;
use std::hash::BuildHasher;

use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::access::Access;
use crate::access::route::Api;
use crate::access::session::{Directory, KeyHash, OrgIndex, SessionIndex};

/// Unknown keys that are remembered.
const UNKNOWN: usize = 64;

/// Longer ones are not.
const MAX_UNKNOWN_BYTES: usize = 256;

/// Sessions of raw keys that were found before, and keys that nobody has. To be emptied when the list of sessions
/// changes.
///
/// The hash function of the maps is not one for what clients choose, and need not be: only keys that exist are put in.
#[derive(Debug, Default)]
pub struct KnownKeys {
    whole: FxHashMap<Vec<u8>, SessionIndex>,
    /// By the organisation of the API: keys of which Tyk has another name, and that name.
    named: FxHashMap<OrgIndex, FxHashMap<Vec<u8>, Named>>,
    /// Each at the place of its hash, where the next one pushes it out.
    unknown: Vec<Option<(Vec<u8>, KeyHash)>>,
}

/// The session of a key, and Tyk's name for it.
type Named = (SessionIndex, Vec<u8>);

impl KnownKeys {
    /// Whether none is known.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.named.is_empty()
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        *self = KnownKeys::default();
    }

    /// The session of a key, and Tyk's name for it where that is another. `hash` becomes that of the key, if it had to be
    /// hashed.
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
