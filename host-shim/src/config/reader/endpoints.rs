//! Reads the hosts of clusters.

use super::address::{Given, address, to_ip};
use super::model::{Discovery, HostAddress, HostPort};
use super::{Message, Place};

pub(super) enum Kind {
    Static,
    StrictDns,
    LogicalDns,
    ForwardProxy {
        /// Whether certificates may be unchecked.
        is_insecure_allowed: bool,
    },
    /// ORIGINAL_DST. Without a header, the shim finds no hosts.
    OriginalDestination(Option<OriginalDestination>),
    /// A type that the shim does not support.
    Unsupported,
}

/// The settings of a cluster whose requests name their hosts.
pub(super) struct OriginalDestination {
    pub(super) header: String,
    pub(super) port: Option<u16>,
}

pub(super) fn discovery(cluster: &Message<'_>, kind: Option<Kind>) -> Option<Discovery> {
    let assignment = cluster.get("load_assignment");
    let localities = assignment.as_ref().map(localities).unwrap_or_default();
    let groups: Vec<Vec<_>> = localities.into_iter().map(|places| endpoints(&places, kind.as_ref())).collect();
    match kind? {
        Kind::Static => {
            let advice = "; for names, use the type STRICT_DNS or LOGICAL_DNS";
            let hosts = groups.iter().flatten();
            let hosts = hosts.filter_map(|(place, host)| match host.as_ref()? {
                Given::Socket(host) => to_ip(place, host, advice).map(HostAddress::Ip),
                Given::Pipe(path) => Some(HostAddress::Pipe(path.clone())),
            });
            Some(Discovery::Static(hosts.collect()))
        }
        Kind::StrictDns => {
            let hosts = groups.into_iter().flatten();
            Some(Discovery::StrictDns(hosts.filter_map(|(place, host)| name(&place, host?)).collect()))
        }
        Kind::LogicalDns => {
            let place = assignment.as_ref().unwrap_or(&cluster.place);
            match groups.as_slice() {
                [hosts] => match hosts.as_slice() {
                    [(_, Some(Given::Socket(host)))] => return Some(Discovery::LogicalDns(host.clone())),
                    [_] => return Some(Discovery::Static(Vec::new())),
                    _ => place.error("LOGICAL_DNS needs exactly one endpoint"),
                },
                _ => place.error("LOGICAL_DNS needs exactly one locality with one endpoint"),
            }
            None
        }
        Kind::ForwardProxy { .. } => Some(Discovery::DynamicForwardProxy),
        Kind::OriginalDestination(original) => {
            if let Some(place) = assignment {
                place.error("the hosts of an ORIGINAL_DST cluster are in its requests: remove this");
            }
            Some(match original {
                Some(OriginalDestination { header, port }) => Discovery::OriginalDestination { header, port },
                None => Discovery::Static(Vec::new()),
            })
        }
        Kind::Unsupported => Some(Discovery::Static(Vec::new())),
    }
}

/// Returns the name of a host that DNS resolves.
fn name(place: &Place<'_>, given: Given) -> Option<HostPort> {
    match given {
        Given::Socket(host) => Some(host),
        Given::Pipe(_) => {
            place.warn("a pipe needs a cluster of the type STATIC: the host is skipped");
            None
        }
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
        locality.done();
        endpoints
    });
    endpoints.collect()
}

/// Reads each endpoint, with its address if it is valid.
fn endpoints<'a>(places: &[Place<'a>], kind: Option<&Kind>) -> Vec<(Place<'a>, Option<Given>)> {
    let read = |place: &Place<'a>| {
        let Some(message) = place.message("LbEndpoint") else { return (place.clone(), None) };
        let found = message.one_of(&["endpoint", "endpoint_name"]);
        message.done();
        let endpoint = found.and_then(|(_, place)| place.message("Endpoint"));
        let given = endpoint.as_ref().and_then(|endpoint| endpoint.get("address"));
        if let Some(endpoint) = endpoint {
            endpoint.done();
        }
        match (given, kind) {
            (Some(place), _) => {
                let given = address(&place);
                return (place, given);
            }
            (None, Some(Kind::Static)) => place.error("its address is missing"),
            (None, _) => place.warn("its address is missing: skipped"),
        }
        (place.clone(), None)
    };
    places.iter().map(read).collect()
}
