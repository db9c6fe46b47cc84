//! What the shim runs of an Envoy configuration, checked.
//!
//! Names are Envoy's. Each type says what it leaves out by not having it: the reader warns of what is not here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::Located;
use super::node::Node;

/// The bootstrap.
#[derive(Clone, Debug, Default)]
pub struct Bootstrap {
    /// `node.id`, empty if not given.
    pub node_id: String,
    /// `node.cluster`, empty if not given.
    pub node_cluster: String,
    /// `node.metadata`, as JSON.
    pub node_metadata: serde_json::Map<String, serde_json::Value>,
    /// Where the admin interface listens.
    pub admin: Option<SocketAddr>,
    /// `stats_config.stats_tags` in their order.
    pub stats_tags: Vec<StatsTag>,
    /// The static listeners.
    pub listeners: Vec<Listener>,
    /// The static clusters.
    pub clusters: Vec<Cluster>,
}

/// A rule that makes a tag of a part of a statistic's name.
#[derive(Clone, Debug)]
pub struct StatsTag {
    /// The tag's name.
    pub name: String,
    /// Its first group is cut out of the name, its second (or else the first) is the value.
    pub regex: regex::Regex,
}

/// A listener with one HTTP connection manager.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name, empty if not given.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// `traffic_direction`: 0 unspecified, 1 inbound, 2 outbound.
    pub direction: u8,
    /// `metadata.filter_metadata`, as JSON.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// The certificate and key, where the listener speaks TLS.
    pub tls: Option<DownstreamTls>,
    /// What handles its connections.
    pub manager: ConnectionManager,
}

/// A server's certificate.
#[derive(Clone, Debug)]
pub struct DownstreamTls {
    /// The chain, PEM.
    pub certificate_chain: Vec<u8>,
    /// The key, PEM. Never shown.
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
    /// `use_remote_address`: the client's address is the peer's, and `x-forwarded-for` is extended with it.
    pub use_remote_address: bool,
    /// `generate_request_id`, true unless given.
    pub generate_request_id: bool,
    /// The router's `suppress_envoy_headers`.
    pub suppress_envoy_headers: bool,
    /// `http_protocol_options.enable_trailers`: trailers of HTTP/1.1 requests are not dropped.
    pub trailers: bool,
    /// `xff_num_trusted_hops`.
    pub xff_num_trusted_hops: u32,
    /// `server_name`; Envoy's default is `envoy`.
    pub server_name: String,
    /// The name of the route configuration.
    pub route_config_name: String,
    /// `route_config.virtual_hosts`.
    pub virtual_hosts: Vec<VirtualHost>,
    /// The wasm filters before the router, in their order.
    pub filters: Vec<WasmFilter>,
    /// `stream_idle_timeout`; zero for none. Envoy's default is 5 minutes.
    pub stream_idle_timeout: Duration,
}

/// What happens to `%2F` and `%5C` in a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EscapedSlashes {
    /// Nothing.
    #[default]
    KeepUnchanged,
    /// 400.
    RejectRequest,
    /// 307 to the path with slashes.
    UnescapeAndRedirect,
    /// They become slashes.
    UnescapeAndForward,
}

/// A virtual host.
#[derive(Clone, Debug)]
pub struct VirtualHost {
    /// Its name.
    pub name: String,
    /// Exact, `*suffix`, `prefix*`, or `*`, in lower case.
    pub domains: Vec<String>,
    /// Tried in their order.
    pub routes: Vec<Route>,
    /// Headers to change.
    pub headers: HeaderChanges,
}

/// A route.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name, empty if not given.
    pub name: String,
    /// What it matches.
    pub matches: RouteMatch,
    /// What it does.
    pub action: RouteAction,
    /// Headers to change.
    pub headers: HeaderChanges,
    /// `metadata.filter_metadata`, as JSON.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// Filters (by their name) that `typed_per_filter_config` disables here.
    pub disabled_filters: Vec<String>,
    /// Filters (by their name) that `typed_per_filter_config` enables here, although the chain has them `disabled`.
    pub enabled_filters: Vec<String>,
}

/// What a route matches; all of it must hold.
#[derive(Clone, Debug)]
pub struct RouteMatch {
    /// The path, without its query.
    pub path: PathMatch,
    /// `case_sensitive`, true unless given.
    pub case_sensitive: bool,
    /// `headers`.
    pub headers: Vec<HeaderMatch>,
    /// `query_parameters`.
    pub query_parameters: Vec<QueryMatch>,
}

/// How a path is matched.
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// Begins with.
    Prefix(String),
    /// Is.
    Exact(String),
    /// Is, or begins with it and a slash.
    PathSeparatedPrefix(String),
    /// The whole path matches.
    Regex(regex::Regex),
}

/// A condition on a header.
#[derive(Clone, Debug)]
pub struct HeaderMatch {
    /// In lower case; may be a pseudo-header such as `:method`.
    pub name: String,
    /// The condition.
    pub condition: ValueMatch,
    /// `invert_match`.
    pub invert: bool,
}

/// A condition on a query parameter.
#[derive(Clone, Debug)]
pub struct QueryMatch {
    /// Its name.
    pub name: String,
    /// The condition.
    pub condition: ValueMatch,
}

/// A condition on a value.
#[derive(Clone, Debug)]
pub enum ValueMatch {
    /// It is there (true) or is not (false).
    Present(bool),
    /// Is; the flag is `ignore_case`.
    Exact(String, bool),
    /// Begins with.
    Prefix(String, bool),
    /// Ends with.
    Suffix(String, bool),
    /// Contains.
    Contains(String, bool),
    /// The whole value matches.
    Regex(regex::Regex),
}

