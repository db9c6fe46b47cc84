use super::*;
use crate::config::message::{MORE_OPEN, Message};
use crate::config::node::{Key, Node, Value};
use crate::config::place::Place;
use crate::config::report::Report;

/// Reports on a message with one field, and returns errors and warnings.
fn told(message: &'static str, field: &str, value: Value) -> (Vec<String>, Vec<String>) {
    let fields = [(Key { name: field.to_owned(), line: 1 }, Node::new(1, value))];
    let node = Node::new(1, Value::Map(fields.to_vec()));
    let report = Report::new("a");
    let place = Place { node: &node, line: 1, path: String::new(), report: &report };
    Message::new(place, message, &fields).done();
    let texts = |problems: Vec<Problem>| problems.into_iter().map(|problem| problem.message).collect();
    match report.finish(Some(())) {
        Ok(((), warnings)) => (Vec::new(), texts(warnings)),
        Err(errors) => (texts(errors.0), Vec::new()),
    }
}

#[test]
fn a_field_that_is_not_honoured_is_a_warning_with_its_reason() {
    let mut count = 0;
    for (message, fields) in messages() {
        for field in fields.iter().filter(|field| !field.treatment.is_read()) {
            let expected = match field.treatment {
                Treatment::Harmless => Vec::new(),
                Treatment::Opens => vec![format!("{MORE_OPEN}not honoured: {}", field.reason)],
                _ => vec![format!("not honoured: {}", field.reason)],
            };
            let of = |value| told(message, field.name, value).1;
            assert_eq!(of(Value::String("x".into())), expected, "{message}.{}", field.name);
            let of_empty = if field.harmless_values.contains(&"{}") { Vec::new() } else { expected.clone() };
            assert_eq!(of(Value::Map(Vec::new())), of_empty, "{message}.{}", field.name);
            let of_default = if field.has_no_harmless_value { expected } else { Vec::new() };
            assert_eq!(of(Value::Bool(false)), of_default, "{message}.{}", field.name);
            let of_true = if field.harmless_values.contains(&"true") { Vec::new() } else { of(Value::Int(1)) };
            assert_eq!(of(Value::Bool(true)), of_true, "{message}.{}", field.name);
            assert_eq!(of(Value::Null), [""; 0], "{message}.{}", field.name);
            for value in &field.harmless_values {
                assert_eq!(of(Value::String((*value).to_owned())), [""; 0], "{message}.{}", field.name);
            }
            count += 1;
        }
        let (errors, _) = told(message, "no_such_field", Value::Bool(true));
        assert!(errors.len() == 1 && errors[0].contains("has no field of this name"), "{errors:?}");
    }
    assert!(count > 300, "{count}");
}

/// A configuration with every message that the shim reads.
const ALL: &str = include_str!("all.yaml");

