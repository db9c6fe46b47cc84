//! What passes through a stream: headers, bodies, and what is known of it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::model::{Cluster, Listener, Route};
use crate::headers::Headers;
use crate::state::clock::Clock;

/// A stream's headers and bodies, as its filters see them.
pub(crate) struct StreamData {
    pub(crate) request_headers: Headers,
    pub(crate) request_trailers: Option<Headers>,
    pub(crate) response_headers: Option<Headers>,
    pub(crate) response_trailers: Option<Headers>,
    /// What each filter holds of the request's body, or is shown of it.
    pub(crate) request_bodies: Vec<Option<Vec<u8>>>,
    /// The same of the response's.
    pub(crate) response_bodies: Vec<Option<Vec<u8>>>,
    /// A filter has changed the request's headers since the route was chosen.
    pub(crate) route_is_stale: bool,
    pub(crate) info: Info,
}

/// What is known of a stream, for properties.
pub(crate) struct Info {
    pub(crate) listener: Arc<Listener>,
    pub(crate) clock: Clock,
    pub(crate) connection_id: u64,
    pub(crate) source: SocketAddr,
    /// The peer of the connection, where the source was taken from a header.
    pub(crate) peer: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) sni: Option<String>,
    /// "HTTP/1.1" or "HTTP/2".
    pub(crate) protocol: &'static str,
    /// Nanoseconds since 1970.
    pub(crate) started: u64,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    pub(crate) response_code: Option<u16>,
    pub(crate) details: Option<String>,
    pub(crate) flags: u64,
    pub(crate) route: Option<Arc<Route>>,
    /// The name of the route's virtual host.
    pub(crate) virtual_host: Option<Arc<str>>,
    /// The cluster that the request was sent to.
    pub(crate) cluster: Option<Arc<Cluster>>,
    pub(crate) upstream_address: Option<SocketAddr>,
    pub(crate) upstream_failure: Option<String>,
    pub(crate) request_sent: Option<u64>,
    /// What `proxy_set_property` stored, by path.
    pub(crate) state: HashMap<Vec<u8>, Vec<u8>>,
}

impl StreamData {
    pub(crate) fn new(request_headers: Headers, info: Info) -> Self {
        StreamData {
            request_headers,
            request_trailers: None,
            response_headers: None,
            response_trailers: None,
            request_bodies: Vec::new(),
            response_bodies: Vec::new(),
            route_is_stale: false,
            info,
        }
    }
}

impl Info {
    /// A stream that begins now.
    pub(crate) fn new(listener: Arc<Listener>, clock: &Clock, client: SocketAddr) -> Self {
        static CONNECTIONS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        Info {
            destination: listener.address,
            listener,
            clock: clock.clone(),
            connection_id: CONNECTIONS.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            source: client,
            peer: client,
            sni: None,
            protocol: "HTTP/1.1",
            started: clock.now(),
            request_bytes: 0,
            response_bytes: 0,
            response_code: None,
            details: None,
            flags: 0,
            route: None,
            virtual_host: None,
            cluster: None,
            upstream_address: None,
            upstream_failure: None,
            request_sent: None,
            state: HashMap::new(),
        }
    }
}

/// The node that the configuration describes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) cluster: String,
    pub(crate) metadata: serde_json::Map<String, serde_json::Value>,
}

/// Envoy's response flags, as bits of `response.flags`.
pub(crate) mod flags {
    pub(crate) const NO_HEALTHY_UPSTREAM: u64 = 0x2;
    pub(crate) const UPSTREAM_REQUEST_TIMEOUT: u64 = 0x4;
    pub(crate) const UPSTREAM_REMOTE_RESET: u64 = 0x10;
    pub(crate) const UPSTREAM_CONNECTION_FAILURE: u64 = 0x20;
    pub(crate) const UPSTREAM_CONNECTION_TERMINATION: u64 = 0x40;
    pub(crate) const UPSTREAM_PROTOCOL_ERROR: u64 = 0x80_0000;
    pub(crate) const UPSTREAM_OVERFLOW: u64 = 0x80;
    pub(crate) const NO_ROUTE_FOUND: u64 = 0x100;
    pub(crate) const DOWNSTREAM_CONNECTION_TERMINATION: u64 = 0x4000;
    pub(crate) const STREAM_IDLE_TIMEOUT: u64 = 0x1_0000;
    pub(crate) const DOWNSTREAM_PROTOCOL_ERROR: u64 = 0x4_0000;
    pub(crate) const NO_CLUSTER_FOUND: u64 = 0x1000_0000;
}
