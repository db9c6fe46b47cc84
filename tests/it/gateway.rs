//! Identities, rates, observed responses and fetched keys in a real Envoy.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tollbell_tests::client::{Connection, count_status, get, get_with_key, load};
use tollbell_tests::envoy::Setup;
use tollbell_tests::server::Server;

use crate::support::{World, alone, config, eventually, hook};

/// Tokens signed with HS256 by the key of [`JWT_AUTHN`]: valid until 2100 for alice and bob of acme, and until 2001 for
/// alice.
const ALICE: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InQifQ.eyJpc3MiOiJ0Iiwic3ViIjoiYWxpY2UiLCJvcmciOiJhY21lIiwiZXhwIjo0MTAyNDQ0ODAwfQ.L5bHx6tEJgibI4ZOKjmwQl5jOFCp-6Q4StmgPIGce5g";
const BOB: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InQifQ.eyJpc3MiOiJ0Iiwic3ViIjoiYm9iIiwib3JnIjoiYWNtZSIsImV4cCI6NDEwMjQ0NDgwMH0.pfeelV7bTOFW4giEQR8bCUTAw6dnWDzDMyMjGnjeFLA";
const EXPIRED: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InQifQ.eyJpc3MiOiJ0Iiwic3ViIjoiYWxpY2UiLCJvcmciOiJhY21lIiwiZXhwIjoxMDAwMDAwMDAwfQ.PRJ0pBc8UdDLXvbN8D25Bw2Zv3EtMcJekfdEPGygrqo";

/// The main thread and two workers.
const VMS: u64 = 3;

const JWT_AUTHN: &str = r#"          - name: envoy.filters.http.jwt_authn
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
              providers:
                t:
                  issuer: t
                  payload_in_metadata: jwt_payload
                  local_jwks:
                    inline_string: '{"keys": [{"kty": "oct", "kid": "t", "alg": "HS256", "k": "YSBzZWNyZXQgb2YgdGhpcyB0ZXN0LCBhbmQgb2Ygbm90aGluZyBlbHNl"}]}'
              rules:
              - { match: { prefix: / }, requires: { provider_name: t } }
"#;

const RBAC: &str = r#"          - name: envoy.filters.http.rbac
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
              rules:
                action: DENY
                policies:
                  closed: { permissions: [ { url_path: { path: { prefix: /closed } } } ], principals: [ { any: true } ] }
"#;

/// Shows the type, key, organisation and reason of an event.
fn templates() -> Value {
    json!({ "t.json": "{\"type\": \"{{Type}}\", \"key\": \"{{Meta.Key}}\", \"org\": \"{{Meta.OrgID}}\", \"reason\": \"{{Meta.Reason}}\", \"path\": \"{{Meta.Path}}\"}" })
}

fn hooks(names: &[&str]) -> Value {
    let handler = |name: &str| {
        let mut handler = hook(&format!("/{name}"), 5);
        handler["handler_meta"]["template_path"] = json!("t.json");
        json!([handler])
    };
    json!({ "events": names.iter().map(|name| ((*name).to_owned(), handler(name))).collect::<BTreeMap<_, _>>() })
}

/// `envoy/envoy.yaml` with a placement of tollbell for each configuration, and another filter after the first.
fn placements(upstream: u16, receiver: u16, configs: &[Value], between: &str) -> Result<Setup> {
    let plain = Setup::file("envoy/envoy.yaml", upstream, receiver)?;
    let configured = configs
        .iter()
        .map(|config| Setup::file("envoy/envoy.yaml", upstream, receiver)?.with_configuration(config, receiver))
        .collect::<Result<Vec<_>>>()?;
    let block = |yaml: &str| -> Result<(usize, usize)> {
        let begin = yaml.find("          - name: tollbell\n").context("no placement")?;
        Ok((begin, yaml.find("          - name: envoy.filters.http.router").context("no router")?))
    };
    let mut filters = String::new();
    for (index, setup) in configured.iter().enumerate() {
        let (begin, end) = block(setup.text())?;
        filters += &setup.text()[begin..end];
        if index == 0 {
            filters += between;
        }
    }
    let (begin, end) = block(plain.text())?;
    Ok(plain.edit(|yaml| format!("{}{filters}{}", &yaml[..begin], &yaml[end..])))
}

