//! Converts the tree to the model. Each file reads a group of messages.

mod address;
mod bootstrap;
mod cluster;
mod endpoints;
mod headers;
mod health;
mod listener;
mod manager;
mod matchers;
mod plugin;
mod protocol;
mod route;
mod route_action;
mod source;
mod tls;

pub(super) use bootstrap::bootstrap;

use std::collections::BTreeSet;

use super::any::Any;
use super::known::extensions;
use super::locate::Located;
use super::message::{MORE_OPEN, Message};
use super::model;
use super::node::{Node, Value};
use super::place::Place;
use super::report::hint;

/// Names to which other parts of the configuration refer.
type Names = BTreeSet<String>;

type JsonMap = serde_json::Map<String, serde_json::Value>;

/// Reads a field of the type `Struct` as JSON.
fn json(message: &Message<'_>, field: &'static str) -> JsonMap {
    message.get(field).map(|place| json_map(&place)).unwrap_or_default()
}

fn json_map(place: &Place<'_>) -> JsonMap {
    match super::to_json(place.node) {
        serde_json::Value::Object(fields) => fields,
        serde_json::Value::Null => JsonMap::new(),
        _ => place.expected("a map").unwrap_or_default(),
    }
}

/// Reads `metadata.filter_metadata` as JSON.
fn metadata(message: &Message<'_>) -> JsonMap {
    let Some(metadata) = message.message("metadata", "Metadata") else { return JsonMap::new() };
    let entries = metadata.entries("filter_metadata");
    metadata.done();
    entries.iter().map(|(name, place)| ((*name).to_owned(), json_map(place).into())).collect()
}

/// The packages of filters that refuse requests.
const GUARDS: [&str; 11] = [
    "api_key_auth",
    "basic_auth",
    "connection_limit",
    "csrf",
    "ext_authz",
    "jwt_authn",
    "local_ratelimit",
    "oauth2",
    "rate_limit_quota",
    "ratelimit",
    "rbac",
];

/// Whether Envoy has an extension of this type.
fn exists(any: &Any<'_>, point: &str) -> bool {
    extensions(point).any(|known| known == any.type_name)
}

/// Warns about an extension that the shim does not support. `None` means that Envoy does not have it either, and that
/// an error was reported.
fn other_extension(place: &Place<'_>, any: Option<&Any<'_>>, point: &str, instead: &str) -> Option<()> {
    let name = any.map_or("", |any| any.type_name.as_str());
    let known: Vec<String> = extensions(point).collect();
    if name.is_empty() {
        place.error("\"typed_config\" with its \"@type\" is missing: Envoy no longer finds the type by the name");
        None
    } else if known.iter().any(|other| other == name) {
        let package = name.strip_prefix(point).and_then(|rest| rest.split('.').nth(1)).unwrap_or_default();
        let prefix = if GUARDS.contains(&package) { MORE_OPEN } else { "" };
        place.warn(format!("{prefix}the shim does not support {name}: {instead}"));
        Some(())
    } else {
        let near = hint(name, known.iter().map(String::as_str));
        place.error(format!("no extension that can be used here has the type {name:?}{near}"));
        None
    }
}
