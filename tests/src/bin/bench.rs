//! `make bench`: what a request costs with tollbell, against no filter, the smallest counting filter, and Lua.
//!
//! Each case is an Envoy of its own with one worker, pinned to one core, under wrk on another. The cases take turns,
//! so that what the machine does meanwhile falls on all of them; medians and ratios are from this one run.

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tollbell_tests::envoy::{Process, binary, free_port};
use tollbell_tests::project_root;
use wasm_encoder::{ExportKind, ExportSection, Module, RawSection};
use wasmparser::{ExternalKind, Parser, Payload};

/// Two processes of the same case differ more than two rounds of one do, so each case gets several.
const PROCESSES: usize = 5;
const SHORT_PROCESSES: usize = 2;
const ROUNDS: usize = 4;
const SECONDS: u32 = 2;
const SHIM: &str = "target/release/host-shim";
const KEY: &str = "bench-key-0123456789abcdef0123456789";

/// The callbacks that the counting filter implements, and what the SDK needs for its life.
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

/// What runs a case.
#[derive(Clone, Copy, PartialEq)]
enum Gateway {
    Envoy,
    Shim,
}

struct Case {
    gateway: Gateway,
    name: &'static str,
    filters: Vec<Value>,
    key: &'static str,
    status: u16,
}

const IN_ENVOY: &str = "tollbell: two quotas, monitors, headers";
const IN_SHIM: &str = "the same in host-shim";

struct Running {
    case: Case,
    port: u16,
    /// Ends it when the case is done.
    _process: Process,
    rates: Vec<f64>,
}

fn main() -> Result<()> {
    for tool in ["wrk", "taskset"] {
        ensure!(
            Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok(),
            "{tool} is not installed; on Debian: apt-get install wrk util-linux"
        );
    }
    let folder = project_root().join("target/bench");
    fs::create_dir_all(&folder)?;
    let mut results: Vec<(&str, Vec<f64>)> = Vec::new();
    let short = std::env::args().any(|argument| argument == "--short");
    let processes = if short { SHORT_PROCESSES } else { PROCESSES };
    for process in 1..=processes {
        let cases = cases(&folder)?.into_iter();
        let mut running = cases.map(|case| start(case, &folder)).collect::<Result<Vec<Running>>>()?;
        for round in 1..=ROUNDS {
            for running in &mut running {
                if std::io::stderr().is_terminal() {
                    eprint!("\rprocess {process} of {processes}, round {round} of {ROUNDS}: {:<50}", running.case.name);
                }
                let rate = measure(running)?;
                running.rates.push(rate);
            }
        }
        results.resize_with(running.len(), Default::default);
        for ((name, rates), running) in results.iter_mut().zip(&running) {
            *name = running.case.name;
            rates.push(median(&running.rates)?);
        }
    }
    eprintln!();
    print!("{}", table(&results, processes)?);
    Ok(())
}

fn cases(folder: &Path) -> Result<Vec<Case>> {
    let root = project_root();
    let counter = fs::read(root.join("dist/bench/counter.wasm")).context("run `make bench`")?;
    let slim = folder.join("counter-slim.wasm");
    fs::write(&slim, only_exports(&counter, &COUNTER_EXPORTS[..])?)?;
    let logging = folder.join("counter-logging.wasm");
    let with_log = [&COUNTER_EXPORTS[..], &["proxy_on_log"]].concat();
    fs::write(&logging, only_exports(&counter, &with_log)?)?;
    let hook = json!([{
        "handler_name": "eh_web_hook_handler",
        "handler_meta": { "target_path": "http://127.0.0.1:9/", "event_timeout": 86400 }
    }]);
    let config = json!({
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
        // The receiver does not exist: the claim must hold for the whole run.
        "delivery": { "max_attempts": 100 }
    });
    let mut observing = config.clone();
    for switch in ["observe_failures", "observe_upstream"] {
        observing["apis"][0][switch] = json!(true);
    }
    let front = json!({ "apis": [{ "api_id": "front", "use_keyless": true, "observe_failures": true }] });
    let tollbell = |config: &Value| wasm(&root.join("dist/tollbell.wasm"), "tollbell", Some(config));
    let case = |name, filters, key, status| Case { gateway: Gateway::Envoy, name, filters, key, status };
    Ok(vec![
        case("no filter", vec![], KEY, 200),
        case(
            "smallest counting filter (proxy-wasm SDK)",
            vec![wasm(&root.join("dist/bench/counter.wasm"), "counter", None)],
            KEY,
            200,
        ),
        case("the same, with only the exports it needs", vec![wasm(&slim, "slim", None)], KEY, 200),
        case("the same, with proxy_on_log", vec![wasm(&logging, "logging", None)], KEY, 200),
        case(IN_ENVOY, vec![tollbell(&config)], KEY, 200),
        case("tollbell: failures and the upstream observed too", vec![tollbell(&observing)], KEY, 200),
        case("tollbell: the same in two placements", vec![tollbell(&front), tollbell(&config)], KEY, 200),
        case("tollbell: bad key, cooled down", vec![tollbell(&config)], "bad-key", 403),
        case("Lua: the same bookkeeping, per thread", vec![lua()], KEY, 200),
        Case { gateway: Gateway::Shim, ..case(IN_SHIM, vec![tollbell(&config)], KEY, 200) },
    ])
}

