use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tollbell_tests::client::{get, get_with_key};
use tollbell_tests::envoy::{Setup, free_port};
use tollbell_tests::project_root;
use tollbell_tests::server::Manner;

use crate::files::shell;
use crate::manage::{BEARER, TOKEN, admin};
use crate::support::{World, eventually, hook, shared};

/// Text that must appear as text: markup, and characters that turn the direction of text, or are outside of the BMP.
const HOSTILE: &str = "<script>window.injected=1</script>\"'&\u{202e}\u{5d0}\u{1f980}";
const HOSTILE_SHOWN: &str = "<script>window.injected=1</script>\"'&\\u{202e}\u{5d0}\u{1f980}";

/// A name without a slash, because it is part of a path.
const WEBHOOK: &str = "crm \"><img src=x onerror=window.injected=2> \u{1f980}";

/// Runs a script of `tests/verify` in Chromium.
fn run(script: &str, arguments: &[&str]) -> Result<()> {
    ensure!(
        project_root().join(".tools/browser/installed").is_file(),
        "playwright-core and axe-core are not installed; run `make test`"
    );
    let output = Command::new("node")
        .arg(format!("tests/verify/{script}"))
        .arg(".tools/browser")
        .args(arguments)
        .current_dir(project_root())
        .output()
        .context("node is not installed")?;
    ensure!(output.status.success(), "{script}:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

async fn status(world: &World) -> Result<Value> {
    let reply = get(world.envoy.port, "/.tollbell/status", &[("authorization", BEARER)]).await?;
    ensure!(reply.status == 200, "{}", reply.body);
    Ok(serde_json::from_str(&reply.body)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_page_tests_a_webhook_and_sends_a_failed_message_again() -> Result<()> {
    let mut dead = hook("/", 0);
    dead["handler_meta"]["target_path"] = json!(format!("http://127.0.0.1:{}/in", free_port()?));
    let mut signed = hook("/auth", 0);
    signed["handler_meta"]["secret"] = json!("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let config = json!({
        "apis": [{ "api_id": HOSTILE, "name": HOSTILE, "org_id": "acme", "listen_path": "/<b>\u{1f980}\u{5d0}/",
                   "event_handlers": { "events": { "AuthFailure": [signed], "KeyExpired": [dead] } } }],
        "keys": {
            "k1": { "org_id": "acme", "alias": HOSTILE, "quota_max": 20, "quota_renewal_rate": 3600 },
            "k2": { "org_id": HOSTILE, "alias": "billing", "quota_max": 10, "quota_renewal_rate": 3600,
                    "rate": 100, "per": 60 },
            "k3": { "access_rights": { HOSTILE: { "limit": { "quota_max": 5 } } } },
            "old": { "expires": 1_700_000_000 },
        },
        "orgs": { "acme": { "quota_max": 1000, "quota_renewal_rate": 86_400 }, HOSTILE: { "quota_max": 40 } },
        "enforce_org_quotas": true,
        "webhooks": [{ "name": WEBHOOK, "target_url": "http://RECEIVER/crm" }],
        "admin": admin(),
    });
    let world = World::with_config(config).await?;
    let ask = async |key: &str, times: usize| -> Result<()> {
        for _ in 0..times {
            get_with_key(world.envoy.port, "/%3Cb%3E%F0%9F%A6%80%D7%90/1", key).await?;
        }
        Ok(())
    };
    ask("k1", 17).await?;
    ask("k2", 10).await?;
    ask("k3", 2).await?;
    ask("old", 1).await?;
    world.receiver.set_manner(Manner { status: 400, ..Manner::default() });
    ask("wrong", 1).await?;
    eventually("one message fails, and one waits", async || {
        let status = status(&world).await?;
        let attempts = status["deliveries"]["messages"][0]["attempts"].as_u64();
        Ok(status["failed"].as_array().is_some_and(|failed| failed.len() == 1) && attempts > Some(0))
    })
    .await?;
    world.receiver.set_manner(Manner::default());
    let failed = world.receiver.received().pop().context("an attempt")?;
    let setup = json!({
        "url": format!("http://127.0.0.1:{}/.tollbell", world.envoy.port),
        "token": TOKEN,
        "folder": "target/screenshots/status",
        "shown_webhook": WEBHOOK,
        "event": "AuthFailure",
        "texts": [HOSTILE_SHOWN, WEBHOOK, "billing", "organisation", "85 %", "100 %", "17 of 20", "KeyExpired",
                  "400, refused for good", "no connection"],
    });
    tokio::task::block_in_place(|| run("status_page.mjs", &[&setup.to_string()]))?;
    let received = world.receiver.received();
    let asked: Vec<_> = received.iter().map(|one| (one.method.as_str(), one.target.as_str(), one.answered)).collect();
    ensure!(asked == [("POST", "/auth", 400), ("HEAD", "/crm", 200), ("POST", "/auth", 200)], "{asked:?}");
    let again = received.last().context("a message")?;
    ensure!(again.header("webhook-id").is_some(), "{again:?}");
    ensure!(again.header("webhook-id") == failed.header("webhook-id"), "{again:?}");
    ensure!(again.body == failed.body, "{again:?}");
    ensure!(status(&world).await?["failed"] == json!([]), "it is still shown");
    Ok(())
}

/// A log with hostile names, a burst, and a key that is nearly used up.
fn log() -> String {
    let line = |second: usize, path: &str, key: &str| {
        let time = format!("2026-11-01T{:02}:{:02}:{:02}.000Z", second / 3600, second / 60 % 60, second % 60);
        json!({ "start_time": time, "path": path, "method": "GET", "response_code": 200, "key": key }).to_string()
    };
    let steady = (0..2000).map(|n| line(n * 40, "/<b>x</b>", ["k1", "k2"][n % 2]));
    let burst = (0..300).map(|n| line(80_000 + n / 10, "/burst", "k1"));
    let wrong = (0..20).map(|n| line(80_100 + n, "/wrong", "guess"));
    steady.chain(burst).chain(wrong).fold(String::new(), |log, line| log + &line + "\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_of_a_rehearsal_is_readable_in_a_browser() -> Result<()> {
    let _shared = shared().await;
    let folder = project_root().join("target/screenshots/report");
    fs::create_dir_all(&folder)?;
    let key = |alias: &str, max: u32, renews: u32| {
        json!({ "org_id": "acme", "alias": alias, "quota_max": max, "quota_renewal_rate": renews,
                "monitor": { "trigger_limits": [50, 80] } })
    };
    let config = json!({
        "apis": [{ "api_id": "orders", "org_id": "acme",
                   "event_handlers": { "events": { "AuthFailure": [hook("/auth", 30)], "QuotaExceeded": [hook("/quota", 600)] } } }],
        "keys": { "k1": key(HOSTILE, 1000, 86_400), "k2": key("billing", 200, 14_400) },
        "orgs": { "acme": { "quota_max": 5000, "quota_renewal_rate": 86_400, "monitor": { "trigger_limits": [40] } } },
        "enforce_org_quotas": true,
        "monitor": { "enable_trigger_monitors": true, "monitor_user_keys": true, "monitor_org_keys": true,
                     "configuration": { "target_path": "http://RECEIVER/monitor" } },
    });
    let setup = Setup::config(&config, 10001, 10002)?;
    fs::write(folder.join("envoy.yaml"), setup.text())?;
    fs::write(folder.join("access.log"), log())?;
    for (name, more) in [("one", ""), ("compared", "--set keys.k1.quota_max=1500 --against envoy.yaml")] {
        let command =
            format!("tollbell rehearse --config envoy.yaml --log access.log --key-field key --out {name}.html {more}");
        let output = tokio::task::block_in_place(|| shell(&command, &folder))?;
        ensure!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        let page = folder.join(format!("{name}.html"));
        let pictures = folder.join(name);
        let arguments = [&*page.to_string_lossy(), &*pictures.to_string_lossy()];
        tokio::task::block_in_place(|| run("screenshots.mjs", &arguments))?;
    }
    Ok(())
}
