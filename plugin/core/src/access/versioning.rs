//! Versions of an API: which version a request names, and what the route and the upstream see.
//!
//! The filter puts the chosen version in [`ROUTE_HEADER`], and the proxy's routes choose the upstream by that header.
//! So the filter and the routes cannot read a request differently. A request that names more than one version is
//! treated as naming one that does not exist.

use std::borrow::Cow;

use crate::access::answer::RequestOutcome;
use crate::access::paths::{Prefix, Readings};
use crate::access::request::{Request, decode_query_part, split_once};
use crate::access::route::ApiIndex;
use crate::base::UnixMillis;
use crate::host::HeaderChange;

/// The header that carries the version to the routes. It replaces a header of the client's.
pub const ROUTE_HEADER: &str = "x-tollbell-version";

/// The place where a request names a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In a header, lower case.
    Header(String),
    /// In a parameter of the query.
    UrlParam(String),
    /// In the first path segment after this prefix.
    Url(Prefix),
}

/// A version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Its name in requests and rights.
    pub name: String,
    pub expires: Option<UnixMillis>,
    /// The version's own API, if it has one. Then rights are those to that API.
    pub api: Option<ApiIndex>,
}

/// The versions of an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioning {
    /// The place where a request names its version.
    pub location: Location,
    /// The version of a request that names none; if empty, the request is refused.
    pub default: String,
    /// An unknown version means the default one.
    pub falls_back: bool,
    /// The version's name is removed before the request goes upstream.
    pub strips: bool,
    pub versions: Vec<Version>,
}

/// The version of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen<'v> {
    pub version: &'v Version,
    /// Its index in the versions.
    pub place: usize,
    /// True if the request names the version.
    is_named: bool,
}

/// The version that a request names.
#[derive(PartialEq)]
enum Named<'r> {
    Nothing,
    One(Cow<'r, [u8]>),
    /// The name can be read in more than one way.
    Unclear,
}

impl Versioning {
    /// Chooses the version of a request.
    ///
    /// # Errors
    /// The refusal.
    pub fn choose(&self, request: &Request<'_>, now: UnixMillis) -> Result<Chosen<'_>, RequestOutcome> {
        self.choose_after(request, None, now)
    }

    /// Chooses the version of a request whose earlier pass had one, given by its index. If the request names no
    /// existing version, the earlier one holds, because the earlier pass may have removed the name.
    ///
    /// # Errors
    /// The refusal.
    pub fn choose_after(
        &self,
        request: &Request<'_>,
        earlier: Option<usize>,
        now: UnixMillis,
    ) -> Result<Chosen<'_>, RequestOutcome> {
        let named = self.named(request);
        let chosen = |(place, version), is_named| Chosen { version, place, is_named };
        let of_name = |name: &[u8]| self.places().find(|(_, version)| version.name.as_bytes() == name);
        let default = of_name(self.default.as_bytes()).map(|version| chosen(version, false));
        let earlier = earlier.and_then(|place| Some(chosen((place, self.versions.get(place)?), false)));
        let known = match &named {
            Named::One(name) => of_name(name).map(|version| chosen(version, true)).or(earlier),
            Named::Nothing | Named::Unclear => None,
        };
        let chosen = match &named {
            Named::Nothing => earlier.or(default).ok_or(RequestOutcome::VersionMissing)?,
            Named::One(_) | Named::Unclear => match known {
                Some(known) => known,
                None => {
                    let fallback = default.filter(|_| self.falls_back && !matches!(named, Named::Unclear));
                    let is_of_apis = self.versions.iter().any(|version| version.api.is_some());
                    let unknown =
                        if is_of_apis { RequestOutcome::VersionApiUnknown } else { RequestOutcome::VersionUnknown };
                    fallback.ok_or(unknown)?
                }
            },
        };
        if chosen.version.expires.is_some_and(|expires| expires <= now) {
            return Err(RequestOutcome::VersionExpired);
        }
        // A name in another spelling could not be removed.
        if let Location::Url(prefix) = &self.location
            && self.strips
            && chosen.is_named
            && without_segment(request.target(), prefix, &chosen.version.name).is_none()
        {
            return Err(RequestOutcome::VersionUnknown);
        }
        Ok(chosen)
    }

