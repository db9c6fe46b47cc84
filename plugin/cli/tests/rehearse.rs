//! Rehearses logs as a user does.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use host_shim::gateway::{Gateway, Request, Response};
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A folder for the files of one test.
fn folder(name: &str) -> PathBuf {
    let folder = root().join("target/tmp").join(format!("rehearse-{name}"));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).current_dir(root()).output().unwrap()
}

fn tollbell(arguments: &[&str]) -> Output {
    run(env!("CARGO_BIN_EXE_tollbell"), arguments)
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// An Envoy configuration with this configuration of tollbell.
fn envoy(config: &Value) -> String {
    let proto = |name: &str, mut value: Value| {
        value["@type"] = json!(format!("type.googleapis.com/{name}"));
        value
    };
    let configuration = proto("google.protobuf.StringValue", json!({ "value": config.to_string() }));
    let wasm = json!({ "config": {
        "name": "tollbell",
        "vm_config": { "vm_id": "tollbell", "runtime": "envoy.wasm.runtime.v8",
                       "code": { "local": { "filename": "dist/tollbell.wasm" } } },
        "configuration": configuration,
    }});
    let manager = json!({
        "stat_prefix": "gateway",
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [
            { "match": { "prefix": "/" }, "route": { "cluster": "upstream" } }] }] },
        "http_filters": [
            { "name": "tollbell", "typed_config": proto("envoy.extensions.filters.http.wasm.v3.Wasm", wasm) },
            { "name": "router",
              "typed_config": proto("envoy.extensions.filters.http.router.v3.Router", json!({})) },
        ],
    });
    let manager = proto("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", manager);
    let address = |port: u16| json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } });
    let cluster = |name: &str, port: u16| {
        let endpoint = json!({ "endpoint": { "address": address(port) } });
        let endpoints = json!([{ "lb_endpoints": [endpoint] }]);
        json!({ "name": name, "type": "STATIC", "load_assignment": { "cluster_name": name, "endpoints": endpoints } })
    };
    let listener = json!({ "name": "gateway", "address": address(10000),
        "filter_chains": [{ "filters": [{ "name": "http", "typed_config": manager }] }] });
    let clusters = [cluster("upstream", 10001), cluster("tollbell_http", 10002)];
    json!({ "static_resources": { "listeners": [listener], "clusters": clusters } }).to_string()
}

fn webhook(target: &str, event_timeout: u32) -> Value {
    json!([{ "handler_name": "eh_web_hook_handler",
             "handler_meta": { "target_path": format!("http://127.0.0.1:10002/{target}"), "event_timeout": event_timeout } }])
}

/// A configuration with hostile names, whose handlers have targets of their own.
fn config() -> Value {
    let monitor = json!({ "trigger_limits": [50, 80] });
    json!({
        "apis": [{
            "api_id": "orders", "org_id": "acme", "listen_path": "/", "auth": { "use_param": true, "param_name": "api_key" },
            "event_handlers": { "events": { "AuthFailure": webhook("auth", 30), "QuotaExceeded": webhook("quota", 60) } },
        }],
        "keys": {
            "k1": { "org_id": "acme", "alias": "<script>alert(1)</script>\u{202e}\u{1f980}", "quota_max": 10,
                    "quota_renewal_rate": 60, "monitor": monitor },
            "k2": { "org_id": "acme", "quota_max": 5, "quota_renewal_rate": 3600, "monitor": monitor },
        },
        "orgs": { "acme": { "quota_max": 30, "quota_renewal_rate": 300, "monitor": monitor } },
        "enforce_org_quotas": true,
        "monitor": { "enable_trigger_monitors": true, "monitor_user_keys": true, "monitor_org_keys": true,
                     "configuration": { "method": "POST", "target_path": "http://127.0.0.1:10002/monitor" } },
    })
}

/// The number of messages to each target, and the times of the first and the last.
type Messages = BTreeMap<String, (u64, String, String)>;

