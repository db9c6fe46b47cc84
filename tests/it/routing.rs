//! The API of a request in a real Envoy: all spellings of a path, all hosts.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tollbell_tests::envoy::Setup;
use tollbell_tests::project_root;

use crate::support::World;

/// Spellings that some upstream reads as `/orders/1`, `/café/1` or `/@acme/1`.
const SPELLINGS: &[&str] = &[
    "/orders/1",
    "/orders",
    "/orders?a=/../open",
    "/%6frders/1",
    "/%6Frders/1",
    "/%6F%72%64%65%72%73/1",
    "/orders%2F1",
    "/orders%2f1",
    "/%256frders/1",
    "/orders%252F1",
    "/./orders/1",
    "//orders/1",
    "/orders//1",
    "///orders/1",
    "/x/../orders/1",
    "/x/%2e%2e/orders/1",
    "/x/.%2E/orders/1",
    "/x/%252e%252e/orders/1",
    "/x%2F..%2Forders%2F1",
    "/x/..%2forders/1",
    "/x/..%5corders/1",
    "/x\\..\\orders\\1",
    "/%5Corders/1",
    "/orders;a=b/1",
    "/orders;/1",
    "/x/..;/orders/1",
    "/x/..%3Ba/orders/1",
    "/x;a/../orders;b/1",
    "/or%09ders/1",
    "/or%0Ad%0Ders/1",
    "/orders%3Fa",
    "/orders%23a",
    "/orders%20",
    "/orders/../orders/1",
    "/orders%c0%af1",
    "/x/%c0%ae%c0%ae/orders/1",
    "/orders%u002f1",
    "/%2Fgateway.test/orders/1",
    "http://gateway.test/orders/1",
    "http://gateway.test/x/..%2Forders/1",
    "/caf%C3%A9/1",
    "/caf%c3%a9/1",
    "/%63af%C3%A9/1",
    "/caf%25C3%25A9/1",
    "/x/..%2Fcaf%C3%A9/1",
    "/@acme/1",
    "/%40acme/1",
    "/%2540acme/1",
    "/x/../%40acme/1",
];

/// The same, unless Envoy merges slashes. Then all servers read another path.
const UNMERGED: &[&str] = &["//gateway.test/orders/1", "///gateway.test//orders/1"];

/// Paths that are not protected, in any reading.
const OPEN: &[&str] =
    &["/", "/x", "/Orders/1", "/order/1", "/open/orders/1", "/a%20b/%C3%A9", "/x/..%2Fy", "/.well-known/x"];

/// The status and the whole answer. It does not wait until Envoy closes the connection, which takes a second.
async fn get(port: u16, target: &str, host: &str, key: Option<&str>) -> Result<(u16, String)> {
    let key = key.map_or(String::new(), |key| format!("authorization: {key}\r\n"));
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?);
    stream.write_all(format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n{key}\r\n").as_bytes()).await?;
    let (mut reply, mut length) = (String::new(), 0);
    while !reply.ends_with("\r\n\r\n") {
        let mut line = String::new();
        ensure!(stream.read_line(&mut line).await? > 0, "{target} {host}: {reply:?}");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        reply += &line;
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let status = reply.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("{target} {host}: {reply:?}"))?;
    Ok((status, reply + &String::from_utf8_lossy(&body)))
}

