//! The manifests for Envoy Gateway.

use serde_json::{Value, json};

use super::metadata;
use super::placement::Placement;

const API: &str = "gateway.envoyproxy.io/v1alpha1";

/// An EnvoyExtensionPolicy for the filter, an EnvoyPatchPolicy for the clusters and what the policy cannot say, and an
/// EnvoyProxy for the labels of statistics.
pub(super) fn manifests(
    placement: &Placement,
    image: &str,
    namespace: &str,
    gateway: &str,
    listeners: &[&str],
) -> Vec<Value> {
    let target = json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway });
    let mut settings = vec![("failure_policy", json!(placement.failure_policy()))];
    if placement.allow_on_headers_stop_iteration {
        settings.push(("allow_on_headers_stop_iteration", json!(true)));
    }
    if let Some(capabilities) = placement.capabilities() {
        settings.push(("capability_restriction_config", capabilities));
    }
    let filter = format!("envoy.filters.http.wasm/envoyextensionpolicy/{namespace}/tollbell/wasm/0");
    let plugin = format!("..http_filters[?(@.name=='{filter}')].typed_config.config");
    let mut patches = Vec::new();
    for listener in listeners {
        for (name, value) in &settings {
            patches.push(json!({
                "type": "type.googleapis.com/envoy.config.listener.v3.Listener",
                "name": format!("{namespace}/{gateway}/{listener}"),
                "operation": { "op": "add", "jsonPath": plugin, "path": name, "value": value },
            }));
        }
    }
    for cluster in &placement.clusters {
        patches.push(json!({
            "type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            "name": cluster["name"],
            "operation": { "op": "add", "path": "", "value": cluster },
        }));
    }
    let mut manifests = vec![
        json!({
            "apiVersion": API,
            "kind": "EnvoyExtensionPolicy",
            "metadata": metadata(namespace),
            "spec": {
                "targetRefs": [target],
                "wasm": [{
                    "name": "tollbell",
                    "code": { "type": "Image", "image": { "url": image } },
                    "config": placement.configuration,
                }],
            },
        }),
        json!({
            "apiVersion": API,
            "kind": "EnvoyPatchPolicy",
            "metadata": metadata(namespace),
            "spec": { "targetRef": target, "type": "JSONPatch", "jsonPatches": patches },
        }),
    ];
    if let Some(tags) = &placement.stats_tags {
        // JSON is YAML.
        let bootstrap = json!({ "stats_config": { "stats_tags": tags } });
        manifests.push(json!({
            "apiVersion": API,
            "kind": "EnvoyProxy",
            "metadata": metadata(namespace),
            "spec": { "bootstrap": { "type": "Merge", "value": format!("{bootstrap:#}\n") } },
        }));
    }
    manifests
}
