use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use tollbell_tests::client::{count_status, get_with_key, load, p99};
use tollbell_tests::envoy::{Setup, free_port};
use tollbell_tests::server::{Manner, Server};

use crate::support::{SOON, World, alone, config, eventually, hook};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_bad_requests_are_one_message_per_period() -> Result<()> {
    const PERIOD: Duration = Duration::from_secs(20);
    let mut config = config(json!({}));
    config["apis"][0]["event_handlers"]["events"]["AuthFailure"] = json!([hook("/auth", PERIOD.as_secs())]);
    let world = World::with_config(config).await?;
    let bad = || load(world.envoy.port, 16, 1000, |_| ("/orders/7".into(), "bad-key".into()));
    assert_eq!(count_status(&bad().await?, 403), 1000);
    let flooded = Instant::now();
    let [message] = &world.messages(1).await?[..] else { panic!() };
    assert_eq!(
        *message,
        json!({
            "event": "AuthFailure", "message": "Auth Failure", "path": "/orders/7", "origin": "127.0.0.1",
            "key": "bad-key"
        })
    );
    let request = &world.receiver.received()[0];
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/auth"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("user-agent"), Some(concat!("tollbell/", env!("CARGO_PKG_VERSION"))));
    tokio::time::sleep_until((flooded + PERIOD).into()).await;
    bad().await?;
    world.messages(2).await?;
    assert_eq!(world.envoy.metric("tollbell_suppressed{}").await?, 1998);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_with_the_same_target_and_body_do_not_suppress_each_other() -> Result<()> {
    let mut config = config(json!({}));
    config["apis"][0]["event_handlers"]["events"]["AuthFailure"] = json!([hook("/auth", 60), hook("/auth", 60)]);
    config["event_handlers"] = json!({ "events": { "AuthFailure": [hook("/auth", 60)] } });
    let world = World::with_config(config).await?;
    for _ in 0..5 {
        get_with_key(world.envoy.port, "/", "bad-key").await?;
    }
    world.messages(3).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_setting_of_a_webhook_reaches_the_wire() -> Result<()> {
    let mut config = config(json!({}));
    let handler = |method: &str, template: &str| {
        json!({
            "handler_name": "eh_web_hook_handler",
            "handler_meta": {
                "method": method, "target_path": format!("http://RECEIVER/{method}?dir=auth"),
                "template_path": template, "header_map": { "X-Tyk-Test-Header": "Tyk v1.BANANA" }
            }
        })
    };
    config["templates"] = json!({
        "go.xml": "<e k=\"{{.EventMetaData.Key}}\">{{.EventType}}</e>",
        "line.csv": "{{.Type}},{{.Meta.Key}}\n",
        "note.txt": "{{Type}} {{Meta.Key}}"
    });
    config["apis"][0]["event_handlers"]["events"]["AuthFailure"] = json!([
        handler("PUT", "go.xml"),
        handler("PATCH", "line.csv"),
        handler("DELETE", "note.txt"),
        handler("GET", "")
    ]);
    let world = World::with_config(config).await?;
    get_with_key(world.envoy.port, "/", "a<,b").await?;
    let received = world.receiver.expect(4, SOON).await?;
    for (method, content_type, body) in [
        ("PUT", Some("application/xml"), "<e k=\"a&lt;,b\">AuthFailure</e>"),
        ("PATCH", Some("text/csv; charset=utf-8"), "AuthFailure,\"a<,b\"\n"),
        ("DELETE", Some("text/plain; charset=utf-8"), "AuthFailure a<,b"),
        ("GET", None, ""),
    ] {
        let request = received.iter().find(|request| request.method == method).expect(method);
        assert_eq!(request.target, format!("/{method}?dir=auth"));
        assert_eq!(request.header("content-type"), content_type);
        assert_eq!(request.header("x-tyk-test-header"), Some("Tyk v1.BANANA"));
        assert_eq!(String::from_utf8_lossy(&request.body), body);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_message_is_retried_until_it_arrives() -> Result<()> {
    let mut config = config(json!({}));
    config["delivery"] = json!({ "base_delay_ms": 200 });
    let world = World::with_config(config).await?;
    world.receiver.set_manner(Manner { status: 503, ..Manner::default() });
    get_with_key(world.envoy.port, "/", "bad-key").await?;
    eventually("three attempts failed", async || Ok(world.receiver.count() >= 3)).await?;
    world.receiver.set_manner(Manner::default());
    let failed = world.receiver.count();
    eventually("it is delivered", async || Ok(world.envoy.metric("tollbell_delivered{}").await? == 1)).await?;
    let received = world.receiver.received();
    assert!(received.len() <= failed + 2, "one success, and at most one failure that was under way");
    assert!(received.iter().all(|request| request.body == received[0].body));
    assert_eq!(world.envoy.metric("tollbell_failed{}").await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_starts_late_gets_its_message() -> Result<()> {
    let late = free_port()?;
    let mut config = config(json!({}));
    config["apis"][0]["event_handlers"]["events"]["AuthFailure"] = json!([{
        "handler_name": "eh_web_hook_handler",
        "handler_meta": { "target_path": format!("http://127.0.0.1:{late}/"), "event_timeout": 60 }
    }]);
    let world = World::with_config(config).await?;
    get_with_key(world.envoy.port, "/", "bad-key").await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let receiver = Server::start_on(late, |_| {}).await?;
    receiver.expect(1, Duration::from_secs(60)).await?;
    Ok(())
}

/// A message that no receiver accepts must not affect the client.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_or_dead_receiver_changes_neither_status_nor_latency() -> Result<()> {
    let _alone = alone().await;
    let mut config = config(json!({ "org_id": "acme", "quota_max": 1_000_000, "quota_renewal_rate": 3600 }));
    config["apis"][0]["event_handlers"]["events"]["AuthFailure"] = json!([hook("/auth", 0)]);
    let run = async |manner: Option<Manner>| -> Result<Duration> {
        let world = World::measured(|upstream, receiver| Setup::config(&config, upstream, receiver)).await?;
        match manner {
            Some(manner) => world.receiver.set_manner(manner),
            None => drop(world.receiver),
        }
        // One request in fifty is an event with its own message.
        let request =
            |n: usize| ("/".into(), if n.is_multiple_of(50) { format!("bad-{n}") } else { "good-key".into() });
        load(world.envoy.port, 8, 2000, request).await?;
        let replies = load(world.envoy.port, 8, 10_000, request).await?;
        assert_eq!((count_status(&replies, 200), count_status(&replies, 403)), (9800, 200));
        Ok(p99(&replies))
    };
    let fast = run(Some(Manner::default())).await?;
    let slow = run(Some(Manner { delay: Duration::from_secs(5), ..Manner::default() })).await?;
    let down = run(None).await?;
    println!("p99 of client requests: receiver fast {fast:?}, slow {slow:?}, down {down:?}");
    for other in [slow, down] {
        // Far below the 5 s of the receiver, and far above the effect of a busy machine.
        ensure!(other < fast * 5 + Duration::from_millis(50), "{other:?} against {fast:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_distinct_keys_keeps_memory_flat() -> Result<()> {
    let _alone = alone().await;
    let mut config = config(json!({}));
    config["apis"][0]["event_handlers"]["events"]["AuthFailure"][0]["handler_meta"]["max_per_minute"] = json!(0);
    let world = World::measured(|upstream, receiver| Setup::config(&config, upstream, receiver)).await?;
    world.receiver.set_manner(Manner { status: 503, ..Manner::default() });
    let flood = async |first: usize| -> Result<(u64, u64)> {
        let replies = load(world.envoy.port, 32, 50_000, move |n| ("/".into(), format!("bad-{}", first + n))).await?;
        assert_eq!(count_status(&replies, 403), 50_000);
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok((world.envoy.allocated().await?, world.envoy.resident()?))
    };
    let (allocated_first, resident_first) = flood(0).await?;
    let (allocated, resident) = flood(50_000).await?;
    println!(
        "after 50,000 and 100,000 bad requests: allocated {allocated_first} and {allocated} bytes, \
              resident {resident_first} and {resident}"
    );
    const MIB: u64 = 1024 * 1024;
    ensure!(allocated <= allocated_first + 2 * MIB, "{allocated_first} allocated bytes grew to {allocated}");
    // Fifty thousand stored keys would need more than this. Envoy's allocations do not include the VMs' own memory.
    ensure!(resident <= resident_first + 4 * MIB, "{resident_first} resident bytes grew to {resident}");
    assert!(world.envoy.metric("tollbell_dropped{}").await? > 90_000, "a full table refuses the newest");
    Ok(())
}

/// Envoy refuses the first callout to a name that it has not looked up yet.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_message_after_a_start_is_no_failure() -> Result<()> {
    let mut config = config(json!({}));
    config["apis"][0]["event_handlers"]["events"]["AuthFailure"] = json!([hook("/named", 0), hook("/address", 0)]);
    let world = World::with_setup(|upstream, receiver| {
        let mut config = config.clone();
        let events = &mut config["apis"][0]["event_handlers"]["events"];
        events["AuthFailure"][0]["handler_meta"]["target_path"] = json!(format!("http://localhost:{receiver}/named"));
        Setup::config(&config, upstream, receiver)
    })
    .await?;
    for n in 0..5 {
        get_with_key(world.envoy.port, "/orders/1", &format!("bad-{n}")).await?;
    }
    world.receiver.expect(10, SOON).await?;
    eventually("all are delivered", async || Ok(world.envoy.metric("tollbell_delivered{}").await? == 10)).await?;
    let statistics = world.envoy.admin("/stats/prometheus").await?;
    assert!(!statistics.contains("not_started"), "{statistics}");
    assert_eq!(world.envoy.metric("tollbell_retried{}").await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_cluster_is_one_error_line_and_a_gauge() -> Result<()> {
    let mut config = config(json!({}));
    config["callouts"] = json!({ "http_cluster": "tollbell_htpp" });
    config["delivery"] = json!({ "max_attempts": 3, "base_delay_ms": 100 });
    let world = World::with_config(config).await?;
    for n in 0..5 {
        get_with_key(world.envoy.port, "/orders/1", &format!("bad-{n}")).await?;
    }
    eventually("they are given up", async || Ok(world.envoy.metric("tollbell_failed{}").await? == 5)).await?;
    assert_eq!(world.envoy.metric("tollbell_unknown_clusters{}").await?, 1);
    let log = world.envoy.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("the proxy has no cluster")).collect();
    let [line] = lines[..] else { panic!("{lines:?}") };
    let says = format!(
        "callouts.http_cluster: the proxy has no cluster \"tollbell_htpp\": nothing reaches 127.0.0.1:{}",
        world.receiver.port
    );
    assert!(line.contains("[error]") && line.contains(&says), "{line}");
    assert_eq!(log.matches(": attempt ").count(), 0, "no further line for each attempt");
    Ok(())
}
