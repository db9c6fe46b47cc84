use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use host_shim::server::{self as shim, Options};
use host_shim::{Limits, LogLevel, Modules, config};
use import_tyk::{Files, Imported, import};
use serde_json::{Value, json};
use tollbell_core::EventKind;
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
/// Tyk's name for the custom key `ten` of the organisation `acme`.
const TEN: &str = "eyJvcmciOiJhY21lIiwiaWQiOiJ0ZW4iLCJoIjoic2hhMjU2In0=";
const PARTNER_11: &str = "eyJvcmciOiI1ZTlkOTU0NGExZGNkNjAwMDFkMGVkMjAiLCJpZCI6IjU3MDYzMWU0OWY5ODU2ZGRlNjc1NTc1NjRmMjFjMDEzIiwiaCI6Im11cm11cjY0In0=";

fn imported() -> Result<Imported> {
    let folder = project_root().join("tests/tyk");
    let files = Files {
        conf: folder.join("tyk.conf"),
        apps: folder.join("apps"),
        policies: Some(folder.join("policies/policies.json")),
        keys: Some(folder.join("keys.json")),
        ..Files::default()
    };
    import(&files, false).map_err(|failed| anyhow::anyhow!(failed.errors.join("\n")))
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
    let _server = tokio::task::spawn_blocking(shim_of(&setup)?).await??;
    behaves(setup.listener_and_admin().0, &upstream, &receiver).await
}

/// Starts the shim with such a configuration.
fn shim_of(setup: &Setup) -> Result<impl FnOnce() -> Result<shim::Server> + use<>> {
    let loaded = config::parse(setup.text(), "imported", false)?;
    let options = Options {
        bootstrap: loaded.bootstrap,
        dump: loaded.dump,
        modules: Modules::default(),
        workers: 2,
        log_level: LogLevel::Warn,
        keeps_log: true,
        limits: Limits::default(),
    };
    Ok(|| shim::Server::start(options))
}

