//! 1,000 distinct webhooks a second through Envoy, for a minute: are all delivered, does the table drain, do clients
//! notice? The run without events has the same requests and no handler.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::mpsc;
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::time;
use tollbell_tests::client::Connection;
use tollbell_tests::envoy::Setup;
use tollbell_tests::server::Server;

const EVENTS_A_SECOND: u64 = 1000;
const OTHERS_A_SECOND: u64 = 1000;
const CONNECTIONS: u64 = 20;

fn config(handled: bool) -> Value {
    let hook = json!({ "handler_name": "eh_web_hook_handler",
        "handler_meta": { "target_path": "http://RECEIVER/", "max_per_minute": 0 } });
    let handlers = if handled { json!([hook]) } else { json!([]) };
    json!({
        "apis": [{ "api_id": "orders", "event_handlers": { "events": { "AuthFailure": handlers } } }],
        "callouts": { "clusters": { "127.0.0.1": "receiver" } },
        "keys": { "good-key": { "quota_max": 1_000_000_000, "quota_renewal_rate": 3600 } },
    })
}

/// What a run showed.
struct Outcome {
    p50: Duration,
    p99: Duration,
    refused: u64,
    taken: usize,
    drained_after: Duration,
    lost: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let short = std::env::args().any(|argument| argument == "--short");
    let seconds = if short { 10 } else { 60 };
    eprintln!("{EVENTS_A_SECOND} webhooks a second for {seconds} s, between two runs without");
    let before = run(false, seconds / 2).await?;
    let with = run(true, seconds).await?;
    let after = run(false, seconds / 2).await?;
    let without = (before.p99 + after.p99) / 2;
    println!(
        "{EVENTS_A_SECOND} webhooks a second for {seconds} s: {} events, {} messages, {} lost, nothing held {:?} after the last; \
         p99 of the other clients {:?} (p50 {:?}), without events {:?} and {:?} (p50 {:?}): {:.2} times",
        with.refused,
        with.taken,
        with.lost,
        with.drained_after,
        with.p99,
        with.p50,
        before.p99,
        after.p99,
        before.p50,
        with.p99.as_secs_f64() / without.as_secs_f64()
    );
    ensure!(with.lost == 0 && with.taken as u64 == with.refused, "messages were lost");
    Ok(())
}

async fn run(handled: bool, seconds: u64) -> Result<Outcome> {
    let (upstream, receiver) = (server()?, server()?);
    // A receiver of which much is expected has a cluster of its own: that costs less than looking its host up each time.
    let cluster = format!(
        "  - name: receiver\n    type: STATIC\n    load_assignment: {{ cluster_name: receiver, endpoints: [ {{ lb_endpoints: [ {{ \
         endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} }} }} ] }} ] }}\n\n",
        receiver.port
    );
    let setup = Setup::config(&config(handled), upstream.port, receiver.port)?
        .edit(|yaml| yaml.replacen("  - name: tollbell_http\n", &format!("{cluster}  - name: tollbell_http\n"), 1));
    let envoy = setup.workers(2).start().await?;
    let port = envoy.port;
    let (refused, mut latencies) = tokio::task::spawn_blocking(move || clients(port, seconds)).await??;
    let ended = Instant::now();
    while handled && (envoy.metric("tollbell_held{}").await? > 0 || (receiver.count() as u64) < refused) {
        ensure!(ended.elapsed() < Duration::from_secs(60), "messages are still held after a minute");
        time::sleep(Duration::from_millis(100)).await;
    }
    let drained_after = ended.elapsed();
    let lost = envoy.metric("tollbell_dropped{}").await? + envoy.metric("tollbell_failed{}").await?;
    let keys: BTreeSet<String> = receiver
        .received()
        .iter()
        .filter_map(|message| Some(message.json().ok()?["key"].as_str()?.to_owned()))
        .collect();
    latencies.sort_unstable();
    let at = |percent: usize| latencies.get(latencies.len() * percent / 100).copied().context("no requests");
    Ok(Outcome { p50: at(50)?, p99: at(99)?, refused, taken: keys.len(), drained_after, lost })
}

/// Runs `work` on a thread of its own, so that none of them waits for another.
fn apart<T: Send + 'static>(work: impl AsyncFnOnce() -> Result<T> + Send + 'static) -> JoinHandle<Result<T>> {
    spawn(move || Builder::new_current_thread().enable_all().build()?.block_on(work()))
}

/// A server that runs until the process ends.
fn server() -> Result<Server> {
    let (started, starts) = mpsc::channel();
    apart(async move || {
        started.send(Server::start().await)?;
        pending::<Result<()>>().await
    });
    starts.recv()?
}

/// Drives all clients; returns how many requests were refused, and the latencies of the others.
fn clients(port: u16, seconds: u64) -> Result<(u64, Vec<Duration>)> {
    let started = Instant::now() + Duration::from_millis(100);
    let clients: Vec<_> =
        (0..CONNECTIONS).map(|number| apart(async move || client(port, number, started, seconds).await)).collect();
    let (mut refused, mut latencies) = (0, Vec::new());
    for client in clients {
        let outcome = client.join().map_err(|_| anyhow!("a client panicked"))??;
        refused += outcome.0;
        latencies.extend(outcome.1);
    }
    Ok((refused, latencies))
}

/// One of the clients, which take turns: every other one fails.
///
/// The whole thread sleeps between two requests, because tokio's timer counts in milliseconds, on each of which all that
/// wait would act at once.
async fn client(port: u16, number: u64, started: Instant, seconds: u64) -> Result<(u64, Vec<Duration>)> {
    let fails = number % 2 == 0;
    let rate = (if fails { EVENTS_A_SECOND } else { OTHERS_A_SECOND }) / (CONNECTIONS / 2);
    let period = Duration::from_secs(1) / u32::try_from(rate)?;
    let mut connection = Connection::open(port).await?;
    let mut due = started + period * u32::try_from(number)? / u32::try_from(CONNECTIONS)?;
    let (mut refused, mut latencies) = (0, Vec::new());
    for n in 0..rate * seconds {
        sleep(due.saturating_duration_since(Instant::now()));
        due += period;
        let key = if fails { format!("bad-{number}-{n}") } else { "good-key".to_owned() };
        let asked = Instant::now();
        let reply = connection.get("/orders/1", &[("authorization", &key)]).await?;
        refused += u64::from(reply.status == 403);
        if !fails && n > rate {
            latencies.push(asked.elapsed());
        }
    }
    Ok((refused, latencies))
}
