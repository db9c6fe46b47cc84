use std::collections::BTreeSet;

use anyhow::{Context, Result};
use wasmparser::{Parser, Payload};

/// Each import beyond these is a hostcall that a capability restriction may have to allow.
const IMPORTS: [&str; 20] = [
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
    "proxy_register_shared_queue",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_resolve_shared_queue",
    "proxy_send_local_response",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
];

/// Envoy calls each callback that exists, for every request.
const EXPORTS: [&str; 11] = [
    "memory",
    "proxy_abi_version_0_2_1",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_http_call_response",
    "proxy_on_memory_allocate",
    "proxy_on_queue_ready",
    "proxy_on_request_headers",
    "proxy_on_response_headers",
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
