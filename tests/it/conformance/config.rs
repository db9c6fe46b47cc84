//! The Envoy configuration of a theme: a listener for each case, and the shared clusters.

use super::case::{Case, Fields, Filter, Route};
use super::raw::RawServers;

/// The module of every filter.
const PROBE: &str = "dist/test/probe.wasm";

/// The ports.
pub struct Ports<'s> {
    /// The ports of the listeners, by case.
    pub listeners: Vec<u16>,
    /// The port of Envoy's admin interface.
    pub admin: u16,
    /// The server that is both upstream and callout target.
    pub upstream: u16,
    /// A port without a server.
    pub refused: u16,
    /// The servers that speak no HTTP.
    pub raw: &'s RawServers,
}

/// A static Envoy configuration. There are as many `ports.listeners` as `cases`.
pub fn yaml(cases: &[&Case], ports: &Ports<'_>) -> String {
    let listeners: String = cases.iter().zip(&ports.listeners).map(|(case, port)| listener(case, *port)).collect();
    let of_callouts = [("callout", ports.upstream), ("plain", ports.upstream)];
    let clusters: String = [("upstream", ports.upstream), ("refused", ports.refused)]
        .into_iter()
        .chain(of_callouts)
        .map(|(name, port)| cluster(name, port))
        .collect();
    let yaml = format!(
        "node: {{ id: test-node, cluster: test-cluster }}\n\
         admin:\n  {}\n\
         static_resources:\n  listeners:\n{listeners}  clusters:\n{clusters}{}",
        address(ports.admin),
        super::clusters::yaml(ports.raw, ports.upstream, ports.refused),
    );
    // A script can name an address of a server.
    let [_, master] = ports.raw.ports;
    yaml.replace("127.0.0.1:UPSTREAM", &format!("127.0.0.1:{}", ports.upstream))
        .replace("127.0.0.1:MASTER", &format!("127.0.0.1:{master}"))
}

fn address(port: u16) -> String {
    format!("address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}")
}

/// A cluster with one endpoint. All but `plain` support trailers in both directions.
fn cluster(name: &str, port: u16) -> String {
    let trailers = name != "plain";
    format!(
        r#"  - name: {name}
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ http_protocol_options: {{ enable_trailers: {trailers} }} }}
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:
        - endpoint: {{ {} }}
"#,
        address(port)
    )
}

fn to_cluster(case: &Case, cluster: &str) -> String {
    format!("route:{}", with(&format!("cluster: {cluster}"), &case.action, 18))
}

fn listener(case: &Case, port: u16) -> String {
    let filters: String =
        case.filters().iter().enumerate().map(|(n, settings)| filter(case, &case.plugin(n), settings)).collect();
    let (decoration, route_decoration) = if case.decorated {
        (
            "    traffic_direction: OUTBOUND\n    metadata: { filter_metadata: { about: { colour: blue } } }\n",
            "\n                metadata: { filter_metadata: { about: { shape: round } } }",
        )
    } else {
        ("", "")
    };
    let action = match case.route {
        Route::Upstream => &to_cluster(case, case.cluster.as_deref().unwrap_or("upstream")),
        Route::Refused => &to_cluster(case, "refused"),
        Route::Direct => "direct_response: { status: 200, body: { inline_string: direct } }",
        Route::None => "",
    };
    let matches = if case.connects { "{ connect_matcher: {} }" } else { "{ prefix: / }" };
    let routes = match case.route {
        Route::None => String::new(),
        _ => format!(
            "\n              routes:\n              - match: {matches}\n                name: test-route\n                {action}{route_decoration}{}",
            fields(&case.route_fields, 16)
        ),
    };
    let manager = fields(&case.manager, 10);
    let of_listener = fields(&case.listener, 4);
    let domains =
        if case.domains.is_empty() { "[\"*\"]".to_owned() } else { serde_json::json!(case.domains).to_string() };
    let trailers = if case.trailers { "\n          http_protocol_options: { enable_trailers: true }" } else { "" };
    format!(
        r#"  - name: {name}
    {address}{of_listener}
{decoration}    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}{trailers}{manager}
          route_config:
            name: test-routes
            virtual_hosts:
            - name: test-host
              domains: {domains}{routes}
          http_filters:
{filters}          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
"#,
        name = case.name,
        address = address(port),
    )
}

fn filter(case: &Case, plugin: &str, filter: &Filter) -> String {
    let mut options = String::new();
    if !filter.root_id.is_empty() {
        options.push_str(&format!("\n                root_id: {}", filter.root_id));
    }
    if !filter.failure_policy.is_empty() {
        options.push_str(&format!("\n                failure_policy: {}", filter.failure_policy));
    }
    if filter.allow_on_headers_stop_iteration {
        options.push_str("\n                allow_on_headers_stop_iteration: true");
    }
    if !filter.allowed.is_empty() {
        let names: Vec<String> = filter.allowed.iter().map(|name| format!("{name}: {{}}")).collect();
        let names = names.join(", ");
        options.push_str(&format!(
            "\n                capability_restriction_config: {{ allowed_capabilities: {{ {names} }} }}"
        ));
    }
    if !filter.unconfigured {
        options.push_str("\n                configuration:");
        options.push_str(&string_value("                  ", &filter.script));
    }
    let vm_configuration = if filter.vm_script.is_empty() {
        String::new()
    } else {
        format!("\n                  configuration:{}", string_value("                    ", &filter.vm_script))
    };
    format!(
        r#"          - name: {plugin}
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: {plugin}{options}
                vm_config:
                  vm_id: {vm_id}
                  runtime: envoy.wasm.runtime.v8
                  code: {{ local: {{ filename: {module} }} }}{vm_configuration}
"#,
        vm_id = case.vm_id(filter),
        module = module(plugin, filter),
    )
}

/// Lines with more fields. JSON is YAML.
fn fields(fields: &Fields, indent: usize) -> String {
    fields.iter().map(|(name, value)| format!("\n{:indent$}{name}: {value}", "")).collect()
}

fn with(first: &str, more: &Fields, indent: usize) -> String {
    format!("\n{:indent$}{first}{}", "", fields(more, indent))
}

/// The path of a filter's module.
fn module(plugin: &str, filter: &Filter) -> String {
    if filter.wasi.is_empty() {
        return PROBE.to_owned();
    }
    super::wasi::module(plugin, &filter.wasi)
        .map_or_else(|error| format!("{error:#}"), |path| path.display().to_string())
}

/// A JSON string is a YAML string.
fn string_value(indent: &str, text: &str) -> String {
    let text = serde_json::Value::from(text);
    format!("\n{indent}\"@type\": type.googleapis.com/google.protobuf.StringValue\n{indent}value: {text}")
}
