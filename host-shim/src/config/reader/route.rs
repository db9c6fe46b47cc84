//! Reads route configurations, virtual hosts and routes.

use std::collections::{BTreeMap, BTreeSet};

use super::matchers::{Not, route_match};
use super::model::{HeaderChanges, RetryPolicy, Route, VirtualHost};
use super::route_action::{RouteLimits, action, retry_policy, unsupported};
use super::{Message, Names, Place, headers, metadata};

/// The default of `max_direct_response_body_size_bytes`.
const MAX_BODY: u32 = 4096;

#[derive(Default)]
pub(super) struct Configuration {
    pub(super) name: String,
    pub(super) virtual_hosts: Vec<VirtualHost>,
}

pub(super) fn configuration(message: Message<'_>, clusters: &Names) -> Configuration {
    let name = message.string("name");
    let checks_clusters = message.get("validate_clusters").and_then(|place| place.bool()).unwrap_or(true);
    let max_body = message.u32("max_direct_response_body_size_bytes").unwrap_or(MAX_BODY);
    let max_body = usize::try_from(max_body).unwrap_or(usize::MAX);
    let limits = RouteLimits { clusters: checks_clusters.then_some(clusters), max_body };
    let changes = headers::changes(&message);
    let mut domains = BTreeSet::new();
    let places = message.items("virtual_hosts");
    let hosts = places.iter().filter_map(|place| virtual_host(place, &limits, &mut domains));
    let hosts = hosts.map(|host| VirtualHost { headers: joined(host.headers, &changes), ..host });
    let virtual_hosts = hosts.collect();
    message.done();
    Configuration { name, virtual_hosts }
}

/// Joins header changes. As in Envoy, the more general changes are last.
fn joined(mut own: HeaderChanges, general: &HeaderChanges) -> HeaderChanges {
    own.request_add.extend(general.request_add.iter().cloned());
    own.request_remove.extend(general.request_remove.iter().cloned());
    own.response_add.extend(general.response_add.iter().cloned());
    own.response_remove.extend(general.response_remove.iter().cloned());
    own
}

fn virtual_host(place: &Place<'_>, limits: &RouteLimits<'_>, domains: &mut BTreeSet<String>) -> Option<VirtualHost> {
    let message = place.message("VirtualHost")?;
    let name = message.required_string("name");
    let host_domains = message.items("domains");
    if host_domains.is_empty() {
        message.missing("domains");
    }
    let mut own = Vec::new();
    for place in host_domains {
        let Some(domain) = place.string().map(|domain| domain.to_lowercase()) else { continue };
        if !domains.insert(domain.clone()) {
            place.error(format!("the domain {domain:?} is already in this or another virtual host"));
        }
        own.push(domain);
    }
    let of_host = OfHost {
        switches: filter_switches(&message),
        buffer_limit: message.u32("request_body_buffer_limit").map(u64::from),
        retry_policy: retry_policy(&message).unwrap_or_default(),
    };
    let places = message.items("routes");
    let routes = places.iter().filter_map(|place| route(place, limits, &of_host)).collect();
    let headers = headers::changes(&message);
    message.done();
    Some(VirtualHost { name: name?, domains: own, routes, headers })
}

/// Whether a filter runs, by its name.
type Switches = BTreeMap<String, bool>;

/// The settings of a virtual host that its routes can replace.
struct OfHost {
    switches: Switches,
    retry_policy: RetryPolicy,
    buffer_limit: Option<u64>,
}

fn route(place: &Place<'_>, limits: &RouteLimits<'_>, host: &OfHost) -> Option<Route> {
    let message = place.message("Route")?;
    let name = message.string("name");
    let matches = message.required("match").map_or(Err(Not::Valid), |place| route_match(&place));
    let kinds = ["route", "redirect", "direct_response", "filter_action", "non_forwarding_action"];
    let found = message.required_one_of(&kinds);
    let action = found.and_then(|(kind, place)| action(kind, &place, limits, &host.retry_policy));
    let headers = headers::changes(&message);
    let metadata = metadata(&message);
    let buffer_limit = message.u32("request_body_buffer_limit").map(u64::from).or(host.buffer_limit);
    let mut switches = host.switches.clone();
    switches.extend(filter_switches(&message));
    message.done();
    let (matches, action) = match (matches, action) {
        (Ok(matches), action) => (matches, action?.unwrap_or_else(unsupported)),
        (Err(_), _) => return None,
    };
    let named = |runs: bool| {
        let names = switches.iter().filter(|(_, value)| **value == runs);
        names.map(|(name, _)| name.clone()).collect()
    };
    Some(Route {
        name,
        matches,
        action,
        headers,
        buffer_limit,
        metadata,
        disabled_filters: named(false),
        enabled_filters: named(true),
    })
}

/// Reads the parts of `typed_per_filter_config` that disable and enable filters.
fn filter_switches(message: &Message<'_>) -> Switches {
    let mut switches = Switches::new();
    for (name, place) in message.entries("typed_per_filter_config") {
        let Some(any) = place.any().and_then(super::Any::unwrapped) else { continue };
        if any.type_name != "envoy.config.route.v3.FilterConfig" {
            place.warn("the shim does not configure filters per route: ignored");
            continue;
        }
        let Some(config) = any.message("FilterConfig") else { continue };
        let is_disabled = config.bool("disabled");
        let has_config = config.get("config").is_some_and(|config| {
            let is_empty = matches!(&config.node.value, super::Value::Map(entries) if entries.is_empty());
            if !is_empty {
                config.warn("the shim does not configure filters per route: ignored");
            }
            true
        });
        let is_optional = config.bool("is_optional");
        if !is_disabled && !has_config && !is_optional {
            place.error("it has neither \"disabled\" nor \"config\"");
        }
        config.done();
        switches.insert(name.to_owned(), !is_disabled);
    }
    switches
}
