//! Reads the actions of routes.

use std::time::Duration;

use super::model::{Forward, Redirect, RetryPolicy, RouteAction, StreamDuration};
use super::{Message, Names, Place, hint, matchers, source};

const TIMEOUT: Duration = Duration::from_secs(15);

/// The limits of a route configuration for its routes.
pub(super) struct RouteLimits<'n> {
    /// The names of clusters that routes can use. `None` means that Envoy does not check them.
    pub(super) clusters: Option<&'n Names>,
    /// `max_direct_response_body_size_bytes`.
    pub(super) max_body: usize,
}

/// Reads the action of a route. `Some(None)` means that Envoy supports the action and the shim does not, and that a
/// warning was reported.
pub(super) fn action(
    kind: &str,
    place: &Place<'_>,
    limits: &RouteLimits<'_>,
    of_host: &RetryPolicy,
) -> Option<Option<RouteAction>> {
    match kind {
        "route" => forward(place, limits.clusters, of_host),
        "redirect" => redirect(place).map(|redirect| Some(RouteAction::Redirect(redirect))),
        "direct_response" => direct_response(place, limits.max_body).map(Some),
        _ => {
            place.warn("the shim does not support this action: it answers 501");
            Some(None)
        }
    }
}

/// Returns the replacement for an action that the shim does not support. Without the route, another route could match.
pub(super) fn unsupported() -> RouteAction {
    RouteAction::DirectResponse { status: 501, body: b"host-shim does not support this action".to_vec() }
}

fn direct_response(place: &Place<'_>, max_body: usize) -> Option<RouteAction> {
    let message = place.message("DirectResponseAction")?;
    let given = message.required("status");
    let body = message.get("body").map(|place| source::bytes(&place));
    message.done();
    let given = given?;
    let status = u16::try_from(given.u32()?).ok().filter(|status| (200..600).contains(status));
    if status.is_none() {
        given.error("must be from 200 to 599");
    }
    let body = match body {
        Some(body) => body?,
        None => Vec::new(),
    };
    if body.len() > max_body {
        place.error(format!(
            "the body has {} bytes, and the maximum is {max_body}: set max_direct_response_body_size_bytes of the route \
             configuration",
            body.len()
        ));
    }
    Some(RouteAction::DirectResponse { status: status?, body })
}

fn redirect(place: &Place<'_>) -> Option<Redirect> {
    let message = place.message("RedirectAction")?;
    let codes = ["MOVED_PERMANENTLY", "FOUND", "SEE_OTHER", "TEMPORARY_REDIRECT", "PERMANENT_REDIRECT"];
    let status = [301, 302, 303, 307, 308].get(message.choice("response_code", &codes)).copied().unwrap_or(301);
    let mut redirect = Redirect { status, ..Redirect::default() };
    match message.one_of(&["https_redirect", "scheme_redirect"]) {
        Some(("https_redirect", place)) => redirect.scheme = place.bool()?.then(|| "https".to_owned()),
        Some((_, place)) => redirect.scheme = place.string().filter(|scheme| !scheme.is_empty()),
        None => {}
    }
    match message.one_of(&["path_redirect", "prefix_rewrite", "regex_rewrite", "path_rewrite"]) {
        Some(("path_redirect", place)) => redirect.path = place.string().filter(|path| !path.is_empty()),
        Some(("prefix_rewrite", place)) => redirect.prefix = place.string().filter(|prefix| !prefix.is_empty()),
        Some((_, place)) => place.warn("the shim does not support this rewrite: the path stays the same"),
        None => {}
    }
    redirect.host = message.optional_string("host_redirect");
    redirect.port = message.get("port_redirect").and_then(|place| place.port()).filter(|port| *port > 0);
    redirect.strip_query = message.bool("strip_query");
    message.done();
    Some(redirect)
}

/// Reads `retry_policy` of a route or of a virtual host.
pub(super) fn retry_policy(message: &Message<'_>) -> Option<RetryPolicy> {
    let policy = message.message("retry_policy", "RetryPolicy")?;
    let codes = policy.items("retriable_status_codes");
    let read = RetryPolicy {
        on: policy.string("retry_on"),
        retries: policy.u32("num_retries").unwrap_or(1),
        per_try_timeout: policy.duration("per_try_timeout").unwrap_or_default(),
        codes: codes.iter().filter_map(|code| u16::try_from(code.u32()?).ok()).collect(),
    };
    // A retry of the shim uses the next host of the cluster.
    policy.done();
    Some(read)
}

