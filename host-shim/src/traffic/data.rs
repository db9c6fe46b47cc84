//! The data of a stream: headers, bodies, and information for properties.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::base::Headers;
use crate::config::model::{Cluster, HostAddress, Listener, Route};
use crate::state::clock::Clock;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId(pub u64);

/// A stream's headers and bodies, as its filters see them.
pub struct StreamData {
    pub request_headers: Headers,
    pub request_trailers: Option<Headers>,
    pub response_headers: Option<Headers>,
    pub response_trailers: Option<Headers>,
    pub request_body: Body,
    pub response_body: Body,
    /// Whether a filter has changed the request's headers since the route was chosen.
    pub route_is_stale: bool,
    pub info: Info,
}

/// The data of a half that is on its way through the filters.
#[derive(Default)]
pub struct Body {
    /// The data that waits at a filter. All filters share it, as they share Envoy's buffer.
    pub held: Option<Vec<u8>>,
    seen: Vec<Seen>,
}

/// The data that a filter sees.
#[derive(Clone, Default)]
pub enum Seen {
    #[default]
    Nothing,
    /// A piece that has just arrived.
    Piece(Vec<u8>),
    /// The data that waits.
    Held,
}

impl Body {
    pub fn new(filters: usize) -> Self {
        Body { held: None, seen: vec![Seen::Nothing; filters] }
    }

    /// Changes what a filter sees. Returns what it saw before.
    pub fn show(&mut self, filter: usize, seen: Seen) -> Seen {
        self.seen.get_mut(filter).map(|slot| std::mem::replace(slot, seen)).unwrap_or_default()
    }

    /// Whether a filter sees the data that waits.
    pub fn shows_held(&self, filter: usize) -> bool {
        matches!(self.seen.get(filter), Some(Seen::Held))
    }

    pub fn of(&self, filter: usize) -> Option<&[u8]> {
        match self.seen.get(filter)? {
            Seen::Nothing => None,
            Seen::Piece(piece) => Some(piece),
            Seen::Held => self.held.as_deref(),
        }
    }

    pub fn of_mut(&mut self, filter: usize) -> Option<&mut Vec<u8>> {
        match self.seen.get_mut(filter)? {
            Seen::Nothing => None,
            Seen::Piece(piece) => Some(piece),
            Seen::Held => self.held.as_mut(),
        }
    }

    /// Adds data to the data that waits.
    pub fn hold(&mut self, mut data: Vec<u8>) {
        match &mut self.held {
            Some(held) if !held.is_empty() => held.append(&mut data),
            held => *held = Some(data),
        }
    }

    pub fn held_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, Vec::len)
    }
}

/// Information about a stream, for properties.
pub struct Info {
    pub listener: Arc<Listener>,
    pub clock: Clock,
    pub connection_id: u64,
    pub source: SocketAddr,
    /// The peer of the connection, if the source was taken from a header.
    pub peer: SocketAddr,
    pub destination: SocketAddr,
    pub sni: Option<String>,
    /// "HTTP/1.0", "HTTP/1.1" or "HTTP/2".
    pub protocol: &'static str,
    /// Nanoseconds since 1970.
    pub started: u64,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub response_code: Option<u16>,
    pub details: Option<String>,
    pub flags: u64,
    pub route: Option<Arc<Route>>,
    /// The longest duration of the stream, by its route.
    pub longest: Option<Duration>,
    /// The name of the route's virtual host.
    pub virtual_host: Option<Arc<str>>,
    /// The cluster to which the request was sent.
    pub cluster: Option<Arc<Cluster>>,
    pub upstream_address: Option<HostAddress>,
    pub upstream_failure: Option<String>,
    pub request_sent: Option<u64>,
    /// The time until a connection to the upstream was chosen, in nanoseconds.
    pub pool_ready: Option<u64>,
    /// The time at which the stream ended.
    pub ended: Option<u64>,
    /// The time at which the upstream's answer was complete.
    pub response_received: Option<u64>,
    /// How often the request was sent.
    pub attempts: u32,
    /// `request_body_buffer_limit` of the route, when the request's headers have reached the router.
    pub buffer_limit: Option<u64>,
    /// The values that `proxy_set_property` stored, by path.
    pub state: HashMap<Vec<u8>, Vec<u8>>,
}

impl StreamData {
    pub fn new(request_headers: Headers, info: Info) -> Self {
        StreamData {
            request_headers,
            request_trailers: None,
            response_headers: None,
            response_trailers: None,
            request_body: Body::default(),
            response_body: Body::default(),
            route_is_stale: false,
            info,
        }
    }
}

impl Info {
    /// Makes the data of a stream that begins now.
    pub fn new(listener: Arc<Listener>, clock: &Clock, client: SocketAddr) -> Self {
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
            longest: None,
            virtual_host: None,
            cluster: None,
            upstream_address: None,
            upstream_failure: None,
            request_sent: None,
            pool_ready: None,
            ended: None,
            response_received: None,
            attempts: 0,
            buffer_limit: None,
            state: HashMap::new(),
        }
    }
}

/// The node of the configuration.
#[derive(Clone, Debug, Default)]
pub struct ProxyNode {
    pub id: String,
    pub cluster: String,
    pub metadata: serde_json::Map<String, serde_json::Value>,
}
