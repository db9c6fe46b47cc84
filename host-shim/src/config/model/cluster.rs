//! Clusters.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::HealthCheck;

/// A cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// How the cluster finds its hosts.
    pub discovery: Discovery,
    /// `dns_lookup_family`.
    pub dns_family: DnsFamily,
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
    /// `upstream_config` is the TCP connection pool: bodies go raw over TCP, one connection for each request.
    pub tcp_pool: bool,
    /// `max_requests_per_connection` is 1: no connection is used again.
    pub one_request_per_connection: bool,
    /// `idle_timeout`, after which a connection without requests closes. Zero means never. The default is 1 h.
    pub idle_timeout: Duration,
    /// `max_stream_duration` of the protocol options. Zero means no limit.
    pub max_stream_duration: Duration,
    /// The only one of `health_checks`.
    pub health_check: Option<HealthCheck>,
    /// `healthy_panic_threshold`, in per cent: with fewer healthy hosts, all hosts are used. The default is 50.
    pub panic_threshold: u32,
    /// `metadata.filter_metadata`, as JSON.
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

/// How a cluster finds its hosts.
#[derive(Clone, Debug)]
pub enum Discovery {
    /// STATIC: fixed addresses.
    Static(Vec<HostAddress>),
    /// STRICT_DNS: every address of every name, by round robin.
    StrictDns(Vec<HostPort>),
    /// LOGICAL_DNS: the first address of one name.
    LogicalDns(HostPort),
    /// A dynamic forward proxy: the host is the request's `:authority`.
    DynamicForwardProxy,
    /// ORIGINAL_DST with `use_http_header`: a header of the request has the address.
    OriginalDestination {
        /// The name of the header, in lower case.
        header: String,
        /// `upstream_port_override`.
        port: Option<u16>,
    },
}

/// The address of a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostAddress {
    /// An IP address with a port.
    Ip(SocketAddr),
    /// The path of a Unix socket.
    Pipe(PathBuf),
}

impl HostAddress {
    /// The IP address with its port, unless the host is a Unix socket.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            HostAddress::Ip(address) => Some(*address),
            HostAddress::Pipe(_) => None,
        }
    }
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostAddress::Ip(address) => address.fmt(f),
            HostAddress::Pipe(path) => path.display().fmt(f),
        }
    }
}

/// The addresses of a name that are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DnsFamily {
    /// IPv4, or IPv6 if there is no IPv4. Envoy's AUTO prefers IPv6 if the machine has it.
    #[default]
    V4Preferred,
    /// IPv4.
    V4Only,
    /// IPv6.
    V6Only,
    /// Both.
    All,
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
