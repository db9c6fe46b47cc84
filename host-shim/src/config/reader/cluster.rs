//! Reads clusters.

use std::time::Duration;

use super::endpoints::{Kind, discovery};
use super::model::{Cluster, Discovery, UpstreamTls};
use super::{Message, Place, metadata, other_extension, protocol, tls};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_REQUESTS: u32 = 1024;
const CLUSTERS: &str = "envoy.extensions.clusters";
const LB_POLICIES: [&str; 8] = [
    "ROUND_ROBIN",
    "LEAST_REQUEST",
    "RING_HASH",
    "RANDOM",
    "",
    "MAGLEV",
    "CLUSTER_PROVIDED",
    "LOAD_BALANCING_POLICY_CONFIG",
];

/// Fields that have no visible effect in the shim, because it resolves names when it needs them.
const HARMLESS: [&str; 7] = [
    "alt_stat_name",
    "dns_lookup_family",
    "dns_refresh_rate",
    "dns_failure_refresh_rate",
    "dns_jitter",
    "per_connection_buffer_limit_bytes",
    "respect_dns_ttl",
];

/// Fields of the DNS cache of a dynamic forward proxy that have no visible effect in the shim.
const DNS_CACHE_HARMLESS: [&str; 6] = [
    "dns_lookup_family",
    "dns_refresh_rate",
    "dns_min_refresh_rate",
    "host_ttl",
    "dns_failure_refresh_rate",
    "disable_dns_refresh_on_failure",
];

pub(super) fn cluster(place: &Place<'_>) -> Option<Cluster> {
    let message = place.message("Cluster")?;
    let name = message.required_string("name");
    let kind = kind(&message);
    let discovery = discovery(&message, kind.as_ref());
    check_policy(&message, kind.as_ref());
    let connect_timeout = connect_timeout(&message);
    let (max_requests, max_pending_requests) = circuit_breakers(&message);
    let mut tls = tls::upstream(&message);
    let options = protocol::options(&message);
    let http2 = message.get("http2_protocol_options").is_some();
    if let Some(tls) = &mut tls {
        set_tls_flags(tls, options.as_ref(), kind.as_ref());
    }
    if let (Some(Kind::ForwardProxy { is_insecure_allowed: false }), Some(options)) = (&kind, &options)
        && !(options.auto_sni && options.auto_san_validation)
    {
        options
            .place
            .error("a dynamic forward proxy needs auto_sni and auto_san_validation, or allow_insecure_cluster_options");
    }
    let metadata = metadata(&message);
    let trailers = protocol::trailers(&message);
    message.done_but(&HARMLESS);
    let trailers = trailers || options.as_ref().is_some_and(|options| options.trailers);
    let http2 = http2 || options.is_some_and(|options| options.http2);
    let discovery: Discovery = discovery?;
    let name = name?;
    Some(Cluster {
        name,
        discovery,
        connect_timeout,
        tls,
        http2,
        trailers,
        max_requests,
        max_pending_requests,
        metadata,
    })
}

/// Sets the flags from the protocol options. Without protocol options, Envoy sets both for a dynamic forward proxy.
fn set_tls_flags(tls: &mut UpstreamTls, options: Option<&protocol::ProtocolOptions<'_>>, kind: Option<&Kind>) {
    let is_forward_proxy = matches!(kind, Some(Kind::ForwardProxy { .. }));
    tls.auto_sni = options.map_or(is_forward_proxy, |options| options.auto_sni);
    tls.auto_san_validation = options.map_or(is_forward_proxy, |options| options.auto_san_validation);
}

/// Reads the type of a cluster. `None` means that errors were reported.
fn kind(message: &Message<'_>) -> Option<Kind> {
    match message.one_of(&["type", "cluster_type"]) {
        None => Some(Kind::Static),
        Some(("type", place)) => match place.choice(&["STATIC", "STRICT_DNS", "LOGICAL_DNS", "EDS", "ORIGINAL_DST"])? {
            0 => Some(Kind::Static),
            1 => Some(Kind::StrictDns),
            2 => Some(Kind::LogicalDns),
            _ => Some(without_hosts(&place)),
        },
        Some((_, place)) => custom_kind(&place),
    }
}

