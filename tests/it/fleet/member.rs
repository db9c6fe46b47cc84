use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::task::JoinHandle;
use tollbell_tests::client::{Connection, get_with_key};
use tollbell_tests::envoy::{Envoy, Setup};
use tollbell_tests::redis::Redis;

use super::envoys::PATIENCE;
use crate::support::SOON;

/// The key that the clients use.
const KEY: &str = "good-key";

/// `envoy/fleet.yaml` with this configuration and these Redis nodes. If there are several, with the health check for
/// Sentinel that the file has as a comment.
pub fn setup(config: &Value, upstream: u16, receiver: u16, redis: &[u16]) -> Result<Setup> {
    let setup = Setup::file("envoy/fleet.yaml", upstream, receiver)?.with_configuration(config, receiver)?;
    let endpoint = |port: &u16| {
        format!("- endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }}")
    };
    let endpoints: Vec<String> = redis.iter().map(endpoint).collect();
    let mut yaml = setup.text().replace(&endpoint(&6379), &endpoints.join("\n        "));
    yaml = yaml.replace("port_value: 10008 ", &format!("port_value: {upstream} "));
    if redis.len() > 1 {
        yaml = with_health_check(&yaml)?;
    }
    Ok(setup.edit(|_| yaml))
}

/// The file with its health check for Sentinel.
fn with_health_check(yaml: &str) -> Result<String> {
    let begin = yaml.find("    # common_lb_config:").context("no health check in envoy/fleet.yaml")?;
    let end = begin + yaml[begin..].find("    # With TLS").context("no end of the health check")?;
    let check: String = yaml[begin..end].lines().map(|line| line.replacen("# ", "", 1) + "\n").collect();
    Ok(yaml[..begin].to_owned() + &check + &yaml[end..])
}

/// What a client got.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The time of the request.
    pub at: Instant,
    pub status: u16,
    pub took: Duration,
}

/// Clients that send requests one after the other until they are stopped.
pub struct Clients {
    is_over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Result<Vec<Seen>>>>,
}

impl Clients {
    /// Starts `count` clients of a gateway.
    pub fn start(port: u16, count: usize, pause: Duration) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let client = |is_over: Arc<AtomicBool>| async move {
            let mut connection = Connection::open(port).await?;
            let mut seen = Vec::new();
            while !is_over.load(Ordering::SeqCst) {
                let at = Instant::now();
                let reply = connection.get("/orders/1", &[("authorization", KEY)]).await?;
                seen.push(Seen { at, status: reply.status, took: reply.took });
                tokio::time::sleep(pause).await;
            }
            anyhow::Ok(seen)
        };
        let tasks = (0..count).map(|_| tokio::spawn(client(Arc::clone(&is_over)))).collect();
        Clients { is_over, tasks }
    }

    /// Stops them. None of their requests took much longer than the patience: ticks end the waiting, and the machine may
    /// be busy.
    pub async fn stop(self) -> Result<Vec<Seen>> {
        self.is_over.store(true, Ordering::SeqCst);
        let mut seen = Vec::new();
        for task in self.tasks {
            seen.extend(task.await??);
        }
        seen.sort_by_key(|seen| seen.at);
        let longest = seen.iter().map(|seen| seen.took).max().unwrap_or_default();
        ensure!(longest < PATIENCE * 5, "a request took {longest:?}");
        Ok(seen)
    }
}

/// The number of requests with a status.
pub fn count(seen: &[Seen], status: u16) -> usize {
    seen.iter().filter(|seen| seen.status == status).count()
}

/// The time from the first request with a status to the last one.
pub fn span(seen: &[Seen], status: u16) -> Duration {
    let mut times = seen.iter().filter(|seen| seen.status == status).map(|seen| seen.at);
    let first = times.next();
    first.map_or(Duration::ZERO, |first| times.next_back().unwrap_or(first) - first)
}

/// Waits until both workers of a gateway count in the store. Returns the requests that it admitted meanwhile.
pub async fn ready(envoy: &Envoy) -> Result<usize> {
    let (mut admitted, mut in_a_row) = (0, 0);
    let deadline = Instant::now() + SOON;
    while in_a_row < 20 {
        ensure!(Instant::now() < deadline, "the gateway does not count in the store");
        let reply = get_with_key(envoy.port, "/orders/1", KEY).await?;
        let is_admitted = reply.status == 200;
        admitted += usize::from(is_admitted);
        in_a_row = if is_admitted { in_a_row + 1 } else { 0 };
    }
    Ok(admitted)
}

/// The requests that the store has counted on the key's quota, for the fleet with this prefix.
pub fn counted(redis: &Redis, prefix: &str) -> Result<usize> {
    let key = redis.run(&["KEYS", &format!("{prefix}{{k/*")])?;
    let Some(key) = key.lines().nth(2) else { return Ok(0) };
    let used = redis.run(&["HGET", key, "u"])?;
    used.lines().nth(1).context("no use")?.parse().context("not a number")
}
