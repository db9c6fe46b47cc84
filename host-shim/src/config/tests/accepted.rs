use std::time::Duration;

use super::*;
use crate::config::model::*;

fn warnings(text: &str) -> Vec<String> {
    shown(&load(text).warnings)
}

/// Returns the first route of the base with one part replaced.
fn route(old: &str, new: &str) -> Route {
    load(&with(old, new)).bootstrap.listeners[0].manager.virtual_hosts[0].routes[0].clone()
}

fn cluster(old: &str, new: &str) -> Cluster {
    load(&with(old, new)).bootstrap.clusters[0].clone()
}

#[test]
fn defaults_are_the_same_as_in_envoy() {
    let loaded = load(BASE);
    assert!(loaded.warnings.is_empty());
    let manager = &loaded.bootstrap.listeners[0].manager;
    assert_eq!(manager.stream_idle_timeout, Duration::from_secs(300));
    assert_eq!(manager.server_name, "envoy");
    let RouteAction::Forward(forward) = &manager.virtual_hosts[0].routes[0].action else { panic!("no forward") };
    assert_eq!(forward.timeout, Duration::from_secs(15));
    let plugin = &manager.filters[0].plugin;
    assert_eq!((plugin.failure_policy, plugin.reload_backoff), (FailurePolicy::FailClosed, Duration::from_secs(1)));
    assert!(plugin.allowed_capabilities.is_none());
    let cluster = &loaded.bootstrap.clusters[0];
    assert_eq!((cluster.connect_timeout, cluster.max_requests), (Duration::from_secs(5), 1024));
    assert!(matches!(&cluster.discovery, Discovery::Static(hosts) if hosts[0].to_string() == "127.0.0.1:10001"));
}

#[test]
fn names_and_values_follow_the_json_rules_of_protobuf() {
    let text = with(
        "stat_prefix: gateway",
        "statPrefix: a\n          mergeSlashes: \"true\"\n          pathWithEscapedSlashesAction: 2",
    )
    .replace("port_value: 10000", "portValue: \"1e4\"")
    .replace("type: STATIC", "type: static");
    let loaded = load(&text);
    let listener = &loaded.bootstrap.listeners[0];
    assert_eq!((listener.address.port(), listener.manager.stat_prefix.as_str()), (10000, "a"));
    assert!(listener.manager.merge_slashes);
    assert_eq!(listener.manager.escaped_slashes, EscapedSlashes::RejectRequest);
}

#[test]
fn a_setting_that_only_envoy_supports_is_a_warning() {
    let route = "route: { cluster: upstream }";
    let cases = [
        (
            "stat_prefix: gateway",
            "stat_prefix: a\n          access_log: [ { name: a } ]",
            "12: HCM.access_log: not honoured: no access log is written",
        ),
        (
            "stat_prefix: gateway",
            "stat_prefix: a\n          stat_prefix: b",
            "12: \"stat_prefix\" is also on line 11: Envoy uses the last one",
        ),
        (
            "stat_prefix: gateway",
            "stat_prefix: a\n          statPrefix: b",
            "12: HCM.statPrefix: \"stat_prefix\" on line 11 is the same field",
        ),
        (
            "          - name: wasm",
            "          - name: b\n            typed_config: { \"@type\": a/envoy.extensions.filters.http.buffer.v3.Buffer }\n          - name: wasm",
            "20: HCM.http_filters[0]: the shim does not support envoy.extensions.filters.http.buffer.v3.Buffer",
        ),
        (
            route,
            "route: { cluster_header: a }",
            "cluster_header: the shim does not support this way to choose a cluster: it answers 501",
        ),
        (
            route,
            "route: { cluster: upstream }\n                request_headers_to_add: [{ header: { key: a, value: \"%REQ(b)% 5%%\" } }]",
            "value: the shim does not replace %…%",
        ),
        (
            "prefix: \"/\"",
            "prefix: a, headers: [{ name: a, range_match: { start: 1, end: 2 } }]",
            "range_match: the shim does not support this condition: the route is skipped",
        ),
        ("type: STATIC", "type: EDS", "static_resources.clusters[0].type: the shim supports STATIC, STRICT_DNS"),
        ("type: STATIC", "lb_policy: RANDOM", "lb_policy: the shim does not support RANDOM: it uses ROUND_ROBIN"),
        (
            "static_resources:\n",
            "dynamic_resources: {}\nstatic_resources:\n",
            "2: dynamic_resources: not honoured: the shim has only what is in the file",
        ),
        (
            "static_resources:\n",
            "bootstrap_extensions: [ { name: a } ]\nstatic_resources:\n",
            "2: bootstrap_extensions[0]: the shim does not run bootstrap extensions",
        ),
        (
            "  clusters:\n",
            "    - filters: []\n  clusters:\n",
            "31: static_resources.listeners[0].filter_chains[1]: the shim uses only the first filter chain: ignored",
        ),
    ];
    for (old, new, expected) in cases {
        let warnings = warnings(&with(old, new));
        assert!(warnings.iter().any(|warning| warning.contains(expected)), "{new}: {warnings:#?}");
        assert_eq!(warnings.len(), 1, "{warnings:#?}");
    }
    assert_eq!(
        warnings("{}"),
        ["1: static_resources.listeners: nothing is served: there is no listener, or all are skipped"]
    );
}

