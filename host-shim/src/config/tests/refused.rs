use super::*;

fn errors(text: &str) -> Vec<String> {
    match parse(text, "envoy.yaml", false) {
        Err(errors) => shown(&errors.0),
        Ok(_) => panic!("accepted: {text}"),
    }
}

/// Each case replaces a part of the base. The real Envoy refuses each of them too.
#[test]
fn an_error_of_envoy_is_an_error_with_its_line() {
    let prefix = "prefix: \"/\"";
    let route = "route: { cluster: upstream }";
    let cases = [
        ("stat_prefix: gateway", "stat_prefix: 5", "11: HCM.stat_prefix: expected a string, found a number; quote it"),
        (
            "stat_prefix: gateway",
            "stat_prefix: on",
            "11: HCM.stat_prefix: expected a string, found true or false; YAML",
        ),
        ("stat_prefix: gateway", "foo: gateway", "9: HCM.stat_prefix: missing"),
        (
            "stat_prefix: gateway",
            "stat_prefix: a\n          stat_prefex: b",
            "12: HCM.stat_prefex: Envoy 1.40's HttpConnectionManager has no field of this name (did you mean \"stat_prefix\"?)",
        ),
        (
            "stat_prefix: gateway",
            "stat_prefix: a\n          merge_slashes: 1",
            "12: HCM.merge_slashes: expected true or false, found a number",
        ),
        (
            "stat_prefix: gateway",
            "stat_prefix: a\n          path_with_escaped_slashes_action: KEEP",
            "12: HCM.path_with_escaped_slashes_action: KEEP is not one of",
        ),
        (
            "port_value: 10000",
            "port_value: 70000",
            "5: static_resources.listeners[0].address.socket_address.port_value: 70000 is not a port",
        ),
        ("port_value: 10000", "port_value: 1.5", "port_value: 1.5 is not a whole number"),
        ("port_value: 10000", "named_port: http", "named_port: a named port"),
        (
            "127.0.0.1, port_value: 10000",
            "localhost, port_value: 10000",
            "5: static_resources.listeners[0].address: malformed IP address: \"localhost\"",
        ),
        (
            "127.0.0.1, port_value: 10001",
            "localhost, port_value: 10001",
            "address: malformed IP address: \"localhost\"; for names, use the type STRICT_DNS or LOGICAL_DNS",
        ),
        (
            "    address: { socket_address: { address: 127.0.0.1, port_value: 10000 } }\n",
            "",
            "4: static_resources.listeners[0].address: missing",
        ),
        (
            route,
            "route: { cluster: upsteam }",
            "18: HCM.route_config.virtual_hosts[0].routes[0].route.cluster: no cluster has the name \"upsteam\" (did you mean \"upstream\"?)",
        ),
        (
            route,
            "route: { cluster: upstream, timeout: 5 }",
            "route.timeout: expected a duration such as \"5s\", found 5",
        ),
        (
            route,
            "route: { cluster: upstream, timeout: -5s }",
            "route.timeout: \"-5s\" is not a duration: it must not be negative",
        ),
        (route, "route: { cluster: upstream, timeout: .5s }", "is not a duration"),
        (route, "direct_response: { status: 700 }", "direct_response.status: must be from 200 to 599"),
        (
            route,
            "direct_response: { status: 200, body: { filename: /nope/nope } }",
            "direct_response.body: /nope/nope cannot be read",
        ),
        (route, "redirect: { path_redirect: a, prefix_rewrite: b }", "prefix_rewrite: only one of"),
        (
            route,
            "route: { weighted_clusters: { clusters: [ { name: upstream, weight: 0 } ] } }",
            "the sum of the weights is 0",
        ),
        (route, "name: r", "17: HCM.route_config.virtual_hosts[0].routes[0]: one of route, redirect,"),
        (
            route,
            "route: { cluster: upstream }\n                request_headers_to_add: [{ header: { key: Host, value: x } }]",
            "header.key: host cannot be changed",
        ),
        (
            route,
            "route: { cluster: upstream, regex_rewrite: { pattern: { regex: \"(\" }, substitution: a } }",
            "regex_rewrite.pattern.regex: not a regular expression: unclosed group",
        ),
        (
            route,
            "route: { cluster: upstream, prefix_rewrite: /a, regex_rewrite: { pattern: { regex: a }, substitution: b } }",
            "regex_rewrite: only one of",
        ),
        (prefix, "safe_regex: { regex: \"(\" }", "match.safe_regex: \"(\" is not a regular expression: unclosed group"),
        (prefix, "path_separated_prefix: /a/", "match.path_separated_prefix: \"/a/\" does not begin"),
        (prefix, "prefix: a, path: b", "match.path: only one of prefix, path"),
        (prefix, "prefix: a, headers: [{ exact_match: b }]", "match.headers[0].name: missing"),
        (prefix, "prefix: a, headers: [{ name: a, string_match: { suffix: \"\" } }]", "string_match.suffix: empty"),
        ("domains: [\"*\"]", "domains: [a, A]", "domains[1]: the domain \"a\" is already"),
        ("domains: [\"*\"]", "metadata: {}", "14: HCM.route_config.virtual_hosts[0].domains: missing"),
        (
            "http.router.v3.Router",
            "http.router.v3.Rooter",
            "28: HCM.http_filters[1]: no extension that can be used here has the type",
        ),
        (
            "http.wasm.v3.Wasm",
            "http.wasm.v3.Wams",
            "http_filters[0]: no extension that can be used here has the type \"envoy.extensions.filters.http.wasm.v3.Wams\" (did you mean \"envoy.extensions.filters.http.wasm.v3.Wasm\"?)",
        ),
        (
            "google.protobuf.StringValue",
            "google.protobuf.StringVlaue",
            "cannot serialize a google.protobuf.StringVlaue (did you mean \"StringValue\"?): use",
        ),
        (
            "http.router.v3.Router",
            "http.buffer.v3.Buffer",
            "28: HCM.http_filters[1]: the last filter must be the router",
        ),
        (
            "- name: envoy.filters.http.router",
            "- name: r\n            disabled: true",
            "the router, the last filter, cannot be disabled",
        ),
        (
            "name: plugin",
            "fail_open: true\n                failure_policy: FAIL_OPEN",
            "fail_open and failure_policy cannot both be set",
        ),
        (
            "vm_config:",
            "vm_config:\n                  runtime: envoy.wasm.runtime.null",
            "26: HCM.http_filters[0].typed_config.config.vm_config.runtime: this runtime",
        ),
        (
            "vm_config:",
            "vm_config:\n                  environment_variables: { host_env_keys: [A], key_values: { A: b } }",
            "key_values.A: is also in host_env_keys",
        ),
        (
            "local: { filename: module.wasm }",
            "remote: { sha256: a }",
            "code.remote: the shim does not download code: use local.filename",
        ),
        ("local: { filename: module.wasm }", "local: {}", "code.local: one of filename, inline_bytes"),
        ("  clusters:\n", "  clusters:\n  - { name: l, type: LOGICAL_DNS }\n", "LOGICAL_DNS needs exactly one"),
        ("type: STATIC", "type: 77", "33: static_resources.clusters[0].type: 77 is not one of STATIC"),
        ("type: STATIC", "lb_policy: CLUSTER_PROVIDED", "lb_policy: CLUSTER_PROVIDED is for clusters"),
        ("type: STATIC", "connect_timeout: 0s", "connect_timeout: must be more than 0s"),
        ("type: STATIC", "cluster_type: { name: foo }", "Envoy has no cluster type \"foo\""),
        (
            "type: STATIC",
            "transport_socket: { name: tls }",
            "transport_socket: \"typed_config\" with its \"@type\" is missing",
        ),
        (
            "  clusters:\n",
            "  clusters:\n  - name: upstream\n",
            "33: static_resources.clusters[1]: another cluster on line 32 has the name \"upstream\"",
        ),
        (
            "static_resources:\n",
            "stats_config: { stats_tags: [ { tag_name: a, regex: \"(\" } ] }\nstatic_resources:\n",
            "2: stats_config.stats_tags[0].regex: not a regular expression",
        ),
        (
            "static_resources:\n",
            "admin: { address: { socket_address: { address: 127.0.0.1, port_value: 10000 } } }\nstatic_resources:\n",
            "5: static_resources.listeners[0]: the admin interface also has the address 127.0.0.1:10000",
        ),
        ("static_resources:\n", "admin: []\nstatic_resources:\n", "2: admin: expected a map, found a list"),
    ];
    for (old, new, expected) in cases {
        let errors = errors(&with(old, new));
        assert!(errors.iter().any(|error| error.contains(expected)), "{new}: {errors:#?}");
    }
}

