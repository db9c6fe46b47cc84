#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;

use super::*;
use crate::Modules;
use crate::testing::{CALL, CONST, DROP, Guest, UNREACHABLE};

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
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [ { match: { prefix: "/" }, route: { cluster: upstream } } ]
          http_filters:
          - name: wasm
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config: { vm_config: { code: { local: { filename: module.wasm } } } }
          - name: envoy.filters.http.router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
  clusters: [ { name: upstream } ]
"#;

/// Runs a story with these steps, which it reads from a file.
fn read(name: &str, steps: &str) -> Result<Story> {
    let folder = std::env::temp_dir().join(format!("host-shim-stories-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("envoy.yaml"), ENVOY)?;
    fs::write(folder.join("story.yaml"), format!("story: {name}\nenvoy: envoy.yaml\nsteps:\n{steps}"))?;
    let story = Story::read(&folder.join("story.yaml"));
    story.inspect(|story| assert_eq!(story.name, name))
}

fn outcome(name: &str, steps: &str, guest: &Guest) -> Result<(), String> {
    let story = read(name, steps).map_err(|error| format!("{error:#}"))?;
    let mut subject =
        ShimSubject::start(&story, &Modules::replaced_by(guest.module())).map_err(|error| format!("{error:#}"))?;
    let outcome = run(&story, &mut subject, &mut |_| {});
    // If the test fails, the folder stays for inspection.
    fs::remove_dir_all(story.file.parent().unwrap()).unwrap();
    outcome.map_err(|failure| failure.to_string())
}

#[test]
fn a_step_that_cannot_work_is_refused_with_its_line() {
    let cases = [
        ("- advance: 10s\n  answer: { status: 200 }", "answer is allowed only with request"),
        ("- request: { path: /, times: 0 }", "times: 0 would send nothing"),
        ("- request: { path: /, worker: 0 }", "the first is 1"),
        ("- request: { path: / }\n  answer: { method: GET }", "method and path are allowed only in messages"),
        ("- messages: [ { status: 200 } ]", "status is allowed only in answer"),
        (
            "- fault: { death: { hostcall: proxy_http_cal } }",
            "there is no hostcall \"proxy_http_cal\" (did you mean \"proxy_http_call\"?)",
        ),
    ];
    for (number, (steps, expected)) in cases.into_iter().enumerate() {
        let error = format!("{:#}", read(&format!("nothing-{number}"), steps).unwrap_err());
        assert!(error.contains("story.yaml:4: ") && error.contains(expected), "{error}");
    }
}

#[test]
fn a_fault_that_nothing_triggers_fails_its_story() {
    let guest = Guest::importing(&[]);
    let failure = outcome("unused", "- fault: { lost_notifications: 2 }\n- advance: 1s\n", &guest).unwrap_err();
    assert!(failure.contains(":5: at the end") && failure.contains("lost_notifications: 2"), "{failure}");
}

#[test]
fn an_unplanned_trap_fails_the_step_in_which_it_happens() {
    // Logs a warning, then traps.
    let body = [CONST, 3, CONST, 0, CONST, 0, CALL, 0, DROP, UNREACHABLE];
    let guest = Guest::importing(&[("proxy_log", 3)]).function("proxy_on_request_headers", 3, 1, &body);
    let steps = "- advance: 1s\n- request: { path: / }\n  answer: { status: 503 }\n- advance: 1s\n";
    let failure = outcome("trap", steps, &guest).unwrap_err();
    assert!(failure.contains("story.yaml:5: a VM of thread 1 has failed"), "{failure}");
    assert!(failure.contains("unreachable") && failure.contains("the log says\n    wasm log"), "{failure}");
    let planned = format!("- fault: {{ death: {{ hostcall: proxy_log }} }}\n{steps}");
    outcome("death", &planned, &guest).unwrap();
}

#[test]
fn stories_use_yaml_numbers_and_keep_texts_as_written() {
    let steps = r#"- upstream: { headers: { x-count: 010, x-on: yes }, body: '{"a": 1.5, "b": 3000000000, "c": "1.5", "d": true}' }
- request: { path: /, headers: { x-rate: 1.50 }, body: 12 }
  answer: { headers: { x-count: "010", x-on: yes }, json: { a: 1.5, b: 3000000000, c: "1.5", d: true } }
- configure: { text: 5, rate: 1.5 }
- request: { path: / }
  answer: { json: { a: "1.5", b: 3000000000, c: "1.5", d: true } }
"#;
    let story = read("numbers", steps).unwrap();
    let Action::Request { request, .. } = &story.steps[1].action else { panic!("no request") };
    assert_eq!((request.headers.get_str("x-rate"), request.text().as_str()), (Some("1.50"), "12"));
    let failure = outcome("numbers", steps, &Guest::importing(&[])).unwrap_err();
    assert!(failure.contains(":8: ") && failure.contains(r#"-     "a": "1.5","#), "{failure}");
}
