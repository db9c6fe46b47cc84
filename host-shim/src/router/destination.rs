//! The address in a request, for clusters of the type ORIGINAL_DST.

use std::net::SocketAddr;

use crate::base::Headers;
use crate::config::model::{Cluster, Discovery};

/// Whether the request lacks the address that the cluster needs.
pub fn lacks_destination(cluster: &Cluster, headers: &Headers) -> bool {
    matches!(cluster.discovery, Discovery::OriginalDestination { .. }) && destination(cluster, headers).is_none()
}

/// Returns the address in a request, if it has one and the cluster uses it.
pub fn destination(cluster: &Cluster, headers: &Headers) -> Option<SocketAddr> {
    let Discovery::OriginalDestination { header, port } = &cluster.discovery else { return None };
    let mut address: SocketAddr = headers.get_str(header)?.parse().ok()?;
    if let Some(port) = port {
        address.set_port(*port);
    }
    Some(address)
}