#[test]
fn a_warning_says_what_makes_the_gateway_less_strict() {
    let rbac = "a/envoy.extensions.filters.http.rbac.v3.RBAC";
    let cases = [
        (
            "          - name: wasm",
            format!("          - name: b\n            typed_config: {{ \"@type\": {rbac} }}\n          - name: wasm"),
            "HCM.http_filters[0]: this gateway is less strict than Envoy: the shim does not support envoy",
        ),
        (
            "    - filters:",
            "    - filter_chain_match: { server_names: [a] }\n      filters:".to_owned(),
            "filter_chain_match: this gateway is less strict than Envoy: not honoured: the chain is used",
        ),
        (
            "domains: [\"*\"]",
            "domains: [\"*\"]\n              requireTls: ALL".to_owned(),
            "requireTls: this gateway is less strict",
        ),
    ];
    for (old, new, expected) in cases {
        let warnings = warnings(&with(old, &new));
        assert!(warnings.len() == 1 && warnings[0].contains(expected), "{new}: {warnings:#?}");
    }
    assert_eq!(warnings(&with("domains: [\"*\"]", "domains: [\"*\"]\n              require_tls: NONE")), [""; 0]);
}

#[test]
fn matches_of_routes_are_read() {
    let matched = |new: &str| route("prefix: \"/\"", new).matches;
    assert!(matches!(
        matched("path: /a, case_sensitive: false"),
        RouteMatch { path: PathMatch::Exact(_), case_sensitive: false, .. }
    ));
    assert!(matches!(matched("path_separated_prefix: /a").path, PathMatch::PathSeparatedPrefix(_)));
    let PathMatch::Regex(regex) = matched("safe_regex: { google_re2: {}, regex: \"/a|/b\" }").path else {
        panic!("no regex")
    };
    assert!(regex.is_match("/b") && !regex.is_match("/ab") && !regex.is_match("/a/b"));
    let headers = "prefix: /, headers: [ { name: A, string_match: { exact: x, ignore_case: true } }, { name: b, prefix_match: p, invert_match: true }, { name: c, present_match: false }, { name: d }, { name: e, safe_regex_match: { regex: z } } ]";
    let headers = matched(headers).headers;
    assert!(
        matches!(&headers[0], HeaderMatch { name, condition: ValueMatch::Exact(value, true), invert: false } if name == "a" && value == "x")
    );
    assert!(matches!(&headers[1], HeaderMatch { condition: ValueMatch::Prefix(_, false), invert: true, .. }));
    assert!(matches!(headers[2].condition, ValueMatch::Present(false)));
    assert!(matches!(headers[3].condition, ValueMatch::Present(true)));
    assert!(matches!(headers[4].condition, ValueMatch::Regex(_)));
    let parameters =
        matched("prefix: /, query_parameters: [ { name: q, string_match: { contains: x } }, { name: r } ]")
            .query_parameters;
    assert!(matches!(parameters[0].condition, ValueMatch::Contains(_, false)) && parameters.len() == 2);
}