/// What a route does.
#[derive(Clone, Debug)]
pub enum RouteAction {
    /// Sends the request to a cluster.
    Forward(Forward),
    /// Answers by itself.
    DirectResponse {
        /// The status.
        status: u16,
        /// The body; may be empty.
        body: Vec<u8>,
    },
    /// Sends the client elsewhere.
    Redirect(Redirect),
}

/// How a request is sent on.
#[derive(Clone, Debug)]
pub struct Forward {
    /// The cluster, or several with weights.
    pub clusters: Vec<(String, u32)>,
    /// `prefix_rewrite`, for prefix and exact matches.
    pub prefix_rewrite: Option<String>,
    /// `regex_rewrite`: every match in the path, and what takes its place, in the form of the crate regex.
    pub regex_rewrite: Option<(regex::Regex, String)>,
    /// `host_rewrite_literal`.
    pub host_rewrite: Option<String>,
    /// `auto_host_rewrite`: to the DNS name of the endpoint.
    pub auto_host_rewrite: bool,
    /// `timeout`; zero for none. Envoy's default is 15 s.
    pub timeout: Duration,
}

/// A redirect.
#[derive(Clone, Debug, Default)]
pub struct Redirect {
    /// 301 unless given.
    pub status: u16,
    /// `https_redirect` or `scheme_redirect`.
    pub scheme: Option<String>,
    /// `host_redirect`.
    pub host: Option<String>,
    /// `port_redirect`.
    pub port: Option<u16>,
    /// `path_redirect`.
    pub path: Option<String>,
    /// `prefix_rewrite`.
    pub prefix: Option<String>,
    /// `strip_query`.
    pub strip_query: bool,
}

/// Headers that a route or a virtual host adds and removes.
#[derive(Clone, Debug, Default)]
pub struct HeaderChanges {
    /// `request_headers_to_add`: name, value without substitutions, and whether it replaces.
    pub request_add: Vec<HeaderToAdd>,
    /// `request_headers_to_remove`.
    pub request_remove: Vec<String>,
    /// `response_headers_to_add`.
    pub response_add: Vec<HeaderToAdd>,
    /// `response_headers_to_remove`.
    pub response_remove: Vec<String>,
}

/// A header to add.
#[derive(Clone, Debug)]
pub struct HeaderToAdd {
    /// In lower case.
    pub name: String,
    /// The value; `%…%` substitutions are not supported (warned of).
    pub value: String,
    /// The `append_action`.
    pub action: AppendAction,
}

/// `append_action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendAction {
    /// `APPEND_IF_EXISTS_OR_ADD`, the default.
    Append,
    /// `ADD_IF_ABSENT`.
    AddIfAbsent,
    /// `OVERWRITE_IF_EXISTS_OR_ADD`.
    OverwriteOrAdd,
    /// `OVERWRITE_IF_EXISTS`.
    OverwriteIfExists,
}

/// A wasm filter in the chain.
#[derive(Clone, Debug)]
pub struct WasmFilter {
    /// The name of the `http_filters` entry.
    pub filter_name: String,
    /// `disabled: true` of that entry.
    pub disabled: bool,
    /// The plugin.
    pub plugin: Plugin,
}

/// `envoy.extensions.wasm.v3.PluginConfig`.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// `name`.
    pub name: String,
    /// `root_id`.
    pub root_id: String,
    /// `vm_config`.
    pub vm: VmConfig,
    /// `configuration`, as the module gets it: the value of a `StringValue` or `BytesValue`, or a serialized message.
    pub configuration: Vec<u8>,
    /// Where `configuration` stands in the file: its `value`, to find lines in. None if there is no configuration.
    pub source: Option<Node>,
    /// The entry `configuration` itself.
    pub configuration_at: Option<Located>,
    /// `failure_policy` (or the older `fail_open`).
    pub failure_policy: FailurePolicy,
    /// `reload_config.backoff.base_interval`, 1 s unless given.
    pub reload_backoff: Duration,
    /// `allow_on_headers_stop_iteration`.
    pub allow_on_headers_stop_iteration: bool,
    /// `capability_restriction_config.allowed_capabilities`; None where nothing is restricted.
    pub allowed_capabilities: Option<Vec<String>>,
}

/// `envoy.extensions.wasm.v3.VmConfig`.
#[derive(Clone, Debug)]
pub struct VmConfig {
    /// `vm_id`: names the shared data.
    pub vm_id: String,
    /// Where the module is.
    pub code: Code,
    /// Where the file says so.
    pub code_at: Option<Located>,
    /// `configuration`, as the module gets it.
    pub configuration: Vec<u8>,
    /// `environment_variables`, in their order; `host_env_keys` are read when the file is.
    pub environment: Vec<(String, String)>,
}

/// A module's place.
#[derive(Clone, Debug)]
pub enum Code {
    /// A file; a relative name is relative to the working folder, as Envoy's are.
    File(PathBuf),
    /// `inline_bytes` or `inline_string`.
    Inline(Vec<u8>),
}

/// What happens to requests when the VM has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// 503; also for UNSPECIFIED.
    #[default]
    FailClosed,
    /// They pass by the filter.
    FailOpen,
    /// The VM is made anew at the next stream.
    FailReload,
}

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
