//! Signatures, verified by the official packages of Standard Webhooks for Python and Node.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tollbell_tests::client::get_with_key;
use tollbell_tests::envoy::Setup;
use tollbell_tests::project_root;
use tollbell_tests::server::{Manner, Received};

use crate::support::{World, config, eventually, hook};

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_dG9sbGJlbGwtdGVzdHMtcm90YXRlLXRoaXMta2V5";

/// Passes messages to a program that succeeds if all of them verify.
pub fn verify(program: &Path, arguments: &[&str], messages: &str) -> Result<bool> {
    let output = run(program, arguments, messages)?;
    if !output.status.success() {
        println!("{}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.status.success())
}

/// Passes messages to a program and returns what it prints. It fails if the program does.
pub fn output_of(program: &Path, arguments: &[&str], messages: &str) -> Result<String> {
    let output = run(program, arguments, messages)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", program.display());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn run(program: &Path, arguments: &[&str], messages: &str) -> Result<Output> {
    ensure!(program.exists(), "{} is not installed; run `make test`", program.display());
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(project_root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| program.display().to_string())?;
    let mut input = child.stdin.take().context("no input")?;
    let messages = messages.to_owned();
    // A program that refuses a message stops reading, and then the rest cannot be written.
    let writer = std::thread::spawn(move || input.write_all(messages.as_bytes()));
    let output = child.wait_with_output()?;
    let _ = writer.join();
    Ok(output)
}

fn python(messages: &str) -> Result<bool> {
    verify(&project_root().join(".tools/standardwebhooks/bin/python"), &["tests/verify/verify.py"], messages)
}

/// The program of Node.
pub fn node_path() -> Result<PathBuf> {
    std::env::var_os("PATH")
        .and_then(|path| std::env::split_paths(&path).map(|folder| folder.join("node")).find(|node| node.is_file()))
        .context("node is not installed")
}

fn node(messages: &str) -> Result<bool> {
    verify(&node_path()?, &["tests/verify/verify.mjs", ".tools/standardwebhooks"], messages)
}

/// A message in the form for the packages.
fn line(message: &Received, secret: &str, body: &str) -> String {
    let headers: serde_json::Map<String, Value> =
        message.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    format!("{}\n", json!({ "secret": secret, "body": body, "headers": headers }))
}

fn signed_config(secret: Value) -> Value {
    let mut config = config(json!({}));
    let mut hook = hook("/", 0);
    hook["handler_meta"]["secret"] = secret;
    config["apis"][0]["event_handlers"]["events"] = json!({ "AuthFailure": [hook] });
    config["delivery"] = json!({ "base_delay_ms": 300 });
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_packages_verify_every_attempt_while_secrets_rotate() -> Result<()> {
    let world = World::with_setup(|upstream, receiver| {
        Ok(Setup::config(&signed_config(json!(OLD)), upstream, receiver)?.watch_listener())
    })
    .await?;
    // Arbitrary bytes are signed as they are sent.
    get_with_key(world.envoy.port, "/orders/1", "bad-\"\\é\u{1f514}").await?;
    world.receiver.expect(1, crate::support::SOON).await?;

    world.receiver.set_manner(Manner { status: 503, ..Manner::default() });
    get_with_key(world.envoy.port, "/orders/1", "bad-2").await?;
    eventually("two attempts have failed", async || Ok(world.receiver.count() >= 3)).await?;
    let rotating = Setup::config(&signed_config(json!([NEW, OLD])), world.upstream.port, world.receiver.port)?;
    world.envoy.update_listener(rotating)?;
    let is_rotated = |message: &Received| message.header("webhook-signature").is_some_and(|all| all.contains(' '));
    eventually("an attempt is signed twice", async || Ok(world.receiver.received().iter().any(is_rotated))).await?;
    world.receiver.set_manner(Manner::default());
    eventually("it is taken", async || {
        Ok(world.receiver.received().iter().any(|m| is_rotated(m) && m.answered == 200))
    })
    .await?;

    let received = world.receiver.received();
    let mut good = String::new();
    for message in &received {
        let body = String::from_utf8(message.body.clone())?;
        good += &line(message, OLD, &body);
        if is_rotated(message) {
            good += &line(message, NEW, &body);
        }
    }
    assert!(python(&good)? && node(&good)?);
    let last = received.last().context("no message")?;
    let body = String::from_utf8(last.body.clone())?;
    let unknown = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for bad in [line(last, unknown, &body), line(last, OLD, &format!("{body} "))] {
        assert!(!python(&bad)? && !node(&bad)?, "the packages refuse a wrong signature");
    }
    let of_second: Vec<&Received> = received.iter().skip(1).collect();
    let ids: BTreeSet<_> = of_second.iter().map(|message| message.header("webhook-id")).collect();
    assert_eq!(ids.len(), 1, "one message, one id: {ids:?}");

    let told =
        world.envoy.log() + &world.envoy.admin("/stats").await? + &world.envoy.admin("/stats/prometheus").await?;
    for secret in [OLD, NEW] {
        let encoded = secret.trim_start_matches("whsec_");
        assert!(!told.contains(encoded), "a secret is shown");
        let is_in = |message: &Received| {
            message.headers.iter().any(|(_, value)| value.contains(encoded))
                || String::from_utf8_lossy(&message.body).contains(encoded)
        };
        assert!(!received.iter().any(is_in), "a secret is sent");
    }
    Ok(())
}