/// Runs requests through a gateway, and returns its log in Envoy's default format and the delivered messages.
fn live() -> (String, Messages) {
    let config = folder("live").join("envoy.json");
    std::fs::write(&config, envoy(&self::config())).unwrap();
    let module = std::fs::read(root().join("dist/tollbell.wasm")).unwrap();
    let received: Arc<Mutex<Vec<String>>> = Arc::default();
    let inbox = Arc::clone(&received);
    let gateway = Gateway::builder(module)
        .envoy(&config)
        .unwrap()
        .workers(3)
        .upstream("127.0.0.1:10002", move |request| {
            inbox.lock().unwrap().push(request.path().to_owned());
            Response::ok("").into()
        })
        .start()
        .unwrap();
    let (mut log, mut messages) = (String::new(), Messages::new());
    for number in 0..400u64 {
        gateway.advance(Duration::from_millis(137 + number * 7919 % 3000)).unwrap();
        let key = ["k1", "k1", "wrong", "k2", "k1"][usize::try_from(number * 31 % 5).unwrap()];
        let path = format!("/orders/{number}?api_key={key}");
        let now = jiff::Timestamp::from_nanosecond(i128::from(gateway.now())).unwrap();
        let time = now.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        let response = gateway.request(Request::get(&path)).unwrap();
        gateway.settle().unwrap();
        log.push_str(&format!(
            "[{time}] \"GET {path} HTTP/1.1\" {} - 0 0 1 - \"-\" \"agent\" \"id\" \"gateway.test\" \"-\"\n",
            response.status()
        ));
        for target in received.lock().unwrap().drain(..) {
            let (count, _, last) = messages.entry(target).or_insert_with(|| (0, time.clone(), String::new()));
            *count += 1;
            last.clone_from(&time);
        }
    }
    (log, messages)
}

#[test]
fn a_rehearsed_run_gives_the_messages_that_were_delivered() {
    let (log, delivered) = live();
    let file = folder("live").join("access.log");
    std::fs::write(&file, log).unwrap();
    let config = folder("live").join("envoy.json");
    let json = out(&tollbell(&["rehearse", "--config", path(&config), "--log", path(&file), "--json"]));
    let found: Value = serde_json::from_str(&json).unwrap();
    let run = &found["runs"][0];
    let mut rehearsed = Messages::new();
    for message in run["messages"].as_array().unwrap() {
        let target = match message["event"].as_str().unwrap() {
            "AuthFailure" => "/auth",
            "QuotaExceeded" => "/quota",
            _ => "/monitor",
        };
        let text = |name: &str| message[name].as_str().unwrap().to_owned();
        rehearsed.insert(target.to_owned(), (message["sent"].as_u64().unwrap(), text("first"), text("last")));
    }
    assert_eq!(rehearsed, delivered, "{run:#}");
    assert!(delivered.len() == 3 && run["outcomes"]["quota_exceeded"].as_u64().unwrap() > 10, "{run:#}");
}

#[test]
fn a_page_shows_hostile_names_as_text() {
    let (log, _) = live();
    let folder = folder("page");
    let (file, config, page) = (folder.join("access.log"), folder.join("envoy.json"), folder.join("report.html"));
    std::fs::write(&file, log).unwrap();
    std::fs::write(&config, envoy(&self::config())).unwrap();
    let arguments = ["rehearse", "--config", path(&config), "--log", path(&file), "--out", path(&page)];
    let table = out(&tollbell(&arguments));
    assert!(!table.contains(['\u{202e}', '\u{1b}']) && table.contains("\\u{202e}"), "{table}");
    let html = std::fs::read_to_string(page).unwrap();
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !html.contains("<script"), "{html}");
    assert!(html.contains("default-src 'none'") && !html.contains("http://") && !html.contains("https://"));
}

