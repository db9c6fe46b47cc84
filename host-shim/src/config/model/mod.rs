//! The part of an Envoy configuration that the shim supports, after all checks.
//!
//! Names are Envoy's. The reader warns about a field that these types do not have.

mod cluster;
mod health;
mod plugin;
mod route;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use cluster::{Cluster, Discovery, DnsFamily, HostAddress, HostPort, TrustedRoots, UpstreamTls};
pub use health::{HealthCheck, HealthProbe, HttpProbe};
pub use plugin::{Code, FailurePolicy, Plugin, VmConfig, WasmFilter};
pub use route::{
    AppendAction, Forward, HeaderChanges, HeaderMatch, HeaderToAdd, PathMatch, QueryMatch, Redirect, RetryPolicy,
    Route, RouteAction, RouteMatch, StreamDuration, ValueMatch, VirtualHost,
};

/// The bootstrap.
#[derive(Clone, Debug, Default)]
pub struct Bootstrap {
    /// `node.id`. The default is empty.
    pub node_id: String,
    /// `node.cluster`. The default is empty.
    pub node_cluster: String,
    /// `node.metadata`, as JSON.
    pub node_metadata: serde_json::Map<String, serde_json::Value>,
    /// The address of the admin interface.
    pub admin: Option<SocketAddr>,
    /// `stats_config.stats_tags` in their order.
    pub stats_tags: Vec<StatsTag>,
    /// The static listeners.
    pub listeners: Vec<Listener>,
    /// The static clusters.
    pub clusters: Vec<Cluster>,
}

/// A rule that makes a tag from a part of a statistic's name.
#[derive(Clone, Debug)]
pub struct StatsTag {
    /// The tag's name.
    pub name: String,
    /// The first group is removed from the name. The second group, or the first if there is no second, is the value.
    pub regex: regex::Regex,
}

/// A listener with one HTTP connection manager.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The name. The default is empty.
    pub name: String,
    /// The address on which it listens.
    pub address: SocketAddr,
    /// `traffic_direction`: 0 unspecified, 1 inbound, 2 outbound.
    pub direction: u8,
    /// `metadata.filter_metadata`, as JSON.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// The certificate and the key, if the listener uses TLS.
    pub tls: Option<DownstreamTls>,
    /// `per_connection_buffer_limit_bytes`: the part of a body that a filter can hold. Zero means no limit. The default
    /// is 1 MiB.
    pub buffer_limit: u64,
    /// The connection manager.
    pub manager: ConnectionManager,
}

/// A server's certificate.
#[derive(Clone, Debug)]
pub struct DownstreamTls {
    /// The certificate chain in PEM format.
    pub certificate_chain: Vec<u8>,
    /// The private key in PEM format. It is never shown.
    pub private_key: Secret,
    /// `alpn_protocols`, in their order.
    pub alpn: Vec<String>,
}

/// Bytes that `Debug` does not show.
#[derive(Clone)]
pub struct Secret(pub Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// An HTTP connection manager.
#[derive(Clone, Debug)]
pub struct ConnectionManager {
    /// `stat_prefix`.
    pub stat_prefix: String,
    /// `normalize_path`: RFC 3986 normalization.
    pub normalize_path: bool,
    /// `merge_slashes`.
    pub merge_slashes: bool,
    /// `path_with_escaped_slashes_action`.
    pub escaped_slashes: EscapedSlashes,
    /// `use_remote_address`: the client's address is the address of the peer, and is appended to `x-forwarded-for`.
    pub use_remote_address: bool,
    /// `skip_xff_append`.
    pub skip_xff_append: bool,
    /// `internal_address_config.cidr_ranges`: the networks of internal clients, with the lengths of their prefixes.
    pub internal_networks: Vec<(IpAddr, u32)>,
    /// `generate_request_id`. The default is true.
    pub generate_request_id: bool,
    /// `preserve_external_request_id`.
    pub preserve_request_id: bool,
    /// `always_set_request_id_in_response`.
    pub responds_request_id: bool,
    /// `request_timeout`: the maximum time until a request is complete. Zero means no timeout.
    pub request_timeout: Duration,
    /// The router's `suppress_envoy_headers`.
    pub suppress_envoy_headers: bool,
    /// `http_protocol_options`.
    pub http1: Http1,
    /// `upgrade_configs`: protocols in lower case, and whether clients can ask for them.
    pub upgrades: Vec<(String, bool)>,
    /// `max_stream_duration` of `common_http_protocol_options`. Zero means no limit.
    pub max_stream_duration: Duration,
    /// `xff_num_trusted_hops`.
    pub xff_num_trusted_hops: u32,
    /// `server_name`. The default is `envoy`.
    pub server_name: String,
    /// The name of the route configuration.
    pub route_config_name: String,
    /// `route_config.virtual_hosts`.
    pub virtual_hosts: Vec<VirtualHost>,
    /// The wasm filters before the router, in their order.
    pub filters: Vec<WasmFilter>,
    /// `stream_idle_timeout`. Zero means no timeout. The default is 5 minutes.
    pub stream_idle_timeout: Duration,
}

impl ConnectionManager {
    /// Whether an address belongs to an internal client.
    pub fn is_internal(&self, address: IpAddr) -> bool {
        self.internal_networks.iter().any(|(network, length)| match (network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32_u32.saturating_sub(*length);
                network.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128_u32.saturating_sub(*length);
                network.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
            }
            _ => false,
        })
    }
}

/// `Http1ProtocolOptions` of a listener.
#[derive(Clone, Debug, Default)]
pub struct Http1 {
    /// `enable_trailers`: the listener keeps the trailers of HTTP/1.1 requests.
    pub trailers: bool,
    /// `accept_http_10`.
    pub accepts_http10: bool,
    /// `default_host_for_http_10`: the host of HTTP/1.0 requests that name none. Empty means that they are refused.
    pub default_host: String,
}

/// What happens to `%2F` and `%5C` in a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EscapedSlashes {
    /// They stay the same.
    #[default]
    KeepUnchanged,
    /// The answer is 400.
    RejectRequest,
    /// The answer is 307 with the unescaped path.
    UnescapeAndRedirect,
    /// They are replaced by slashes.
    UnescapeAndForward,
}
