//! Versions of APIs: Tyk's classic ones, each with a target, and those that are APIs of their own.
//!
//! tollbell chooses the version of a request and puts its name into a header, and each version has routes that match
//! the header. If a protection of a single version is not carried over, that version is closed.

use std::collections::BTreeSet;

use jiff::civil::DateTime;
use tollbell_core::config::is_version_name;
use tollbell_core::config::raw::{self, Versioning};

use super::Context;
use super::api::{self, Api, Target, Upstream};
use super::classic::UNUSED;
use super::source::At;
use super::unchecked;

/// The header that contains the name of the version.
pub(super) const ROUTE_HEADER: &str = "x-tollbell-version";

/// The name of the API itself among its versions in Tyk, if it has no other.
const SELF: &str = "self";

/// What is wrong with a version's name.
const UNUSABLE: &str = "cannot name a version: write visible ASCII, and in a URL one segment that needs no encoding";

/// The versions of an API.
#[derive(Clone, Default)]
pub(super) struct Versions {
    /// header, url-param or url.
    location: String,
    key: String,
    default: String,
    falls_back: bool,
    strips: bool,
    pub(super) list: Vec<Version>,
}

/// A version.
#[derive(Clone)]
pub(super) struct Version {
    pub(super) name: String,
    expires: String,
    pub(super) goes: Goes,
    /// Its protections in Tyk that are not carried over.
    pub(super) closed: Vec<String>,
}

/// The target of a version's requests.
#[derive(Clone)]
pub(super) enum Goes {
    /// The API's own upstream.
    Home,
    To(Vec<Target>),
    /// The upstream of the API with this id, which also checks the requests.
    Api(String),
}

impl Versions {
    /// The names that rights use; empty if rights are to the versions' APIs.
    pub(super) fn names(&self) -> Vec<String> {
        let own = self.list.iter().filter(|version| !matches!(version.goes, Goes::Api(_)));
        own.map(|version| version.name.clone()).collect()
    }

    /// Removes versions whose API is left out.
    pub(super) fn keep(&mut self, ids: &BTreeSet<String>) {
        self.list.retain(|version| !matches!(&version.goes, Goes::Api(id) if !ids.contains(id)));
        if !self.list.iter().any(|version| version.name == self.default) {
            self.default.clear();
            self.falls_back = false;
        }
    }

    pub(super) fn into_settings(self) -> Versioning {
        let version = |version: Version| {
            let api_id = if let Goes::Api(id) = version.goes { id } else { String::new() };
            (version.name, raw::Version { expires: version.expires, api_id })
        };
        Versioning {
            location: self.location,
            key: self.key,
            default_version: self.default,
            fallback_to_default: self.falls_back,
            strip_versioning_data: self.strips,
            versions: self.list.into_iter().map(version).collect(),
        }
    }
}

/// The ids of the APIs that are versions in a definition.
pub(super) fn children(root: &At<'_>) -> Vec<String> {
    let own = |at: &At<'_>| at.words().to_owned();
    let definition = root.get("definition");
    let mut ids = Vec::new();
    if definition.get("enabled").flag() {
        ids.extend(definition.get("versions").entries().iter().map(|(_, id)| own(id)));
    }
    let versioning = root.at("x-tyk-api-gateway.info.versioning");
    if versioning.get("enabled").flag() {
        ids.extend(versioning.get("versions").items().iter().map(|version| own(&version.get("id"))));
    }
    ids
}

/// The fields that have the same meaning in classic and OAS definitions.
struct Names<'f> {
    at: At<'f>,
    strip: At<'f>,
    fallback: At<'f>,
    pattern: At<'f>,
    /// Names and ids.
    versions: Vec<(String, At<'f>)>,
}