/// Reads a `cluster_type`. The type of its configuration decides, or its name if it has no configuration.
fn custom_kind(place: &Place<'_>) -> Option<Kind> {
    let message = place.message("CustomClusterType")?;
    let name = message.required_string("name");
    let config = message.get("typed_config");
    message.done();
    let Some(config) = config else { return named_kind(place, &name?) };
    let config = config.any()?.unwrapped()?;
    match config.type_name.strip_prefix(CLUSTERS).unwrap_or_default() {
        ".dns.v3.DnsCluster" => {
            let dns = config.message("DnsCluster")?;
            let is_logical = dns.bool("all_addresses_in_single_endpoint");
            dns.done_but(&HARMLESS);
            Some(if is_logical { Kind::LogicalDns } else { Kind::StrictDns })
        }
        ".dynamic_forward_proxy.v3.ClusterConfig" => {
            let proxy = config.message("ClusterConfig")?;
            let is_insecure_allowed = proxy.bool("allow_insecure_cluster_options");
            if let Some(cache) = proxy.message("dns_cache_config", "DnsCacheConfig") {
                cache.required_string("name");
                cache.done_but(&DNS_CACHE_HARMLESS);
            }
            proxy.done_but(&["allow_coalesced_connections"]);
            Some(Kind::ForwardProxy { is_insecure_allowed })
        }
        _ => {
            other_extension(place, Some(&config), CLUSTERS, "the cluster has no hosts")?;
            Some(Kind::Unsupported)
        }
    }
}

fn named_kind(place: &Place<'_>, name: &str) -> Option<Kind> {
    match name {
        "envoy.cluster.static" => Some(Kind::Static),
        "envoy.cluster.strict_dns" => Some(Kind::StrictDns),
        "envoy.cluster.logical_dns" => Some(Kind::LogicalDns),
        name if name.starts_with("envoy.cluster") => Some(without_hosts(place)),
        name => {
            place.error(format!("Envoy has no cluster type {name:?}"));
            None
        }
    }
}

fn without_hosts(place: &Place<'_>) -> Kind {
    place.warn(
        "the shim supports STATIC, STRICT_DNS, LOGICAL_DNS and dynamic forward proxies: this cluster has no hosts",
    );
    Kind::Unsupported
}

fn check_policy(message: &Message<'_>, kind: Option<&Kind>) {
    let place = message.get("lb_policy");
    let policy = place.as_ref().map_or(Some(0), |place| place.choice(&LB_POLICIES));
    let name = policy.and_then(|index| LB_POLICIES.get(index)).copied().unwrap_or_default();
    let place = place.as_ref().unwrap_or(&message.place);
    match (kind, name) {
        (Some(Kind::ForwardProxy { .. }), other) if !matches!(other, "CLUSTER_PROVIDED" | "") => {
            place.error("a dynamic forward proxy needs lb_policy: CLUSTER_PROVIDED");
        }
        (Some(Kind::Static | Kind::StrictDns | Kind::LogicalDns), "CLUSTER_PROVIDED") => {
            place.error(
                "CLUSTER_PROVIDED is for clusters that choose their hosts themselves, such as dynamic forward proxies",
            );
        }
        (_, "" | "ROUND_ROBIN" | "CLUSTER_PROVIDED") => {}
        (_, other) => place.warn(format!("the shim does not support {other}: it uses ROUND_ROBIN")),
    }
}

fn connect_timeout(message: &Message<'_>) -> Duration {
    let Some(place) = message.get("connect_timeout") else { return CONNECT_TIMEOUT };
    let timeout = place.duration();
    if timeout == Some(Duration::ZERO) {
        place.error("must be more than 0s");
    }
    timeout.unwrap_or(CONNECT_TIMEOUT)
}

/// Reads `max_requests` and `max_pending_requests` of the default priority.
fn circuit_breakers(message: &Message<'_>) -> (u32, u32) {
    let mut limits = None;
    if let Some(breakers) = message.message("circuit_breakers", "CircuitBreakers") {
        for thresholds in breakers.messages("thresholds", "Thresholds") {
            let priority = thresholds.choice("priority", &["DEFAULT", "HIGH"]);
            let requests = thresholds.u32("max_requests").unwrap_or(MAX_REQUESTS);
            let pending = thresholds.u32("max_pending_requests").unwrap_or(MAX_REQUESTS);
            thresholds.done_but(&["track_remaining"]);
            if priority == 0 && limits.is_none() {
                limits = Some((requests, pending));
            }
        }
        breakers.done();
    }
    limits.unwrap_or((MAX_REQUESTS, MAX_REQUESTS))
}
