//! The filter's own requests: their URLs, headers and clusters, and the store of a fleet.

pub mod clusters;
pub mod header;
pub mod store;
pub mod target;
pub mod url;

pub use target::{basic, legal_header, target};

use super::apis::is_host;
use super::error::Errors;
use super::raw;
use crate::base::member;

/// A header's name in lower case; `None` if it is empty.
pub fn header_name(path: &str, name: &str, errors: &mut Errors) -> Option<String> {
    if name.is_empty() {
        return None;
    }
    let legal = header::name(name);
    if legal.is_none() {
        errors.add(path, format!("{name:?} is not a header name"));
    }
    legal
}

/// Reports names in `callouts.clusters` that no host can have.
pub fn check_clusters(clusters: &raw::Named<String>, errors: &mut Errors) {
    for name in clusters.keys() {
        let port = match name.rsplit_once(']') {
            Some((_, behind)) => behind.strip_prefix(':'),
            None => name.split_once(':').map(|(_, port)| port),
        };
        let host = name.strip_suffix(&port.map(|port| format!(":{port}")).unwrap_or_default()).unwrap_or_default();
        if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0))
            || host.is_empty()
            || !is_host(host)
        {
            errors.add(member("callouts.clusters", name), "is not a host, or a host and a port from 1 to 65535");
        }
    }
}
