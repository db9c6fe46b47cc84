use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tollbell_tests::client::get_with_key;
use tollbell_tests::envoy::Setup;
use wasmparser::{Parser, Payload};

use crate::support::{World, config};

/// Each import beyond these is a hostcall that a capability restriction may have to allow.
const IMPORTS: [&str; 25] = [
    "proxy_call_foreign_function",
    "proxy_continue_stream",
    "proxy_define_metric",
    "proxy_dequeue_shared_queue",
    "proxy_enqueue_shared_queue",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_header_map_value",
    "proxy_get_log_level",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_http_call",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_record_metric",
    "proxy_register_shared_queue",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_resolve_shared_queue",
    "proxy_send_local_response",
    "proxy_set_effective_context",
    "proxy_set_property",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
];

/// Envoy calls each callback that exists, for every request.
const EXPORTS: [&str; 15] = [
    "memory",
    "proxy_abi_version_0_2_1",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_http_call_response",
    "proxy_on_memory_allocate",
    "proxy_on_queue_ready",
    "proxy_on_request_body",
    "proxy_on_request_headers",
    "proxy_on_request_trailers",
    "proxy_on_response_body",
    "proxy_on_response_headers",
    "proxy_on_response_trailers",
    "proxy_on_tick",
];

#[test]
fn the_module_imports_and_exports_only_what_it_uses() -> Result<()> {
    let path = tollbell_tests::project_root().join("dist/tollbell.wasm");
    let bytes = std::fs::read(&path).with_context(|| format!("{}; run `make build`", path.display()))?;
    let (mut imports, mut exports) = (BTreeSet::new(), BTreeSet::new());
    for payload in Parser::new(0).parse_all(&bytes) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    assert_eq!(import.module, "env", "{import:?}");
                    imports.insert(import.name.to_owned());
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if !matches!(export.kind, wasmparser::ExternalKind::Global) {
                        exports.insert(export.name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    assert_eq!(imports.iter().map(String::as_str).collect::<Vec<_>>(), IMPORTS);
    assert_eq!(exports.iter().map(String::as_str).collect::<Vec<_>>(), EXPORTS);
    Ok(())
}

/// `envoy.yaml` with nothing allowed to the module but its own imports and exports, less some.
pub fn restricted(missing: &[&str], upstream: u16, receiver: u16) -> Result<Setup> {
    let names = IMPORTS.iter().chain(&EXPORTS).filter(|name| !missing.contains(name));
    let allowed: Vec<String> = names.map(|name| format!("{name}: {{}}")).collect();
    let restriction = format!(
        "                capability_restriction_config: {{ allowed_capabilities: {{ {} }} }}\n                vm_config:\n",
        allowed.join(", ")
    );
    let mut config = config(json!({ "org_id": "acme", "quota_max": 10, "quota_renewal_rate": 3600 }));
    config["apis"][0]["strip_authorization_data"] = json!(true);
    let setup = Setup::config(&config, upstream, receiver)?;
    Ok(setup.edit(|yaml| yaml.replace("                vm_config:\n", &restriction)))
}

/// The lists above are what an operator who restricts capabilities has to allow, and they are enough.
#[tokio::test(flavor = "multi_thread")]
async fn the_listed_capabilities_are_enough() -> Result<()> {
    let world = World::with_setup(|upstream, receiver| restricted(&[], upstream, receiver)).await?;
    let reply = get_with_key(world.envoy.port, "/", "good-key").await?;
    assert_eq!((reply.status, reply.header("x-ratelimit-remaining")), (200, Some("9")));
    assert_eq!(get_with_key(world.envoy.port, "/", "bad-key").await?.status, 403);
    world.messages(1).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_capability_nothing_passes_unseen_and_no_vm_dies() -> Result<()> {
    for (missing, status) in [
        ("proxy_get_header_map_pairs", 503),
        ("proxy_get_shared_data", 503),
        ("proxy_set_shared_data", 503),
        ("proxy_remove_header_map_value", 503),
        ("proxy_increment_metric", 200),
        ("proxy_replace_header_map_value", 200),
        ("proxy_http_call", 200),
        ("proxy_register_shared_queue", 200),
    ] {
        let world = World::with_setup(|upstream, receiver| restricted(&[missing], upstream, receiver)).await?;
        for _ in 0..4 {
            assert_eq!(get_with_key(world.envoy.port, "/", "good-key").await?.status, status, "without {missing}");
        }
        ensure!(!world.envoy.has_trapped(), "{}", world.envoy.log());
    }
    for missing in ["proxy_get_buffer_bytes", "proxy_get_current_time_nanoseconds"] {
        let log = restricted(&[missing], 1, 1)?.refused().await?;
        ensure!(log.contains("is a capability missing?"), "without {missing}: {log}");
    }
    Ok(())
}
