//! Reads clusters.

use std::time::Duration;

use super::endpoints::{Kind, OriginalDestination, discovery};
use super::model::{Cluster, Discovery, DnsFamily, UpstreamTls};
use super::{Message, Place, health, metadata, other_extension, protocol, tls};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_REQUESTS: u32 = 1024;
const FAMILIES: [&str; 5] = ["AUTO", "V4_ONLY", "V6_ONLY", "V4_PREFERRED", "ALL"];
const COMMON_FAMILIES: [&str; 6] = ["UNSPECIFIED", "AUTO", "V4_ONLY", "V6_ONLY", "V4_PREFERRED", "ALL"];
const UPSTREAMS: &str = "envoy.extensions.upstreams.http";
const ORIGINAL_DESTINATION: &str = "x-envoy-original-dst-host";
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

pub(super) fn cluster(place: &Place<'_>) -> Option<Cluster> {
    let message = place.message("Cluster")?;
    let name = message.required_string("name");
    let (kind, own_family) = kind(&message).unzip();
    let dns_family = own_family.flatten().unwrap_or_else(|| dns_family(&message, &FAMILIES));
    check_policy(&message, kind.as_ref());
    let connect_timeout = connect_timeout(&message);
    let (max_requests, max_pending_requests) = circuit_breakers(&message);
    let mut tls = tls::upstream(&message);
    let options = protocol::options(&message);
    let http2 = protocol::http2(message.get("http2_protocol_options"));
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
    let discovery = discovery(&message, kind);
    let health_check = health::check(&message);
    let panic_threshold = health::panic_threshold(&message);
    let tcp_pool = tcp_pool(&message);
    let one_request_per_connection = one_request_per_connection(&message, options.as_ref(), tcp_pool);
    let metadata = metadata(&message);
    let trailers = protocol::http1(&message).trailers;
    message.done();
    let trailers = trailers || options.as_ref().is_some_and(|options| options.trailers);
    let http2 = http2 || options.as_ref().is_some_and(|options| options.http2);
    let discovery: Discovery = discovery?;
    let name = name?;
    Some(Cluster {
        name,
        discovery,
        dns_family,
        connect_timeout,
        tls,
        http2,
        trailers,
        max_requests,
        max_pending_requests,
        tcp_pool,
        one_request_per_connection,
        idle_timeout: options.as_ref().map_or(protocol::IDLE_TIMEOUT, |options| options.idle_timeout),
        max_stream_duration: options.as_ref().map(|options| options.max_stream_duration).unwrap_or_default(),
        health_check,
        panic_threshold,
        metadata,
    })
}

/// Reads `upstream_config`. Returns whether it is the TCP connection pool.
fn tcp_pool(message: &Message<'_>) -> bool {
    let Some(place) = message.get("upstream_config") else { return false };
    let Some(config) = place.message("TypedExtensionConfig") else { return false };
    config.required_string("name");
    let any = config.required("typed_config").and_then(|place| place.any()).and_then(super::Any::unwrapped);
    config.done();
    let Some(any) = any else { return false };
    match any.type_name.strip_prefix(UPSTREAMS).unwrap_or_default() {
        ".tcp.v3.TcpConnectionPoolProto" => return true,
        ".http.v3.HttpConnectionPoolProto" => {}
        _ => {
            other_extension(&place, Some(&any), UPSTREAMS, "it sends HTTP");
        }
    }
    false
}

/// Whether no connection is used for a second request.
fn one_request_per_connection(
    message: &Message<'_>,
    options: Option<&protocol::ProtocolOptions<'_>>,
    is_tcp: bool,
) -> bool {
    let own = message.get("max_requests_per_connection");
    let place = options.and_then(|options| options.max_requests.as_ref()).or(own.as_ref());
    let most = place.and_then(|place| place.u32()).unwrap_or_default();
    match (is_tcp, most, place) {
        (_, 1, _) => return true,
        (true, _, _) => message.place.warn(
            "without max_requests_per_connection: 1, Envoy can use a connection of the TCP connection pool that is \
             about to close, and answers 503; the shim never does",
        ),
        (false, 2.., Some(place)) => place.warn("not honoured: the shim uses a connection for more requests"),
        _ => {}
    }
    is_tcp
}

/// Sets the flags from the protocol options. Without protocol options, Envoy sets both for a dynamic forward proxy.
fn set_tls_flags(tls: &mut UpstreamTls, options: Option<&protocol::ProtocolOptions<'_>>, kind: Option<&Kind>) {
    let is_forward_proxy = matches!(kind, Some(Kind::ForwardProxy { .. }));
    tls.auto_sni = options.map_or(is_forward_proxy, |options| options.auto_sni);
    tls.auto_san_validation = options.map_or(is_forward_proxy, |options| options.auto_san_validation);
}

/// Reads `dns_lookup_family`, an enum with these names.
fn dns_family(message: &Message<'_>, names: &[&str]) -> DnsFamily {
    match names.get(message.choice("dns_lookup_family", names)).copied().unwrap_or_default() {
        "V4_ONLY" => DnsFamily::V4Only,
        "V6_ONLY" => DnsFamily::V6Only,
        "ALL" => DnsFamily::All,
        _ => DnsFamily::V4Preferred,
    }
}