#[test]
fn actions_of_routes_are_read() {
    let acted = |new: &str| route("route: { cluster: upstream }", new);
    let answer = acted("direct_response: { status: 404, body: { inline_bytes: aGk= } }").action;
    assert!(matches!(answer, RouteAction::DirectResponse { status: 404, body } if body == b"hi"));
    let redirect =
        acted("redirect: { https_redirect: true, port_redirect: 8443, response_code: FOUND, strip_query: true }")
            .action;
    let RouteAction::Redirect(redirect) = redirect else { panic!("{redirect:?}") };
    assert_eq!((redirect.status, redirect.scheme.as_deref(), redirect.port), (302, Some("https"), Some(8443)));
    let regex = "route: { cluster: upstream, regex_rewrite: { pattern: { regex: ^/a(.) }, substitution: /$\\1 } }";
    let RouteAction::Forward(forward) = acted(regex).action else { panic!("no forward") };
    let (regex, to) = forward.regex_rewrite.unwrap();
    assert_eq!(regex.replace_all("/ab/ab", to.as_str()), "/$b/ab");
    let weighted = "route: { weighted_clusters: { clusters: [ { name: upstream, weight: 3 }, { name: upstream, weight: 1 } ] }, timeout: 0s, prefix_rewrite: /x, auto_host_rewrite: true }";
    let RouteAction::Forward(forward) = acted(weighted).action else { panic!("no forward") };
    assert_eq!(forward.clusters, [("upstream".to_owned(), 3), ("upstream".to_owned(), 1)]);
    assert_eq!((forward.timeout, forward.prefix_rewrite.as_deref()), (Duration::ZERO, Some("/x")));
    assert!(forward.auto_host_rewrite);
    let unsupported = acted("route: { cluster_header: a }").action;
    assert!(matches!(unsupported, RouteAction::DirectResponse { status: 501, .. }));
}

#[test]
fn routes_change_headers_and_filters() {
    let text = with(
        "domains: [\"*\"]",
        "domains: [\"*\"]\n              request_headers_to_remove: [X-A]\n              typed_per_filter_config: { other: { \"@type\": a/envoy.config.route.v3.FilterConfig, disabled: true } }",
    )
    .replace(
        "route: { cluster: upstream }",
        "route: { cluster: upstream }\n                typed_per_filter_config: { wasm: { \"@type\": a/envoy.config.route.v3.FilterConfig, config: {} } }\n                response_headers_to_add:\n                - { header: { key: X-B, value: 5%% }, append_action: ADD_IF_ABSENT }\n                - { header: { key: X-C, value: c }, append: false }\n                - { header: { key: X-D } }",
    )
    .replace("          route_config:", "          route_config:\n            request_headers_to_remove: [x-general]");
    let host = &load(&text).bootstrap.listeners[0].manager.virtual_hosts[0];
    assert_eq!(host.headers.request_remove, ["x-a", "x-general"]);
    let route = &host.routes[0];
    assert_eq!(route.disabled_filters, ["other"]);
    assert_eq!(route.enabled_filters, ["wasm"]);
    let added: Vec<_> =
        route.headers.response_add.iter().map(|h| (h.name.as_str(), h.value.as_str(), h.action)).collect();
    assert_eq!(added, [("x-b", "5%", AppendAction::AddIfAbsent), ("x-c", "c", AppendAction::OverwriteOrAdd)]);
}

