use anyhow::{Context, Result, ensure};
use host_shim::import::{Files, Imported, import};
use host_shim::server::{self as shim, Options};
use host_shim::{Limits, LogLevel, config};
use serde_json::{Value, json};
use tollbell_tests::client::{get, get_with_key, send};
use tollbell_tests::envoy::Setup;
use tollbell_tests::project_root;
use tollbell_tests::server::{Received, Server};

use crate::support::{SOON, shared};

const ORG: &str = "5e9d9544a1dcd60001d0ed20";
const WEB_SHOP: &str = "5e9d9544a1dcd60001d0ed2045f2bd66791206877e9e7d0868be2aff";
const TRIAL: &str = "5e9d9544a1dcd60001d0ed2014d7b2fe9a8ab52fa9bb8315e3b01570";
const OLD_PARTNER: &str = "5e9d9544a1dcd60001d0ed2051966eb8d5100060db35e7b6d80b97cd";
const EXPIRED: &str = "5e9d9544a1dcd60001d0ed2073bc6be0c79de1b3f122804b3ae68889";
const BLOCKED: &str = "5e9d9544a1dcd60001d0ed20eca30cd69eb468f9c83ec6e50f852d60";
const PER_API: &str = "5e9d9544a1dcd60001d0ed205b15ad87eaedb8474fbaf00773d5fd77";
const PARTNER_11: &str = "eyJvcmciOiI1ZTlkOTU0NGExZGNkNjAwMDFkMGVkMjAiLCJpZCI6IjU3MDYzMWU0OWY5ODU2ZGRlNjc1NTc1NjRmMjFjMDEzIiwiaCI6Im11cm11cjY0In0=";

