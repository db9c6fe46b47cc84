//! Clusters.

use std::net::SocketAddr;
use std::time::Duration;

/// A cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// How the cluster finds its hosts.
    pub discovery: Discovery,
    /// `connect_timeout`. The default is 5 s.
    pub connect_timeout: Duration,
    /// TLS for connections to its hosts.
    pub tls: Option<UpstreamTls>,
    /// Whether to use HTTP/2 (with prior knowledge, or ALPN `h2`) instead of HTTP/1.1.
    pub http2: bool,
    /// `enable_trailers` of the HTTP/1.1 options: the cluster keeps the trailers of responses.
    pub trailers: bool,
    /// `max_requests` of `circuit_breakers` for the default priority. The default is 1024.
    pub max_requests: u32,
    /// `max_pending_requests`, like `max_requests`.
    pub max_pending_requests: u32,
    /// `metadata.filter_metadata`, as JSON.
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

/// How a cluster finds its hosts.
#[derive(Clone, Debug)]
pub enum Discovery {
    /// STATIC: fixed addresses.
    Static(Vec<SocketAddr>),
    /// STRICT_DNS: every address of every name, by round robin.
    StrictDns(Vec<HostPort>),
    /// LOGICAL_DNS: the first address of one name.
    LogicalDns(HostPort),
    /// A dynamic forward proxy: the host is the request's `:authority`.
    DynamicForwardProxy,
}

/// A DNS name or address with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// The name or address.
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
    /// The certificates that the client trusts.
    pub roots: TrustedRoots,
}

/// The certificates that a TLS client trusts.
#[derive(Clone, Debug)]
pub enum TrustedRoots {
    /// All certificates: without a `validation_context`, Envoy does not check them.
    Anyone,
    /// `system_root_certs`.
    System,
    /// `trusted_ca`, PEM.
    Pem(Vec<u8>),
}
