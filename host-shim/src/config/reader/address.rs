//! Reads addresses.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::Place;
use super::model::HostPort;

/// An `Address` as it is given.
pub(super) enum Given {
    Socket(HostPort),
    /// The path of a Unix socket.
    Pipe(PathBuf),
}

/// Reads an `Address`. `None` means that an error or a warning was reported.
pub(super) fn address(place: &Place<'_>) -> Option<Given> {
    let address = place.message("Address")?;
    let found = address.required_one_of(&["socket_address", "pipe", "envoy_internal_address"]);
    address.done();
    match found? {
        ("socket_address", place) => socket(&place).map(Given::Socket),
        ("pipe", place) => {
            let pipe = place.message("Pipe")?;
            let path = pipe.required_string("path");
            pipe.done();
            path.map(|path| Given::Pipe(path.into()))
        }
        (_, place) => {
            place.warn("the shim has no internal listeners: whatever has this address is skipped");
            None
        }
    }
}

/// Reads an `Address` with a name or an IP address. `None` means that an error or a warning was reported.
pub(super) fn host_port(place: &Place<'_>) -> Option<HostPort> {
    match address(place)? {
        Given::Socket(host) => Some(host),
        Given::Pipe(_) => {
            place.warn("the shim supports only IP sockets here: whatever has this address is skipped");
            None
        }
    }
}

fn socket(place: &Place<'_>) -> Option<HostPort> {
    let socket = place.message("SocketAddress")?;
    let host = socket.required_string("address");
    let port = socket.one_of(&["port_value", "named_port"]);
    let is_udp = socket.choice("protocol", &["TCP", "UDP"]) == 1;
    if port.is_none() {
        socket.missing("port_value");
    }
    socket.done();
    if is_udp {
        place.warn("the shim supports only TCP sockets: whatever has this address is skipped");
        return None;
    }
    let port = match port? {
        ("port_value", place) => place.port()?,
        (_, place) => {
            place.error("a named port cannot be used: use port_value");
            return None;
        }
    };
    Some(HostPort { host: host?, port })
}

/// Reads an `Address` that must be an IP address.
pub(super) fn ip_address(place: &Place<'_>) -> Option<SocketAddr> {
    to_ip(place, &host_port(place)?, "")
}

/// Converts an address to an IP address. An error ends with `advice`.
pub(super) fn to_ip(place: &Place<'_>, address: &HostPort, advice: &str) -> Option<SocketAddr> {
    match address.host.parse::<IpAddr>() {
        Ok(ip) => Some(SocketAddr::new(ip, address.port)),
        Err(_) => {
            place.error(format!("malformed IP address: {:?}{advice}", address.host));
            None
        }
    }
}