    /// The first wanted version that has not expired. The default version comes first.
    pub fn first(&self, now: UnixMillis, is_wanted: impl Fn(&Version) -> bool) -> Option<Chosen<'_>> {
        let is_live = |version: &Version| version.expires.is_none_or(|expires| expires > now);
        let mut wanted = self.places().filter(|(_, version)| is_live(version) && is_wanted(version));
        let is_default = |(_, version): &(usize, &Version)| version.name == self.default;
        let (place, version) = wanted.clone().find(is_default).or_else(|| wanted.next())?;
        Some(Chosen { version, place, is_named: false })
    }

    fn places(&self) -> impl Iterator<Item = (usize, &Version)> + Clone {
        self.versions.iter().enumerate()
    }

    fn named<'r>(&self, request: &Request<'r>) -> Named<'r> {
        match &self.location {
            Location::Header(name) => one(request.lines(name).map(|(_, value)| Cow::Borrowed(value.trim_ascii()))),
            Location::UrlParam(name) => {
                let query = request.query().unwrap_or_default();
                let named = in_query(query, name, |byte| byte == b'&');
                // Some servers also separate parameters at semicolons.
                let is_clear =
                    !query.contains(&b';') || named == in_query(query, name, |byte| matches!(byte, b'&' | b';'));
                if is_clear { named } else { Named::Unclear }
            }
            Location::Url(prefix) => in_path(prefix, request.path()),
        }
    }

    /// Adds the header for the route and removes the name before the upstream. `changes` are the changes to the request
    /// so far.
    pub fn change(&self, request: &Request<'_>, chosen: Chosen<'_>, changes: &mut Vec<HeaderChange>) {
        request.remove_all(ROUTE_HEADER, changes);
        changes.push(HeaderChange::Replace(ROUTE_HEADER.to_owned(), chosen.version.name.clone().into_bytes()));
        if !self.strips {
            return;
        }
        match &self.location {
            Location::Header(name) => request.remove_all(name, changes),
            Location::UrlParam(name) => {
                let target = changed_target(request, changes);
                if let Some(target) = without_parameter(&target, name.as_bytes()) {
                    changes.push(HeaderChange::Replace(":path".to_owned(), target));
                }
            }
            Location::Url(prefix) if chosen.is_named => {
                let target = changed_target(request, changes);
                if let Some(target) = without_segment(&target, prefix, &chosen.version.name) {
                    changes.push(HeaderChange::Replace(":path".to_owned(), target));
                }
            }
            Location::Url(_) => {}
        }
    }
}

/// The common value, if all values agree. Empty values are ignored.
fn one<'r>(values: impl Iterator<Item = Cow<'r, [u8]>>) -> Named<'r> {
    let mut values = values.filter(|value| !value.is_empty());
    let Some(first) = values.next() else { return Named::Nothing };
    if values.all(|other| other == first) { Named::One(first) } else { Named::Unclear }
}

/// The values of a parameter.
fn in_query<'r>(query: &'r [u8], name: &str, separates: impl Fn(u8) -> bool) -> Named<'r> {
    let pairs = query.split(|&byte| separates(byte));
    let pairs = pairs.map(|pair| split_once(pair, b'=').unwrap_or((pair, b"")));
    let named = pairs.filter(|(key, _)| decode_query_part(key).as_ref() == name.as_bytes());
    one(named.map(|(_, value)| decode_query_part(value)))
}

/// The first segment after `prefix`, in every reading of the path.
fn in_path<'r>(prefix: &Prefix, path: &[u8]) -> Named<'r> {
    let Ok(readings) = Readings::of(path) else { return Named::Unclear };
    let mut found: Option<Vec<u8>> = None;
    for reading in readings.decoded() {
        let listen_path = prefix.decoded();
        let rest = reading.path.strip_prefix(listen_path.strip_suffix(b"/").unwrap_or(listen_path));
        let Some(rest) = rest else { return Named::Unclear };
        let segment = rest.split(|&byte| byte == b'/').find(|segment| !segment.is_empty()).unwrap_or_default();
        if found.as_deref().is_some_and(|found| found != segment) {
            return Named::Unclear;
        }
        found = Some(segment.to_vec());
    }
    one(found.map(Cow::Owned).into_iter())
}

/// The request's target after the changes so far.
fn changed_target(request: &Request<'_>, changes: &[HeaderChange]) -> Vec<u8> {
    let replaced = changes.iter().rev().find_map(|change| match change {
        HeaderChange::Replace(name, value) if name == ":path" => Some(value.clone()),
        _ => None,
    });
    replaced.unwrap_or_else(|| request.target().to_vec())
}

/// Removes a parameter; `None` if there is nothing to remove.
fn without_parameter(target: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let (path, query) = split_once(target, b'?')?;
    let is_named = |pair: &[u8]| {
        let key = split_once(pair, b'=').map_or(pair, |(key, _)| key);
        decode_query_part(key).as_ref() == name
    };
    let pairs = query.split(|&byte| byte == b'&');
    let kept: Vec<&[u8]> = pairs.clone().filter(|pair| !is_named(pair)).collect();
    if kept.len() == pairs.count() {
        return None;
    }
    let separator: &[u8] = if kept.is_empty() { b"" } else { b"?" };
    Some([path, separator, &kept.join(&b'&')].concat())
}