fn forward(place: &Place<'_>, names: Option<&Names>, of_host: &RetryPolicy) -> Option<Option<RouteAction>> {
    let message = place.message("RouteAction")?;
    let kinds = [
        "cluster",
        "weighted_clusters",
        "cluster_header",
        "cluster_specifier_plugin",
        "inline_cluster_specifier_plugin",
    ];
    let clusters = match message.required_one_of(&kinds) {
        Some(("cluster", place)) => cluster_name(&place, names).map(|name| Some(vec![(name, 1)])),
        Some(("weighted_clusters", place)) => weighted_clusters(&place, names).map(Some),
        Some((_, place)) => {
            place.warn("the shim does not support this way to choose a cluster: it answers 501");
            Some(None)
        }
        None => None,
    };
    let rewrites =
        ["host_rewrite_literal", "auto_host_rewrite", "host_rewrite_header", "host_rewrite_path_regex", "host_rewrite"];
    let (mut host_rewrite, mut auto_host_rewrite) = (None, false);
    match message.one_of(&rewrites) {
        Some(("host_rewrite_literal", place)) => host_rewrite = place.string().filter(|host| !host.is_empty()),
        Some(("auto_host_rewrite", place)) => auto_host_rewrite = place.bool()?,
        Some((_, place)) => place.warn("the shim does not support this rewrite: the host stays the same"),
        None => {}
    }
    let prefix_rewrite = message.optional_string("prefix_rewrite");
    let regex_rewrite = match message.get("regex_rewrite") {
        Some(place) if prefix_rewrite.as_deref().is_some_and(|prefix| !prefix.is_empty()) => {
            place.error("only one of \"prefix_rewrite\" and \"regex_rewrite\" may be given");
            return None;
        }
        Some(place) => Some(matchers::substitution(&place)?),
        None => None,
    };
    let timeout = message.duration("timeout").unwrap_or(TIMEOUT);
    let idle_timeout = message.duration("idle_timeout");
    let retry_policy = retry_policy(&message);
    let stream_duration = stream_duration(&message);
    let (upgrades, ends_connect) = upgrades(&message);
    message.done();
    let Some(clusters) = clusters? else { return Some(None) };
    let forward = Forward {
        clusters,
        prefix_rewrite,
        regex_rewrite,
        host_rewrite,
        auto_host_rewrite,
        timeout,
        idle_timeout,
        retry_policy: retry_policy.unwrap_or_else(|| of_host.clone()),
        stream_duration,
        upgrades,
        ends_connect,
    };
    Some(Some(RouteAction::Forward(Box::new(forward))))
}

fn stream_duration(message: &Message<'_>) -> Option<StreamDuration> {
    let duration = message.message("max_stream_duration", "MaxStreamDuration")?;
    let read = StreamDuration {
        most: duration.duration("max_stream_duration"),
        grpc_most: duration.duration("grpc_timeout_header_max"),
        grpc_offset: duration.duration("grpc_timeout_header_offset").unwrap_or_default(),
    };
    duration.done();
    Some(read)
}

/// Reads `upgrade_configs`. Also returns whether there is a `connect_config`.
fn upgrades(message: &Message<'_>) -> (Vec<(String, bool)>, bool) {
    let (mut upgrades, mut ends_connect) = (Vec::new(), false);
    for place in message.items("upgrade_configs") {
        let Some(config) = place.message("RouteAction.UpgradeConfig") else { continue };
        let protocol = config.string("upgrade_type").to_ascii_lowercase();
        let is_enabled = config.optional_bool("enabled").unwrap_or(true);
        if let Some(place) = config.get("connect_config") {
            match place.message("ConnectConfig") {
                Some(connect) if protocol == "connect" => connect.done(),
                Some(_) => place.error("only an upgrade of the type CONNECT can have a connect_config"),
                None => {}
            }
            ends_connect = true;
        }
        config.done();
        upgrades.push((protocol, is_enabled));
    }
    (upgrades, ends_connect)
}

fn cluster_name(place: &Place<'_>, names: Option<&Names>) -> Option<String> {
    let name = place.string()?;
    if name.is_empty() {
        place.error("empty");
    } else if let Some(names) = names.filter(|names| !names.contains(&name)) {
        place.error(format!("no cluster has the name {name:?}{}", hint(&name, names.iter().map(String::as_str))));
    }
    Some(name)
}

fn weighted_clusters(place: &Place<'_>, names: Option<&Names>) -> Option<Vec<(String, u32)>> {
    let message = place.message("WeightedCluster")?;
    let clusters = message.messages("clusters", "ClusterWeight");
    message.done();
    if clusters.is_empty() {
        place.error("\"clusters\" is empty");
    }
    let weighted: Vec<_> = clusters.into_iter().filter_map(|cluster| weighted_cluster(cluster, names)).collect();
    if !weighted.is_empty() && weighted.iter().all(|(_, weight)| *weight == 0) {
        place.error("the sum of the weights is 0");
    }
    Some(weighted)
}

fn weighted_cluster(message: Message<'_>, names: Option<&Names>) -> Option<(String, u32)> {
    let name = match message.get("cluster_header") {
        Some(place) => {
            place.warn("the shim does not support this way to choose a cluster: skipped");
            None
        }
        None => message.required("name").and_then(|place| cluster_name(&place, names)),
    };
    let weight = message.required("weight").and_then(|place| place.u32());
    message.done();
    Some((name?, weight?))
}
