use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tollbell_tests::client::send;
use tollbell_tests::envoy::free_port;
use tollbell_tests::server::{Manner, Server};

use super::{BEARER, admin, world};
use crate::support::World;

async fn test(world: &World, webhook: &str) -> Result<Value> {
    let target = format!("/.tollbell/webhooks/{webhook}/test");
    let reply = send(world.envoy.port, "POST", &target, &[("authorization", BEARER)], Vec::new()).await?;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")), "{}", reply.body);
    let mut answer: Value = serde_json::from_str(&reply.body)?;
    assert_eq!(answer["webhook"].take(), webhook);
    let took = Duration::from_millis(answer["took_ms"].take().as_u64().context("no time")?);
    // Both clocks round.
    assert!(took <= reply.took + Duration::from_millis(2), "{took:?} of {:?}", reply.took);
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_test_reports_reachability_and_reasons() -> Result<()> {
    // A server that accepts connections and never answers.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let (silent_port, refusing_port) = (silent.local_addr()?.port(), free_port()?);
    let accepting = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = silent.accept().await {
            held.push(stream);
        }
    });
    let plain = Server::start().await?;
    let webhook = |name: &str, url: &str| {
        json!({ "name": name, "target_url": url, "method": "PUT", "event_timeout": 60,
            "secret": "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0",
            "headers": { "X-Token": "hunter2", "Authorization": "Bearer hunter2", "Content-Type": "text/plain" } })
    };
    let config = json!({
        "apis": [{ "api_id": "orders", "use_keyless": true }],
        "webhooks": [
            webhook("crm", "http://user:hunter2@RECEIVER/in?x=1"),
            webhook("refusing", &format!("http://127.0.0.1:{refusing_port}/in")),
            webhook("silent", &format!("http://127.0.0.1:{silent_port}/in")),
            webhook("nowhere", "http://no-such-host.invalid/in"),
            // A webhook URL as Slack and Teams use it: its path is the secret.
            webhook("no-tls", &format!("https://127.0.0.1:{}/services/hunter2?sig=hunter2", plain.port)),
        ],
        "admin": admin(),
    });
    let world = World::with_config(config).await?;
    for status in [204, 405, 500, 503] {
        world.receiver.set_manner(Manner { status, ..Manner::default() });
        let answer = test(&world, "crm").await?;
        assert_eq!([&answer["reachable"], &answer["status"]], [&json!(true), &json!(status)], "{answer}");
    }
    for request in world.receiver.received() {
        assert_eq!((request.method.as_str(), request.target.as_str(), request.body.len()), ("HEAD", "/in?x=1", 0));
        let mut names: Vec<&str> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.retain(|name| !name.starts_with("x-envoy-"));
        names.sort_unstable();
        assert_eq!(names, ["host", "user-agent"], "{request:?}");
        assert!(!format!("{request:?}").contains("hunter2"));
    }
    // All at once, so that the slow ones wait together.
    let (refusing, silent, nowhere, no_tls) =
        tokio::join!(test(&world, "refusing"), test(&world, "silent"), test(&world, "nowhere"), test(&world, "no-tls"));
    let mut wrong = Vec::new();
    for (answer, error) in [
        (refusing?, "the connection was refused"),
        (silent?, "no answer in time"),
        (nowhere?, "the name is unknown"),
        (no_tls?, "TLS failed"),
    ] {
        let told = answer["error"].as_str().unwrap_or_default();
        assert_eq!((&answer["reachable"], answer.get("status")), (&json!(false), None), "{answer}");
        wrong.extend((!told.starts_with(error)).then(|| format!("{told:?} is not {error:?}")));
    }
    assert_eq!(wrong, Vec::<String>::new());
    // To detect a failure of TLS, the same port is asked without TLS, for a path that is not the target's own.
    let asked = plain.received();
    let [request] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((request.method.as_str(), request.target.as_str(), request.body.len()), ("OPTIONS", "/", 0));
    assert!(!format!("{request:?}").contains("hunter2"), "{request:?}");
    // For the reachable target's own path there was only HEAD.
    assert!(world.receiver.received().iter().all(|request| request.method == "HEAD"));
    accepting.abort();
    Ok(())
}

/// Without such a cluster, a failure of TLS cannot be detected.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_cluster_for_http_a_connection_test_reports_what_is_known() -> Result<()> {
    let plain = Server::start().await?;
    let config = json!({
        "apis": [{ "api_id": "orders", "use_keyless": true }],
        "webhooks": [{ "name": "no-tls", "target_url": format!("https://127.0.0.1:{}/hunter2", plain.port) }],
        "callouts": { "http_cluster": "no_such_cluster" },
        "admin": admin(),
    });
    let world = World::with_config(config).await?;
    let answer = test(&world, "no-tls").await?;
    assert_eq!(
        [&answer["reachable"], &answer["error"]],
        [&json!(false), &json!("no connection: refused, or TLS failed")]
    );
    assert_eq!(plain.count(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave_while_they_wait_leave_no_state() -> Result<()> {
    let config = json!({
        "apis": [{ "api_id": "orders", "use_keyless": true }],
        "webhooks": [{ "name": "crm", "target_url": "http://RECEIVER/in" }],
        "admin": admin(),
    });
    let world = World::with_config(config).await?;
    world.receiver.set_manner(Manner { delay: Duration::from_secs(2), ..Manner::default() });
    let mut waiting = Vec::new();
    for _ in 0..20 {
        waiting.push(tokio::time::timeout(Duration::from_millis(500), test(&world, "crm")));
    }
    for wait in waiting {
        wait.await.expect_err("the receiver is slow");
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.receiver.set_manner(Manner::default());
    assert_eq!(test(&world, "crm").await?["status"], 200);
    assert!(!world.envoy.log().contains("critical"), "{}", world.envoy.log());
    Ok(())
}

/// If Envoy passes bodies of waiting requests, a request that waits for something else must still wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_a_connection_test_never_reaches_the_upstream() -> Result<()> {
    let config = json!({
        "apis": [{ "api_id": "orders", "use_keyless": true }],
        "webhooks": [{ "name": "crm", "target_url": "http://RECEIVER/in" }],
        "admin": admin(),
    });
    for (handed_over, world) in [(false, World::with_config(config.clone()).await?), (true, world(&config).await?)] {
        world.receiver.set_manner(Manner { delay: Duration::from_millis(500), ..Manner::default() });
        let headers = [("authorization", BEARER)];
        for size in [0, 1, 100_000] {
            let body = vec![b'x'; size];
            let reply = send(world.envoy.port, "POST", "/.tollbell/webhooks/crm/test", &headers, body).await?;
            assert_eq!(world.upstream.count(), 0, "{size} bytes, handed over: {handed_over}: {}", reply.body);
            assert!(reply.body.contains("\"reachable\": true"), "{}", reply.body);
        }
    }
    Ok(())
}
