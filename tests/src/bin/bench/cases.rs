//! The measured cases: filters, a key, and the expected answer.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tollbell_tests::project_root;
use wasm_encoder::{ExportKind, ExportSection, Module, RawSection};
use wasmparser::{ExternalKind, Parser, Payload};

use crate::process::Gateway;

pub(crate) const KEY: &str = "bench-key-0123456789abcdef0123456789";

/// The callbacks of the counting filter, and those that the SDK needs.
const COUNTER_EXPORTS: [&str; 9] = [
    "_initialize",
    "malloc",
    "memory",
    "proxy_abi_version_0_2_1",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_memory_allocate",
    "proxy_on_request_headers",
    "proxy_on_response_headers",
];

pub(crate) const NO_FILTER: &str = "no filter";
pub(crate) const SMALLEST: &str = "smallest counting filter (proxy-wasm SDK)";
pub(crate) const FULL: &str = "tollbell: two quotas, monitors, three headers";

#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) gateway: Gateway,
    pub(crate) name: &'static str,
    pub(crate) filters: Vec<Value>,
    pub(crate) key: &'static str,
    pub(crate) status: u16,
    /// A wrk script that makes the requests.
    pub(crate) script: Option<PathBuf>,
    /// Where requests go; nothing for a direct answer.
    pub(crate) upstream: Option<u16>,
    /// Further clusters of Envoy.
    pub(crate) clusters: Vec<Value>,
}

impl Case {
    pub(crate) fn new(name: &'static str, filters: Vec<Value>) -> Self {
        Case {
            gateway: Gateway::Envoy,
            name,
            filters,
            key: KEY,
            status: 200,
            script: None,
            upstream: None,
            clusters: Vec::new(),
        }
    }
}

/// The cases for the cost of a request.
pub(crate) fn of_requests(folder: &Path, is_quick: bool) -> Result<Vec<Case>> {
    let config = config();
    let mut observing = config.clone();
    for switch in ["observe_failures", "observe_upstream"] {
        observing["apis"][0][switch] = json!(true);
    }
    let mut two_headers = config.clone();
    two_headers["rate_limit_headers"] = json!("ietf");
    let mut no_headers = config.clone();
    no_headers["rate_limit_headers"] = json!("none");
    let front = json!({ "apis": [{ "api_id": "front", "use_keyless": true, "observe_failures": true }] });
    let refused = |name| Case { key: "bad-key", status: 403, ..Case::new(name, vec![tollbell(&config)]) };
    let mut cases = vec![
        Case::new(NO_FILTER, vec![]),
        smallest(),
        Case::new(FULL, vec![tollbell(&config)]),
        Case::new("tollbell: failures and the upstream observed too", vec![tollbell(&observing)]),
        refused("tollbell: bad key, cooled down"),
    ];
    let gateway = project_root().join("dist/tollbell-gateway.wasm");
    if gateway.is_file() {
        let filter = wasm(&gateway, "gateway", Some(&config));
        cases.push(Case::new("tollbell-gateway: as the full path", vec![filter]));
    }
    if is_quick {
        return Ok(cases);
    }
    let counter = fs::read(project_root().join("dist/bench/counter.wasm")).context("run `make bench`")?;
    let slim = folder.join("counter-slim.wasm");
    fs::write(&slim, only_exports(&counter, &COUNTER_EXPORTS[..])?)?;
    cases.extend([
        Case::new("smallest, with only the exports it needs", vec![wasm(&slim, "slim", None)]),
        Case::new("tollbell: two headers (ietf)", vec![tollbell(&two_headers)]),
        Case::new("tollbell: no headers", vec![tollbell(&no_headers)]),
        Case::new("tollbell: in two placements", vec![tollbell(&front), tollbell(&config)]),
        Case::new("Lua: the same bookkeeping, per thread", vec![lua()]),
    ]);
    Ok(cases)
}

pub(crate) fn smallest() -> Case {
    Case::new(SMALLEST, vec![wasm(&project_root().join("dist/bench/counter.wasm"), "counter", None)])
}

