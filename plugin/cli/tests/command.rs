//! Runs the command as a user does.
#![allow(missing_docs, clippy::unwrap_used)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn tollbell(arguments: &[&str], input: &str) -> Output {
    let mut process = Command::new(env!("CARGO_BIN_EXE_tollbell"))
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    process.wait_with_output().unwrap()
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", err(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_new_key_has_the_shown_hash() {
    let made = out(&tollbell(&["key", "new", "--org", "acme", "--alias", "billing"], ""));
    let key = made.lines().next().and_then(|line| line.rsplit_once(' ')).unwrap().1;
    let hash = out(&tollbell(&["key", "hash"], &format!("{key}\n")));
    assert!(made.contains(&format!("\"{}\":\n    org_id: \"acme\"\n    alias: \"billing\"\n", hash.trim())), "{made}");
    assert!(err(&tollbell(&["key", "hash"], "")).contains("standard input has no key"));
}

#[test]
fn render_shows_what_receivers_get() {
    let render =
        |more: &[&str]| tollbell(&[&["render", "--config", "examples/signed-webhooks/envoy.yaml"], more].concat(), "");
    let text = out(&render(&["--event", "AuthFailure", "--set", "Meta.Path=/k1"]));
    let (head, body) = text.split_once("\n\n").unwrap();
    assert!(head.contains("\nPOST /") && head.contains(" HTTP/1.1\nhost: "), "{text}");
    assert!(head.contains("\nwebhook-signature: v1,") && head.contains("\nwebhook-timestamp: "), "{text}");
    assert!(body.contains("\"Auth Failure\"") && body.contains("\"/k1\""), "{text}");
    assert!(err(&render(&["--event", "AuthFailur"])).contains("did you mean \"AuthFailure\"?"));
    assert!(err(&render(&["--event", "AuthFailure", "--set", "Meta.Kye=k1"])).contains("did you mean \"Meta.Key\"?"));
    assert!(err(&render(&["--event", "AuthFailure", "--handler", "none"])).contains("there are "));
    assert!(err(&render(&["--event", "HostUp"])).contains("no handler is notified of HostUp"));
}

#[test]
fn render_shows_emails() {
    let config = "examples/e-mail/envoy.yaml";
    let fields = ["--set", "data.by_user=u1"];
    let wanted = ["render", "--config", config, "--event", "key_request_event.submitted"];
    let text = out(&tollbell(&[&wanted[..], &fields].concat(), ""));
    assert!(text.contains("POST ") && text.contains("@"), "{text}");
}

#[test]
fn the_schema_is_the_one_in_the_repository() {
    for (arguments, file) in
        [(&["schema"][..], "envoy/tollbell.schema.json"), (&["schema", "--envoy"], "envoy/envoy.schema.json")]
    {
        assert_eq!(out(&tollbell(arguments, "")), std::fs::read_to_string(root().join(file)).unwrap(), "{file}");
    }
}

#[test]
fn a_connection_is_tested_by_the_name_of_a_webhook() {
    let test = |name: &str| {
        let config = ["test-connection", "--config", "examples/admin-endpoints/envoy.yaml", "--timeout", "2"];
        tollbell(&[&config[..], &["--webhook", name]].concat(), "")
    };
    let unknown = test("none");
    assert!(!unknown.status.success() && err(&unknown).contains("no webhook has the name \"none\""), "{unknown:?}");
    let known = test("crm");
    let said = String::from_utf8_lossy(&known.stdout).into_owned();
    assert!(said.starts_with("crm: "), "{said}");
}
