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
fn init_writes_a_configuration_that_check_accepts() {
    let folder = root().join("target/tmp/init");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("envoy.yaml");
    let file = file.to_str().unwrap();
    let _ = std::fs::remove_file(file);
    for more in [
        &[][..],
        &[
            "--force",
            "--upstream",
            "api.internal:8080",
            "--webhook",
            "https://hooks.example.com/x?a=b",
            "--quota",
            "10/minute",
        ],
    ] {
        let said = out(&tollbell(&[&["init", "--out", file], more].concat(), ""));
        let key = said.lines().find_map(|line| line.strip_prefix("A key, shown only now: ")).unwrap();
        let hash = out(&tollbell(&["key", "hash"], &format!("{key}\n")));
        assert!(std::fs::read_to_string(file).unwrap().contains(hash.trim()), "{said}");
        let checked = tollbell(&["check", "--config", file], "");
        assert!(out(&checked).contains("the configuration is valid"), "{checked:?}");
        assert!(!err(&checked).contains("warning"), "{}", err(&checked));
    }
    assert!(err(&tollbell(&["init", "--out", file], "")).contains("exists: name another file"));
    assert!(err(&tollbell(&["init", "--out", file, "--force", "--quota", "many"], "")).contains("such as 1000/hour"));
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    let commands = ["init", "run", "check", "replay", "render", "rehearse", "key", "import-tyk", "test-connection"];
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = out(&tollbell(&["completions", shell], ""));
        assert!(commands.iter().all(|command| script.contains(command)), "{shell}");
    }
    let page = out(&tollbell(&["man"], ""));
    assert!(
        page.contains(".TH tollbell 1") && commands.iter().all(|command| page.contains(&command.replace('-', "\\-")))
    );
    let folder = root().join("target/tmp/man");
    out(&tollbell(&["man", "--out", folder.to_str().unwrap()], ""));
    for page in ["tollbell", "tollbell-rehearse", "tollbell-key-new"] {
        let text = std::fs::read_to_string(folder.join(format!("{page}.1"))).unwrap();
        assert!(text.contains(".SH OPTIONS"), "{page}");
    }
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

#[test]
fn a_closed_pipe_ends_the_command_without_a_panic() {
    for arguments in
        [&["schema"][..], &["key", "new"], &["render", "--config", "envoy/envoy.yaml", "--event", "AuthFailure"]]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_tollbell"))
            .args(arguments)
            .current_dir(root())
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .and_then(std::process::Child::wait_with_output)
            .unwrap();
        assert_eq!((output.status.code(), err(&output)), (Some(141), String::new()), "{arguments:?}");
    }
}
