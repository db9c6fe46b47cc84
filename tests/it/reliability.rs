//! Webhooks in a real Envoy under outages, dead VMs, updates, floods, and stalled receivers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::time::sleep;
use tollbell_tests::client::{count_status, get_with_key, load, p99};
use tollbell_tests::envoy::{Setup, free_port};
use tollbell_tests::server::{Manner, Received, Server};

use crate::support::{World, alone, config, eventually, hook, shared};

/// A handler that sends AuthFailure to the receiver, with these additional settings.
fn failures_to(path: &str, meta: Value) -> Value {
    let mut config = config(json!({}));
    let mut hook = hook(path, 0);
    for (name, value) in meta.as_object().into_iter().flatten() {
        hook["handler_meta"][name] = value.clone();
    }
    config["apis"][0]["event_handlers"]["events"] = json!({ "AuthFailure": [hook] });
    config
}

/// Sends requests that each have another bad key and therefore cause an event each.
async fn fail(port: u16, from: usize, count: usize) -> Result<()> {
    let replies = load(port, 8, count, move |n| ("/orders/1".into(), format!("bad-{}", from + n))).await?;
    ensure!(count_status(&replies, 403) == count, "{count} refusals expected");
    Ok(())
}

fn key_of(message: &Received) -> String {
    message.json().ok().and_then(|body| Some(body["key"].as_str()?.to_owned())).unwrap_or_default()
}

/// How often each key's message was answered with 200.
fn taken(received: &[Received]) -> BTreeMap<String, usize> {
    let mut taken = BTreeMap::new();
    for message in received.iter().filter(|message| message.answered == 200) {
        *taken.entry(key_of(message)).or_default() += 1;
    }
    taken
}

/// Waits until each of `count` messages was accepted and the table is empty.
async fn all_taken(world: &World, receiver: &Server, count: usize) -> Result<BTreeMap<String, usize>> {
    let deadline = Instant::now() + Duration::from_secs(180);
    while taken(&receiver.received()).len() < count {
        let missing = count - taken(&receiver.received()).len();
        ensure!(Instant::now() < deadline, "{missing} of {count} messages did not arrive:\n{}", world.envoy.log());
        sleep(Duration::from_millis(100)).await;
    }
    eventually("nothing is held any more", async || Ok(world.envoy.metric("tollbell_held{}").await? == 0)).await?;
    Ok(taken(&receiver.received()))
}

const EVENTS: usize = 200;