fn wasm(module: &Path, name: &str, config: Option<&Value>) -> Value {
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

fn start(case: Case, folder: &Path) -> Result<Running> {
    let (port, admin) = (free_port()?, free_port()?);
    let address = |port: u16| json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } });
    let router = json!({
        "name": "router",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" }
    });
    let filters: Vec<Value> = case.filters.iter().cloned().chain([router]).collect();
    let config = json!({
        "admin": { "address": address(admin) },
        "static_resources": {
            "listeners": [{
                "name": "bench", "address": address(port),
                "filter_chains": [{ "filters": [{
                    "name": "http",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                        "stat_prefix": "bench",
                        "route_config": { "virtual_hosts": [{
                            "name": "all", "domains": ["*"],
                            "routes": [{
                                "match": { "prefix": "/" },
                                "direct_response": { "status": 200, "body": { "inline_string": "ok" } }
                            }]
                        }] },
                        "http_filters": filters
                    }
                }] }]
            }],
            "clusters": [{
                "name": "tollbell_http", "type": "STATIC", "load_assignment": { "cluster_name": "tollbell_http" }
            }]
        }
    });
    let file = folder.join(format!("{port}.json"));
    fs::write(&file, config.to_string())?;
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "0"]);
    match case.gateway {
        Gateway::Envoy => {
            command.arg(binary()?).args(["--concurrency", "1", "--use-dynamic-base-id"]).arg("--config-path")
        }
        Gateway::Shim => command.arg(project_root().join(SHIM)).args(["run", "--workers", "1"]).arg("--config"),
    };
    command.arg(&file).args(["--log-level", "error"]).stdout(Stdio::null());
    let process = Process::start(&mut command)?;
    let running = Running { case, port, _process: process, rates: Vec::new() };
    for _ in 0..300 {
        sleep(Duration::from_millis(100));
        if let Ok(status) = status_of(&running) {
            ensure!(status == running.case.status, "{} answers {status}", running.case.name);
            return Ok(running);
        }
    }
    bail!("{} does not answer", running.case.name)
}

fn status_of(running: &Running) -> Result<u16> {
    let output = Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H"])
        .arg(format!("authorization: {}", running.case.key))
        .arg(url(running))
        .output()?;
    ensure!(output.status.success(), "no answer");
    Ok(String::from_utf8(output.stdout)?.parse()?)
}

fn url(running: &Running) -> String {
    format!("http://127.0.0.1:{}/orders/1", running.port)
}

/// Requests per second.
fn measure(running: &Running) -> Result<f64> {
    let output = Command::new("taskset")
        .args(["--cpu-list", "1", "wrk", "-t1", "-c16", &format!("-d{SECONDS}s")])
        .args(["-H", &format!("authorization: {}", running.case.key)])
        .args(["-H", "user-agent: Mozilla/5.0 (X11; Linux x86_64)", "-H", "accept: application/json"])
        .arg(url(running))
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    rate.with_context(|| format!("wrk said: {text}"))?.trim().parse().context("not a number")
}

fn median(rates: &[f64]) -> Result<f64> {
    let mut rates = rates.to_vec();
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().context("nothing was measured")
}

fn table(results: &[(&str, Vec<f64>)], processes: usize) -> Result<String> {
    let rates = results.iter().map(|(_, rates)| median(rates)).collect::<Result<Vec<f64>>>()?;
    let micros: Vec<f64> = rates.iter().map(|rate| 1e6 / rate).collect();
    let (none, smallest) = (micros[0], micros[2] - micros[0]);
    let mut out = format!("{}\n\n", machine(processes));
    out += "| filter | requests/s | added µs | of the smallest |\n|---|---:|---:|---:|\n";
    for (((name, _), rate), micros) in results.iter().zip(&rates).zip(&micros) {
        let added = micros - none;
        if *name == IN_SHIM {
            continue;
        }
        out += &match *name {
            "no filter" => format!("| {name} | {rate:.0} | – | – |\n"),
            _ => format!("| {name} | {rate:.0} | {added:.1} | {:.2} |\n", added / smallest),
        };
    }
    let rate_of = |wanted: &str| {
        let found = results.iter().zip(&rates).find(|((name, _), _)| *name == wanted);
        found.map(|(_, rate)| *rate).with_context(|| format!("{wanted} was not measured"))
    };
    let (shim, envoy) = (rate_of(IN_SHIM)?, rate_of(IN_ENVOY)?);
    out += &format!(
        "\nhost-shim with tollbell: {shim:.0} requests/s, {:.2} of Envoy's with the same filter\n",
        shim / envoy
    );
    Ok(out)
}

fn machine(processes: usize) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("unknown")
        .trim_matches(['\t', ' ', ':']);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let envoy = Command::new(binary().unwrap_or_else(|_| PathBuf::from("envoy"))).arg("--version").output();
    let envoy = envoy.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let version = envoy.split('/').rev().nth(3).unwrap_or("unknown");
    format!(
        "{model}, {cores} cores, Envoy {version} with one worker pinned to one core, wrk with 16 connections on another; \
         medians of {processes} processes with {ROUNDS} rounds of {SECONDS} s each, taken in turns"
    )
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