/// Reads the type of a cluster, and the lookup family in its configuration. `None` means that errors were reported.
fn kind(message: &Message<'_>) -> Option<(Kind, Option<DnsFamily>)> {
    let kind = match message.one_of(&["type", "cluster_type"]) {
        None => Some(Kind::Static),
        Some(("type", place)) => match place.choice(&["STATIC", "STRICT_DNS", "LOGICAL_DNS", "EDS", "ORIGINAL_DST"])? {
            0 => Some(Kind::Static),
            1 => Some(Kind::StrictDns),
            2 => Some(Kind::LogicalDns),
            4 => Some(match message.get("original_dst_lb_config") {
                Some(config) => original_destination(&place, config.message("OriginalDstLbConfig")?),
                None => {
                    without_hosts(&place);
                    Kind::OriginalDestination(None)
                }
            }),
            _ => Some(without_hosts(&place)),
        },
        Some((_, place)) => return custom_kind(&place),
    };
    kind.map(|kind| (kind, None))
}

/// Reads an `OriginalDstLbConfig`, or an `OriginalDstCluster`, which has the same fields.
fn original_destination(place: &Place<'_>, config: Message<'_>) -> Kind {
    let uses_header = config.bool("use_http_header");
    let header = config.get("http_header_name");
    let name = header.as_ref().and_then(|place| place.string()).unwrap_or_default().to_ascii_lowercase();
    let port = config.get("upstream_port_override").and_then(|place| place.port());
    let by_metadata = config.get("metadata_key");
    config.done();
    match (uses_header, header, by_metadata) {
        (false, Some(header), _) if !name.is_empty() => {
            header.error("http_header_name needs use_http_header: true");
        }
        (_, _, Some(place)) => place.warn("the shim's filters set no dynamic metadata: ignored"),
        _ => {}
    }
    if !uses_header {
        place.warn(
            "the shim does not know the original destination of a connection, only use_http_header: this cluster has \
             no hosts",
        );
        return Kind::OriginalDestination(None);
    }
    let header = if name.is_empty() { ORIGINAL_DESTINATION.to_owned() } else { name };
    Kind::OriginalDestination(Some(OriginalDestination { header, port }))
}

/// Reads a `cluster_type`. The type of its configuration decides, or its name if it has no configuration.
fn custom_kind(place: &Place<'_>) -> Option<(Kind, Option<DnsFamily>)> {
    let message = place.message("CustomClusterType")?;
    let name = message.required_string("name");
    let config = message.get("typed_config");
    message.done();
    let Some(config) = config else { return named_kind(place, &name?).map(|kind| (kind, None)) };
    let config = config.any()?.unwrapped()?;
    match config.type_name.strip_prefix(CLUSTERS).unwrap_or_default() {
        ".dns.v3.DnsCluster" => {
            let dns = config.message("DnsCluster")?;
            let is_logical = dns.bool("all_addresses_in_single_endpoint");
            let family = dns_family(&dns, &COMMON_FAMILIES);
            dns.done();
            Some((if is_logical { Kind::LogicalDns } else { Kind::StrictDns }, Some(family)))
        }
        ".dynamic_forward_proxy.v3.ClusterConfig" => {
            let proxy = config.message("ClusterConfig")?;
            let is_insecure_allowed = proxy.bool("allow_insecure_cluster_options");
            let mut family = None;
            if let Some(cache) = proxy.message("dns_cache_config", "DnsCacheConfig") {
                cache.required_string("name");
                family = Some(dns_family(&cache, &FAMILIES));
                cache.done();
            }
            proxy.done();
            Some((Kind::ForwardProxy { is_insecure_allowed }, family))
        }
        ".original_dst.v3.OriginalDstCluster" => {
            let original = config.message("OriginalDstCluster")?;
            Some((original_destination(place, original), None))
        }
        _ => {
            other_extension(place, Some(&config), CLUSTERS, "the cluster has no hosts")?;
            Some((Kind::Unsupported, None))
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
        (Some(Kind::ForwardProxy { .. } | Kind::OriginalDestination(_)), other)
            if !matches!(other, "CLUSTER_PROVIDED" | "") =>
        {
            place.error("a cluster of this type needs lb_policy: CLUSTER_PROVIDED");
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
            let given = thresholds.get("priority");
            let priority = given.as_ref().and_then(|place| place.choice(&["DEFAULT", "HIGH"])).unwrap_or_default();
            if let (1, Some(place)) = (priority, given) {
                place.warn("not honoured: the shim has only the limits of the default priority");
            }
            let requests = thresholds.u32("max_requests").unwrap_or(MAX_REQUESTS);
            let pending = thresholds.u32("max_pending_requests").unwrap_or(MAX_REQUESTS);
            thresholds.done();
            if priority == 0 && limits.is_none() {
                limits = Some((requests, pending));
            }
        }
        breakers.done();
    }
    limits.unwrap_or((MAX_REQUESTS, MAX_REQUESTS))
}