/// Versions that are APIs, of a classic definition.
pub(super) fn of_apis_classic(definition: &At<'_>, api: &mut Api, context: &Context<'_>) {
    let versions = definition.get("versions").entries();
    let names = Names {
        strip: definition.get("strip_versioning_data"),
        fallback: definition.get("fallback_to_default"),
        pattern: definition.get("url_versioning_pattern"),
        versions: versions.into_iter().map(|(name, id)| (name.to_owned(), id)).collect(),
        at: definition.clone(),
    };
    of_apis(&names, api, context);
}

/// Versions that are APIs, of an OAS definition.
pub(super) fn of_apis_oas<'f>(versioning: &At<'f>, api: &mut Api, context: &Context<'_>) {
    let version = |at: At<'f>| {
        at.get("name").carried();
        (at.get("name").words().to_owned(), at.get("id"))
    };
    let names = Names {
        strip: versioning.get("stripVersioningData"),
        fallback: versioning.get("fallbackToDefault"),
        pattern: versioning.get("urlVersioningPattern"),
        versions: versioning.get("versions").items().into_iter().map(version).collect(),
        at: versioning.clone(),
    };
    of_apis(&names, api, context);
}

fn of_apis(names: &Names<'_>, api: &mut Api, context: &Context<'_>) {
    let own_name = names.at.get("name").words();
    let own_name = if own_name.is_empty() { SELF } else { own_name };
    let mut list = vec![version(own_name, Goes::Api(api.id.clone()))];
    let where_named = names.at.get("location");
    let is_usable = |name: &str| is_version_name(name, where_named.words());
    if !is_usable(own_name) {
        names.at.get("name").error(UNUSABLE);
    }
    for (name, id) in &names.versions {
        if name == own_name {
            id.missing("nothing to do: the API itself has this name, as in Tyk");
        } else if !is_usable(name) {
            id.missing(format!("version {name:?} is left out, and answered with 404: its name {UNUSABLE}"));
        } else if !context.kept.borrow().contains(id.words()) {
            id.missing(format!(
                "version {name:?} is left out, and answered with 404: the API {:?} does not exist or was left out",
                id.words()
            ));
        } else {
            id.carried();
            list.push(version(name, Goes::Api(id.words().to_owned())));
        }
    }
    let default = names.at.get("default");
    let wanted = if default.words() == SELF { own_name } else { default.words() };
    let is_known = list.iter().any(|version| version.name == wanted);
    if is_known || wanted.is_empty() {
        default.carried();
    } else {
        default.missing("there is no default version: the one that it names is left out");
    }
    for at in [&names.at.get("enabled"), &names.at.get("name"), &names.strip, &names.fallback] {
        at.carried();
    }
    names.pattern.changed("only the name of a version is removed from a path");
    let location = names.at.get("location");
    let Some((location, key)) = place(&location, &names.at.get("key")) else {
        if wanted != own_name {
            api::closes(api, &location, "which version a request is for", "say where requests name it");
        } else {
            location
                .changed("The API is imported without versions: in Tyk, too, requests always get the default version.");
        }
        return;
    };
    api.versions = Some(Versions {
        location,
        key,
        default: if is_known { wanted.to_owned() } else { String::new() },
        falls_back: names.fallback.flag() && is_known,
        strips: names.strip.flag(),
        list,
    });
}

fn version(name: &str, goes: Goes) -> Version {
    Version { name: name.to_owned(), expires: String::new(), goes, closed: Vec::new() }
}

/// The place where requests name a version; `None` if they cannot.
fn place(location: &At<'_>, key: &At<'_>) -> Option<(String, String)> {
    let (word, name) = (location.words(), key.words());
    let found = match word {
        "url" => Some((word.to_owned(), String::new())),
        "header" | "url-param" if !name.is_empty() => Some((word.to_owned(), name.to_owned())),
        _ => None,
    };
    if found.is_some() {
        location.carried();
        if word == "url" {
            key.missing(UNUSED);
        } else {
            key.carried();
        }
        match http::HeaderName::from_bytes(name.as_bytes()) {
            _ if word != "header" => {}
            Ok(name) if name == ROUTE_HEADER => key.error("is the header in which tollbell names the version to Envoy"),
            Ok(_) => {}
            Err(_) => key.error("is not the name of a header"),
        }
    }
    found
}

