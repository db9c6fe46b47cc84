//! Requests that wait for a store of counters which answers later, in Envoy and in the shim.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use host_shim::gateway::{Gateway, Request, Response};
use serde_json::{Value, json};
use tollbell_tests::client;
use tollbell_tests::envoy::Setup;
use tollbell_tests::project_root;
use tollbell_tests::server::Manner;

use crate::support::{World, config, eventually};

fn session() -> Value {
    json!({ "org_id": "acme", "quota_max": 2, "quota_renewal_rate": 3600 })
}

/// An Envoy whose filter counts `ticks` ticks late.
async fn late(ticks: u32) -> Result<World> {
    World::with_setup(|upstream, receiver| late_setup(ticks, upstream, receiver)).await
}

fn late_setup(ticks: u32, upstream: u16, receiver: u16) -> Result<Setup> {
    let setup = Setup::config(&config(session()), upstream, receiver)?;
    Ok(setup.edit(|yaml| {
        let yaml = yaml.replace("dist/tollbell.wasm", "dist/test/tollbell-faults.wasm");
        yaml.replacen(
            "                name: tollbell\n",
            &format!("                name: tollbell\n                root_id: late {ticks}\n"),
            1,
        )
    }))
}

async fn ask(port: u16, body: &[u8]) -> Result<u16> {
    Ok(client::send(port, "POST", "/orders/1", &[("authorization", "good-key")], body.to_vec()).await?.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn in_envoy_requests_continue_or_are_refused_after_they_are_counted() -> Result<()> {
    let world = late(2).await?;
    let body = vec![b'x'; 100_000];
    let port = world.envoy.port;
    let (first, second, third) = tokio::join!(ask(port, &body), ask(port, b""), ask(port, b"x"));
    let mut statuses = [first?, second?, third?];
    statuses.sort_unstable();
    ensure!(statuses == [200, 200, 403], "{statuses:?}");
    let received = world.upstream.expect(2, Duration::from_secs(5)).await?;
    ensure!(received.len() == 2, "a refused request reaches no upstream");
    let messages = world.messages(1).await?;
    ensure!(messages[0]["event"] == "QuotaExceeded", "{messages:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn in_envoy_waiting_ends_and_no_stream_hangs() -> Result<()> {
    let world = late(1000).await?;
    ensure!(ask(world.envoy.port, b"x").await? == 503);
    // A client that leaves while its request waits leaves no state behind.
    let waiting = tokio::time::timeout(Duration::from_millis(300), ask(world.envoy.port, b"x")).await;
    ensure!(waiting.is_err(), "it waits");
    eventually("the stream is gone", async || {
        Ok(world.envoy.metric("envoy_http_downstream_rq_active{envoy_http_conn_manager_prefix=\"gateway\"}").await?
            == 0)
    })
    .await?;
    ensure!(ask(world.envoy.port, b"x").await? == 503);
    Ok(())
}

/// The wait of a stream whose VM fails is ended by the connection manager, as `envoy/fleet.yaml` sets it.
#[tokio::test(flavor = "multi_thread")]
async fn in_envoy_a_request_whose_vm_fails_while_it_waits_is_ended() -> Result<()> {
    let world = World::with_setup(|upstream, receiver| {
        let setup = late_setup(1000, upstream, receiver)?.workers(1);
        Ok(setup.edit(|yaml| {
            yaml.replacen(
                "          stat_prefix: gateway\n",
                "          stat_prefix: gateway\n          stream_idle_timeout: 1s\n",
                1,
            )
        }))
    })
    .await?;
    world.receiver.set_manner(Manner { status: 503, header: Some(("x-test-trap", "1")), ..Manner::default() });
    let port = world.envoy.port;
    let waiting = tokio::spawn(async move {
        let started = Instant::now();
        ask(port, b"x").await.map(|status| (status, started.elapsed()))
    });
    // The reply to this webhook ends the VM.
    client::get(port, "/orders/1", &[("authorization", "wrong")]).await?;
    let (status, took) = waiting.await??;
    ensure!(world.envoy.has_trapped(), "the VM has not failed");
    ensure!(status >= 500 || status == 408, "{status}");
    ensure!(took < Duration::from_secs(20), "it took {took:?}");
    Ok(())
}

#[test]
fn in_the_shim_requests_wait_in_the_same_way() -> Result<()> {
    let module = fs::read(project_root().join("dist/test/tollbell-faults.wasm"))?;
    let configuration = json!({ "apis": [{ "api_id": "a" }], "keys": { "k": session() } });
    let gateway = Gateway::builder(module)
        .plugin(|plugin| plugin.root_id = "late 2".to_owned())
        .config(configuration.to_string())
        .start()?;
    let request = || Request::get("/x").header("authorization", "k");
    let waiting: Vec<_> = (0..3).map(|_| gateway.send(request())).collect::<Result<_, _>>()?;
    ensure!(waiting.iter().all(|stream| stream.response().is_none()), "they wait");
    gateway.advance(Duration::from_millis(1000))?;
    let statuses: Vec<_> =
        waiting.iter().map(|stream| stream.response().map(|answer: Response| answer.status())).collect();
    ensure!(statuses == [Some(200), Some(200), Some(403)], "{statuses:?}");
    Ok(())
}
