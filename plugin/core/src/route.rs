//! Which API a request is for.

use std::collections::HashMap;

use crate::challenge::Challenge;
use crate::event::EventKind;
use crate::handler::HandlerIndex;
use crate::identity::Source;
use crate::key_location::KeyLocation;
use crate::manage::Rules;
use crate::quota::Quota;
use crate::request::Request;
use crate::session::OrgIndex;
use crate::versioning::{Chosen, Versioning};

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
    pub identity: Vec<Source>,
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
    /// Which exchanges are management events.
    pub observe: Option<Rules>,
    /// Its versions, where it has some.
    pub versioning: Option<Versioning>,
    /// Who hears of an event on this API, by [`EventKind`].
    pub handlers: [Vec<HandlerIndex>; EventKind::COUNT],
}

impl Api {
    /// Who hears of an event of this kind.
    pub fn handlers(&self, kind: EventKind) -> &[HandlerIndex] {
        self.handlers.get(kind.index()).map(Vec::as_slice).unwrap_or_default()
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
    /// The versions.
    pub versioning: &'c Versioning,
    /// The one.
    pub chosen: Chosen<'c>,
}

impl<'c> Versioned<'c> {
    /// Its name, where rights name versions.
    pub fn name_in_rights(&self) -> Option<&'c str> {
        self.chosen.version.api.is_none().then_some(&self.chosen.version.name)
    }
}

/// The APIs by domain and path.
#[derive(Debug, Default)]
pub struct Routes {
    apis: Vec<Api>,
    /// Path prefixes, the longest first.
    by_domain: HashMap<Vec<u8>, Vec<(Vec<u8>, ApiIndex)>>,
    any_domain: Vec<(Vec<u8>, ApiIndex)>,
}

impl Routes {
    /// Adds an API. `domain` is empty for any host; `listen_path` is a prefix of the paths that it serves.
    pub fn add(&mut self, domain: &str, listen_path: &str, api: Api) -> ApiIndex {
        let index = ApiIndex(self.apis.len());
        self.apis.push(api);
        let paths = if domain.is_empty() {
            &mut self.any_domain
        } else {
            self.by_domain.entry(domain.to_ascii_lowercase().into_bytes()).or_default()
        };
        paths.push((listen_path.as_bytes().to_vec(), index));
        paths.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
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
        if let Some(api) = self.apis.get_mut(index.0) {
            api.versioning = Some(versioning);
        }
    }

    /// The API for a request: an exact domain wins over none, then the longest `listen_path`.
    pub fn find(&self, request: &Request<'_>) -> Option<(ApiIndex, &Api)> {
        let path = request.path();
        let exact = if self.by_domain.is_empty() {
            None
        } else {
            let host = request.host().to_ascii_lowercase();
            self.by_domain.get(&host).and_then(|paths| longest(paths, path))
        };
        let index = exact.or_else(|| longest(&self.any_domain, path))?;
        Some((index, self.get(index)?))
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

/// `/orders/` also serves `/orders`: an upstream that treats both alike must not be reachable around the filter.
fn longest(paths: &[(Vec<u8>, ApiIndex)], path: &[u8]) -> Option<ApiIndex> {
    let serves = |prefix: &[u8]| path.starts_with(prefix) || prefix.strip_suffix(b"/") == Some(path);
    paths.iter().find(|(prefix, _)| serves(prefix)).map(|(_, index)| *index)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn found(routes: &Routes, authority: &str, path: &str) -> Option<String> {
        let headers = [(&b":authority"[..], authority.as_bytes()), (&b":path"[..], path.as_bytes())];
        let request = Request { headers: &headers, property: &|_| None };
        routes.find(&request).map(|(_, api)| api.id.clone())
    }

    fn routes(apis: &[(&str, &str, &str)]) -> Routes {
        let mut routes = Routes::default();
        for (id, domain, listen_path) in apis {
            let api = Api { id: (*id).to_owned(), ..Api::default() };
            routes.add(domain, listen_path, api);
        }
        routes
    }

    #[test]
    fn the_longest_path_wins() {
        let routes = routes(&[("all", "", "/"), ("deep", "", "/orders/new/"), ("orders", "", "/orders/")]);
        for (path, api) in [
            ("/x", "all"),
            ("/orders/1", "orders"),
            ("/orders/new/1?a=/", "deep"),
            ("/orders", "orders"),
            ("/order", "all"),
        ] {
            assert_eq!(found(&routes, "a.test", path).as_deref(), Some(api), "{path}");
        }
    }

    #[test]
    fn an_exact_domain_wins_over_none() {
        let routes = routes(&[("any", "", "/orders/"), ("ours", "API.acme.test", "/")]);
        assert_eq!(found(&routes, "api.ACME.test:443", "/orders/1").as_deref(), Some("ours"));
        assert_eq!(found(&routes, "other.test", "/orders/1").as_deref(), Some("any"));
        assert_eq!(found(&routes, "other.test", "/x"), None);
    }
}
