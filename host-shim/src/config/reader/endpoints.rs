//! Reads the hosts of clusters.

use super::address::{host_port, to_ip};
use super::model::{Discovery, HostPort};
use super::{Message, Place};

pub(super) enum Kind {
    Static,
    StrictDns,
    LogicalDns,
    ForwardProxy {
        /// Whether certificates may be unchecked.
        is_insecure_allowed: bool,
    },
    /// A type that the shim does not support.
    Unsupported,
}

pub(super) fn discovery(cluster: &Message<'_>, kind: Option<&Kind>) -> Option<Discovery> {
    let assignment = cluster.get("load_assignment");
    let localities = assignment.as_ref().map(localities).unwrap_or_default();
    let groups: Vec<Vec<_>> = localities.into_iter().map(|places| endpoints(&places, kind)).collect();
    match kind? {
        Kind::Static => {
            let advice = "; for names, use the type STRICT_DNS or LOGICAL_DNS";
            let hosts = groups.iter().flatten();
            let hosts = hosts.filter_map(|(place, host)| to_ip(place, host.as_ref()?, advice));
            Some(Discovery::Static(hosts.collect()))
        }
        Kind::StrictDns => {
            Some(Discovery::StrictDns(groups.into_iter().flatten().filter_map(|(_, host)| host).collect()))
        }
        Kind::LogicalDns => {
            let place = assignment.as_ref().unwrap_or(&cluster.place);
            match groups.as_slice() {
                [hosts] => match hosts.as_slice() {
                    [(_, Some(host))] => return Some(Discovery::LogicalDns(host.clone())),
                    [_] => return Some(Discovery::Static(Vec::new())),
                    _ => place.error("LOGICAL_DNS needs exactly one endpoint"),
                },
                _ => place.error("LOGICAL_DNS needs exactly one locality with one endpoint"),
            }
            None
        }
        Kind::ForwardProxy { .. } => Some(Discovery::DynamicForwardProxy),
        Kind::Unsupported => Some(Discovery::Static(Vec::new())),
    }
}

/// Returns the `lb_endpoints` of each locality.
fn localities<'a>(place: &Place<'a>) -> Vec<Vec<Place<'a>>> {
    let Some(assignment) = place.message("ClusterLoadAssignment") else { return Vec::new() };
    assignment.required_string("cluster_name");
    let localities = assignment.messages("endpoints", "LocalityLbEndpoints");
    assignment.done();
    let endpoints = localities.into_iter().map(|locality| {
        let endpoints = locality.items("lb_endpoints");
        locality.done_but(&["locality"]);
        endpoints
    });
    endpoints.collect()
}

/// Reads each endpoint, with its address if it is valid.
fn endpoints<'a>(places: &[Place<'a>], kind: Option<&Kind>) -> Vec<(Place<'a>, Option<HostPort>)> {
    let read = |place: &Place<'a>| {
        let Some(message) = place.message("LbEndpoint") else { return (place.clone(), None) };
        let found = message.one_of(&["endpoint", "endpoint_name"]);
        message.done_but(&["metadata"]);
        let endpoint = found.and_then(|(_, place)| place.message("Endpoint"));
        let address = endpoint.as_ref().and_then(|endpoint| endpoint.get("address"));
        if let Some(endpoint) = endpoint {
            endpoint.done_but(&["health_check_config"]);
        }
        match (address, kind) {
            (Some(address), _) => {
                let host = host_port(&address);
                return (address, host);
            }
            (None, Some(Kind::Static)) => place.error("its address is missing"),
            (None, _) => place.warn("its address is missing: skipped"),
        }
        (place.clone(), None)
    };
    places.iter().map(read).collect()
}
