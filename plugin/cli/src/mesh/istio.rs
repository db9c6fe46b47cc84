//! The manifests for Istio.

use serde_json::{Map, Value, json};

use super::metadata;
use super::placement::Placement;

const MANAGER: &str = "envoy.filters.network.http_connection_manager";
const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// A WasmPlugin for the filter and an EnvoyFilter for the clusters. If the filter needs what a WasmPlugin cannot say, the
/// EnvoyFilter has both.
pub(super) fn manifests(
    placement: &Placement,
    image: &str,
    namespace: &str,
    (label, value): (&str, &str),
) -> Vec<Value> {
    let labels = Map::from_iter([(label.to_owned(), json!(value))]);
    let clusters = placement.clusters.iter().map(|cluster| patch("CLUSTER", "ADD", json!({}), cluster));
    let mut manifests = Vec::new();
    let mut patches = Vec::new();
    if needs_envoy_filter(placement) {
        patches.extend(filter(placement, image));
    } else {
        manifests.push(plugin(placement, image, namespace, &labels));
    }
    patches.extend(clusters);
    if !patches.is_empty() {
        manifests.push(json!({
            "apiVersion": "networking.istio.io/v1alpha3",
            "kind": "EnvoyFilter",
            "metadata": metadata(namespace),
            "spec": { "workloadSelector": { "labels": labels }, "configPatches": patches },
        }));
    }
    manifests
}

/// Whether the filter needs what a WasmPlugin cannot say.
pub(super) fn needs_envoy_filter(placement: &Placement) -> bool {
    placement.has_admin() && placement.allow_on_headers_stop_iteration || placement.allowed_capabilities.is_some()
}

fn plugin(placement: &Placement, image: &str, namespace: &str, labels: &Map<String, Value>) -> Value {
    let configuration = &placement.configuration;
    json!({
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": metadata(namespace),
        "spec": {
            "selector": { "matchLabels": labels },
            "url": format!("oci://{image}"),
            "imagePullPolicy": "IfNotPresent",
            "phase": if reads_metadata(configuration) { "AUTHZ" } else { "AUTHN" },
            // Istio has another word for the default.
            "failStrategy": placement.failure_policy().replace("FAIL_CLOSED", "FAIL_CLOSE"),
            "pluginConfig": configuration,
        },
    })
}

/// Whether callers are identified by what another filter, such as jwt_authn, has found out.
fn reads_metadata(configuration: &Value) -> bool {
    let apis = configuration["apis"].as_array().into_iter().flatten();
    let mut sources = apis.filter_map(|api| api["identity"].as_array()).flatten();
    sources.any(|source| source.get("metadata").is_some())
}

fn filter(placement: &Placement, image: &str) -> [Value; 2] {
    let mut config = json!({
        "name": "tollbell",
        "allow_on_headers_stop_iteration": placement.allow_on_headers_stop_iteration,
        "failure_policy": placement.failure_policy(),
        "vm_config": {
            "vm_id": placement.vm_id,
            "runtime": "envoy.wasm.runtime.v8",
            "code": { "remote": { "http_uri": { "uri": format!("oci://{image}"), "cluster": "_", "timeout": "30s" } } },
        },
        "configuration": { "@type": "type.googleapis.com/google.protobuf.Struct", "value": placement.configuration },
    });
    if let Some(capabilities) = placement.capabilities() {
        config["capability_restriction_config"] = capabilities;
    }
    let place = json!({ "listener": { "filterChain": { "filter": { "name": MANAGER } } } });
    let reference = json!({
        "name": "tollbell",
        "config_discovery": { "config_source": { "ads": {}, "initial_fetch_timeout": "0s" }, "type_urls": [WASM] },
    });
    let extension = json!({ "name": "tollbell", "typed_config": { "@type": WASM, "config": config } });
    [patch("HTTP_FILTER", "INSERT_FIRST", place, &reference), patch("EXTENSION_CONFIG", "ADD", json!({}), &extension)]
}

fn patch(place: &str, operation: &str, mut matched: Value, value: &Value) -> Value {
    matched["context"] = json!("GATEWAY");
    json!({ "applyTo": place, "match": matched, "patch": { "operation": operation, "value": value } })
}