/// Classic versions, each with its own target or the API's. `false` means that there are none, or no request can
/// name one.
pub(super) fn classic(root: &At<'_>, api: &mut Api, now: DateTime) -> bool {
    let (data, definition) = (root.get("version_data"), root.get("definition"));
    let at = definition.get("location");
    let (usable, unusable): (Vec<_>, Vec<_>) =
        data.get("versions").entries().into_iter().partition(|(name, _)| is_version_name(name, at.words()));
    for (name, version) in unusable {
        version.missing(format!(
            "Version {name:?} is left out, and refused as one that does not exist: its name {UNUSABLE}"
        ));
    }
    if usable.is_empty() {
        return false;
    }
    let Some((location, key)) = place(&at, &definition.get("key")) else { return false };
    let mut strips = definition.get("strip_versioning_data").flag();
    if location == "url" {
        strips |= definition.get("strip_path").flag();
        definition.get("strip_path").carried();
    } else {
        definition.get("strip_path").missing(UNUSED);
    }
    definition.get("strip_versioning_data").carried();
    definition.get("url_versioning_pattern").changed("only the name of a version is removed from a path");
    let default = data.get("default_version");
    let fallback = definition.get("fallback_to_default");
    let mut list = Vec::new();
    for (name, at) in usable {
        list.push(classic_version(name, &at, now));
    }
    let is_known = list.iter().any(|version: &Version| version.name == default.words());
    if is_known || default.words().is_empty() {
        default.carried();
    } else {
        default.missing("there is no such version, so a request that names none is refused, as in Tyk");
    }
    fallback.carried();
    api.versions = Some(Versions {
        location,
        key,
        default: if is_known { default.words().to_owned() } else { String::new() },
        falls_back: fallback.flag() && is_known,
        strips,
        list,
    });
    true
}

fn classic_version(name: &str, at: &At<'_>, now: DateTime) -> Version {
    for unused in ["name", "use_extended_paths"] {
        at.get(unused).missing(UNUSED);
    }
    let mut version = version(name, Goes::Home);
    let expires = at.get("expires");
    if !matches!(expires.words(), "" | "-1") {
        match DateTime::strptime("%Y-%m-%d %H:%M", expires.words()) {
            Ok(end) if end <= now && end.year() < 1970 => {
                "1970-01-01 00:00".clone_into(&mut version.expires);
                expires.changed("1970-01-01 00:00, which has passed as well");
            }
            Ok(end) => {
                // Tyk, too, reads hours of one digit.
                version.expires = end.strftime("%Y-%m-%d %H:%M").to_string();
                expires.carried();
            }
            Err(_) => {
                let instead = "write a time such as 2030-12-31 23:59";
                closes(&mut version, &expires, "the version's end, which is not a time", instead);
            }
        }
    }
    for (list, what, instead) in unchecked::of_version(at) {
        closes(&mut version, &list, what, instead);
    }
    let target = at.get("override_target");
    if target.is_set() {
        // An error in a target closes only this version.
        let mut alone = Api::default();
        let targets: Vec<Target> = api::target(&target, &mut alone).into_iter().collect();
        version.closed.append(&mut alone.closed);
        version.goes = Goes::To(targets);
    }
    version
}

fn closes(version: &mut Version, at: &At<'_>, what: &str, instead: &str) {
    version.closed.push(what.to_owned());
    at.missing(format!(
        "Version {:?} refuses every request because nothing checks {what}. To open it: {instead}. Then replace its route's \
         direct_response with its cluster.",
        version.name
    ));
}

/// The upstream of a version that has its own target.
pub(super) fn upstream(api: &Upstream, targets: &[Target]) -> Upstream {
    let is_https = targets.iter().any(|target| target.https);
    Upstream {
        targets: targets.to_vec(),
        preserve_host: api.preserve_host && (api.insecure || !is_https),
        ..api.clone()
    }
}