/// The reader cannot read what the table does not know ([`note_read`]). This is the other direction.
#[test]
fn each_field_that_the_table_calls_honoured_is_read() {
    let pem = concat!(env!("CARGO_MANIFEST_DIR"), "/src/server/upstream/pem");
    // Errors do not matter here. Some fields exclude each other, so that no valid message has all of them.
    let read = parse(&ALL.replace("PEM", pem), "all.yaml", false);
    if let Err(errors) = &read {
        panic!("{errors}");
    }
    let read = crate::base::lock(&READ).clone();
    let mut missing = Vec::new();
    for (message, fields) in messages() {
        for field in fields.iter().filter(|field| field.treatment.is_read()) {
            if !read.contains(&(*message, field.name)) {
                missing.push(format!("{message}.{}", field.name));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The warnings for a cluster with these fields instead of STATIC.
fn of_cluster(fields: &str) -> Vec<String> {
    shown(&load(&with("type: STATIC", &format!("type: STATIC\n    {fields}"))).warnings)
}

#[test]
fn the_lookup_family_is_read() {
    let family = |fields: &str| {
        let text = with("type: STATIC", &format!("type: STATIC\n    {fields}"));
        load(&text).bootstrap.clusters[0].dns_family
    };
    assert_eq!(family("dns_lookup_family: V6_ONLY"), model::DnsFamily::V6Only);
    assert_eq!(family("dns_lookup_family: ALL"), model::DnsFamily::All);
    assert_eq!(family(""), model::DnsFamily::V4Preferred);
    let (base, _) = BASE.split_once("    type: STATIC").unwrap();
    let dns = "cluster_type: { name: a, typed_config: { \"@type\": a/envoy.extensions.clusters.dns.v3.DnsCluster, \
               dns_lookup_family: V4_ONLY } }";
    assert_eq!(load(&format!("{base}    {dns}\n")).bootstrap.clusters[0].dns_family, model::DnsFamily::V4Only);
}

#[test]
fn raw_tcp_needs_a_connection_for_each_request() {
    let pool = "upstream_config: { name: a, typed_config: { \"@type\": \
                a/envoy.extensions.upstreams.http.tcp.v3.TcpConnectionPoolProto } }";
    let text = with("type: STATIC", &format!("max_requests_per_connection: 1\n    {pool}"));
    let loaded = load(&text);
    let cluster = &loaded.bootstrap.clusters[0];
    assert!(cluster.tcp_pool && cluster.one_request_per_connection && loaded.warnings.is_empty());
    let warnings = of_cluster(pool);
    assert!(warnings.len() == 1 && warnings[0].contains("without max_requests_per_connection: 1"), "{warnings:?}");
    let warnings = of_cluster("max_requests_per_connection: 5");
    assert!(warnings.len() == 1 && warnings[0].contains("for more requests"), "{warnings:?}");
    assert_eq!(of_cluster("max_requests_per_connection: 1\n    preconnect_policy: {}"), [""; 0]);
}

#[test]
fn health_checks_are_read() {
    let check = |fields: &str| {
        let needed = "timeout: 1s, interval: 2s, unhealthy_threshold: 3, healthy_threshold: 4";
        with("type: STATIC", &format!("health_checks: [{{ {needed}, {fields} }}]"))
    };
    let tcp = "tcp_health_check: { send: { text: \"50494e47\" }, receive: [{ binary: \"UE9ORw==\" }] }";
    let cluster = load(&check(&format!("unhealthy_interval: 5s, {tcp}"))).bootstrap.clusters.remove(0);
    let found = cluster.health_check.unwrap();
    let seconds = [found.unhealthy_edge_interval, found.healthy_edge_interval, found.no_traffic_healthy_interval];
    assert_eq!(seconds.map(|duration| duration.as_secs()), [5, 2, 60]);
    let probe = model::HealthProbe::Tcp { send: b"PING".to_vec(), receive: vec![b"PONG".to_vec()] };
    assert_eq!((found.probe, cluster.panic_threshold, found.reuse_connection), (probe, 50, true));
    let warnings = shown(&load(&check("grpc_health_check: {}")).warnings);
    assert!(warnings.len() == 1 && warnings[0].contains("only TCP and HTTP health checks"), "{warnings:?}");
    let refused = |text: &str| parse(text, "envoy.yaml", false).unwrap_err().to_string();
    let odd = refused(&check("tcp_health_check: { send: { text: PING } }"));
    assert!(odd.contains("\"PING\" is not hexadecimal"), "{odd}");
    let two = "health_checks: [{ name: a, timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, \
               tcp_health_check: {} }, { NAME timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, \
               tcp_health_check: {} }]";
    let warnings = shown(&load(&with("type: STATIC", &two.replace("NAME", "name: b,"))).warnings);
    assert!(warnings.len() == 1 && warnings[0].contains("only the first health check"), "{warnings:?}");
    assert!(refused(&with("type: STATIC", &two.replace("NAME", ""))).contains("name: missing"));
    let missing = refused(&with("type: STATIC", "health_checks: [{ tcp_health_check: {} }]"));
    assert_eq!(missing.lines().count(), 4, "{missing}");
}

#[test]
fn http_health_checks_are_read() {
    let check = |fields: &str| {
        let needed = "timeout: 1s, interval: 2s, unhealthy_threshold: 3, healthy_threshold: 4";
        let text = format!("health_checks: [{{ {needed}, http_health_check: {{ {fields} }} }}]");
        parse(&with("type: STATIC", &text), "envoy.yaml", false)
    };
    let probe = |fields: &str| {
        let mut bootstrap = check(fields).unwrap().bootstrap;
        match bootstrap.clusters.remove(0).health_check.unwrap().probe {
            model::HealthProbe::Http(probe) => *probe,
            other => panic!("{other:?}"),
        }
    };
    let plain = probe("path: /a");
    assert_eq!((plain.method, plain.host.as_str(), plain.path.as_str()), (http::Method::GET, "upstream", "/a"));
    let only = |range: std::ops::Range<u16>| std::iter::once(range).collect::<Vec<_>>();
    assert_eq!((plain.expected, plain.searched, plain.http2), (only(200..201), 1024, false));
    let full = probe(
        "path: /a, host: b, method: POST, send: { text: \"61\" }, codec_client_type: HTTP2, response_buffer_size: 0, \
         request_headers_to_remove: [User-Agent], request_headers_to_add: [{ header: { key: X-A, value: b } }], \
         expected_statuses: [{ start: 200, end: 300 }], retriable_statuses: [{ start: 503, end: 504 }]",
    );
    assert_eq!((full.method, full.host.as_str(), full.body.as_slice()), (http::Method::POST, "b", b"a".as_slice()));
    assert_eq!((full.expected, full.retriable, full.http2), (only(200..300), only(503..504), true));
    assert_eq!((full.headers, full.searched), (vec![("x-a".to_owned(), "b".to_owned())], usize::MAX));
    let refused = check("path: /a, expected_statuses: [{ start: 300, end: 200 }]").unwrap_err().to_string();
    assert!(refused.contains("300 to 200 is not a range"), "{refused}");
    assert!(check("host: a").unwrap_err().to_string().contains("path: missing"));
}

#[test]
fn the_body_of_a_direct_response_has_a_limit() {
    let direct = |body: usize, limit: &str| {
        let body = "x".repeat(body);
        let text = with(
            "route: { cluster: upstream }",
            &format!("direct_response: {{ status: 200, body: {{ inline_string: {body} }} }}"),
        );
        parse(&text.replace("route_config:\n", &format!("route_config:\n            {limit}\n")), "a", false)
    };
    assert!(direct(4096, "").is_ok() && direct(5000, "max_direct_response_body_size_bytes: 5000").is_ok());
    let refused = direct(4097, "").unwrap_err().to_string();
    assert!(refused.contains("the body has 4097 bytes, and the maximum is 4096"), "{refused}");
}

#[test]
fn a_cluster_can_use_a_pipe_or_the_address_in_a_header() {
    let pipe = BASE.rsplit_once("socket_address: { address: 127.0.0.1, port_value: 10001 }").unwrap();
    let loaded = load(&format!("{}pipe: {{ path: /run/store }}{}", pipe.0, pipe.1));
    let expected = model::HostAddress::Pipe("/run/store".into());
    assert!(matches!(&loaded.bootstrap.clusters[0].discovery, model::Discovery::Static(hosts) if hosts == &[expected]));
    let (base, _) = BASE.split_once("    type: STATIC").unwrap();
    let original = |config: &str| {
        let text = format!("{base}    type: ORIGINAL_DST\n    lb_policy: CLUSTER_PROVIDED\n    {config}\n");
        parse(&text, "envoy.yaml", false)
    };
    let loaded = original("original_dst_lb_config: { use_http_header: true, http_header_name: X-To }").unwrap();
    let model::Discovery::OriginalDestination { header, port } = &loaded.bootstrap.clusters[0].discovery else {
        panic!("{:?}", loaded.bootstrap.clusters)
    };
    assert_eq!((header.as_str(), *port), ("x-to", None));
    let warnings = shown(&original("").unwrap().warnings);
    assert!(warnings[0].contains("this cluster has no hosts"), "{warnings:?}");
    assert!(original("original_dst_lb_config: { http_header_name: x-to }").is_err());
    assert!(original("load_assignment: { cluster_name: a }").is_err());
}
