//! The data that one pass of a request through this filter leaves for the next pass.
//!
//! Envoy can run all filters again for the same client request, on a new stream: when Envoy itself follows an
//! upstream's redirect (`internal_redirect_policy`), or after it has found a route on demand. The old stream ends
//! without a response, and leaves a [`Pass`] in a property that only streams of the same request inherit. Nothing that
//! a client sends can write one. The next pass counts on every limit that no earlier pass has counted on, and repeats
//! all other checks.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::access::identity::Claimed;
use crate::access::key_location::{KeyLocation, KeyPlace};
use crate::access::quota::{ChargeLine, LimitScope, List, Usage};
use crate::access::request::Request;
use crate::access::route::ApiIndex;
use crate::access::session::OrgIndex;

/// The header by which Envoy marks a redirect that it has followed. It only causes a search for a [`Pass`].
const REDIRECTED: &str = "x-envoy-original-url";

/// True if the request claims to have passed the filter before.
pub fn says_so(request: &Request<'_>) -> bool {
    request.header(REDIRECTED).is_some()
}

/// The results of a request's earlier passes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    key: Option<PassedKey>,
    counted: Vec<Counted>,
    /// The version that the request was for: the index of the API, and the version's index there.
    version: Option<(usize, usize)>,
}

/// A key that the next pass no longer finds in the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedKey {
    place: KeyPlace,
    /// The name of the header, the parameter or the cookie.
    name: String,
    key: Vec<u8>,
}

/// A limit that the request was counted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Counted {
    counter: Counter,
    usage: Usage,
}

/// A counter of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Counter {
    scope: LimitScope,
    subject: u64,
    /// The index of the API or organisation, if the subject alone does not identify the counter.
    owner: usize,
}

impl Counter {
    fn new(scope: LimitScope, subject: u64, api: ApiIndex, org: Option<OrgIndex>) -> Self {
        let owner = match scope {
            LimitScope::OrgRate | LimitScope::OrgQuota => org.map(OrgIndex::place).unwrap_or_default(),
            LimitScope::ApiRate => api.place(),
            LimitScope::KeyRate | LimitScope::KeyQuota => 0,
        };
        Counter { scope, subject, owner }
    }
}

impl PassedKey {
    /// Makes one from a key that was found at a place of `location`.
    pub fn new(location: &KeyLocation, place: KeyPlace, key: &[u8]) -> Option<Self> {
        Some(PassedKey { place, name: location.name(place)?.to_owned(), key: key.to_vec() })
    }
}

impl Pass {
    /// Decodes the property's value. A value that does not decode counts as no pass.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }

    /// Encodes the value for the property.
    pub fn encode(&self) -> Option<Vec<u8>> {
        postcard::to_allocvec(self).ok()
    }

    /// The key of an earlier pass, for an API that takes keys from the same place.
    pub fn claim(&self, location: &KeyLocation) -> Option<Claimed<'_>> {
        let PassedKey { place, name, key } = self.key.as_ref()?;
        let fits = location.name(*place) == Some(name.as_str());
        fits.then(|| Claimed { name: key.as_slice().into(), place: Some(*place), ..Claimed::default() })
    }

    /// The index of the version of an API that the request was for.
    pub fn version_of(&self, api: ApiIndex) -> Option<usize> {
        self.version.filter(|(parent, _)| *parent == api.place()).map(|(_, place)| place)
    }

    /// Removes from `lines` the limits that the request was already counted on, and returns their usage.
    pub fn take(
        &self,
        lines: &mut List<ChargeLine<'_>>,
        api: ApiIndex,
        org: Option<OrgIndex>,
    ) -> Vec<(LimitScope, Usage)> {
        let mut usages = Vec::new();
        if !self.counted.is_empty() {
            lines.retain(|line| {
                let counter = Counter::new(line.scope, line.subject, api, org);
                let known = self.counted.iter().find(|counted| counted.counter == counter);
                usages.extend(known.map(|counted| (line.scope, counted.usage)));
                known.is_none()
            });
        }
        usages
    }
}

/// Counted limits, by scope and the counter's number: see [`crate::access::quota::Usages`].
pub type CountedOn = SmallVec<[(LimitScope, u64); 2]>;

/// The data of an admitted request for its next pass, which hardly ever comes.
#[derive(Debug)]
pub struct Passing {
    /// The results of earlier passes.
    pub earlier: Option<Box<Pass>>,
    /// A key that the next pass does not find in the request.
    pub key: Option<Box<PassedKey>>,
    /// The limits that this pass counted on, by scope and the counter's number.
    pub counted: CountedOn,
    /// The API of this pass.
    pub api: ApiIndex,
    /// The caller's organisation.
    pub org: Option<OrgIndex>,
    /// The version that the request is for: the API that has it, and the version's index there.
    pub version: Option<(ApiIndex, usize)>,
}

impl Passing {
    /// Makes the data for the next pass. `usages` are those of the limits that this pass counted on.
    pub fn into_pass(self, usages: &[(LimitScope, Usage)]) -> Pass {
        let mut pass = self.earlier.map(|earlier| *earlier).unwrap_or_default();
        pass.version = self.version.map(|(api, place)| (api.place(), place)).or(pass.version);
        pass.key = self.key.map(|key| *key).or(pass.key);
        for (scope, subject) in self.counted {
            let usage = usages.iter().find(|(known, _)| *known == scope).map(|(_, usage)| *usage);
            let counter = Counter::new(scope, subject, self.api, self.org);
            pass.counted.extend(usage.map(|usage| Counted { counter, usage }));
        }
        pass
    }
}
