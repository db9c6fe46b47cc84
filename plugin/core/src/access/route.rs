//! Finds the API that a request is for.

use enum_map::EnumMap;
use litemap::LiteMap;
use smallvec::SmallVec;

use crate::access::paths::{Reading, respelled};
use crate::access::versioning::Chosen;
use crate::access::{
    Challenge, HostName, IdentitySource, KeyLocation, OrgIndex, Prefix, Quota, Readings, RequestOutcome, Versioning,
};
use crate::base::HandlerIndex;
use crate::event::EventKind;

/// An API of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Api {
    pub id: String,
    /// The organisation of the API, for requests whose key names none.
    pub org: Option<OrgIndex>,
    /// The API has no authentication and no key quota.
    pub use_keyless: bool,
    /// The sources of identities. The first that answers decides who is calling.
    pub identity: Vec<IdentitySource>,
    /// The places where a key may be.
    pub key_location: KeyLocation,
    /// A request without a key causes an AuthFailure.
    pub fire_on_missing_key: bool,
    /// A browser's preflight needs no key.
    pub allow_preflight: bool,
    /// The challenge of a 401.
    pub challenge: Challenge,
    /// The key is removed before a request goes upstream.
    pub strip_authorization_data: bool,
    /// The rate of all callers together.
    pub rate: Option<Quota>,
    /// The shared-data key of its counter page.
    pub page: String,
    /// Refusals by other filters and the upstream cause events.
    pub observe_failures: bool,
    /// The proxy's verdicts on the upstream cause events. The number of failed connections in a row after which it is
    /// down.
    pub observe_upstream: Option<u32>,
    /// Requests that would be refused are admitted. All else happens as if they were refused.
    pub is_observed: bool,
    /// The API's versions, if it has any.
    pub versioning: Option<Versioning>,
    /// The handlers of the API's events.
    pub handlers: EnumMap<EventKind, Vec<HandlerIndex>>,
}

impl Api {
    /// The handlers for events of this type.
    pub fn handlers(&self, kind: EventKind) -> &[HandlerIndex] {
        &self.handlers[kind]
    }

    /// True if requests without a key are refused.
    fn is_keyed(&self) -> bool {
        !self.use_keyless && !self.is_observed
    }

    /// True if requests can be refused although the API needs no key.
    fn is_limited(&self) -> bool {
        !self.is_observed && (self.org.is_some() || self.rate.is_some())
    }
}

/// The index of an API in [`Routes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiIndex(usize);

impl ApiIndex {
    /// The number, which is the same in every VM of a configuration.
    pub fn place(self) -> usize {
        self.0
    }
}

/// The version of an API that a request is for.
#[derive(Clone, Copy, Debug)]
pub struct Versioned<'c> {
    /// The API that has the versions.
    pub parent: ApiIndex,
    pub versioning: &'c Versioning,
    /// The chosen version.
    pub chosen: Chosen<'c>,
}

impl<'c> Versioned<'c> {
    /// The index of the API, and the version's index there.
    pub fn place(&self) -> (ApiIndex, usize) {
        (self.parent, self.chosen.place)
    }

    /// The version's name, if rights name versions.
    pub fn name_in_rights(&self) -> Option<&'c str> {
        self.chosen.version.api.is_none().then_some(&self.chosen.version.name)
    }
}

/// The API that a request is for.
#[derive(Debug)]
pub enum Route<'a> {
    /// The request belongs to an API.
    Api {
        index: ApiIndex,
        api: &'a Api,
        /// Some servers may read the request differently, as one that not every caller of this API may send. So it must
        /// not pass. The outcome is [`RequestOutcome::Unmatched`] or [`RequestOutcome::AmbiguousPath`].
        doubt: Option<RequestOutcome>,
    },
    /// The request belongs to no API.
    None,
}