fn imported() -> Result<Imported> {
    let folder = project_root().join("tests/tyk");
    let files = Files {
        conf: folder.join("tyk.conf"),
        apps: folder.join("apps"),
        policies: Some(folder.join("policies/policies.json")),
        keys: Some(folder.join("keys.json")),
        templates: None,
    };
    import(&files, false).map_err(|errors| anyhow::anyhow!(errors.join("\n")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customers_files_behave_as_specified_in_envoy() -> Result<()> {
    let _shared = shared().await;
    let (upstream, receiver) = (Server::start().await?, Server::start().await?);
    let envoy = Setup::yaml(&imported()?.yaml, "8080", upstream.port, receiver.port)?.start().await?;
    ensure!(!envoy.log().contains("configuration:"), "it gives warnings:\n{}", envoy.log());
    behaves(envoy.port, &upstream, &receiver).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customers_files_behave_as_specified_in_the_shim() -> Result<()> {
    let _shared = shared().await;
    let (upstream, receiver) = (Server::start().await?, Server::start().await?);
    let setup = Setup::yaml(&imported()?.yaml, "8080", upstream.port, receiver.port)?;
    let loaded = config::parse(setup.text(), "imported", false)?;
    let options = Options {
        bootstrap: loaded.bootstrap,
        dump: loaded.dump,
        module: None,
        workers: 2,
        log_level: LogLevel::Warn,
        keeps_log: true,
        limits: Limits::default(),
    };
    let _server = tokio::task::spawn_blocking(|| shim::Server::start(options)).await??;
    behaves(setup.listener_and_admin().0, &upstream, &receiver).await
}

/// What the files of `tests/tyk` say, as a client, the upstream and the receivers see it.
async fn behaves(port: u16, upstream: &Server, receiver: &Server) -> Result<()> {
    let status = async |path: &str, key: &str| -> Result<u16> { Ok(get_with_key(port, path, key).await?.status) };
    let answer = async |path: &str, key: &str| -> Result<(u16, String)> {
        let reply = get_with_key(port, path, key).await?;
        Ok((reply.status, reply.body))
    };
    let error = |text: &str| json!({ "error": text }).to_string().replace(':', ": ");

    // Paths: orders is stripped, catalogue is rewritten to its targets' /v2/, payments stays.
    assert_eq!(status("/orders/7?x=1", WEB_SHOP).await?, 200);
    assert_eq!(get(port, "/catalogue/items", &[("x-api-key", PER_API)]).await?.status, 200);
    assert_eq!(get(port, &format!("/catalogue/items?api_key={PER_API}"), &[]).await?.status, 200);
    assert_eq!(
        send(port, "POST", "/payments/charges", &[("authorization", OLD_PARTNER)], b"{}".to_vec()).await?.status,
        200
    );
    let seen = upstream.received();
    let targets: Vec<&str> = seen.iter().map(|request| request.target.as_str()).collect();
    let with_key = format!("/v2/items?api_key={PER_API}");
    assert_eq!(targets, ["/7?x=1", "/v2/items", &with_key, "/payments/charges"]);
    ensure!(seen[0].header("authorization").is_none(), "strip_authorization_data leaves the key");
    ensure!(seen[1].header("x-api-key").is_some(), "a key that stays is gone");

    // Keys: rights, states, policies (one by Tyk's old apply_policy_id), limits on one API.
    for (path, key, expected) in [
        ("/orders/1", "nobody", (403, error("Access to this API has been disallowed"))),
        ("/payments/1", WEB_SHOP, (403, error("Access to this API has been disallowed"))),
        ("/orders/1", EXPIRED, (401, error("Key has expired, please renew"))),
        ("/orders/1", BLOCKED, (403, error("Key is inactive, please renew"))),
        ("/orders/1", "", (401, error("Authorization field missing"))),
    ] {
        assert_eq!(answer(path, key).await?, expected, "{path} {key}");
    }
    assert_eq!(status("/payments/1", PARTNER_11).await?, 200, "by its policy");
    let gold = get_with_key(port, "/orders/1", PARTNER_11).await?;
    assert_eq!(gold.header("x-ratelimit-limit"), Some("5000"), "the policy's, not the session's");
    assert_eq!(get_with_key(port, "/orders/1", OLD_PARTNER).await?.header("x-ratelimit-limit"), Some("5000"));
    let trial = get_with_key(port, "/orders/1", TRIAL).await?;
    assert_eq!(trial.header("x-ratelimit-limit"), Some("10"));
    assert_eq!(status("/catalogue/items", TRIAL).await?, 401, "the key stands elsewhere there");
    let mut limited = Vec::new();
    for _ in 0..8 {
        limited.push(get(port, "/catalogue/items", &[("x-api-key", PER_API)]).await?.status);
    }
    ensure!(limited.contains(&429), "five a second on this API: {limited:?}");

    // The quota: twenty a minute, of which one is used; with the monitor at 80 %.
    let mut statuses = Vec::new();
    for _ in 0..22 {
        statuses.push(status("/orders/1", WEB_SHOP).await?);
    }
    assert_eq!(statuses, [[200; 19].as_slice(), &[403; 3]].concat());

    let messages = receiver.expect(4, SOON).await?;
    let to = |target: &str| -> Result<Vec<&Received>> {
        let found: Vec<_> = messages.iter().filter(|message| message.target == target).collect();
        ensure!(!found.is_empty(), "nothing for {target} in {messages:#?}");
        Ok(found)
    };
    // orders: an unknown key; payments: its handler is paused; catalogue: a key that stands elsewhere is none.
    let soc = to("/soc/auth-failure")?;
    assert_eq!(soc.len(), 1);
    let body = soc[0].json()?;
    assert_eq!([&body["event"], &body["text"], &body["key"]], ["AuthFailure", "A key was refused", "nobody"]);
    assert_eq!(soc[0].header("x-soc-token"), Some("soc-token-0815"));
    let quota = to("/crm/quota.xml")?;
    let xml = String::from_utf8_lossy(&quota[0].body).into_owned();
    ensure!(quota[0].header("content-type") == Some("application/xml"), "{:?}", quota[0].headers);
    ensure!(xml.contains("<event>QuotaExceeded</event>") && xml.contains(&format!("<key>{WEB_SHOP}</key>")), "{xml}");
    ensure!(xml.contains("<path>/orders/1</path>") && !xml.contains("{{"), "{xml}");
    let rate = to("/soc/rate")?[0].json()?;
    assert_eq!([&rate["event"], &rate["text"]], ["RatelimitExceeded", "Rate Limit Exceeded"]);
    let monitor: Vec<Value> = to("/monitor")?.iter().map(|message| message.json()).collect::<Result<_>>()?;
    let trigger = json!({ "event": "TriggerExceeded", "message": "Quota trigger reached", "org": ORG, "key": WEB_SHOP, "trigger_limit": "80" });
    ensure!(monitor.contains(&trigger), "{monitor:?}");
    Ok(())
}

#[test]
fn the_report_shows_no_secret() -> Result<()> {
    let report = imported()?.report;
    for secret in [WEB_SHOP, PARTNER_11, "soc-token-0815", "finance-token-99", "ops-token-4711"] {
        ensure!(!report.contains(secret), "the report shows {secret}");
    }
    let first = report.lines().next().context("a report")?;
    ensure!(first.contains("carried over"), "{first}");
    Ok(())
}
