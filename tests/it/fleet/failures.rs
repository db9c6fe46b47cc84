//! Failures of Redis and of the network under load, with real Envoys.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tollbell_tests::redis::Redis;
use tollbell_tests::sentinel::Watched;
use tollbell_tests::server::Server;
use tollbell_tests::wire::Wire;

use super::envoys::config;
use super::member::{Clients, count, counted, ready, setup, span};
use crate::support::{eventually, shared};

const POLICIES: [&str; 3] = ["share", "refuse", "admit"];

/// Time for some hundreds of requests, and for several reports.
const WHILE: Duration = Duration::from_secs(2);

fn role(redis: &Redis) -> String {
    redis.run(&["INFO", "replication"]).unwrap_or_default()
}

/// `kill -9` of the primary under load. Three gateways with one policy each use the same nodes.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_of_redis_is_as_each_policy_says_and_loses_no_count() -> Result<()> {
    let _shared = shared().await;
    let mut redis = Watched::start()?;
    let ports: Vec<u16> = redis.nodes.iter().map(Redis::port).collect();
    let (upstream, receiver) = (Server::start().await?, Server::start().await?);
    let mut envoys = Vec::new();
    for on_loss in POLICIES {
        let store = json!({ "timeout_ms": 250, "key_prefix": on_loss });
        let mut config = config(json!({ "redis": store, "counting": "exact", "on_loss": on_loss }));
        config["keys"]["good-key"]["quota_max"] = json!(1_000_000);
        envoys.push(setup(&config, upstream.port, receiver.port, &ports)?.start().await?);
    }
    let mut admitted = Vec::new();
    for envoy in &envoys {
        admitted.push(ready(envoy).await?);
    }
    let clients: Vec<Clients> =
        envoys.iter().map(|envoy| Clients::start(envoy.port, 4, Duration::from_millis(10))).collect();
    tokio::time::sleep(WHILE).await;
    let killed = Instant::now();
    redis.nodes[0].kill()?;
    eventually("a replica is the primary, and has a replica", async || Ok(redis.primary().is_some())).await?;
    let promoted = killed.elapsed();
    tokio::time::sleep(WHILE).await;
    // It comes back as a primary without a replica, until the Sentinels tell it what it is.
    redis.nodes[0].restart()?;
    ensure!(role(&redis.nodes[0]).contains("role:master"), "{}", role(&redis.nodes[0]));
    eventually("the former primary is a replica", async || Ok(role(&redis.nodes[0]).contains("role:slave"))).await?;
    let was_written = redis.nodes[0].run(&["INFO", "commandstats"])?.contains("cmdstat_eval");
    ensure!(!was_written, "a script ran in the former primary");
    let primary = redis.primary().context("no primary")?;
    for ((on_loss, clients), before) in POLICIES.into_iter().zip(clients).zip(admitted) {
        let seen = clients.stop().await?;
        let (passed, refused) = (count(&seen, 200), count(&seen, 503));
        println!("{on_loss}: {passed} passed, {refused} refused within {:?}", span(&seen, 503));
        ensure!(passed + refused == seen.len(), "{on_loss}: other answers");
        ensure!((refused > 0) == (on_loss == "refuse"), "{on_loss}: {refused} of {} were refused", seen.len());
        let last = seen.iter().rev().take(20);
        ensure!(last.clone().all(|seen| seen.status == 200), "{on_loss}: {:?}", last.collect::<Vec<_>>());
        eventually("all that passed is counted once", async || Ok(counted(primary, on_loss)? == before + passed))
            .await
            .with_context(|| format!("{on_loss}: {passed} and {before}, {:?}", counted(primary, on_loss)))?;
    }
    println!("the new primary had a replica after {promoted:?}");
    Ok(())
}

/// One of two members is cut off from Redis, and what both ends sent meanwhile arrives when the wire is mended.
async fn cut_off(on_loss: &str, quota: usize) -> Result<()> {
    let redis = Redis::start()?;
    let wire = Wire::to(redis.port()).await?;
    let (upstream, receiver) = (Server::start().await?, Server::start().await?);
    let mut config = config(json!({ "on_loss": on_loss }));
    config["keys"]["good-key"]["quota_max"] = json!(quota);
    let cut_off = setup(&config, upstream.port, receiver.port, &[wire.port])?.start().await?;
    let other = setup(&config, upstream.port, receiver.port, &[redis.port()])?.start().await?;
    // What passes before a member has heard of the store is counted, too.
    wire.cut(on_loss == "admit");
    let before = ready(&cut_off).await? + ready(&other).await?;
    wire.cut(false);
    let clients = [&cut_off, &other].map(|envoy| Clients::start(envoy.port, 4, Duration::from_millis(10)));
    tokio::time::sleep(WHILE).await;
    let cut = Instant::now();
    wire.cut(true);
    tokio::time::sleep(WHILE * 3).await;
    wire.cut(false);
    let mended = Instant::now();
    tokio::time::sleep(WHILE).await;
    let [first, second] = clients;
    let (seen, others) = (first.stop().await?, second.stop().await?);
    let during: Vec<_> = seen.iter().filter(|seen| seen.at > cut && seen.at < mended).copied().collect();
    let stock = during.iter().take_while(|seen| seen.status == 200).count();
    println!(
        "{on_loss}: cut off, {} passed at first, {} in all, and {} were refused",
        stock,
        count(&during, 200),
        count(&during, 503)
    );
    ensure!(stock > 0, "what it had in stock did not pass");
    match on_loss {
        "admit" => ensure!(count(&during, 200) == during.len(), "a request was refused"),
        // The rest is shared by four workers.
        "share" => ensure!(count(&during, 200) < quota, "{} passed", count(&during, 200)),
        _ => ensure!(during.last().is_some_and(|seen| seen.status == 503), "it is refused in the end"),
    }
    ensure!(count(&others, 503) == 0, "the other member has Redis");
    let passed = before + count(&seen, 200) + count(&others, 200);
    if on_loss == "refuse" {
        ensure!(passed <= quota, "{passed} of {quota} passed");
    }
    eventually("all that passed is counted once", async || Ok(counted(&redis, "tollbell")? == passed))
        .await
        .with_context(|| format!("{on_loss}: {passed} passed, and {:?} were counted", counted(&redis, "tollbell")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_cut_off_uses_its_stock_then_the_policy_and_counts_nothing_twice() -> Result<()> {
    let _shared = shared().await;
    cut_off("refuse", 100_000).await?;
    cut_off("share", 2000).await?;
    cut_off("admit", 100_000).await
}
