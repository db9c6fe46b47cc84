//! Clusters.

use std::net::SocketAddr;
use std::time::Duration;

/// A cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// How its hosts are found.
    pub discovery: Discovery,
    /// `connect_timeout`, 5 s unless given.
    pub connect_timeout: Duration,
    /// TLS to its hosts.
    pub tls: Option<UpstreamTls>,
    /// HTTP/2 (prior knowledge, or ALPN `h2`) instead of HTTP/1.1.
    pub http2: bool,
    /// `enable_trailers` of HTTP/1.1's options: trailers of responses are not dropped.
    pub trailers: bool,
    /// `circuit_breakers`, default priority: `max_requests`, `max_pending_requests`; 1024 unless given.
    pub max_requests: u32,
    /// See `max_requests`.
    pub max_pending_requests: u32,
    /// `metadata.filter_metadata`, as JSON.
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

/// How a cluster's hosts are found.
#[derive(Clone, Debug)]
pub enum Discovery {
    /// STATIC: addresses.
    Static(Vec<SocketAddr>),
    /// STRICT_DNS: every address of every name, taken in turns.
    StrictDns(Vec<HostPort>),
    /// LOGICAL_DNS: the first address of the one name.
    LogicalDns(HostPort),
    /// The host is the request's `:authority`.
    DynamicForwardProxy,
}

/// A DNS name or address with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// The name.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// `UpstreamTlsContext`.
#[derive(Clone, Debug)]
pub struct UpstreamTls {
    /// `sni`.
    pub sni: Option<String>,
    /// `auto_sni` of the protocol options.
    pub auto_sni: bool,
    /// `auto_san_validation` of the protocol options.
    pub auto_san_validation: bool,
    /// Whom to trust.
    pub roots: TrustedRoots,
}

/// Whom a TLS client trusts.
#[derive(Clone, Debug)]
pub enum TrustedRoots {
    /// No `validation_context`: anyone, as Envoy does.
    Anyone,
    /// `system_root_certs`.
    System,
    /// `trusted_ca`, PEM.
    Pem(Vec<u8>),
}
