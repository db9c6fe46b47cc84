//! Which API a request is for.

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

/// An API behind the listener.
#[derive(Clone, Debug, Default)]
pub struct Api {
    /// Its id.
    pub id: String,
    /// The organisation that it belongs to, for requests whose key names none.
    pub org: Option<OrgIndex>,
    /// No authentication and no key quota.
    pub use_keyless: bool,
    /// Who is calling: the first source that answers.
    pub identity: Vec<IdentitySource>,
    /// Where a key may stand.
    pub key_location: KeyLocation,
    /// A request without a key is an AuthFailure too.
    pub fire_on_missing_key: bool,
    /// A browser's preflight needs no key.
    pub allow_preflight: bool,
    /// What a 401 asks for.
    pub challenge: Challenge,
    /// The key does not go upstream.
    pub strip_authorization_data: bool,
    /// Requests per period of all callers together.
    pub rate: Option<Quota>,
    /// The shared-data key of its counter page.
    pub page: String,
    /// Refusals by others are events.
    pub observe_failures: bool,
    /// The proxy's verdicts on the upstream are events; it is down after so many failed connections in a row.
    pub observe_upstream: Option<u32>,
    /// Its versions, where it has some.
    pub versioning: Option<Versioning>,
    /// The handlers of its events.
    pub handlers: EnumMap<EventKind, Vec<HandlerIndex>>,
}

impl Api {
    /// The handlers of an event of this kind.
    pub fn handlers(&self, kind: EventKind) -> &[HandlerIndex] {
        &self.handlers[kind]
    }

    /// Whether requests are counted even without authentication.
    fn is_limited(&self) -> bool {
        self.org.is_some() || self.rate.is_some()
    }
}

/// An API's place in [`Routes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiIndex(usize);

impl ApiIndex {
    /// As a number, the same in every VM of a configuration.
    pub fn place(self) -> usize {
        self.0
    }
}

/// The version of an API that a request is for.
#[derive(Clone, Copy, Debug)]
pub struct Versioned<'c> {
    /// The API that has the versions.
    pub parent: ApiIndex,
    /// The versions.
    pub versioning: &'c Versioning,
    /// The one.
    pub chosen: Chosen<'c>,
}

impl<'c> Versioned<'c> {
    /// Where it stands: the API, and the version's place there.
    pub fn place(&self) -> (ApiIndex, usize) {
        (self.parent, self.chosen.place)
    }

    /// Its name, where rights name versions.
    pub fn name_in_rights(&self) -> Option<&'c str> {
        self.chosen.version.api.is_none().then_some(&self.chosen.version.name)
    }
}

/// Which API a request is for.
#[derive(Debug)]
pub enum Route<'a> {
    /// It belongs to an API.
    Api {
        /// Its place.
        index: ApiIndex,
        /// The API.
        api: &'a Api,
        /// To some servers the request is for something else, which is not open to all who may use this API: it must
        /// not pass. The outcome is [`RequestOutcome::Unmatched`] or [`RequestOutcome::AmbiguousPath`].
        doubt: Option<RequestOutcome>,
    },
    /// It belongs to no API.
    None,
}

/// The APIs by domain and path.
#[derive(Debug, Default)]
pub struct Routes {
    apis: Vec<Api>,
    by_domain: LiteMap<Vec<u8>, Paths>,
    any_domain: Paths,
    refuses_unmatched: bool,
    has_versions: bool,
}

/// The APIs of one domain, or of none, by path: the longest first.
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

/// Different APIs, or none, in the order in which they were found.
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
    /// Without any API. Requests to none pass, or are refused.
    pub fn new(refuses_unmatched: bool) -> Self {
        Routes { refuses_unmatched, ..Routes::default() }
    }

    /// Adds an API. `domain` is empty for any host.
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

    /// Adds an API that only versions of other APIs lead to.
    pub fn add_internal(&mut self, api: Api) -> ApiIndex {
        let index = ApiIndex(self.apis.len());
        self.apis.push(api);
        index
    }

    /// Gives an API its versions.
    pub fn set_versioning(&mut self, index: ApiIndex, versioning: Versioning) {
        self.has_versions = true;
        if let Some(api) = self.apis.get_mut(index.0) {
            api.versioning = Some(versioning);
        }
    }

    /// Whether any API has versions.
    pub fn has_versions(&self) -> bool {
        self.has_versions
    }

    /// Whether requests that belong to no API are refused.
    pub fn refuses_unmatched(&self) -> bool {
        self.refuses_unmatched
    }

    /// The API for a request: an exact domain wins over none, then the longest `listen_path`.
    ///
    /// Where the readings of its path or host disagree, the strictest holds. An API with authentication wins over one
    /// without, which wins over none where requests to none pass. The request is in doubt where another API with
    /// authentication is possible too, or none although requests to none are refused.
    pub fn find(&self, readings: &Readings<'_>, authority: &[u8]) -> Route<'_> {
        let host = if self.by_domain.is_empty() { HostName::Unclear } else { HostName::of(authority) };
        let mut found = Found::default();
        for reading in readings.decoded() {
            self.look(&host, reading, |path| path.serves(&reading.path), &mut found);
        }
        match found.0[..] {
            [None] => Route::None,
            [Some(index)] if self.is_keyed(index) => self.route(index, None),
            [Some(index)] if readings.is_one() => self.route(index, None),
            _ => self.strictest(&found, &self.of_spelling(readings, &host)),
        }
    }

    /// What a path may be for on a request's host, and on the one that the reading itself names.
    fn look(&self, host: &HostName<'_>, reading: &Reading<'_>, serves: impl Fn(&Prefix) -> bool, found: &mut Found) {
        self.look_at(host, &serves, found);
        if let Some(authority) = &reading.authority {
            self.look_at(&HostName::of(authority), &serves, found);
        }
    }

    /// What a path may be for on a host. On one that is unclear, every domain is possible.
    fn look_at(&self, host: &HostName<'_>, serves: impl Fn(&Prefix) -> bool, found: &mut Found) {
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

    /// The APIs with authentication to a server to which `%40` is not `@`. It counts only where all others would let
    /// the request pass, since an encoded character is the same as a plain one.
    fn of_spelling(&self, readings: &Readings<'_>, host: &HostName<'_>) -> Found {
        let mut found = Found::default();
        for reading in readings.encoded() {
            let spelled = respelled(&reading.path);
            self.look(host, reading, |path| path.serves_respelled(&spelled), &mut found);
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

    /// Whether an API, or one of its versions, needs a key.
    fn is_keyed(&self, index: ApiIndex) -> bool {
        let needs_key = |index| self.get(index).is_some_and(|api: &Api| !api.use_keyless);
        let versions = self.get(index).and_then(|api| api.versioning.as_ref()).map(|versioning| &versioning.versions);
        needs_key(index) || versions.into_iter().flatten().filter_map(|version| version.api).any(needs_key)
    }

    /// Of APIs without authentication. One without limits is as good as the stricter one that it is compared with.
    fn have_the_same_limits(&self, strict: ApiIndex, other: ApiIndex) -> bool {
        let (Some(strict), Some(other)) = (self.get(strict), self.get(other)) else { return false };
        !other.is_limited() || other.rate.is_none() && strict.org == other.org
    }

    /// The API at a place.
    pub fn get(&self, index: ApiIndex) -> Option<&Api> {
        self.apis.get(index.0)
    }

    /// All of them, with their places.
    pub fn iter(&self) -> impl Iterator<Item = (ApiIndex, &Api)> {
        self.apis.iter().enumerate().map(|(index, api)| (ApiIndex(index), api))
    }
}

#[cfg(test)]
mod tests;