/// Converts `/orders/v1/7` to `/orders/7`. `None` if the target does not have the version in exactly this spelling.
fn without_segment(target: &[u8], prefix: &Prefix, version: &str) -> Option<Vec<u8>> {
    let target = std::str::from_utf8(target).ok()?;
    let (path, query) = target.split_at_checked(target.find('?').unwrap_or(target.len()))?;
    let rest = prefix.rest(path)?;
    let before = path.strip_suffix(rest)?;
    let behind = rest.strip_prefix('/')?.strip_prefix(version)?;
    let behind = if behind.is_empty() { "/" } else { behind };
    behind.starts_with('/').then(|| [before, behind, query].concat().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn versioning(location: Location) -> Versioning {
        let version = |name: &str, expires| Version { name: name.into(), expires, api: None };
        Versioning {
            location,
            default: String::new(),
            falls_back: false,
            strips: true,
            versions: vec![version("v1", None), version("v2", Some(NOW.plus(1))), version("old", Some(NOW))],
        }
    }

    fn header() -> Location {
        Location::Header("x-version".into())
    }

    fn url() -> Location {
        Location::Url(Prefix::parse("/orders/").unwrap())
    }

    fn with<T>(headers: &[(&str, &str)], look: impl FnOnce(&Request<'_>) -> T) -> T {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        look(&Request { headers: &headers, property: &|_| None })
    }

    fn chosen(versioning: &Versioning, headers: &[(&str, &str)]) -> Result<String, RequestOutcome> {
        with(headers, |request| versioning.choose(request, NOW).map(|chosen| chosen.version.name.clone()))
    }

    fn changed(versioning: &Versioning, headers: &[(&str, &str)]) -> Result<Vec<(String, String)>, RequestOutcome> {
        with(headers, |request| {
            let mut changes = Vec::new();
            versioning.change(request, versioning.choose(request, NOW)?, &mut changes);
            let text = |change| match change {
                HeaderChange::Remove(name) => (name, "-".to_owned()),
                HeaderChange::Replace(name, value) => (name, String::from_utf8(value).unwrap()),
            };
            Ok(changes.into_iter().map(text).collect())
        })
    }

    #[test]
    fn a_header_names_the_version_if_all_its_lines_agree() {
        let versions = versioning(header());
        let named = |values: &[&str]| {
            let headers: Vec<_> = values.iter().map(|value| ("x-version", *value)).collect();
            chosen(&versions, &headers)
        };
        assert_eq!(named(&["v1"]), Ok("v1".into()));
        assert_eq!(named(&[" v2 "]), Ok("v2".into()));
        assert_eq!(named(&["v1", "v1"]), Ok("v1".into()));
        for unknown in [&["v9"][..], &["V1"], &["v1,v1"], &["v1", "v2"], &["v2", "v1"], &["v1 v2"], &["v1\u{0}"]] {
            assert_eq!(named(unknown), Err(RequestOutcome::VersionUnknown), "{unknown:?}");
        }
        assert_eq!(named(&[]), Err(RequestOutcome::VersionMissing));
        assert_eq!(named(&[""]), Err(RequestOutcome::VersionMissing));
        assert_eq!(named(&["old"]), Err(RequestOutcome::VersionExpired));
    }

    #[test]
    fn a_parameter_is_decoded_to_a_version() {
        let versions = versioning(Location::UrlParam("v".into()));
        let named = |target: &str| chosen(&versions, &[(":path", target)]);
        for v1 in ["/?v=v1", "/?a=b&v=v1", "/?%76=%761", "/?v=v1&v=v1", "/?v=&v=v1"] {
            assert_eq!(named(v1), Ok("v1".into()), "{v1}");
        }
        for unknown in ["/?v=v9", "/?v=v1&v=v2", "/?v=v1;a=b", "/?v=v1%20", "/?v=v1&%76=v2"] {
            assert_eq!(named(unknown), Err(RequestOutcome::VersionUnknown), "{unknown}");
        }
        for missing in ["/", "/?V=v1", "/?v", "/v1?a=v", "/?a=b;c=d"] {
            assert_eq!(named(missing), Err(RequestOutcome::VersionMissing), "{missing}");
        }
        // For servers that separate parameters at semicolons, these name a version, or another one.
        let versions = Versioning { default: "v1".into(), ..versions };
        for unclear in ["/?a=b;v=v2", "/?v=v1;v=v2", "/?v=v1&a;v=v2"] {
            assert_eq!(chosen(&versions, &[(":path", unclear)]), Err(RequestOutcome::VersionUnknown), "{unclear}");
        }
    }

    #[test]
    fn the_version_of_an_earlier_pass_holds_if_none_is_named() {
        let after = |versions: &Versioning, earlier, target: &str, headers: &[(&str, &str)]| {
            with(&[&[(":path", target)], headers].concat(), |request| {
                versions.choose_after(request, earlier, NOW).map(|chosen| chosen.version.name.clone())
            })
        };
        let versions = Versioning { default: "v1".into(), ..versioning(header()) };
        assert_eq!(after(&versions, Some(1), "/", &[]), Ok("v2".into()), "not the default");
        assert_eq!(after(&versions, Some(1), "/", &[("x-version", "v1")]), Ok("v1".into()));
        assert_eq!(after(&versions, Some(1), "/", &[("x-version", "v9")]), Ok("v2".into()));
        assert_eq!(after(&versions, Some(1), "/", &[("x-version", "old")]), Err(RequestOutcome::VersionExpired));
        assert_eq!(after(&versions, Some(2), "/", &[]), Err(RequestOutcome::VersionExpired), "as in any pass");
        let two = [("x-version", "v1"), ("x-version", "v9")];
        assert_eq!(after(&versions, Some(1), "/", &two), Err(RequestOutcome::VersionUnknown));
        assert_eq!(after(&versioning(url()), Some(1), "/orders/8", &[]), Ok("v2".into()), "8 is no version");
    }

    #[test]
    fn a_path_names_the_version_in_every_reading() {
        let versions = Versioning { strips: false, ..versioning(url()) };
        let named = |target: &str| chosen(&versions, &[(":path", target)]);
        for v1 in ["/orders/v1/7", "/orders/v1", "/orders/v1/", "/orders/v1?x=/v2", "/orders/%76%31/7"] {
            assert_eq!(named(v1), Ok("v1".into()), "{v1}");
        }
        for unknown in ["/orders/7", "/orders/v1/../v2/7", "/orders/v1%2F..%2Fv2/7", "/orders/v1;/7", "/orders/v12"] {
            assert_eq!(named(unknown), Err(RequestOutcome::VersionUnknown), "{unknown}");
        }
        for missing in ["/orders/", "/orders"] {
            assert_eq!(named(missing), Err(RequestOutcome::VersionMissing), "{missing}");
        }
    }

    #[test]
    fn the_default_serves_requests_without_a_version_and_optionally_unknown_ones() {
        let mut versions = Versioning { default: "v1".into(), ..versioning(header()) };
        assert_eq!(chosen(&versions, &[]), Ok("v1".into()));
        assert_eq!(chosen(&versions, &[("x-version", "v9")]), Err(RequestOutcome::VersionUnknown));
        versions.falls_back = true;
        assert_eq!(chosen(&versions, &[("x-version", "v9")]), Ok("v1".into()));
        assert_eq!(chosen(&versions, &[("x-version", "v1"), ("x-version", "v2")]), Err(RequestOutcome::VersionUnknown));
        versions.default = "old".into();
        assert_eq!(chosen(&versions, &[]), Err(RequestOutcome::VersionExpired));
        versions.versions[0].api = Some(ApiIndex::default());
        versions.falls_back = false;
        assert_eq!(chosen(&versions, &[("x-version", "v9")]), Err(RequestOutcome::VersionApiUnknown));
    }

    #[test]
    fn the_route_sees_the_version_and_the_upstream_does_not() {
        let route = (ROUTE_HEADER.to_owned(), "v1".to_owned());
        let removed = |name: &str| (name.to_owned(), "-".to_owned());
        let path = |path: &str| (":path".to_owned(), path.to_owned());
        assert_eq!(
            changed(&versioning(header()), &[("x-version", "v1")]),
            Ok(vec![route.clone(), removed("x-version")])
        );
        assert_eq!(
            changed(&versioning(header()), &[("x-version", "v1"), (ROUTE_HEADER, "v2"), (ROUTE_HEADER, "v2")]),
            Ok(vec![removed(ROUTE_HEADER), route.clone(), removed("x-version")])
        );
        let parameter = versioning(Location::UrlParam("v".into()));
        for (target, kept) in [("/?v=v1", "/"), ("/a?x=1&%76=v1&y", "/a?x=1&y"), ("/a?v=v1&v=v1", "/a")] {
            assert_eq!(changed(&parameter, &[(":path", target)]), Ok(vec![route.clone(), path(kept)]), "{target}");
        }
        for (target, kept) in
            [("/orders/v1/7?x", "/orders/7?x"), ("/orders/v1", "/orders/"), ("/orders/v1/", "/orders/")]
        {
            assert_eq!(
                changed(&versioning(url()), &[(":path", target)]),
                Ok(vec![route.clone(), path(kept)]),
                "{target}"
            );
        }
        for other in ["/orders/%76%31/7", "/orders//v1/7"] {
            assert_eq!(
                changed(&versioning(url()), &[(":path", other)]),
                Err(RequestOutcome::VersionUnknown),
                "{other}"
            );
        }
        let kept = Versioning { strips: false, ..versioning(url()) };
        assert_eq!(changed(&kept, &[(":path", "/orders/%76%31/7")]), Ok(vec![route]));
    }
}
