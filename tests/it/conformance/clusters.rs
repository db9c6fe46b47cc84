//! Clusters beside `upstream`, `callout` and `refused`.

use super::raw::RawServers;

const TCP_POOL: &str = r#"
    upstream_config:
      name: envoy.filters.connection_pools.http.tcp
      typed_config: { "@type": type.googleapis.com/envoy.extensions.upstreams.http.tcp.v3.TcpConnectionPoolProto }"#;

/// One connection for each request. Otherwise a callout in the callback of another one gets a connection that closes.
const ONE_REQUEST: &str = r#"
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        common_http_protocol_options: { max_requests_per_connection: 1 }
        explicit_http_config: { http_protocol_options: {} }"#;

/// The clusters in YAML.
pub fn yaml(servers: &RawServers, upstream: u16, refused: u16) -> String {
    let [replica, master] = servers.ports.map(socket);
    let (shut, refused, upstream) = (socket(servers.shut), socket(refused), socket(upstream));
    let pipe = |path: &std::path::Path| format!("pipe: {{ path: {} }}", path.display());
    let tcp = format!("{TCP_POOL}{ONE_REQUEST}");
    let original = |more: &str| format!("type: ORIGINAL_DST\n    lb_policy: CLUSTER_PROVIDED\n    {more}");
    let by_header = original("original_dst_lb_config: { use_http_header: true }");
    let by_own_header = original("original_dst_lb_config: { use_http_header: true, http_header_name: x-target }");
    [
        fixed("tcp", &[&master], &tcp),
        fixed("tcp_shut", &[&shut], &tcp),
        fixed("tcp_refused", &[&refused], &tcp),
        fixed("tcp_pipe", &[&pipe(&servers.pipe)], &tcp),
        fixed("tcp_no_pipe", &[&pipe(&servers.pipe.with_extension("none"))], &tcp),
        fixed("once", &[&upstream], ONE_REQUEST),
        fixed("pipe", &[&pipe(&servers.http_pipe)], ""),
        format!("  - name: original\n    {by_header}\n"),
        format!("  - name: original_by_own_header\n    {by_own_header}\n"),
        format!("  - name: original_tcp\n    {by_header}{tcp}\n"),
        fixed("checked", &[&replica, &master, &refused], &format!("{tcp}{}", checks("role:master"))),
        fixed("checked_in_vain", &[&replica], &format!("{tcp}{}", checks("role:master"))),
        fixed("checked_open", &[&refused], &checks("role:master")),
        fixed("http_checked_strict", &[&refused, &upstream], &http_checks("path: /health/strict")),
        fixed("http_checked_changed", &[&refused, &upstream], &http_checks(CHANGED)),
        fixed("http_checked_in_vain", &[&upstream], &http_checks("path: /health/404")),
        fixed("http_checked_range", &[&upstream], &http_checks(RANGE)),
        fixed("http_checked_text", &[&upstream], &http_checks("path: /health/200, receive: [{ text: \"616263\" }]")),
        fixed("http_checked_retriable", &[&upstream], &http_checks(RETRIABLE)),
    ]
    .concat()
}

/// Another host, method, header and body (`ping`), and a part of the answer (`healthy`).
const CHANGED: &str = "path: /health/changed, host: other.test, method: POST, send: { text: \"70696e67\" }, \
    receive: [{ text: \"6865616c\" }], request_headers_to_remove: [user-agent], \
    request_headers_to_add: [{ header: { key: X-Check, value: \"1\" } }]";

const RANGE: &str = "path: /health/404, expected_statuses: [{ start: 200, end: 201 }, { start: 400, end: 405 }]";

const RETRIABLE: &str = "path: /health/503, retriable_statuses: [{ start: 503, end: 504 }]";

fn http_checks(fields: &str) -> String {
    health_check("60s", &format!("http_health_check: {{ {fields} }}"))
}

/// A health check in Envoy's form: the text in hexadecimal.
fn checks(expected: &str) -> String {
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let check = format!(
        "tcp_health_check: {{ send: {{ text: \"{}\" }}, receive: [{{ text: \"{}\" }}, {{ text: \"{}\" }}] }}",
        hex("INFO\n"),
        hex(expected),
        hex("state=online"),
    );
    health_check("1s", &check)
}

/// `timeout` can pass while a busy host compiles modules, before it looks at the answers of its first checks.
fn health_check(timeout: &str, kind: &str) -> String {
    format!(
        r#"
    common_lb_config: {{ healthy_panic_threshold: {{ value: 0 }} }}
    health_checks:
    - timeout: {timeout}
      interval: 0.3s
      no_traffic_interval: 0.3s
      unhealthy_threshold: 1
      healthy_threshold: 1
      {kind}"#
    )
}

fn socket(port: u16) -> String {
    format!("socket_address: {{ address: 127.0.0.1, port_value: {port} }}")
}

/// A STATIC cluster.
fn fixed(name: &str, addresses: &[&str], more: &str) -> String {
    let endpoint = |address: &&str| format!("\n        - endpoint: {{ address: {{ {address} }} }}");
    let endpoints: String = addresses.iter().map(endpoint).collect();
    format!(
        r#"  - name: {name}
    type: STATIC{more}
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:{endpoints}
"#
    )
}