/// The APIs, by domain and path.
#[derive(Debug, Default)]
pub struct Routes {
    apis: Vec<Api>,
    by_domain: LiteMap<Vec<u8>, Paths>,
    any_domain: Paths,
    refuses_unmatched: bool,
    has_versions: bool,
}

/// The APIs of one domain, or of no domain, by path. The longest comes first.
#[derive(Debug, Default)]
struct Paths(Vec<(Prefix, ApiIndex)>);

impl Paths {
    fn add(&mut self, path: Prefix, index: ApiIndex) {
        self.0.push((path, index));
        self.0.sort_by_key(|(path, _)| std::cmp::Reverse(path.decoded().len()));
    }

    fn longest(&self, serves: impl Fn(&Prefix) -> bool) -> Option<ApiIndex> {
        self.0.iter().find(|(path, _)| serves(path)).map(|(_, index)| *index)
    }
}

/// Different APIs, or `None` for no API, in the order in which they were found.
#[derive(Default)]
struct Found(SmallVec<[Option<ApiIndex>; 4]>);

impl Found {
    fn add(&mut self, api: Option<ApiIndex>) {
        if !self.0.contains(&api) {
            self.0.push(api);
        }
    }
}

impl Routes {
    /// A table without APIs, which passes or refuses requests to no API.
    pub fn new(refuses_unmatched: bool) -> Self {
        Routes { refuses_unmatched, ..Routes::default() }
    }

    /// Adds an API. An empty `domain` means any host.
    pub fn add(&mut self, domain: &str, listen_path: Prefix, api: Api) -> ApiIndex {
        let index = ApiIndex(self.apis.len());
        self.apis.push(api);
        let paths = match HostName::of(domain.as_bytes()) {
            HostName::Known(host) => self.by_domain.entry(host.into_owned()).or_default(),
            HostName::Unclear => &mut self.any_domain,
        };
        paths.add(listen_path, index);
        index
    }

    /// Adds an API that is reachable only as a version of another API.
    pub fn add_internal(&mut self, api: Api) -> ApiIndex {
        let index = ApiIndex(self.apis.len());
        self.apis.push(api);
        index
    }

    /// Sets the versions of an API.
    pub fn set_versioning(&mut self, index: ApiIndex, versioning: Versioning) {
        self.has_versions = true;
        if let Some(api) = self.apis.get_mut(index.0) {
            api.versioning = Some(versioning);
        }
    }

    /// True if any API has versions.
    pub fn has_versions(&self) -> bool {
        self.has_versions
    }

    /// True if requests that belong to no API are refused.
    pub fn refuses_unmatched(&self) -> bool {
        self.refuses_unmatched
    }