#[test]
fn all_errors_are_reported_together_and_in_order() {
    let text = with("type: STATIC", "type: FOO")
        .replace("port_value: 10000", "port_value: x")
        .replace("prefix: \"/\"", "prefox: a");
    let errors = errors(&text);
    let lines: Vec<&str> = errors.iter().filter_map(|error| error.split(':').next()).collect();
    assert_eq!(lines, ["5", "17", "17", "33"], "{errors:#?}");
}

#[test]
fn a_file_that_is_not_a_bootstrap_is_refused() {
    assert_eq!(errors(""), ["1: the configuration is empty"]);
    assert_eq!(errors("- a\n"), ["1: expected a map, found a list"]);
    assert_eq!(errors("a: [\n").len(), 1);
}

#[test]
fn errors_contain_no_secret() {
    let context = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
    let tls = format!(
        "    - transport_socket: {{ name: tls, typed_config: {{ \"@type\": a/{context}, common_tls_context: {{ \
         tls_certificates: [ {{ certificate_chain: {{ inline_string: c }}, \
         private_key: {{ inline_string: hunter2 }} }} ] }} }} }}\n      filters:"
    );
    let errors = errors(&with("    - filters:", &tls));
    assert_eq!(errors.len(), 2, "{errors:#?}");
    assert!(!errors.concat().contains("hunter2"));
}

#[test]
fn a_key_of_another_certificate_is_refused_at_its_line() {
    let context = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
    let (certificate, key) = (include_str!("certificate.pem"), include_str!("other_key.pem"));
    let tls = format!(
        "    - transport_socket:\n        name: tls\n        typed_config:\n          \"@type\": a/{context}\n          \
         common_tls_context:\n            tls_certificates:\n            - certificate_chain: {{ inline_string: \
         {certificate:?} }}\n              private_key: {{ inline_string: {key:?} }}\n      filters:"
    );
    let errors = errors(&with("    - filters:", &tls));
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert!(
        errors[0].starts_with("14: ")
            && errors[0].ends_with(".private_key: the key does not belong to the certificate")
    );
}