#[test]
fn a_change_is_compared_with_the_file() {
    let (log, _) = live();
    let folder = folder("compare");
    let (file, config) = (folder.join("access.log"), folder.join("envoy.json"));
    std::fs::write(&file, log).unwrap();
    std::fs::write(&config, envoy(&self::config())).unwrap();
    let compared = |set: &str| {
        let (config, file) = (path(&config), path(&file));
        let json = out(&tollbell(&["rehearse", "-c", config, "-l", file, "--against", config, "--set", set, "--json"]));
        serde_json::from_str::<Value>(&json).unwrap()
    };
    assert_eq!(compared("orgs.acme.quota_max=30")["difference"], json!([]));
    // What would be refused counts as refused.
    assert_eq!(compared("enforcement=observe")["difference"], json!([]));
    let found = compared("keys.k1.quota_max=1000");
    let refused = |run: usize| found["runs"][run]["outcomes"]["quota_exceeded"].as_u64().unwrap();
    assert!(refused(0) < refused(1), "{found:#}");
    let differs = found["difference"].as_array().unwrap();
    assert!(differs.iter().any(|one| one["what"] == "refused requests"), "{differs:#?}");
    let wrong = tollbell(&["rehearse", "-c", path(&config), "-l", path(&file), "--set", "orgs.acme.quota_mx=1"]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("did you mean \"quota_max\"?"), "{wrong:?}");
}

/// A month of requests with a burst agrees with a calculation that shares nothing with tollbell: who crossed what, at
/// which request, and who was refused. `make rehearsal` does the same with ten million requests.
#[test]
fn a_month_agrees_with_an_independent_calculation() {
    let folder = folder("month");
    let (file, config, results) =
        (folder.join("access.log.gz"), folder.join("envoy.json"), folder.join("results.json"));
    let script = |command: &str, more: &[&str]| {
        let size = ["--requests", "200000", "--burst", "20000"];
        out(&run("python3", &[&["tests/verify/access_log.py", command], &size[..], more].concat()))
    };
    script("write", &["--out", path(&file)]);
    let own = serde_json::from_str(&script("configuration", &[])).unwrap();
    std::fs::write(&config, envoy(&own)).unwrap();
    let arguments = ["rehearse", "-c", path(&config), "-l", path(&file), "--key-field", "api_key", "--json"];
    std::fs::write(&results, out(&tollbell(&arguments))).unwrap();
    let said = script("check", &["--results", path(&results)]);
    assert!(said.starts_with("200000 requests") && said.ends_with("agree\n"), "{said}");
}

#[test]
fn keys_are_found_by_their_fingerprints() {
    let folder = folder("fingerprints");
    let config = folder.join("envoy.json");
    std::fs::write(&config, envoy(&self::config())).unwrap();
    let rehearse = |key: &str| {
        let line = |second: u32| {
            let time = format!("2026-11-01T00:00:{second:02}Z");
            format!("{{\"start_time\":\"{time}\",\"path\":\"/\",\"authority\":\"a\",\"tollbell_key\":\"{key}\"}}\n")
        };
        let file = folder.join("access.log");
        std::fs::write(&file, (0..12).map(line).collect::<String>()).unwrap();
        let json = out(&tollbell(&["rehearse", "-c", path(&config), "-l", path(&file), "--json"]));
        serde_json::from_str::<Value>(&json).unwrap()["runs"][0].clone()
    };
    let fingerprint = out(&run("sh", &["-c", "printf k1 | sha256sum"]));
    let fingerprint = format!("sha256:{}", &fingerprint[..64]);
    let (raw, hashed) = (rehearse("k1"), rehearse(&fingerprint));
    assert_eq!(raw["outcomes"], json!({ "admitted": 10, "quota_exceeded": 2 }));
    for part in ["outcomes", "messages", "crossings", "quotas", "refusals"] {
        assert_eq!(raw[part], hashed[part], "{part}");
    }
    assert_eq!(raw["refusals"][0]["key"], json!(fingerprint));
}

#[test]
fn a_log_that_cannot_be_used_is_explained() {
    let folder = folder("unusable");
    let (file, config) = (folder.join("access.log"), folder.join("envoy.json"));
    std::fs::write(&config, envoy(&self::config())).unwrap();
    std::fs::write(&file, "{\"path\":\"/\"}\n{\"path\":\"/\"}\n").unwrap();
    let output = tollbell(&["rehearse", "-c", path(&config), "-l", path(&file)]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("no line of the log can be used: no time (see --field time): 2 lines"), "{error}");
    let output = tollbell(&["rehearse", "-c", path(&config), "-l", "none.log"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot read none.log"));
}
