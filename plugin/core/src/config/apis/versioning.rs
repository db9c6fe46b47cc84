//! Checks the versions of APIs.

use std::collections::BTreeSet;

use litemap::LiteMap;

use crate::access::{ApiIndex, Location, Prefix, ROUTE_HEADER, Routes, Version, Versioning};
use crate::base::{UnixMillis, hint, item, member, parse_minutes};
use crate::config::calls::header;
use crate::config::error::{Errors, key_name};
use crate::config::raw;

/// Adds the versions to the APIs of `routes`, which have the same order as in `raw`.
pub fn add(raw: &raw::Config, routes: &mut Routes, errors: &mut Errors, warnings: &mut Errors) {
    let indices: Vec<ApiIndex> = routes.iter().map(|(index, _)| index).collect();
    let apis = || (0_usize..).zip(&raw.apis);
    let mut ids: LiteMap<&str, (usize, ApiIndex)> = LiteMap::new();
    for ((place, api), index) in apis().zip(&indices) {
        ids.insert(&api.api_id, (place, *index));
    }
    let mut reached = BTreeSet::new();
    for ((place, api), index) in apis().zip(&indices) {
        let path = member(&item("apis", place), "versioning");
        let mut of_api = |at: &str, id: &str, errors: &mut Errors| {
            let Some((child, index)) = ids.get(id) else {
                errors.add(at, format!("no API has the id {id:?}{}", hint(id, ids.keys().copied())));
                return None;
            };
            if *child != place && raw.apis.get(*child).is_some_and(|child| !child.versioning.versions.is_empty()) {
                errors.add(at, format!("{id:?} has versions of its own"));
            }
            reached.insert(*child);
            Some(*index)
        };
        if let Some(versioning) = check(&path, api, &mut of_api, errors, warnings) {
            routes.set_versioning(*index, versioning);
        }
    }
    for (place, api) in apis().filter(|(_, api)| api.internal) {
        let path = item("apis", place);
        if !api.versioning.versions.is_empty() {
            errors.add(member(&path, "versioning"), "an internal API has no versions of its own");
        } else if !reached.contains(&place) {
            warnings.add(member(&path, "internal"), "nothing reaches it: no version of another API names it");
        }
    }
}

fn check(
    path: &str,
    api: &raw::Api,
    of_api: &mut impl FnMut(&str, &str, &mut Errors) -> Option<ApiIndex>,
    errors: &mut Errors,
    warnings: &mut Errors,
) -> Option<Versioning> {
    let raw = &api.versioning;
    if raw.versions.is_empty() {
        if !raw.location.is_empty() || !raw.key.is_empty() || !raw.default_version.is_empty() {
            errors.add(member(path, "versions"), "missing: there is no version to serve");
        }
        return None;
    }
    let location = location(path, api, errors, warnings);
    let default = &raw.default_version;
    if !default.is_empty() && !raw.versions.contains_key(default) {
        let names = raw.versions.keys().map(String::as_str);
        let message = format!("no version has the name {default:?}{}", hint(default, names));
        errors.add(member(path, "default_version"), message);
    }
    if raw.fallback_to_default && default.is_empty() {
        errors.add(member(path, "fallback_to_default"), "needs a default_version");
    }
    let mut versions = Vec::new();
    for (name, version) in &raw.versions {
        let place = member(&member(path, "versions"), name);
        if !is_version_name(name, &raw.location) {
            errors.add(&place, "is not a valid version name");
        }
        let id = version.api_id.as_str();
        let api = if id.is_empty() { None } else { of_api(&member(&place, "api_id"), id, errors) };
        let expires = expires(&member(&place, "expires"), &version.expires, errors);
        versions.push(Version { name: name.clone(), expires, api });
    }
    let of_apis = raw.versions.values().filter(|version| !version.api_id.is_empty()).count();
    if of_apis > 0 && of_apis < raw.versions.len() {
        errors.add(
            member(path, "versions"),
            "either all versions have an api_id, or none has; the version that is this API itself has its own api_id",
        );
    }
    Some(Versioning {
        location: location?,
        default: default.clone(),
        falls_back: raw.fallback_to_default,
        strips: raw.strip_versioning_data,
        versions,
    })
}

/// Whether a version that requests name there (`header`, `url-param` or `url`) can have that name.
pub fn is_version_name(name: &str, location: &str) -> bool {
    let is_literal = !name.contains(['/', '?', '#', '%', ';', '\\']) && !matches!(name, "." | "..");
    !name.is_empty()
        && name.trim() == name
        && name.is_ascii()
        && header::is_value(name)
        && (is_literal || location != "url")
}

fn expires(path: &str, text: &str, errors: &mut Errors) -> Option<UnixMillis> {
    if matches!(text, "" | "-1") {
        return None;
    }
    let expires = parse_minutes(text);
    if expires.is_none() {
        errors.add(path, format!("{text:?} is not a time in UTC, such as 2030-12-31 23:59"));
    }
    expires.map(UnixMillis)
}

fn location(path: &str, api: &raw::Api, errors: &mut Errors, warnings: &mut Errors) -> Option<Location> {
    let raw::Versioning { location, key, .. } = &api.versioning;
    match (location.as_str(), key.as_str()) {
        ("", _) => errors.add(member(path, "location"), "missing: header, url-param or url"),
        ("url", _) => {
            if !key.is_empty() {
                warnings.add(member(path, "key"), "has no effect if the version is in the url");
            }
            // A wrong listen_path is reported elsewhere.
            return Prefix::parse(&api.listen_path).ok().map(Location::Url);
        }
        (_, "") => errors.add(member(path, "key"), "missing: the header or parameter that names the version"),
        ("url-param", key) => return Some(Location::UrlParam(key.to_owned())),
        (_, key) => match header::name(key) {
            Some(name) if name != ROUTE_HEADER => return Some(Location::Header(name)),
            Some(_) => errors.add(member(path, "key"), format!("{ROUTE_HEADER} is the header that the filter sets")),
            None => errors.add(member(path, "key"), format!("{key:?} is not a header name")),
        },
    }
    None
}

/// Warns of rights to APIs with versions that name no version.
pub fn warn_of_rights(raw: &raw::Config, warnings: &mut Errors) {
    let is_versioned = |api: &&raw::Api| api.versioning.versions.values().any(|version| version.api_id.is_empty());
    let mut versioned: LiteMap<&str, &raw::Versioning> = LiteMap::new();
    for api in raw.apis.iter().filter(is_versioned) {
        versioned.insert(&api.api_id, &api.versioning);
    }
    let mut check = |path: String, rights: &raw::Named<raw::AccessRight>, who: &str| {
        for (id, right) in rights {
            let Some(versioning) = versioned.get(id.as_str()) else { continue };
            if !right.versions.iter().any(|version| versioning.versions.contains_key(version)) {
                let message = format!("names no version of the API, so {who} none");
                warnings.add(member(&member(&member(&path, "access_rights"), id), "versions"), message);
            }
        }
    };
    for (name, session) in &raw.keys {
        let is_replaced = session.policies().iter().filter_map(|id| raw.policies.get(id)).any(raw::Policy::says_rights);
        if !is_replaced {
            check(member("keys", &key_name(name)), &session.access_rights, "the key may call");
        }
    }
    for (id, policy) in raw.policies.iter().filter(|(_, policy)| policy.says_rights()) {
        check(member("policies", id), &policy.access_rights, "the policy lets its keys call");
    }
}
