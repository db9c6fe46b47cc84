//! Routes: what they match, what they do, what they change.

use std::time::Duration;

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