    /// Finds the API of a request: an exact domain wins over none, then the longest `listen_path` wins.
    ///
    /// If the readings of the path or host disagree, the strictest reading holds. An API with authentication wins over
    /// one without. An API whose refusals are only observed counts as one without. If requests to no API pass, an API without authentication wins over no API. The request is in doubt
    /// if another API with authentication is possible, too, or if no API is possible and such requests are refused.
    pub fn find(&self, readings: &Readings<'_>, authority: &[u8]) -> Route<'_> {
        let host = if self.by_domain.is_empty() { HostName::Unclear } else { HostName::of(authority) };
        let mut found = Found::default();
        for reading in readings.decoded() {
            self.add_candidates(&host, reading, |path| path.serves(&reading.path), &mut found);
        }
        match found.0[..] {
            [None] => Route::None,
            [Some(index)] if self.is_keyed(index) => self.route(index, None),
            [Some(index)] if readings.is_one() => self.route(index, None),
            _ => self.strictest(&found, &self.of_spelling(readings, &host)),
        }
    }

    /// The APIs that a path may mean on the request's host, and on the host that the reading itself names.
    fn add_candidates(
        &self,
        host: &HostName<'_>,
        reading: &Reading<'_>,
        serves: impl Fn(&Prefix) -> bool,
        found: &mut Found,
    ) {
        self.add_candidates_on(host, &serves, found);
        if let Some(authority) = &reading.authority {
            self.add_candidates_on(&HostName::of(authority), &serves, found);
        }
    }

    /// The APIs that a path may mean on a host. If the host is unclear, every domain is possible.
    fn add_candidates_on(&self, host: &HostName<'_>, serves: impl Fn(&Prefix) -> bool, found: &mut Found) {
        let any = || self.any_domain.longest(&serves);
        match host {
            HostName::Known(host) => {
                let exact = self.by_domain.get(host.as_ref()).and_then(|paths| paths.longest(&serves));
                found.add(exact.or_else(any));
            }
            HostName::Unclear => {
                for paths in self.by_domain.values() {
                    found.add(paths.longest(&serves).or_else(any));
                }
                found.add(any());
            }
        }
    }

    /// The APIs with authentication that a server finds if it distinguishes `%40` from `@`. They count only if all
    /// others would admit the request, because normally an encoded character is the same as a plain one.
    fn of_spelling(&self, readings: &Readings<'_>, host: &HostName<'_>) -> Found {
        let mut found = Found::default();
        for reading in readings.encoded() {
            let spelled = respelled(&reading.path);
            self.add_candidates(host, reading, |path| path.serves_respelled(&spelled), &mut found);
        }
        found
    }

    fn strictest(&self, found: &Found, of_spelling: &Found) -> Route<'_> {
        let keyed = |found: &Found| -> SmallVec<[ApiIndex; 2]> {
            found.0.iter().flatten().copied().filter(|index| self.is_keyed(*index)).collect()
        };
        let or_none = (self.refuses_unmatched && found.0.contains(&None)).then_some(RequestOutcome::Unmatched);
        for keyed in [keyed(found), keyed(of_spelling)] {
            if let [first, others @ ..] = keyed.as_slice() {
                return self
                    .route(*first, if others.is_empty() { or_none } else { Some(RequestOutcome::AmbiguousPath) });
            }
        }
        let open: SmallVec<[ApiIndex; 2]> = found.0.iter().flatten().copied().collect();
        let limited = open.iter().find(|index| self.get(**index).is_some_and(Api::is_limited));
        match limited.or(open.first()) {
            None => Route::None,
            Some(index) => {
                let mut others = open.iter().filter(|other| *other != index);
                let differs = others.any(|other| !self.have_the_same_limits(*index, *other));
                self.route(*index, if differs { Some(RequestOutcome::AmbiguousPath) } else { or_none })
            }
        }
    }

    fn route(&self, index: ApiIndex, doubt: Option<RequestOutcome>) -> Route<'_> {
        self.get(index).map_or(Route::None, |api| Route::Api { index, api, doubt })
    }

    /// True if an API, or one of its versions, needs a key.
    fn is_keyed(&self, index: ApiIndex) -> bool {
        let needs_key = |index| self.get(index).is_some_and(Api::is_keyed);
        let versions = self.get(index).and_then(|api| api.versioning.as_ref()).map(|versioning| &versioning.versions);
        needs_key(index) || versions.into_iter().flatten().filter_map(|version| version.api).any(needs_key)
    }

    /// Compares two APIs without authentication. An API without limits counts as equal to the stricter one.
    fn have_the_same_limits(&self, strict: ApiIndex, other: ApiIndex) -> bool {
        let (Some(strict), Some(other)) = (self.get(strict), self.get(other)) else { return false };
        !other.is_limited() || other.rate.is_none() && strict.org == other.org
    }

    /// The API at an index.
    pub fn get(&self, index: ApiIndex) -> Option<&Api> {
        self.apis.get(index.0)
    }

    /// All APIs with their indexes.
    pub fn iter(&self) -> impl Iterator<Item = (ApiIndex, &Api)> {
        self.apis.iter().enumerate().map(|(index, api)| (ApiIndex(index), api))
    }
}

#[cfg(test)]
mod tests;
