//! The headers that describe the origin of a request, and the headers that a client must not send.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::OnceLock;

use crate::base::{Headers, MapKind};
use crate::config::model::ConnectionManager;

/// Envoy accepts these headers only from internal clients.
const INTERNAL: [&str; 15] = [
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-force-trace",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-ip-tags",
    "x-envoy-max-retries",
    "x-envoy-original-url",
    "x-envoy-retriable-header-names",
    "x-envoy-retriable-status-codes",
    "x-envoy-retry-grpc-on",
    "x-envoy-retry-on",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-stream-duration-ms",
];

/// At the edge, only Envoy sets these headers.
const OF_THE_EDGE: [&str; 5] = [
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-original-host",
    "x-envoy-original-path",
];

/// Changes the headers of a request from a peer like the connection manager. Returns the client's address.
pub(super) fn note(headers: &mut Headers, manager: &ConnectionManager, peer: SocketAddr, is_tls: bool) -> SocketAddr {
    let list = headers.get_str("x-forwarded-for").unwrap_or_default().to_owned();
    let trusted = usize::try_from(manager.xff_num_trusted_hops).unwrap_or(usize::MAX);
    let is_first = manager.use_remote_address;
    let found = match (is_first, trusted) {
        (true, 0) => Some(peer),
        (true, hops) => Some(from_end(&list, hops).unwrap_or(peer)),
        (false, hops) => from_end(&list, hops.saturating_add(1)),
    };
    let has_one_address = if is_first { headers.get("x-forwarded-for").is_none() } else { !list.contains(',') };
    let is_internal = has_one_address && found.is_some_and(|found| manager.is_internal(found.ip()));
    let source = found.unwrap_or(peer);
    let is_edge = is_first && !is_internal;
    // The default of `forward_client_cert_details` is SANITIZE.
    for name in ["x-envoy-internal", "x-forwarded-client-cert"] {
        headers.remove(name);
    }
    if is_first && !manager.skip_xff_append {
        // Envoy uses the address of the machine instead of the loopback address.
        let address = if peer.ip().is_loopback() { own_address() } else { peer.ip() };
        headers.append(MapKind::Request, b"x-forwarded-for", address.to_string().as_bytes());
    }
    if headers.get("x-forwarded-proto").is_none() || (is_first && trusted == 0) {
        headers.set_in_place("x-forwarded-proto", if is_tls { "https" } else { "http" });
    }
    if is_internal {
        headers.set("x-envoy-internal", "true");
    } else {
        remove_internal(headers, is_edge);
    }
    if is_edge {
        headers.set_in_place("x-envoy-external-address", source.ip().to_string());
    }
    let replaces_id = is_edge && !manager.preserve_request_id;
    if manager.generate_request_id && (replaces_id || headers.get("x-request-id").is_none_or(<[u8]>::is_empty)) {
        headers.set_in_place("x-request-id", request_id());
    }
    set_scheme(headers, is_tls);
    source
}

fn remove_internal(headers: &mut Headers, is_edge: bool) {
    for name in INTERNAL.iter().chain(if is_edge { OF_THE_EDGE.as_slice() } else { &[] }) {
        headers.remove(name);
    }
}

/// If the request line has no scheme, the scheme is that of `x-forwarded-proto`, or that of the connection.
fn set_scheme(headers: &mut Headers, is_tls: bool) {
    if headers.get(":scheme").is_some() {
        return;
    }
    let forwarded = headers.get_str("x-forwarded-proto").unwrap_or_default().to_ascii_lowercase();
    let scheme = match forwarded.as_str() {
        "https" => "https",
        "http" => "http",
        _ if is_tls => "https",
        _ => "http",
    };
    headers.add(":scheme", scheme);
}

/// Returns an address of a list, counted from the end.
fn from_end(list: &str, hop: usize) -> Option<SocketAddr> {
    let hops: Vec<&str> = list.split(',').map(str::trim).filter(|hop| !hop.is_empty()).collect();
    let ip = hops.get(hops.len().checked_sub(hop)?)?.parse().ok()?;
    Some(SocketAddr::new(ip, 0))
}

/// Finds the address of the machine for outgoing connections, without sending anything.
fn own_address() -> IpAddr {
    static ADDRESS: OnceLock<IpAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
        let local = socket.and_then(|socket| socket.connect((Ipv4Addr::new(198, 51, 100, 1), 9)).map(|()| socket));
        local.and_then(|socket| socket.local_addr()).map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip())
    })
}

fn request_id() -> String {
    let mut bytes = [0; 16];
    // Without randomness, all ids are the same, but requests still work.
    let _ = getrandom::fill(&mut bytes);
    let mut number = u128::from_be_bytes(bytes);
    number = number & !(0xf << 76) | (4 << 76);
    number = number & !(3 << 62) | (2 << 62);
    let hex = format!("{number:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