#[test]
fn all_settings_of_plugins_are_read() {
    let text = with(
        "name: plugin",
        "name: plugin\n                root_id: r\n                fail_open: true\n                allow_on_headers_stop_iteration: true\n                reload_config: { backoff: { base_interval: 0.25s } }",
    )
    .replace(
        "vm_config:",
        "vm_config:\n                  environment_variables: { host_env_keys: [PATH, HOST_SHIM_NONE], key_values: { B: b, A: a } }\n                  capability_restriction_config: { allowed_capabilities: { proxy_log: {}, proxy_on_tick: } }\n                  configuration: { \"@type\": a/google.protobuf.StringValue, value: vm }",
    );
    let loaded = load(&text);
    assert_eq!(shown(&loaded.warnings), [""; 0]);
    let plugin = &loaded.bootstrap.listeners[0].manager.filters[0].plugin;
    assert_eq!((plugin.name.as_str(), plugin.root_id.as_str()), ("plugin", "r"));
    assert_eq!((plugin.failure_policy, plugin.reload_backoff), (FailurePolicy::FailOpen, Duration::from_millis(250)));
    assert_eq!(
        plugin.allowed_capabilities.as_deref(),
        Some(["proxy_log".to_owned(), "proxy_on_tick".to_owned()].as_slice())
    );
    let names: Vec<&str> = plugin.vm.environment.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["PATH", "B", "A"]);
    assert_eq!(
        (plugin.configuration.as_slice(), plugin.vm.configuration.as_slice()),
        (b"x".as_slice(), b"vm".as_slice())
    );
    let typed = with(
        "\"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm\n              config:",
        "\"@type\": a/xds.type.v3.TypedStruct\n              type_url: a/envoy.extensions.filters.http.wasm.v3.Wasm\n              value:\n               config:",
    );
    assert_eq!(load(&typed).bootstrap.listeners[0].manager.filters[0].plugin.name, "plugin");
}

#[test]
fn the_hosts_of_clusters_are_read() {
    let named = |kind: &str| {
        let text = with("type: STATIC", kind).replace("127.0.0.1, port_value: 10001", "a.test, port_value: 10001");
        load(&text).bootstrap.clusters[0].discovery.clone()
    };
    let host = HostPort { host: "a.test".to_owned(), port: 10001 };
    assert!(matches!(named("type: STRICT_DNS"), Discovery::StrictDns(hosts) if hosts == [host.clone()]));
    assert!(matches!(named("type: LOGICAL_DNS"), Discovery::LogicalDns(found) if found == host));
    let dns = "cluster_type: { name: envoy.cluster.dns, typed_config: { \"@type\": a/envoy.extensions.clusters.dns.v3.DnsCluster, all_addresses_in_single_endpoint: true } }";
    assert!(matches!(named(dns), Discovery::LogicalDns(_)));
    assert!(matches!(named("type: EDS"), Discovery::Static(hosts) if hosts.is_empty()));
}

#[test]
fn clusters_can_use_tls_and_http2() {
    let tls = |context: &str| {
        let context = format!(
            "transport_socket: {{ name: tls, typed_config: {{ \"@type\": a/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext{context} }} }}"
        );
        cluster("type: STATIC", &context).tls.unwrap()
    };
    assert!(matches!(tls("").roots, TrustedRoots::Anyone));
    assert_eq!(tls(", sni: a.test").sni.as_deref(), Some("a.test"));
    let pem = tls(
        ", common_tls_context: { validation_context: { trusted_ca: { inline_string: \"-----BEGIN CERTIFICATE-----\" } } }",
    );
    assert!(matches!(pem.roots, TrustedRoots::Pem(_)));
    let options = |inner: &str| {
        let name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        format!(
            "typed_extension_protocol_options: {{ {name}: {{ \"@type\": a/{name}, explicit_http_config: {{ {inner}: {{}} }} }} }}"
        )
    };
    assert!(cluster("type: STATIC", &options("http2_protocol_options")).http2);
    assert!(!cluster("type: STATIC", &options("http_protocol_options")).http2);
    assert!(cluster("type: STATIC", "http2_protocol_options: {}").http2);
    assert!(
        cluster(
            "type: STATIC",
            &options("http_protocol_options").replace("options: {}", "options: { enable_trailers: true }")
        )
        .trailers
    );
    assert!(!cluster("type: STATIC", &options("http_protocol_options")).trailers);
    let limits = "circuit_breakers: { thresholds: [ { priority: HIGH, max_requests: 1 }, { max_requests: 2, max_pending_requests: 3 } ] }";
    let limited = cluster("type: STATIC", limits);
    assert_eq!((limited.max_requests, limited.max_pending_requests), (2, 3));
}
