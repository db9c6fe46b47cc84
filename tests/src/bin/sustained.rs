//! Sends 1,000 distinct webhooks a second through Envoy for a minute. Checks whether all are delivered, whether the
//! table drains, and whether clients notice. For comparison, the same requests go to an API without a handler, in the
//! same Envoy.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::mpsc;
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tollbell_tests::client::Connection;
use tollbell_tests::envoy::Setup;
use tollbell_tests::server::Server;

const EVENTS_A_SECOND: u64 = 1000;
const OTHERS_A_SECOND: u64 = 1000;
const CONNECTIONS: u64 = 20;

/// Two APIs. Only the first has a handler for failures.
const HEARD: &str = "/orders/1";
const UNHEARD: &str = "/quiet/1";

fn config() -> Value {
    let hook = json!({ "handler_name": "eh_web_hook_handler",
        "handler_meta": { "target_path": "http://RECEIVER/", "max_per_minute": 0 } });
    json!({
        "apis": [
            { "api_id": "orders", "listen_path": "/orders/", "event_handlers": { "events": { "AuthFailure": [hook] } } },
            { "api_id": "quiet", "listen_path": "/quiet/" },
        ],
        "callouts": { "clusters": { "127.0.0.1": "receiver" } },
        "keys": { "good-key": { "quota_max": 1_000_000_000, "quota_renewal_rate": 3600 } },
    })
}

fn main() -> Result<()> {
    let short = std::env::args().any(|argument| argument == "--short");
    apart(async move || measure(if short { 10 } else { 60 }).await).join().map_err(|_| anyhow!("a thread panicked"))?
}

async fn measure(seconds: u64) -> Result<()> {
    let (upstream, receiver) = (server()?, server()?);
    // A receiver of many messages has its own cluster, which costs less than a look-up of its host for each message.
    let cluster = format!(
        "  - name: receiver\n    type: STATIC\n    load_assignment: {{ cluster_name: receiver, endpoints: [ {{ lb_endpoints: [ {{ \
         endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} }} }} ] }} ] }}\n\n",
        receiver.port
    );
    let setup = Setup::config(&config(), upstream.port, receiver.port)?
        .edit(|yaml| yaml.replacen("  - name: tollbell_http\n", &format!("{cluster}  - name: tollbell_http\n"), 1));
    let envoy = setup.workers(2).start().await?;
    eprintln!("{EVENTS_A_SECOND} webhooks a second for {seconds} s, between {} s without twice", seconds / 2);
    clients(envoy.port, UNHEARD, 5)?;
    let before = clients(envoy.port, UNHEARD, seconds / 2)?;
    let with = clients(envoy.port, HEARD, seconds)?;
    let ended = Instant::now();
    while envoy.metric("tollbell_held{}").await? > 0 || (receiver.count() as u64) < with.refused {
        ensure!(ended.elapsed() < Duration::from_secs(60), "messages are still held after a minute");
        sleep(Duration::from_millis(100));
    }
    let drained_after = ended.elapsed();
    let after = clients(envoy.port, UNHEARD, seconds / 2)?;
    let lost = envoy.metric("tollbell_dropped{}").await? + envoy.metric("tollbell_failed{}").await?;
    let keys: BTreeSet<String> = receiver
        .received()
        .iter()
        .filter_map(|message| Some(message.json().ok()?["key"].as_str()?.to_owned()))
        .collect();
    println!(
        "{} events, {} messages, {lost} lost, nothing held {drained_after:?} after the last",
        with.refused,
        keys.len()
    );
    let without = Clients { by_second: [before.by_second, after.by_second].concat(), ..Clients::default() };
    for (name, percent) in [("p50", 50), ("p99", 99)] {
        let (with, without) = (with.percentiles(percent)?, without.percentiles(percent)?);
        println!(
            "{name} of the other clients: of all {:?}, without events {:?}; median of its seconds {:?}, without events {:?}: \
             {:.2} times",
            with.of_all,
            without.of_all,
            with.of_seconds,
            without.of_seconds,
            with.of_seconds.as_secs_f64() / without.of_seconds.as_secs_f64()
        );
    }
    ensure!(lost == 0 && keys.len() as u64 == with.refused, "messages were lost");
    Ok(())
}

/// The results of the clients.
#[derive(Default)]
struct Clients {
    refused: u64,
    /// The latencies of admitted requests, by the second of the request.
    by_second: Vec<Vec<Duration>>,
}

struct Percentiles {
    of_all: Duration,
    /// The median of the medians of all seconds. Other work of the machine in some seconds hardly changes it.
    of_seconds: Duration,
}

impl Clients {
    fn percentiles(&self, percent: usize) -> Result<Percentiles> {
        let mut seconds =
            self.by_second.iter().map(|second| percentile(second, percent)).collect::<Result<Vec<_>>>()?;
        seconds.sort_unstable();
        Ok(Percentiles {
            of_all: percentile(&self.by_second.concat(), percent)?,
            of_seconds: percentile(&seconds, 50)?,
        })
    }
}

fn percentile(values: &[Duration], percent: usize) -> Result<Duration> {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.get(values.len() * percent / 100).copied().context("no requests")
}

/// Runs `work` on its own thread, so that no work waits for other work.
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

/// Runs all clients.
fn clients(port: u16, path: &'static str, seconds: u64) -> Result<Clients> {
    let started = Instant::now() + Duration::from_millis(100);
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|number| apart(async move || client(port, path, number, started, seconds).await))
        .collect();
    let mut all = Clients { by_second: vec![Vec::new(); usize::try_from(seconds)?], ..Clients::default() };
    for client in clients {
        let one = client.join().map_err(|_| anyhow!("a client panicked"))??;
        all.refused += one.refused;
        for (second, latencies) in all.by_second.iter_mut().zip(one.by_second) {
            second.extend(latencies);
        }
    }
    Ok(all)
}

/// One of the clients, which take turns. Every other one fails.
///
/// The whole thread sleeps between two requests, because tokio's timer counts in milliseconds: all requests of a
/// millisecond would be sent at once.
async fn client(port: u16, path: &str, number: u64, started: Instant, seconds: u64) -> Result<Clients> {
    let fails = number.is_multiple_of(2);
    let rate = (if fails { EVENTS_A_SECOND } else { OTHERS_A_SECOND }) / (CONNECTIONS / 2);
    let period = Duration::from_secs(1) / u32::try_from(rate)?;
    let mut connection = Connection::open(port).await?;
    let mut due = started + period * u32::try_from(number)? / u32::try_from(CONNECTIONS)?;
    let mut seen = Clients::default();
    for second in 0..seconds {
        let mut latencies = Vec::new();
        for n in 0..rate {
            sleep(due.saturating_duration_since(Instant::now()));
            due += period;
            let key = if fails { format!("bad-{number}-{second}-{n}") } else { "good-key".to_owned() };
            let asked = Instant::now();
            let reply = connection.get(path, &[("authorization", &key)]).await?;
            ensure!(reply.status == if fails { 403 } else { 200 }, "answered {}", reply.status);
            seen.refused += u64::from(fails);
            if !fails {
                latencies.push(asked.elapsed());
            }
        }
        seen.by_second.push(latencies);
    }
    Ok(seen)
}
