//! What one pass of a request through this filter leaves for the next.
//!
//! Envoy can run all filters again for the same request of the client, on a new stream: when it follows an upstream's
//! redirect itself (`internal_redirect_policy`), or has found a route on demand. The old stream ends without a response,
//! and leaves a [`Pass`] in a property that only streams of the same request inherit. Nothing that a client sends can
//! write one. The next pass counts on every limit that an earlier one has not counted on, and checks everything anew.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::access::identity::Claimed;
use crate::access::key_location::{KeyLocation, KeyPlace};
use crate::access::quota::{ChargeLine, LimitScope, List, Usage};
use crate::access::request::Request;
use crate::access::route::ApiIndex;
use crate::access::session::OrgIndex;

/// The header by which Envoy marks a redirect that it has followed. It is only a reason to look for a [`Pass`].
const REDIRECTED: &str = "x-envoy-original-url";

/// Whether a request says that it has passed before.
pub fn says_so(request: &Request<'_>) -> bool {
    request.header(REDIRECTED).is_some()
}

/// What earlier passes of a request have settled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    key: Option<PassedKey>,
    counted: Vec<Counted>,
    /// The version that it was for: the place of the API, and the version's place there.
    version: Option<(usize, usize)>,
}

/// A key that the next pass no longer finds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedKey {
    place: KeyPlace,
    /// The name of the place.
    name: String,
    key: Vec<u8>,
}

/// A limit that the request has been counted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Counted {
    counter: Counter,
    usage: Usage,
}

/// One of the counters of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Counter {
    scope: LimitScope,
    subject: u64,
    /// The place of the API or organisation where its subject alone does not say whose counter it is.
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
    /// A key that was found at a place of `location`.
    pub fn new(location: &KeyLocation, place: KeyPlace, key: &[u8]) -> Option<Self> {
        Some(PassedKey { place, name: location.name(place)?.to_owned(), key: key.to_vec() })
    }
}

impl Pass {
    /// From the property. What cannot be read is no pass.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }

    /// For the property.
    pub fn encode(&self) -> Option<Vec<u8>> {
        postcard::to_allocvec(self).ok()
    }

    /// The key of an earlier pass, for an API that takes keys from the same place.
    pub fn claim(&self, location: &KeyLocation) -> Option<Claimed<'_>> {
        let PassedKey { place, name, key } = self.key.as_ref()?;
        let fits = location.name(*place) == Some(name.as_str());
        fits.then(|| Claimed { name: key.as_slice().into(), place: Some(*place), ..Claimed::default() })
    }

    /// The version of an API that the request was for, by its place.
    pub fn version_of(&self, api: ApiIndex) -> Option<usize> {
        self.version.filter(|(parent, _)| *parent == api.place()).map(|(_, place)| place)
    }

    /// Takes the limits out of `lines` that the request has been counted on, and returns how far they were used.
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

/// CountedOn by scope and number: see [`crate::access::quota::Usages`].
pub type CountedOn = SmallVec<[(LimitScope, u64); 2]>;

/// What a request that goes on remembers for its next pass, which hardly ever comes.
#[derive(Debug)]
pub struct Passing {
    /// Of the passes before.
    pub earlier: Option<Box<Pass>>,
    /// A key that the next pass does not find.
    pub key: Option<Box<PassedKey>>,
    /// The limits that this pass has counted on, by scope and number.
    pub counted: CountedOn,
    /// Where it was.
    pub api: ApiIndex,
    /// The caller's organisation.
    pub org: Option<OrgIndex>,
    /// The version that it is for: the API that has it, and its place there.
    pub version: Option<(ApiIndex, usize)>,
}

impl Passing {
    /// What the next pass gets. `usages` are those of the limits that this one was counted on.
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
