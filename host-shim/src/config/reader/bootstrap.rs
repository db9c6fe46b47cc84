//! Reads the bootstrap, except listeners and clusters.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use regex::Regex;

use super::super::report::Report;
use super::address::ip_address;
use super::model::{Bootstrap, StatsTag};
use super::{Message, Names, Node, Place, cluster, json, listener};

/// The prefix of Envoy's own tags. They need no regular expression, because Envoy has a default.
const TAGS_BEGIN: &str = "envoy.";

/// Reads the bootstrap. The result is valid only if no error was reported.
pub(in crate::config) fn bootstrap(root: &Node, report: &Report) -> Option<Bootstrap> {
    let place = Place { node: root, line: root.line, path: String::new(), report };
    if matches!(root.value, super::Value::Null) {
        place.error("the configuration is empty");
        return None;
    }
    let message = place.message("Bootstrap")?;
    let mut bootstrap = Bootstrap { admin: admin(&message), stats_tags: stats_tags(&message), ..Bootstrap::default() };
    if let Some(node) = message.message("node", "Node") {
        bootstrap.node_id = node.string("id");
        bootstrap.node_cluster = node.string("cluster");
        bootstrap.node_metadata = json(&node, "metadata");
        node.done();
    }
    if let Some(resources) = message.message("static_resources", "StaticResources") {
        let places = resources.items("clusters");
        // A route can name a cluster that has errors.
        let names: Names = places.iter().filter_map(name_of).collect();
        bootstrap.clusters = places.iter().filter_map(cluster::cluster).collect();
        report_twice(&places, "cluster");
        let places = resources.items("listeners");
        bootstrap.listeners = places.iter().filter_map(|place| listener::listener(place, &names)).collect();
        report_same_address(&places, &bootstrap);
        resources.done();
    }
    for service in message.items("bootstrap_extensions") {
        service.warn("the shim does not run bootstrap extensions, and so no wasm services: skipped");
    }
    message.done();
    if bootstrap.listeners.is_empty() {
        report.warn(
            root.line,
            "static_resources.listeners",
            "nothing is served: there is no listener, or all are skipped",
        );
    }
    Some(bootstrap)
}

fn admin(message: &Message<'_>) -> Option<SocketAddr> {
    let admin = message.message("admin", "Admin")?;
    let address = admin.get("address").and_then(|place| ip_address(&place));
    admin.done();
    address
}

fn stats_tags(message: &Message<'_>) -> Vec<StatsTag> {
    let Some(config) = message.message("stats_config", "StatsConfig") else { return Vec::new() };
    let tags = config.messages("stats_tags", "TagSpecifier");
    config.done();
    tags.into_iter().filter_map(stats_tag).collect()
}

fn stats_tag(tag: Message<'_>) -> Option<StatsTag> {
    let name = tag.required_string("tag_name");
    let rule = tag.one_of(&["regex", "fixed_value"]);
    let place = tag.place.clone();
    tag.done();
    let name = name?;
    match rule {
        Some(("regex", place)) => {
            let pattern = place.string()?;
            match Regex::new(&pattern) {
                Ok(regex) => Some(StatsTag { name, regex }),
                Err(_) if ["(?=", "(?!", "\\1", "\\2"].iter().any(|part| pattern.contains(part)) => {
                    place.warn("the shim's regular expressions support neither lookahead nor back references: skipped");
                    None
                }
                Err(error) => {
                    place.error(format!("not a regular expression: {}", reason(&error)));
                    None
                }
            }
        }
        Some((_, place)) => {
            place.warn("the shim does not support tags with a fixed value: skipped");
            None
        }
        None if name.starts_with(TAGS_BEGIN) => {
            place.warn("the shim does not support Envoy's default tags: skipped");
            None
        }
        None => {
            place.error("\"regex\" is missing, and Envoy has no default for this name");
            None
        }
    }
}

/// Returns the last line of the error of a regular expression. The lines before it only show the position.
pub(super) fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

fn name_of(place: &Place<'_>) -> Option<String> {
    match &place.node.entry("name")?.1.value {
        super::Value::String(name) => Some(name.clone()),
        _ => None,
    }
}

fn report_twice(places: &[Place<'_>], what: &str) {
    let mut first: BTreeMap<String, &Place<'_>> = BTreeMap::new();
    for place in places {
        let Some(name) = name_of(place) else { continue };
        if let Some(other) = first.get(&name) {
            place.error(format!("another {what} on line {} has the name {name:?}", other.line));
        } else {
            first.insert(name, place);
        }
    }
}

fn report_same_address(places: &[Place<'_>], bootstrap: &Bootstrap) {
    let mut seen = Vec::new();
    for listener in &bootstrap.listeners {
        if listener.address.port() != 0 && bootstrap.admin == Some(listener.address) {
            let place = places.iter().find(|place| name_of(place).unwrap_or_default() == listener.name);
            if let Some(place) = place {
                place.error(format!("the admin interface also has the address {}", listener.address));
            }
        }
        if listener.address.port() != 0 && seen.contains(&listener.address) {
            let place = places.iter().rev().find(|place| name_of(place).unwrap_or_default() == listener.name);
            if let Some(place) = place {
                place.error(format!("another listener also has the address {}", listener.address));
            }
        }
        seen.push(listener.address);
    }
}
