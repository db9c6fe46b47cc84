//! The callers of an API: the sources of identities, and the places of keys.

use std::collections::BTreeSet;

use crate::access::{Api, IdentitySource, KeyLocation, Routes};
use crate::base::{item, member};
use crate::config::calls::header_name;
use crate::config::error::{Errors, key_name};
use crate::config::raw;

/// Checks the sources of identities. The default is keys.
pub fn sources(path: &str, raw: &[raw::IdentitySource], errors: &mut Errors) -> Vec<IdentitySource> {
    let mut sources = Vec::new();
    for (index, source) in (0_usize..).zip(raw) {
        let path = item(path, index);
        let from = match source {
            raw::IdentitySource::Key(_) => {
                sources.push(IdentitySource::Key);
                continue;
            }
            raw::IdentitySource::From(from) => from,
        };
        let mut given = Vec::new();
        if !from.metadata.is_empty() {
            let org = (!from.org.is_empty()).then(|| IdentitySource::metadata_property(&from.org));
            given.push(IdentitySource::Metadata { name: IdentitySource::metadata_property(&from.metadata), org });
        }
        if let Some(name) = header_name(&member(&path, "header"), &from.header, errors) {
            given.push(IdentitySource::Header(name));
        }
        let property = IdentitySource::CERTIFICATE_PROPERTIES.iter().find(|(word, _)| *word == from.peer_certificate);
        given.extend(property.map(|(_, property)| IdentitySource::PeerCertificate(property)));
        if from.source_address {
            given.push(IdentitySource::SourceAddress);
        }
        if !from.org.is_empty() && from.metadata.is_empty() {
            errors.add(member(&path, "org"), "works only with metadata");
        }
        match (given.pop(), given.is_empty()) {
            (Some(source), true) => sources.push(source),
            _ => errors.add(path, "must be key, or have one of metadata, header, peer_certificate, source_address"),
        }
    }
    if raw.is_empty() { vec![IdentitySource::Key] } else { sources }
}

pub fn key_location(path: &str, auth: &raw::Auth, errors: &mut Errors) -> KeyLocation {
    let named = |field: &str, used: bool, name: &str, errors: &mut Errors| {
        if used && name.is_empty() {
            errors.add(member(path, field), "missing, although its use is switched on");
        }
        used.then(|| name.to_owned()).filter(|name| !name.is_empty())
    };
    KeyLocation {
        parameter: named("param_name", auth.use_param, &auth.param_name, errors),
        cookie: named("cookie_name", auth.use_cookie, &auth.cookie_name, errors),
        header: header_name(&member(path, "auth_header_name"), &auth.auth_header_name, errors).unwrap_or_default(),
    }
}

/// A session of an identity is found by its source's label and name. If two sources have one label, both find it.
pub fn warn_of_sources(raw: &raw::Config, routes: &Routes, warnings: &mut Errors) {
    let sources: BTreeSet<_> =
        routes.iter().flat_map(|(_, api)| &api.identity).map(|source| (source.label(), source.place())).collect();
    for label in ["header", "metadata", "peer_certificate"] {
        let several = sources.iter().filter(|(known, _)| *known == label).count() > 1;
        if let Some(name) = raw.keys.keys().find(|name| name.split_once(':').is_some_and(|(source, _)| source == label))
            && several
        {
            let message =
                format!("several identity sources are of the kind {label}, and each of them finds this session");
            warnings.add(member("keys", &key_name(name)), message);
        }
    }
}

pub fn warn_of_identities(path: &str, api: &Api, has_default: bool, warnings: &mut Errors) {
    if api.use_keyless {
        return;
    }
    let others = api.identity.iter().any(|source| *source != IdentitySource::Key);
    if others && !has_default {
        let message = "default_policy is not set: identified callers without a session have no limits";
        warnings.add(member(path, "identity"), message);
    }
}