/// An API, a key and an organisation with quotas and thresholds.
pub(crate) fn config() -> Value {
    let hook = json!([{
        "handler_name": "eh_web_hook_handler",
        "handler_meta": { "target_path": "http://127.0.0.1:9/", "event_timeout": 86400 }
    }]);
    json!({
        "apis": [{
            "api_id": "orders", "org_id": "acme", "listen_path": "/orders/",
            "event_handlers": { "events": { "AuthFailure": hook, "QuotaExceeded": hook } }
        }],
        "keys": { KEY: {
            "org_id": "acme", "quota_max": 1_000_000_000, "quota_renewal_rate": 86400,
            "monitor": { "trigger_limits": [80, 60, 50] }, "access_rights": { "orders": {} }
        } },
        "orgs": { "acme": { "quota_max": 1_000_000_000, "quota_renewal_rate": 86400, "monitor": { "trigger_limits": [90] } } },
        "enforce_org_quotas": true,
        "monitor": {
            "enable_trigger_monitors": true, "monitor_user_keys": true, "monitor_org_keys": true,
            "configuration": { "target_path": "http://127.0.0.1:9/" }, "global_trigger_limit": 95
        },
        // The receiver does not exist: the cool-down must last for the whole run.
        "delivery": { "max_attempts": 100 }
    })
}

pub(crate) fn tollbell(config: &Value) -> Value {
    wasm(&project_root().join("dist/tollbell.wasm"), "tollbell", Some(config))
}

pub(crate) fn wasm(module: &Path, name: &str, config: Option<&Value>) -> Value {
    let mut filter = json!({
        "name": name,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": name,
                "vm_config": {
                    "vm_id": name, "runtime": "envoy.wasm.runtime.v8", "code": { "local": { "filename": module } }
                }
            }
        }
    });
    if let Some(config) = config {
        filter["typed_config"]["config"]["configuration"] =
            json!({ "@type": "type.googleapis.com/google.protobuf.StringValue", "value": config.to_string() });
    }
    filter
}

fn lua() -> Value {
    let code = r#"
local sessions = { ["KEY"] = { org = "acme", max = 1000000000, window = 86400 } }
local orgs = { acme = { max = 1000000000, window = 86400 } }
local counters = {}

local function count(id, quota, now)
  local counter = counters[id]
  if counter == nil or now - counter.started >= quota.window then
    counter = { started = now, count = 0 }
    counters[id] = counter
  end
  if counter.count >= quota.max then return nil end
  counter.count = counter.count + 1
  return counter
end

function envoy_on_request(handle)
  local key = handle:headers():get("authorization")
  local path = handle:headers():get(":path")
  if path == nil or string.sub(path, 1, 8) ~= "/orders/" then return end
  local session = sessions[key]
  if session == nil then
    handle:respond({ [":status"] = "403" }, '{"error": "Access to this API has been disallowed"}')
    return
  end
  local now = os.time()
  local org = count("org:" .. session.org, orgs[session.org], now)
  local own = org and count("key:" .. key, session, now)
  if own == nil then
    handle:respond({ [":status"] = "403" }, '{"error": "Quota exceeded"}')
    return
  end
  local metadata = handle:streamInfo():dynamicMetadata()
  metadata:set("quota", "left", session.max - own.count)
  metadata:set("quota", "reset", own.started + session.window)
end

function envoy_on_response(handle)
  local quota = handle:streamInfo():dynamicMetadata():get("quota")
  if quota == nil then return end
  local headers = handle:headers()
  headers:replace("x-ratelimit-limit", "1000000000")
  headers:replace("x-ratelimit-remaining", string.format("%d", quota.left))
  headers:replace("x-ratelimit-reset", string.format("%d", quota.reset))
end
"#;
    json!({
        "name": "lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": { "inline_string": code.replace("KEY", KEY) }
        }
    })
}

/// The module without its other exports.
fn only_exports(module: &[u8], keep: &[&str]) -> Result<Vec<u8>> {
    let mut out = Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        if let Payload::ExportSection(section) = &payload {
            let mut exports = ExportSection::new();
            for export in section.clone() {
                let export = export?;
                let kind = match export.kind {
                    ExternalKind::Func => ExportKind::Func,
                    ExternalKind::Memory => ExportKind::Memory,
                    _ => continue,
                };
                if keep.contains(&export.name) {
                    exports.export(export.name, kind, export.index);
                }
            }
            out.section(&exports);
        } else if let Some((id, range)) = payload.as_section() {
            let bytes = usize::try_from(range.start)?..usize::try_from(range.end)?;
            out.section(&RawSection { id, data: module.get(bytes).context("a section outside the module")? });
        }
    }
    Ok(out.finish())
}