/// Checks the behaviour that the files of `tests/tyk` specify, as a client, the upstream and the receivers see it.
async fn behaves(port: u16, upstream: &Server, receiver: &Server) -> Result<()> {
    let status = async |path: &str, key: &str| -> Result<u16> { Ok(get_with_key(port, path, key).await?.status) };
    let answer = async |path: &str, key: &str| -> Result<(u16, String)> {
        let reply = get_with_key(port, path, key).await?;
        Ok((reply.status, reply.body))
    };
    let error = |text: &str| json!({ "error": text }).to_string().replace(':', ": ");

    // Paths: orders is stripped, catalogue is rewritten to the /v2/ of its targets, payments stays unchanged.
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
    assert_eq!(status("/catalogue/items", TRIAL).await?, 401, "the key is in another place there");
    let mut limited = Vec::new();
    for _ in 0..8 {
        limited.push(get(port, "/catalogue/items", &[("x-api-key", PER_API)]).await?.status);
    }
    ensure!(limited.contains(&429), "five a second on this API: {limited:?}");

    // The quota: twenty a minute, of which one is used, with the monitor at 80 %.
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
    // orders: an unknown key. payments: its handler is inactive. catalogue: a key in another place is no key.
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

/// A temporary folder. Dropping this removes it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tollbell-import-{}-{number}", std::process::id()));
        fs::create_dir_all(folder.join("apps"))?;
        Ok(Folder(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The files of a gateway whose APIs have conflicting places. The path of each target has the API's id.
fn crossing() -> Result<Imported> {
    let folder = Folder::new()?;
    let api = |id: &str, path: &str, more: Value| -> Result<()> {
        let mut api = json!({
            "api_id": id, "name": id, "org_id": "acme", "active": true, "auth": { "auth_header_name": "Authorization" },
            "proxy": { "listen_path": path, "target_url": format!("http://127.0.0.1:10001/{id}/"), "strip_listen_path": true },
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            api[name] = value.clone();
        }
        Ok(fs::write(folder.0.join(format!("apps/{id}.json")), api.to_string())?)
    };
    api("site", "/", json!({ "use_keyless": true }))?;
    api("orders", "/orders/", json!({ "CORS": { "enable": true, "options_passthrough": true } }))?;
    api("new", "/orders/new/", json!({}))?;
    api("whole", "/whole", json!({}))?;
    api("at", "/@acme/", json!({}))?;
    api("pattern", "/users/{id}/", json!({}))?;
    api(
        "inner",
        "/inner/",
        json!({ "domain": "api.acme.test", "event_handlers": { "events": { "AuthFailure": [
        { "handler_name": "eh_web_hook_handler", "handler_meta": { "method": "POST", "target_path": "http://127.0.0.1:10002/in" } }
    ] } } }),
    )?;
    api(
        "param",
        "/param/",
        json!({ "auth": { "use_param": false, "param_name": "k", "use_cookie": false, "cookie_name": "k" } }),
    )?;
    fs::write(folder.0.join("apps/broken.json"), "{")?;
    let conf = json!({
        "hash_key_function": "sha256", "enable_custom_domains": true, "rate_limit_response_headers": "quotas",
        "http_server_options": { "enable_strict_routes": true },
        "event_handlers": { "events": { "AuthFailure": [{ "handler_name": "eh_web_hook_handler",
            "handler_meta": { "method": "POST", "target_path": "http://127.0.0.1:10002/never" } }] } },
    });
    fs::write(folder.0.join("tyk.conf"), conf.to_string())?;
    let keys = json!({ TEN: { "org_id": "acme", "rate": 1000, "per": 1, "quota_max": -1 } });
    fs::write(folder.0.join("keys.json"), keys.to_string())?;
    let file = |name: &str| folder.0.join(name);
    let files = Files {
        conf: file("tyk.conf"),
        apps: file("apps"),
        keys: Some(file("keys.json")),
        keep_going: true,
        ..Files::default()
    };
    let imported = import(&files, false).map_err(|failed| anyhow::anyhow!(failed.errors.join("\n")))?;
    ensure!(imported.left_out.len() == 1, "{:?}", imported.left_out);
    Ok(imported)
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_keys_have_the_same_meaning_as_in_tyk_in_envoy() -> Result<()> {
    let _shared = shared().await;
    let (upstream, receiver) = (Server::start().await?, Server::start().await?);
    let envoy = Setup::yaml(&crossing()?.yaml, "8080", upstream.port, receiver.port)?.start().await?;
    // As in Tyk, the keyless site answers on hosts other than that of a protected API.
    let is_known = |line: &str| line.contains("need no key: the keyless API apis[5] (\"site\") answers them");
    let log = envoy.log();
    let mut said = log.lines().filter(|line| line.contains("configuration:"));
    ensure!(said.all(is_known), "it gives warnings:\n{log}");
    crosses(envoy.port, &upstream, &receiver).await
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_keys_have_the_same_meaning_as_in_tyk_in_the_shim() -> Result<()> {
    let _shared = shared().await;
    let (upstream, receiver) = (Server::start().await?, Server::start().await?);
    let setup = Setup::yaml(&crossing()?.yaml, "8080", upstream.port, receiver.port)?;
    let _server = tokio::task::spawn_blocking(shim_of(&setup)?).await??;
    crosses(setup.listener_and_admin().0, &upstream, &receiver).await
}

/// Requests to the gateway of [`crossing`]: the status, and what the upstream gets.
async fn crosses(port: u16, upstream: &Server, receiver: &Server) -> Result<()> {
    for (path, key, status, target) in [
        ("/orders/1?x=1", "ten", 200, "/orders/1?x=1"),
        ("/orders/1", "acmeten", 200, "/orders/1"),
        ("/orders/1", TEN, 200, "/orders/1"),
        ("/orders/1", "eleven", 403, ""),
        ("/orders/1", "", 401, ""),
        ("/orders/", "ten", 200, "/orders"),
        ("/orders/a%2Fb", "ten", 200, "/orders/a%2Fb"),
        ("/orders/a%2Fb", "", 401, ""),
        ("/orders", "", 200, "/site/orders"),
        ("/ordersx", "", 200, "/site/ordersx"),
        ("/orders/new/1", "ten", 200, "/new/1"),
        ("/orders/new/1", "", 401, ""),
        ("/whole", "ten", 200, "/whole"),
        ("/whole/1", "ten", 200, "/whole/1"),
        ("/wholesome", "ten", 404, ""),
        ("/wholesome", "", 404, ""),
        ("/@acme/1", "ten", 200, "/at/1"),
        ("/%40acme/1", "ten", 200, "/at/1"),
        ("/%40acme/1", "", 401, ""),
        ("/users/5/x", "ten", 404, ""),
        ("/users", "", 200, "/site/users"),
        ("/param/1?k=ten", "", 401, ""),
        ("/param/1?k=wrong", "ten", 200, "/param/1?k=wrong"),
        ("/", "", 200, "/site"),
    ] {
        let before = upstream.count();
        let reply = get_with_key(port, path, key).await?;
        let seen: Vec<String> = upstream.received().into_iter().skip(before).map(|request| request.target).collect();
        assert_eq!((reply.status, seen.concat().as_str()), (status, target), "{path} {key:?}: {}", reply.body);
    }
    // These spellings mean another API only after decoding. They reach no upstream without a key.
    for path in [
        "/orders%2F1",
        "/orders/new%2F1",
        "/orders%2fnew/1",
        "/x%2F..%2Forders/1",
        "/x/..%2forders/1",
        "/x%5C..%5Corders/1",
        "/%2Forders/1",
        "/users%2F5/x",
        "/whole%2F1",
        "/site/x",
        "/new/1",
    ] {
        let before = upstream.count();
        let reply = get(port, path, &[]).await?;
        ensure!((400..500).contains(&reply.status), "{path}: {}", reply.status);
        ensure!(upstream.count() == before, "{path} reaches an upstream");
    }
    let hosts = ["api.acme.test", "api.acme.test.", "API.acme.test:8080"];
    for host in hosts {
        assert_eq!(get(port, "/inner/1", &[("host", host)]).await?.status, 401, "{host}");
        let wrong =
            [("host", host), ("authorization", "wrong"), ("x-real-ip", "192.0.2.9"), ("x-forwarded-for", "192.0.2.8")];
        assert_eq!(get(port, "/inner/1", &wrong).await?.status, 403, "{host}");
    }
    assert_eq!(get(port, "/inner/1", &[("host", "other.test")]).await?.status, 200, "the site's, as in Tyk");
    let preflight = [("origin", "http://a.test"), ("access-control-request-method", "GET")];
    assert_eq!(send(port, "OPTIONS", "/orders/1", &preflight, Vec::new()).await?.status, 200);
    assert_eq!(send(port, "OPTIONS", "/orders/new/1", &preflight, Vec::new()).await?.status, 401);
    let limits = get_with_key(port, "/orders/1", "ten").await?;
    let shown = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"].map(|name| limits.header(name));
    assert_eq!(shown, [Some("-1"), Some("0"), Some("0")]);
    let messages = receiver.expect(hosts.len(), SOON).await?;
    ensure!(
        messages.iter().all(|message| message.target == "/in"),
        "a handler of tyk.conf was notified: {messages:#?}"
    );
    assert_eq!(messages[0].json()?["origin"], "192.0.2.9");
    Ok(())
}

/// The importer and the filter agree on the events of Tyk that never fire.
#[test]
fn the_import_and_the_filter_know_the_same_events() -> Result<()> {
    let folder = Folder::new()?;
    let names = EventKind::NEVER_FIRED.into_iter().chain(["WebhookFailure"]);
    let hook = json!([{ "handler_name": "eh_log_handler", "handler_meta": { "prefix": "p" } }]);
    let events: serde_json::Map<String, Value> = names.map(|name| (name.to_owned(), hook.clone())).collect();
    let api = json!({
        "api_id": "a", "name": "A", "active": true, "use_keyless": true, "event_handlers": { "events": events },
        "proxy": { "listen_path": "/a/", "target_url": "http://127.0.0.1:1/" },
    });
    fs::write(folder.0.join("tyk.conf"), "{}")?;
    fs::write(folder.0.join("apps/a.json"), api.to_string())?;
    let files = Files { conf: folder.0.join("tyk.conf"), apps: folder.0.join("apps"), ..Files::default() };
    let report = import(&files, true).map_err(|failed| anyhow::anyhow!(failed.errors.join("\n")))?.report;
    for name in EventKind::NEVER_FIRED {
        ensure!(report.contains(&format!("{name} never fires here: ")), "{name}: {report}");
    }
    ensure!(report.contains("Tyk has no event \"WebhookFailure\""), "{report}");
    Ok(())
}