fn manager(setup: Setup, normalizes: bool) -> Setup {
    setup.edit(|yaml| {
        let yaml = yaml.replace("UNESCAPE_AND_REDIRECT", "KEEP_UNCHANGED");
        let is = |name: &str| format!("{name}: {normalizes}");
        yaml.replace("normalize_path: true", &is("normalize_path")).replace("merge_slashes: true", &is("merge_slashes"))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_protected_path_passes_without_a_key() -> Result<()> {
    let keyed = |id: &str, path: &str| json!({ "api_id": id, "listen_path": path });
    let config = |more: &[Value]| {
        let apis = [keyed("orders", "/orders/"), keyed("cafe", "/café/"), keyed("acme", "/@acme/")];
        json!({ "apis": ([&apis[..], more].concat()), "keys": { "good-key": {} } })
    };
    let open = [json!({ "api_id": "rest", "listen_path": "/", "use_keyless": true })];
    for (normalizes, more) in [(true, &open[..]), (false, &open[..]), (false, &[])] {
        let world = World::with_setup(|upstream, receiver| {
            Ok(manager(Setup::config(&config(more), upstream, receiver)?, normalizes))
        })
        .await?;
        let port = world.envoy.port;
        for target in SPELLINGS.iter().chain(UNMERGED.iter().filter(|_| !normalizes)) {
            let (status, _) = get(port, target, "gateway.test", None).await?;
            ensure!(matches!(status, 400 | 401 | 404), "{target} is {status}; normalize_path: {normalizes}");
        }
        ensure!(world.upstream.count() == 0, "{:?}", world.upstream.received());
        for target in OPEN {
            let (status, _) = get(port, target, "gateway.test", None).await?;
            ensure!(status == 200, "{target} is {status}; normalize_path: {normalizes}");
        }
        for target in ["/orders/a%2Fb", "/caf%C3%A9/1", "/%40acme/1", "/orders/a%20b;c=d"] {
            let (status, _) = get(port, target, "gateway.test", Some("good-key")).await?;
            ensure!(status == 200, "{target} is {status}");
            let seen = world.upstream.received().pop().context("nothing came")?.target;
            ensure!(seen == target, "{target} was forwarded as {seen}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_can_mean_two_protected_apis_is_refused() -> Result<()> {
    let config = json!({
        "apis": [{ "api_id": "orders", "listen_path": "/orders/" }, { "api_id": "admins", "listen_path": "/orders/admin/" }],
        "keys": { "good-key": { "access_rights": { "orders": {} } } },
    });
    let world =
        World::with_setup(|upstream, receiver| Ok(manager(Setup::config(&config, upstream, receiver)?, true))).await?;
    let port = world.envoy.port;
    let (status, reply) = get(port, "/orders/admin%2F1", "gateway.test", Some("good-key")).await?;
    ensure!(status == 400 && reply.contains("The path can be read in more than one way"), "{reply}");
    ensure!(get(port, "/orders/admin%2F1", "gateway.test", None).await?.0 == 401, "a key is asked for first");
    ensure!(get(port, "/orders/1%2F1", "gateway.test", Some("good-key")).await?.0 == 200, "one API only");
    ensure!(world.upstream.count() == 1, "{:?}", world.upstream.received());
    ensure!(world.envoy.metric(r#"tollbell_requests{outcome="ambiguous_path"}"#).await? == 1);
    Ok(())
}

/// Spellings that some upstream reads as `api.acme.test`.
const OWN: &[&str] = &[
    "api.acme.test",
    "API.ACME.TEST",
    "Api.Acme.Test",
    "api.acme.test.",
    "API.acme.TEST.",
    "api.acme.test:80",
    "api.acme.test:443",
    "api.acme.test:10000",
    "api.acme.test.:8443",
    "api.acme.test:",
    "api%2Eacme.test",
    "%61pi.acme.test",
    "user@api.acme.test",
    "user:password@api.acme.test",
    "api.acme.test:80:80",
    "127.1",
    "0x7f.1",
];

/// Other hosts.
const OTHER: &[&str] = &[
    "acme.test",
    "www.acme.test",
    "api.acme.test.evil.test",
    "xapi.acme.test",
    "api.acme",
    "api-acme.test",
    "api_acme.test",
    "localhost",
    "gateway.test",
    "gateway.test:80",
    "127.0.0.1",
    "127.0.0.1:10000",
    "[::1]",
    "[::1]:443",
    "xn--bcher-kva.example",
];

#[tokio::test(flavor = "multi_thread")]
async fn port_dot_and_user_do_not_change_the_host_and_other_hosts_are_open_or_refused() -> Result<()> {
    for (unmatched, expected) in [("pass", 200), ("refuse", 404)] {
        let config = json!({
            "unmatched": unmatched,
            "apis": [{ "api_id": "orders", "domain": "api.acme.test" }, { "api_id": "six", "domain": "[2001:db8::1]" }],
            "keys": { "good-key": {} },
        });
        let world = World::with_config(config).await?;
        let port = world.envoy.port;
        for host in OWN.iter().chain(&["[2001:db8::1]", "[2001:DB8:0:0::1]:80"]) {
            let (status, _) = get(port, "/orders/1", host, None).await?;
            ensure!(matches!(status, 400 | 401 | 404), "{host} is {status}");
        }
        ensure!(world.upstream.count() == 0, "{:?}", world.upstream.received());
        ensure!(get(port, "/orders/1", "API.acme.test.:443", Some("good-key")).await?.0 == 200);
        for host in OTHER {
            let (status, reply) = get(port, "/orders/1", host, None).await?;
            ensure!(status == expected, "{host} is {status}, unmatched: {unmatched}");
            ensure!(expected == 200 || reply.ends_with("\r\n\r\nNot Found"), "{reply}");
        }
        let warned = world
            .envoy
            .log()
            .contains("apis[0].domain: requests for other hosts than \"api.acme.test\" pass unchecked");
        ensure!(warned == (unmatched == "pass"), "{}", world.envoy.log());
        if unmatched == "refuse" {
            let refused = world.envoy.metric(r#"tollbell_requests{outcome="unmatched"}"#).await?;
            ensure!(refused == u64::try_from(OTHER.len())?, "{refused}");
        }
    }
    Ok(())
}

/// The settings in `docs/routing.md` are valid.
#[tokio::test(flavor = "multi_thread")]
async fn the_settings_of_the_page_on_routing_run() -> Result<()> {
    let page = fs::read_to_string(project_root().join("docs/routing.md"))?;
    let block = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).context("no settings")?;
    let config: Value = serde_norway::from_str(block)?;
    let world = World::with_config(config).await?;
    let port = world.envoy.port;
    for (target, host, expected) in [
        ("/orders/1", "api.acme.test", 401),
        ("/caf%C3%A9/1", "any.test", 401),
        ("/status/now", "any.test", 200),
        ("/orders/1", "any.test", 404),
    ] {
        let (status, _) = get(port, target, host, None).await?;
        ensure!(status == expected, "{target} on {host} is {status}");
    }
    Ok(())
}
