//! Tests of the command with signals.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[allow(dead_code)]
#[path = "../src/testing.rs"]
mod testing;

use testing::{Guest, LOOP};

const ENVOY: &str = r#"
static_resources:
  listeners:
  - name: gateway
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: gateway
          route_config: { virtual_hosts: [] }
          http_filters:
          - name: wasm
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config: { vm_config: { code: { local: { filename: "MODULE" } } } }
          - name: envoy.filters.http.router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
"#;

/// Ctrl-C must work during a reload in which the module does not return.
#[test]
fn an_endless_reload_can_be_interrupted() {
    let folder = std::env::temp_dir().join(format!("host-shim-signals-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, guest: &Guest| {
        let module = folder.join(name);
        fs::write(&module, guest.module()).unwrap();
        fs::write(folder.join("envoy.yaml"), ENVOY.replace("MODULE", module.to_str().unwrap())).unwrap();
    };
    write("good.wasm", &Guest::importing(&[]));
    let mut process = Command::new(env!("CARGO_BIN_EXE_host-shim"))
        .args(["run", "--config"])
        .arg(folder.join("envoy.yaml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("gateway listens on "), "{line}");
    write("endless.wasm", &Guest::importing(&[]).function("proxy_on_configure", 2, 1, &LOOP));
    let id = process.id().to_string();
    let send = |signal: &str| assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    send("-HUP");
    std::thread::sleep(Duration::from_millis(500));
    send("-INT");
    let sent = Instant::now();
    let mut ended = process.try_wait().unwrap();
    while ended.is_none() && sent.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(50));
        ended = process.try_wait().unwrap();
    }
    if ended.is_none() {
        process.kill().unwrap();
        process.wait().unwrap();
    }
    fs::remove_dir_all(&folder).unwrap();
    assert!(ended.expect("the process did not end").success());
}
