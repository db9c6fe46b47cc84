#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;

mod accepted;
mod fields;
mod found;
mod names;
mod refused;
mod tree;
mod wire;

/// A configuration that Envoy accepts, with parts that tests replace.
const BASE: &str = r#"
static_resources:
  listeners:
  - name: gateway
    address: { socket_address: { address: 127.0.0.1, port_value: 10000 } }
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: gateway
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: { prefix: "/" }
                route: { cluster: upstream }
          http_filters:
          - name: wasm
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: plugin
                vm_config:
                  code: { local: { filename: module.wasm } }
                configuration: { "@type": type.googleapis.com/google.protobuf.StringValue, value: "x" }
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: upstream
    type: STATIC
    load_assignment:
      cluster_name: upstream
      endpoints:
      - lb_endpoints:
        - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 10001 } } }
"#;

const MANAGER: &str = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";

/// Returns the base with one part replaced.
fn with(old: &str, new: &str) -> String {
    assert_eq!(BASE.matches(old).count(), 1, "{old}");
    BASE.replace(old, new)
}

fn load(text: &str) -> Loaded {
    parse(text, "envoy.yaml", false).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Formats errors and warnings without the name of the file, and with `HCM` for the path of the connection manager.
fn shown(problems: &[Problem]) -> Vec<String> {
    let short = |problem: &Problem| problem.to_string().replace("envoy.yaml:", "").replace(MANAGER, "HCM");
    problems.iter().map(short).collect()
}

/// The fields that the reader has asked for in the tests so far, by message.
static READ: std::sync::Mutex<std::collections::BTreeSet<(&str, &str)>> =
    std::sync::Mutex::new(std::collections::BTreeSet::new());

/// Notes that the reader asks for a field. The table must say so.
pub(super) fn note_read(message: &'static str, field: &'static str) {
    let known = known::fields(message).iter().find(|known| known.name == field);
    // These are no messages of their own.
    let is_special = message == "Any" || field == "@type";
    assert!(is_special || known.is_some_and(|known| known.treatment.is_read()), "{message}.{field} is read: {known:?}");
    crate::base::lock(&READ).insert((message, field));
}