#[tokio::test(flavor = "multi_thread")]
async fn after_jwt_authn_quotas_are_by_subject_and_its_refusals_are_events() -> Result<()> {
    let before = json!({
        "apis": [{ "api_id": "front", "use_keyless": true, "observe_failures": true,
            "event_handlers": hooks(&["AuthFailure"]) }],
        "templates": templates(),
    });
    let claim = |name: &str| json!(["envoy.filters.http.jwt_authn", "jwt_payload", name]);
    let behind = json!({
        "apis": [{ "api_id": "orders", "identity": [{ "metadata": claim("sub"), "org": claim("org") }],
            "event_handlers": hooks(&["QuotaExceeded", "OrgQuotaExceeded", "AuthFailure"]) }],
        "policies": { "each": { "quota_max": 3, "quota_renewal_rate": 3600 } },
        "default_policy": "each",
        "orgs": { "acme": { "quota_max": 5, "quota_renewal_rate": 3600 } },
        "enforce_org_quotas": true,
        "templates": templates(),
    });
    let world =
        World::with_setup(|upstream, receiver| placements(upstream, receiver, &[before, behind], JWT_AUTHN)).await?;
    let by = async |token: &str| -> Result<u16> {
        Ok(get(world.envoy.port, "/orders/1", &[("authorization", &format!("Bearer {token}"))]).await?.status)
    };
    let mut statuses = Vec::new();
    for token in [ALICE, ALICE, ALICE, ALICE, EXPIRED, BOB, BOB, BOB, EXPIRED] {
        statuses.push(by(token).await?);
    }
    assert_eq!(statuses, [200, 200, 200, 403, 401, 200, 200, 403, 401]);
    let event = |kind: &str, key: &str, org: &str, reason: &str| json!({ "type": kind, "key": key, "org": org, "reason": reason, "path": "/orders/1" });
    let expected = [
        event("AuthFailure", "", "", "Jwt_is_expired"),
        event("OrgQuotaExceeded", "acme", "acme", ""),
        event("QuotaExceeded", "alice", "acme", ""),
    ];
    assert_eq!(world.messages(3).await?, expected);
    assert_eq!(world.envoy.metric(r#"tollbell_events{type="AuthFailure"}"#).await?, 2, "none for its own refusals");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_other_filters_and_of_the_upstream_are_events() -> Result<()> {
    let config = json!({
        "apis": [{ "api_id": "orders", "org_id": "acme", "observe_failures": true, "strip_authorization_data": true,
            "event_handlers": hooks(&["AuthFailure", "RatelimitExceeded"]) }],
        "keys": { "good-key": {} },
        "templates": templates(),
    });
    let world = World::with_setup(|upstream, receiver| placements(upstream, receiver, &[config], RBAC)).await?;
    assert_eq!(get_with_key(world.envoy.port, "/closed/1", "good-key").await?.status, 403);
    assert_eq!(get_with_key(world.envoy.port, "/open", "good-key").await?.status, 200);
    assert_eq!(get_with_key(world.envoy.port, "/open", "bad-key").await?.status, 403);
    for status in [401, 429] {
        world.upstream.set_manner(tollbell_tests::server::Manner { status, ..Default::default() });
        assert_eq!(get_with_key(world.envoy.port, "/open", "good-key").await?.status, status);
    }
    let event = |kind: &str, key: &str, path: &str, reason: &str| json!({ "type": kind, "key": key, "org": "acme", "reason": reason, "path": path });
    let mut expected = [
        event("AuthFailure", "good-key", "/closed/1", "rbac_access_denied_matched_policy[closed]"),
        event("AuthFailure", "bad-key", "/open", ""),
        event("AuthFailure", "good-key", "/open", "via_upstream"),
        event("RatelimitExceeded", "good-key", "/open", "via_upstream"),
    ];
    expected.sort_by_key(Value::to_string);
    assert_eq!(world.messages(4).await?, expected);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_a_healthy_host_is_down_and_then_up() -> Result<()> {
    let names = ["HostDown", "HostUp", "BreakerTripped", "BreakerReset", "BreakerTriggered"];
    let config = json!({
        "apis": [{ "api_id": "orders", "use_keyless": true, "observe_upstream": true, "event_handlers": hooks(&names) }],
        "templates": templates(),
    });
    // The upstream does not listen until the health check has noticed that.
    let upstream_port = Server::start().await?.port;
    let receiver = Server::start().await?;
    let setup = Setup::config(&config, upstream_port, receiver.port)?.edit(|yaml| {
        yaml.replacen(
            "  - name: upstream\n    type: STATIC\n",
            "  - name: upstream\n    type: STATIC\n    common_lb_config: { healthy_panic_threshold: { value: 0 } }\n    health_checks:\n    \
             - { timeout: 1s, interval: 0.2s, no_traffic_interval: 0.2s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {} }\n    \
             circuit_breakers: { thresholds: [ { max_requests: 1 } ] }\n",
            1,
        )
    });
    let envoy = setup.start().await?;
    for _ in 0..20 {
        assert_eq!(get(envoy.port, "/", &[]).await?.status, 503);
    }
    let kinds = async |count: usize| -> Result<Vec<String>> {
        eventually("the events come", async || Ok(receiver.count() >= count)).await?;
        let mut kinds: Vec<String> = receiver.received().iter().map(|message| message.target.clone()).collect();
        kinds.sort();
        Ok(kinds)
    };
    assert_eq!(kinds(1).await?, ["/HostDown"]);
    let upstream = Server::start_on(upstream_port, |_| {}).await?;
    eventually("the upstream is well", async || Ok(get(envoy.port, "/", &[]).await?.status == 200)).await?;
    // A host counts as up if nothing has failed for some seconds.
    sleep(Duration::from_secs(6)).await;
    for _ in 0..20 {
        assert_eq!(get(envoy.port, "/", &[]).await?.status, 200);
    }
    assert_eq!(kinds(2).await?, ["/HostDown", "/HostUp"]);

    upstream.set_manner(tollbell_tests::server::Manner { delay: Duration::from_millis(50), ..Default::default() });
    let replies = load(envoy.port, 8, 80, |_| ("/".into(), "k".into())).await?;
    ensure!(count_status(&replies, 503) > 0, "nothing overflowed");
    assert_eq!(kinds(4).await?, ["/BreakerTriggered", "/BreakerTripped", "/HostDown", "/HostUp"]);
    // The breaker counts as reset if nothing has overflowed for some seconds. The second BreakerTriggered has another
    // body, so it is not in the cool-down of the first.
    sleep(Duration::from_secs(7)).await;
    assert_eq!(get(envoy.port, "/", &[]).await?.status, 200);
    assert_eq!(
        kinds(6).await?,
        ["/BreakerReset", "/BreakerTriggered", "/BreakerTriggered", "/BreakerTripped", "/HostDown", "/HostUp"]
    );
    Ok(())
}

/// The times at which admitted requests were answered, in order.
async fn admitted(port: u16, connections: usize, length: Duration) -> Result<(Vec<Duration>, usize)> {
    let started = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let mut connection = Connection::open(port).await?;
        tasks.push(tokio::spawn(async move {
            let (mut admitted, mut refused) = (Vec::new(), 0);
            while started.elapsed() < length {
                match connection.get("/", &[("authorization", "good-key")]).await?.status {
                    200 => admitted.push(started.elapsed()),
                    429 => refused += 1,
                    other => anyhow::bail!("status {other}"),
                }
            }
            anyhow::Ok((admitted, refused))
        }));
    }
    let (mut times, mut refused) = (Vec::new(), 0);
    for task in tasks {
        let (admitted, more) = task.await??;
        times.extend(admitted);
        refused += more;
    }
    times.sort_unstable();
    Ok((times, refused))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_of_100_a_second_admits_100_in_every_window() -> Result<()> {
    let _alone = alone().await;
    let config = json!({ "apis": [{ "api_id": "orders" }], "keys": { "good-key": { "rate": 100, "per": 1 } } });
    let setup = |upstream, receiver| Ok(Setup::config(&config, upstream, receiver)?.workers(4));
    let world = World::measured(setup).await?;
    let (times, refused) = admitted(world.envoy.port, 64, Duration::from_secs(10)).await?;
    // A window starts with its first request, so each hundred is one window. The clients see the times of the answers,
    // which are later.
    let windows: Vec<&[Duration]> = times.chunks(100).collect();
    let starts: Vec<Duration> = windows.iter().filter_map(|window| window.first().copied()).collect();
    println!("{} admitted, {refused} refused; windows began at {starts:?}", times.len());
    assert_eq!(world.upstream.count(), times.len());
    ensure!(refused > 1000, "the load was too small to show anything");
    // The last window may have begun just before the end.
    ensure!(windows.len() >= 10, "{} windows", windows.len());
    let windows = &windows[..windows.len().saturating_sub(usize::from(times.len() % 100 > 0))];
    for pair in starts.windows(2) {
        let apart = pair[1].saturating_sub(pair[0]);
        ensure!(apart > Duration::from_millis(900), "windows began {apart:?} apart");
    }
    for window in windows {
        ensure!(window.len() == 100, "a window of {}", window.len());
        let took = window[99].saturating_sub(window[0]);
        ensure!(took < Duration::from_millis(900), "a window's hundred took {took:?}: they are not its own");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn invented_identities_need_no_more_memory_than_the_table() -> Result<()> {
    const IDENTITIES: usize = 300_000;
    const MIB: u64 = 1024 * 1024;
    let _alone = alone().await;
    let config = json!({
        "apis": [{ "api_id": "orders", "identity": [{ "header": "authorization" }] }],
        "policies": { "each": { "quota_max": 100, "quota_renewal_rate": 3600 } },
        "default_policy": "each",
    });
    let world = World::measured(|upstream, receiver| {
        // Envoy itself answers, so that the upstream's memory and time are not measured.
        Ok(Setup::config(&config, upstream, receiver)?
            .edit(|yaml| yaml.replacen("route: { cluster: upstream }", "direct_response: { status: 200 }", 1)))
    })
    .await?;
    let regular = Arc::new(Mutex::new((0_usize, 0_usize)));
    let flood = async |from: usize, to: usize| -> Result<()> {
        let mut tasks = Vec::new();
        for first in 0..16 {
            let mut connection = Connection::open(world.envoy.port).await?;
            let regular = Arc::clone(&regular);
            tasks.push(tokio::spawn(async move {
                for n in (from + first..to).step_by(16) {
                    let reply = connection.get("/", &[("authorization", &format!("invented-{n}"))]).await?;
                    ensure!(reply.status == 200, "an identity's first request: {reply:?}");
                    if n % 1500 == 0 {
                        let reply = connection.get("/", &[("authorization", "regular")]).await?;
                        let mut counts = regular.lock().map_err(|_| anyhow::anyhow!("a task panicked"))?;
                        *(if reply.status == 200 { &mut counts.0 } else { &mut counts.1 }) += 1;
                    }
                }
                anyhow::Ok(())
            }));
        }
        for task in tasks {
            task.await??;
        }
        Ok(())
    };
    let started = Instant::now();
    flood(0, IDENTITIES / 5).await?;
    let (allocated_first, resident_first) = (world.envoy.allocated().await?, world.envoy.resident()?);
    flood(IDENTITIES / 5, IDENTITIES).await?;
    let (allocated, resident) = (world.envoy.allocated().await?, world.envoy.resident()?);
    let evicted = world.envoy.metric("tollbell_identities_evicted{}").await?;
    let (let_through, refused) = *regular.lock().map_err(|_| anyhow::anyhow!("a task panicked"))?;
    println!(
        "{IDENTITIES} identities in {:?}: {evicted} evicted; allocated {allocated_first} after a fifth and {allocated} at the end, \
         resident {resident_first} and {resident}; the regular one was let through {let_through} times and refused {refused}",
        started.elapsed()
    );
    ensure!(allocated <= allocated_first + MIB, "{allocated_first} allocated bytes grew to {allocated}");
    ensure!(resident <= resident_first + 4 * MIB, "{resident_first} resident bytes grew to {resident}");
    ensure!(evicted > 250_000, "only {evicted} evicted");
    assert_eq!((let_through, refused), (100, 100), "it was counted all the time");
    Ok(())
}

/// Serves one document with its entity tag, until the document is replaced. Counts the answers by status.
struct Documents {
    port: u16,
    current: Arc<Mutex<(String, Arc<String>)>>,
    answered: Arc<Mutex<BTreeMap<u16, usize>>>,
}

impl Documents {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let current = Arc::new(Mutex::new((String::new(), Arc::new(String::new()))));
        let answered = Arc::new(Mutex::new(BTreeMap::new()));
        let documents = Documents { port, current: Arc::clone(&current), answered: Arc::clone(&answered) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (current, answered) = (Arc::clone(&current), Arc::clone(&answered));
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let (mut line, mut known) = (String::new(), String::new());
                    while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                        if let Some(tag) = line.strip_prefix("if-none-match: ") {
                            known = tag.trim().to_owned();
                        }
                        if line == "\r\n" {
                            let (tag, body) = current.lock().expect("no panic").clone();
                            let status = if known == tag { 304 } else { 200 };
                            *answered.lock().expect("no panic").entry(status).or_default() += 1;
                            let body = if status == 304 { "" } else { body.as_str() };
                            let head =
                                format!("HTTP/1.1 {status} x\r\netag: {tag}\r\ncontent-length: {}\r\n\r\n", body.len());
                            if stream.write_all((head + body).as_bytes()).await.is_err() {
                                return;
                            }
                            known.clear();
                        }
                        line.clear();
                    }
                });
            }
        });
        Ok(documents)
    }

    fn set(&self, tag: &str, body: String) {
        *self.current.lock().expect("no panic") = (tag.to_owned(), Arc::new(body));
    }

    fn answered(&self, status: u16) -> usize {
        self.answered.lock().expect("no panic").get(&status).copied().unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_keys_are_fetched_while_requests_go_on() -> Result<()> {
    const KEYS: usize = 100_000;
    let _alone = alone().await;
    let sessions = |count: usize, max: usize| {
        let session = |n: usize| {
            format!(
                r#""key-{n:06}": {{"org_id": "acme", "alias": "customer {n}", "quota_max": {max}, "quota_renewal_rate": 3600,
                "allowance": 0, "rate": 1000, "per": 1, "tags": null, "access_rights": {{"orders": {{"api_id": "orders", "limit": null}}}}}}"#
            )
        };
        format!("{{{}}}", (0..count).map(session).collect::<Vec<_>>().join(",\n"))
    };
    let documents = Documents::start().await?;
    documents.set("\"empty\"", "{}".into());
    let config = json!({
        "apis": [{ "api_id": "orders" }],
        "keys": { "good-key": {} },
        "keys_from": { "url": format!("http://127.0.0.1:{}/keys", documents.port), "interval_s": 1 },
    });
    let world = World::measured(|upstream, receiver| Setup::config(&config, upstream, receiver)).await?;
    let loaded = async || world.envoy.metric(r#"tollbell_keys_fetched{outcome="loaded"}"#).await;
    eventually("nothing is loaded", async || Ok(loaded().await? >= VMS)).await?;
    sleep(Duration::from_secs(2)).await;
    let resident_before = world.envoy.resident()?;

    // The longest time of a request before the keys are loaded, and while they are loaded.
    let calm_since = Instant::now();
    let (calm_p99, calm) = measure(world.envoy.port, move || calm_since.elapsed() > Duration::from_secs(4)).await?;
    let text = sessions(KEYS, 2);
    let bytes = text.len();
    documents.set("\"many\"", text);
    let started = Instant::now();
    let before = loaded().await?;
    let port = world.envoy.port;
    let stop = Arc::new(Mutex::new(false));
    let measuring = tokio::spawn({
        let stop = Arc::clone(&stop);
        async move { measure(port, move || *stop.lock().expect("no panic")).await }
    });
    eventually("the keys are loaded", async || Ok(loaded().await? >= before + VMS)).await?;
    let took = started.elapsed();
    *stop.lock().expect("no panic") = true;
    let (busy_p99, busy) = measuring.await??;
    let grown = world.envoy.resident()?.saturating_sub(resident_before) / VMS;
    println!(
        "{KEYS} keys of {bytes} bytes in {VMS} VMs after {took:?}; {} bytes of memory more for each VM; requests took {busy_p99:?} (p99) \
         and {busy:?} at most meanwhile, {calm_p99:?} and {calm:?} before",
        grown
    );
    assert_eq!(world.envoy.metric("tollbell_fetched_keys{}").await?, KEYS as u64);
    for n in [0, 4711, KEYS - 1] {
        let key = format!("key-{n:06}");
        let statuses = [(); 3].map(|()| get_with_key(port, "/", &key));
        let mut seen = Vec::new();
        for status in statuses {
            seen.push(status.await?.status);
        }
        assert_eq!(seen, [200, 200, 403], "{key}");
    }
    assert_eq!(get_with_key(port, "/", "key-100000").await?.status, 403);

    // A malformed update changes nothing, the same document is not sent again, and a valid one replaces the keys.
    documents.set("\"bad\"", sessions(5, 1).replace("customer 3\"", "customer 3"));
    let failed = async || world.envoy.metric(r#"tollbell_keys_fetched{outcome="failed"}"#).await;
    eventually("the bad document was looked at", async || Ok(failed().await? >= 1)).await?;
    assert_eq!(get_with_key(port, "/", "key-000005").await?.status, 200);
    ensure!(world.envoy.log().contains("keys_from"), "the reason is not logged");
    documents.set("\"few\"", sessions(5, 1));
    eventually("a good one replaces them", async || Ok(get_with_key(port, "/", "key-000005").await?.status == 403))
        .await?;
    let before = documents.answered(304);
    eventually("what is unchanged is not sent again", async || Ok(documents.answered(304) >= before + 3)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_a_fetched_session_lowers_still_reports_its_threshold() -> Result<()> {
    let documents = Documents::start().await?;
    let session = |max: u64| {
        json!({ "k": { "quota_max": max, "quota_renewal_rate": 3600, "monitor": { "trigger_limits": [80] } } })
            .to_string()
    };
    documents.set("\"ten\"", session(10));
    let mut config = config(json!({}));
    config["keys_from"] = json!({ "url": format!("http://127.0.0.1:{}/keys", documents.port), "interval_s": 1 });
    let world = World::with_config(config).await?;
    let loaded = async || world.envoy.metric(r#"tollbell_keys_fetched{outcome="loaded"}"#).await;
    let limit = async || {
        let reply = get_with_key(world.envoy.port, "/", "k").await?;
        anyhow::Ok((reply.status, reply.header("x-ratelimit-limit").map(str::to_owned)))
    };
    eventually("every VM has the key", async || Ok(loaded().await? >= VMS)).await?;
    for _ in 0..6 {
        assert_eq!(limit().await?, (200, Some("10".to_owned())));
    }
    documents.set("\"seven\"", session(7));
    eventually("every VM has its new quota", async || Ok(loaded().await? >= 2 * VMS)).await?;
    assert_eq!(limit().await?, (200, Some("7".to_owned())));
    let reported = world.messages(1).await?;
    ensure!(reported[0]["event"] == "TriggerExceeded" && reported[0]["trigger_limit"] == "80", "{reported:?}");
    Ok(())
}

/// The p99 and the maximum of requests that continue until `ends` returns true.
async fn measure(port: u16, ends: impl Fn() -> bool + Clone + Send + 'static) -> Result<(Duration, Duration)> {
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let (mut connection, ends) = (Connection::open(port).await?, ends.clone());
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::new();
            while !ends() {
                let reply = connection.get("/", &[("authorization", "good-key")]).await?;
                ensure!(reply.status == 200, "{reply:?}");
                times.push(reply.took);
                sleep(Duration::from_millis(1)).await;
            }
            anyhow::Ok(times)
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    times.sort_unstable();
    let p99 = times.get(times.len() * 99 / 100).copied().context("no requests")?;
    Ok((p99, times.last().copied().context("no requests")?))
}

/// Several workers count together, and the default is three.
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_refuses_connections_is_down_and_then_up() -> Result<()> {
    let observed = |id: &str, observe: Value| {
        let mut api = json!({ "api_id": id, "listen_path": format!("/{id}/"), "use_keyless": true,
            "event_handlers": hooks(&["HostDown", "HostUp"]) });
        api["observe_upstream"] = observe;
        api
    };
    let config = json!({
        "apis": [observed("three", json!(true)), observed("five", json!({ "failures": 5 })), observed("none", json!(false))],
        "templates": { "t.json": "{\"type\": \"{{Type}}\", \"path\": \"{{Meta.Path}}\", \"error\": {{Meta.HostInfo.IsTCPError}}}" },
    });
    let upstream_port = Server::start().await?.port;
    let receiver = Server::start().await?;
    let envoy = Setup::config(&config, upstream_port, receiver.port)?.start().await?;
    let notified = || -> Result<Vec<Value>> {
        let mut notified = receiver.received().iter().map(|message| message.json()).collect::<Result<Vec<_>>>()?;
        notified.sort_by_key(Value::to_string);
        Ok(notified)
    };
    let down = |path: &str| json!({ "type": "HostDown", "path": path, "error": true });
    for n in 0..4 {
        for path in ["/three/", "/five/", "/none/"] {
            assert_eq!(get(envoy.port, &format!("{path}{n}"), &[]).await?.status, 503);
        }
    }
    eventually("three in a row have failed", async || Ok(receiver.count() == 1)).await?;
    assert_eq!(notified()?, [down("/three/2")]);
    assert_eq!(get(envoy.port, "/five/4", &[]).await?.status, 503);
    eventually("five in a row have failed", async || Ok(receiver.count() == 2)).await?;
    assert_eq!(notified()?, [down("/five/4"), down("/three/2")]);
    let _upstream = Server::start_on(upstream_port, |_| {}).await?;
    eventually("the upstream is up for either", async || {
        for path in ["/three/up", "/five/up", "/none/up"] {
            get(envoy.port, path, &[]).await?;
        }
        Ok(receiver.count() >= 4)
    })
    .await?;
    let up = |path: &str| json!({ "type": "HostUp", "path": path, "error": false });
    assert_eq!(notified()?, [up("/five/up"), up("/three/up"), down("/five/4"), down("/three/2")]);
    Ok(())
}
