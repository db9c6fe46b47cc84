//! Routes: what they match, what they do, what they change.

use std::time::Duration;

/// A virtual host.
#[derive(Clone, Debug)]
pub struct VirtualHost {
    /// Its name.
    pub name: String,
    /// Exact names, `*suffix`, `prefix*` or `*`, in lower case.
    pub domains: Vec<String>,
    /// The first route that matches is used.
    pub routes: Vec<Route>,
    /// Headers to change.
    pub headers: HeaderChanges,
}

/// A route.
#[derive(Clone, Debug)]
pub struct Route {
    /// The name. The default is empty.
    pub name: String,
    /// The conditions on the request.
    pub matches: RouteMatch,
    /// The action.
    pub action: RouteAction,
    /// Headers to change.
    pub headers: HeaderChanges,
    /// `request_body_buffer_limit`.
    pub buffer_limit: Option<u64>,
    /// `metadata.filter_metadata`, as JSON.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// Filters (by their name) that `typed_per_filter_config` disables here.
    pub disabled_filters: Vec<String>,
    /// Filters (by their name) that `typed_per_filter_config` enables here, although the chain has them `disabled`.
    pub enabled_filters: Vec<String>,
}

/// The conditions of a route. All of them must match.
#[derive(Clone, Debug)]
pub struct RouteMatch {
    /// A condition on the path without its query.
    pub path: PathMatch,
    /// `case_sensitive`. The default is true.
    pub case_sensitive: bool,
    /// `headers`.
    pub headers: Vec<HeaderMatch>,
    /// `query_parameters`.
    pub query_parameters: Vec<QueryMatch>,
}

/// A condition on a path.
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// The path begins with this text.
    Prefix(String),
    /// The path is this text.
    Exact(String),
    /// The path is this text, or begins with this text and a slash.
    PathSeparatedPrefix(String),
    /// The whole path matches the regular expression.
    Regex(regex::Regex),
    /// `connect_matcher`: the request is a CONNECT request.
    Connect,
}

/// A condition on a header.
#[derive(Clone, Debug)]
pub struct HeaderMatch {
    /// The name in lower case. It can be a pseudo-header such as `:method`.
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
    /// The value exists (true) or does not exist (false).
    Present(bool),
    /// The value is this text. The flag is `ignore_case`.
    Exact(String, bool),
    /// The value begins with this text.
    Prefix(String, bool),
    /// The value ends with this text.
    Suffix(String, bool),
    /// The value contains this text.
    Contains(String, bool),
    /// The whole value matches the regular expression.
    Regex(regex::Regex),
}

/// The action of a route.
#[derive(Clone, Debug)]
pub enum RouteAction {
    /// Sends the request to a cluster.
    Forward(Box<Forward>),
    /// Answers the request without an upstream.
    DirectResponse {
        /// The status.
        status: u16,
        /// The body, which can be empty.
        body: Vec<u8>,
    },
    /// Redirects the client.
    Redirect(Redirect),
}

/// How a request is forwarded.
#[derive(Clone, Debug)]
pub struct Forward {
    /// The cluster, or several with weights.
    pub clusters: Vec<(String, u32)>,
    /// `prefix_rewrite`, for matches of a prefix or an exact path.
    pub prefix_rewrite: Option<String>,
    /// `regex_rewrite`: the pattern, and the replacement of every match in the syntax of the crate `regex`.
    pub regex_rewrite: Option<(regex::Regex, String)>,
    /// `host_rewrite_literal`.
    pub host_rewrite: Option<String>,
    /// `auto_host_rewrite`: the host becomes the DNS name of the endpoint.
    pub auto_host_rewrite: bool,
    /// `timeout`. Zero means no timeout. The default is 15 s.
    pub timeout: Duration,
    /// `idle_timeout`, which replaces the manager's `stream_idle_timeout`.
    pub idle_timeout: Option<Duration>,
    /// `retry_policy` of the route or of its virtual host.
    pub retry_policy: RetryPolicy,
    /// `max_stream_duration`. With it, `timeout` has no effect.
    pub stream_duration: Option<StreamDuration>,
    /// `upgrade_configs`: protocols in lower case, and whether clients can ask for them.
    pub upgrades: Vec<(String, bool)>,
    /// `connect_config`: the data of a CONNECT request goes to the host without HTTP.
    pub ends_connect: bool,
}

/// How long a request with its response may take.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamDuration {
    /// `max_stream_duration`, instead of that of the manager. Zero means no limit.
    pub most: Option<Duration>,
    /// `grpc_timeout_header_max`: the header `grpc-timeout` says how long, at most this long. Zero means no maximum.
    pub grpc_most: Option<Duration>,
    /// `grpc_timeout_header_offset`, by which the time of that header is shortened.
    pub grpc_offset: Duration,
}

/// When and how often a request is sent again.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// `retry_on`, with commas between the conditions.
    pub on: String,
    /// `num_retries`. The default is 1.
    pub retries: u32,
    /// `per_try_timeout`. Zero means no timeout.
    pub per_try_timeout: Duration,
    /// `retriable_status_codes`.
    pub codes: Vec<u16>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy { on: String::new(), retries: 1, per_try_timeout: Duration::ZERO, codes: Vec::new() }
    }
}

/// A redirect.
#[derive(Clone, Debug, Default)]
pub struct Redirect {
    /// The status. The default is 301.
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
    /// `request_headers_to_add`.
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
    /// The name in lower case.
    pub name: String,
    /// The value. The shim does not replace `%…%`, and warns about it.
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