fn once_each(taken: &BTreeMap<String, usize>) {
    assert_eq!(taken.len(), EVENTS);
    let twice: Vec<_> = taken.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

/// The receiver behaves like this for 20 s, while 200 events happen.
async fn outage(manner: Manner) -> Result<()> {
    let world = World::with_config(failures_to("/", json!({ "max_per_minute": 0 }))).await?;
    world.receiver.set_manner(manner);
    fail(world.envoy.port, 0, EVENTS).await?;
    sleep(Duration::from_secs(20)).await;
    world.receiver.set_manner(Manner::default());
    once_each(&all_taken(&world, &world.receiver, EVENTS).await?);
    assert_eq!(world.envoy.metric("tollbell_delivered{}").await?, 200);
    assert_eq!(world.envoy.metric("tollbell_failed{}").await?, 0);
    let received = world.receiver.received();
    for message in &received {
        let first = received.iter().find(|other| key_of(other) == key_of(message)).expect("itself");
        assert_eq!(message.header("webhook-id"), first.header("webhook-id"), "the same id at every attempt");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_events_survive_a_receiver_that_fails() -> Result<()> {
    outage(Manner { status: 500, ..Manner::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_events_survive_a_receiver_that_resets_connections() -> Result<()> {
    outage(Manner { resets: true, ..Manner::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_events_survive_a_receiver_that_does_not_listen_yet() -> Result<()> {
    let late = free_port()?;
    let mut config = failures_to("/", json!({ "max_per_minute": 0 }));
    config["apis"][0]["event_handlers"]["events"]["AuthFailure"][0]["handler_meta"]["target_path"] =
        json!(format!("http://127.0.0.1:{late}/"));
    let world = World::with_config(config).await?;
    fail(world.envoy.port, 0, EVENTS).await?;
    sleep(Duration::from_secs(20)).await;
    let receiver = Server::start_on(late, |_| {}).await?;
    once_each(&all_taken(&world, &receiver, EVENTS).await?);
    let attempts = format!("tollbell_attempts{{outcome=\"unreachable\",target=\"127.0.0.1_{late}\"}}");
    assert!(world.envoy.metric(&attempts).await? >= 200, "each was attempted at least once before");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_deaths_of_the_dispatching_vm_lose_no_message() -> Result<()> {
    const HELD: usize = 500;
    const DEATHS: u64 = 10;
    let config = failures_to("/", json!({ "max_per_minute": 0 }));
    let world = World::with_setup(|upstream, receiver| {
        let setup = Setup::config(&config, upstream, receiver)?;
        Ok(setup.edit(|yaml| {
            let yaml = yaml.replace("dist/tollbell.wasm", "dist/test/tollbell-faults.wasm");
            yaml.replace(
                "failure_policy: FAIL_RELOAD",
                "failure_policy: FAIL_RELOAD\n                reload_config: { backoff: { base_interval: 0.1s } }",
            )
        }))
    })
    .await?;
    world.receiver.set_manner(Manner { status: 503, ..Manner::default() });
    fail(world.envoy.port, 0, HELD).await?;
    for death in 1..=DEATHS {
        // The receiver kills the VM that sends, until the process has logged one more death.
        world.receiver.set_manner(Manner { status: 503, header: Some(("x-test-trap", "1")), ..Manner::default() });
        eventually("a VM dies", async || {
            // Requests start dead VMs again.
            let _ = get_with_key(world.envoy.port, "/orders/1", "good-key").await;
            Ok(world.envoy.log().matches("proxy_on_http_call_response failed").count() as u64 >= death)
        })
        .await?;
        world.receiver.set_manner(Manner { status: 503, ..Manner::default() });
    }
    world.receiver.set_manner(Manner::default());
    for _ in 0..50 {
        let _ = get_with_key(world.envoy.port, "/orders/1", "good-key").await;
        sleep(Duration::from_millis(50)).await;
    }
    let taken = all_taken(&world, &world.receiver, HELD).await?;
    assert_eq!(taken.len(), HELD);
    assert_eq!(world.envoy.metric("tollbell_failed{}").await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_of_the_listener_loses_no_held_message() -> Result<()> {
    const HELD: usize = 100;
    let config = failures_to("/", json!({ "max_per_minute": 0 }));
    let world =
        World::with_setup(|upstream, receiver| Ok(Setup::config(&config, upstream, receiver)?.watch_listener()))
            .await?;
    world.receiver.set_manner(Manner { status: 503, ..Manner::default() });
    fail(world.envoy.port, 0, HELD).await?;
    let mut changed = config;
    changed["hash_keys"] = json!(true);
    world.envoy.update_listener(Setup::config(&changed, world.upstream.port, world.receiver.port)?)?;
    sleep(Duration::from_secs(3)).await;
    world.receiver.set_manner(Manner::default());
    all_taken(&world, &world.receiver, HELD).await?;
    fail(world.envoy.port, HELD, 1).await?;
    eventually("the new configuration is in force", async || {
        Ok(world.receiver.received().iter().any(|message| key_of(message).starts_with("sha256:")))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_concurrent_requests_of_one_cause_are_one_message() -> Result<()> {
    let config = failures_to("/", json!({ "event_timeout": 60 }));
    let world =
        World::with_setup(|upstream, receiver| Ok(Setup::config(&config, upstream, receiver)?.workers(4))).await?;
    for key in ["bad-1", "bad-2", "bad-3"] {
        let replies = load(world.envoy.port, 50, 50, |_| ("/orders/1".into(), key.into())).await?;
        assert_eq!(count_status(&replies, 403), 50);
    }
    world.messages(3).await?;
    assert_eq!(world.envoy.metric("tollbell_suppressed{}").await?, 147);
    Ok(())
}

/// 200,000 wrong keys, each with its own path, and among them 500 keys that cross a threshold, for one channel with a
/// cap of 60 messages per minute and type.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_becomes_sixty_messages_a_minute_and_hides_no_crossing() -> Result<()> {
    const WRONG: usize = 100_000;
    const CROSSING: usize = 500;
    const EVERY: usize = WRONG / CROSSING + 1;
    let alone = alone().await;
    let session = json!({ "org_id": "acme", "quota_max": 2, "monitor": { "trigger_limits": [50] } });
    let config = json!({
        "apis": [{ "api_id": "orders", "org_id": "acme" }],
        "keys": (0..CROSSING).map(|n| (format!("key-{n}"), session.clone())).collect::<BTreeMap<_, _>>(),
        "monitor": { "enable_trigger_monitors": true, "monitor_user_keys": true },
        "webhooks": [{ "name": "ops", "target_url": "http://RECEIVER/", "max_per_minute": 60,
            "events": ["AuthFailure", "TriggerExceeded"] }],
    });
    let world = World::measured(|upstream, receiver| Setup::config(&config, upstream, receiver)).await?;
    let began = Instant::now();
    let request = |n: usize| match n % EVERY {
        0 => ("/orders/1".to_owned(), format!("key-{}", n / EVERY)),
        _ => (format!("/orders/{n}"), format!("bad-{n}")),
    };
    let flood = async |from: usize, count: usize| -> Result<u64> {
        let replies = load(world.envoy.port, 32, count, move |n| request(from + n)).await?;
        assert_eq!(count_status(&replies, 200), CROSSING / 2);
        assert_eq!(count_status(&replies, 403), WRONG / 2);
        world.envoy.resident()
    };
    let half = (WRONG + CROSSING) / 2;
    let first = flood(0, half).await?;
    let second = flood(half, half).await?;
    let flooded = began.elapsed();
    const MIB: u64 = 1024 * 1024;
    ensure!(second <= first + 4 * MIB, "{first} resident bytes grew to {second}");
    // The rest only waits for the end of a minute.
    drop(alone);
    let _shared = shared().await;
    let received = |event: &str| -> Result<(Vec<Value>, Vec<Value>)> {
        let bodies = world.receiver.received().iter().map(Received::json).collect::<Result<Vec<_>>>()?;
        Ok(bodies.into_iter().filter(|body| body["event"] == event).partition(|body| body["suppressed"].is_u64()))
    };
    let sum = |digests: &[Value]| digests.iter().filter_map(|digest| digest["suppressed"].as_u64()).sum::<u64>();
    eventually("the first digests have come", async || {
        Ok(!received("AuthFailure")?.0.is_empty() && !received("TriggerExceeded")?.0.is_empty())
    })
    .await?;
    eventually("messages and digests add up", async || {
        let (wrong, crossed) = (received("AuthFailure")?, received("TriggerExceeded")?);
        Ok(wrong.1.len() as u64 + sum(&wrong.0) >= WRONG as u64
            && crossed.1.len() as u64 + sum(&crossed.0) >= CROSSING as u64)
    })
    .await?;
    let minutes = flooded.as_secs() / 60 + 1;
    let mut suppressed = 0;
    for (event, happened) in [("AuthFailure", WRONG), ("TriggerExceeded", CROSSING)] {
        let (digests, messages) = received(event)?;
        println!("{event}: {} messages and {} digests in {flooded:?}", messages.len(), digests.len());
        assert_eq!(messages.len() as u64 + sum(&digests), happened as u64, "{event}");
        assert!(messages.len() as u64 <= 60 * minutes, "{event}: {} in {flooded:?}", messages.len());
        assert!(digests.len() as u64 <= minutes + 1, "{event}: {} digests in {flooded:?}", digests.len());
        suppressed += sum(&digests);
    }
    assert_eq!(world.envoy.metric("tollbell_capped{}").await?, suppressed);
    let (digests, messages) = received("TriggerExceeded")?;
    let listed = digests.iter().filter_map(|digest| digest["crossings"].as_array()).flatten();
    let named: BTreeSet<&str> = messages.iter().chain(listed).filter_map(|crossed| crossed["key"].as_str()).collect();
    assert_eq!(named.len(), CROSSING);
    assert!((0..CROSSING).all(|n| named.contains(format!("key-{n}").as_str())));
    Ok(())
}

/// One target never answers. Messages to another one must not be affected.
#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_target_does_not_delay_another() -> Result<()> {
    let _alone = alone().await;
    let delays = async |stalled: bool| -> Result<Duration> {
        let stalled_receiver = Server::start().await?;
        stalled_receiver.set_manner(Manner { delay: Duration::from_secs(3600), ..Manner::default() });
        let mut config = failures_to("/", json!({ "max_per_minute": 0 }));
        let mut other = hook("/", 0);
        other["handler_meta"]["target_path"] = json!(format!("http://127.0.0.1:{}/", stalled_receiver.port));
        other["handler_meta"]["max_per_minute"] = json!(0);
        if stalled {
            config["apis"][0]["event_handlers"]["events"]["AuthFailure"].as_array_mut().expect("a list").push(other);
        }
        let (sent, seen) = (Instant::now(), std::sync::Arc::new(std::sync::Mutex::new(BTreeMap::new())));
        let watched = std::sync::Arc::clone(&seen);
        let receiver = Server::start_on(0, move |message| {
            watched.lock().expect("no panic").entry(key_of(message)).or_insert(sent.elapsed());
        })
        .await?;
        let upstream = Server::start().await?;
        let envoy = Setup::config(&config, upstream.port, receiver.port)?.start().await?;
        // Envoy looks a new host up first.
        get_with_key(envoy.port, "/orders/1", "bad-first").await?;
        eventually("the first came", async || Ok(seen.lock().expect("no panic").len() == 1)).await?;
        sleep(Duration::from_secs(2)).await;
        let mut asked = BTreeMap::new();
        for n in 0..400 {
            let key = format!("bad-{n}");
            asked.insert(key.clone(), sent.elapsed());
            get_with_key(envoy.port, "/orders/1", &key).await?;
            sleep(Duration::from_millis(5)).await;
        }
        eventually("all came", async || Ok(seen.lock().expect("no panic").len() == 401)).await?;
        let seen = seen.lock().expect("no panic");
        let mut delays: Vec<Duration> = asked.iter().map(|(key, at)| seen[key].saturating_sub(*at)).collect();
        delays.sort_unstable();
        Ok(delays[delays.len() * 99 / 100])
    };
    let healthy = delays(false).await?;
    let beside_stalled = delays(true).await?;
    println!("p99 from the request to the receiver: {healthy:?} alone, {beside_stalled:?} beside a stalled target");
    // A receiver does not notice a delay of one clock tick.
    ensure!(beside_stalled <= healthy * 2 + Duration::from_millis(20), "{beside_stalled:?} against {healthy:?}");
    Ok(())
}

/// A steady stream of distinct messages: none is lost, the table drains, clients are not affected.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_messages_is_delivered_as_it_comes() -> Result<()> {
    const EVERY: usize = 20;
    const REQUESTS: usize = 60_000;
    let _shared = shared().await;
    let world = World::measured(|upstream, receiver| {
        Setup::config(&failures_to("/", json!({ "max_per_minute": 0 })), upstream, receiver)
    })
    .await?;
    let request = |n: usize| ("/".into(), if n.is_multiple_of(EVERY) { format!("bad-{n}") } else { "good-key".into() });
    let replies = load(world.envoy.port, 8, REQUESTS, request).await?;
    assert_eq!(count_status(&replies, 403), REQUESTS / EVERY);
    let taken = all_taken(&world, &world.receiver, REQUESTS / EVERY).await?;
    assert!(taken.values().all(|times| *times == 1));
    println!("p99 of client requests: {:?}", p99(&replies));
    Ok(())
}
