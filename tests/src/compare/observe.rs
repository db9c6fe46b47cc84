//! Sends the requests to one host, and observes it.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use regex::{Regex, RegexSet};

use super::client::send;
use super::host::Host;
use super::requests::{Request, Requests};
use super::rewrite::{Configuration, Ports};
use super::upstream::Upstream;
use crate::client;
use crate::envoy::free_port;

/// A request is over after this time without a line of the log and a request to an upstream.
const QUIET: Duration = Duration::from_millis(80);

/// The start is over after this time, which the first ticks of most modules need.
const AT_START: Duration = Duration::from_millis(600);

/// The maximum time to wait for silence.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a host did.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// The lines of the log before the first request, sorted: the order of threads varies.
    pub(super) start: String,
    /// What it did for each request, in their order.
    pub(super) requests: Vec<Effects>,
    /// The statistics that are numbers, by name.
    pub(super) statistics: BTreeMap<String, u64>,
}

/// What a host did for one request.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) answer: String,
    pub(super) log: String,
    pub(super) upstream: String,
}

/// A host with its own servers.
struct Site<H> {
    host: H,
    listeners: Vec<(String, u16)>,
    upstreams: Vec<(String, Upstream)>,
    admin: u16,
}

/// Starts a host and sends it the requests.
pub(super) async fn observe<H: Host>(
    configuration: &Configuration,
    module: Option<&str>,
    requests: &Requests,
) -> Result<Observed> {
    let site = Site::<H>::start(configuration, module, requests).await?;
    let hidden = RegexSet::new(&requests.ignore.log)?;
    let no_header = RegexSet::new(&requests.ignore.headers)?;
    site.quiet(AT_START).await;
    let mut seen = site.host.lines().len();
    let mut start: Vec<String> = site.host.lines();
    start.sort();
    let mut observed = Observed { start: cleaned(start, &hidden), ..Observed::default() };
    for request in &requests.requests {
        let answer = site.send(request).await.with_context(|| request.name.clone())?;
        tokio::time::sleep(Duration::from_millis(request.wait_ms)).await;
        site.quiet(QUIET).await;
        let lines = site.host.lines();
        let log: Vec<String> = lines.iter().skip(seen).cloned().collect();
        seen = lines.len();
        observed.requests.push(Effects {
            answer: without(&answer, &no_header),
            log: cleaned(log, &hidden),
            upstream: without(&site.received(), &no_header),
        });
    }
    observed.statistics = site.statistics(&RegexSet::new(&requests.ignore.statistics)?).await?;
    Ok(observed)
}

impl<H: Host> Site<H> {
    async fn start(configuration: &Configuration, module: Option<&str>, requests: &Requests) -> Result<Self> {
        let mut upstreams = Vec::new();
        let mut clusters = Vec::new();
        for name in configuration.names("clusters") {
            if requests.closed.contains(&name) {
                clusters.push(free_port()?);
                continue;
            }
            let upstream = Upstream::start().await?;
            clusters.push(upstream.port);
            upstreams.push((name, upstream));
        }
        let names = configuration.names("listeners");
        let listeners: Vec<u16> = names.iter().map(|_| free_port()).collect::<Result<_>>()?;
        let admin = free_port()?;
        let ports = Ports { listeners: &listeners, admin, clusters: &clusters };
        let host = H::start(&configuration.text(&ports, module)?, admin).await?;
        Ok(Site { host, listeners: names.into_iter().zip(listeners).collect(), upstreams, admin })
    }

    async fn send(&self, request: &Request) -> Result<String> {
        for (cluster, upstream) in &self.upstreams {
            upstream.set_answer(request.answer_of(cluster));
        }
        let is_its = |name: &String| request.listener.as_ref().is_none_or(|wanted| wanted == name);
        let (_, port) = self.listeners.iter().find(|(name, _)| is_its(name)).context("there is no such listener")?;
        send(*port, request).await
    }

    /// The requests to all upstreams since the last call, sorted: connections race.
    fn received(&self) -> String {
        let mut all: Vec<String> = Vec::new();
        for (cluster, upstream) in &self.upstreams {
            all.extend(upstream.take().into_iter().map(|request| format!("cluster {cluster}\n{request}")));
        }
        all.sort();
        all.concat()
    }

    /// Waits until nothing has happened for `span`.
    async fn quiet(&self, span: Duration) {
        let activity =
            || self.host.activity() + self.upstreams.iter().map(|(_, upstream)| upstream.count()).sum::<usize>();
        let deadline = Instant::now() + PATIENCE;
        let (mut last, mut since) = (activity(), Instant::now());
        while since.elapsed() < span && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let now = activity();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
    }

    async fn statistics(&self, ignored: &RegexSet) -> Result<BTreeMap<String, u64>> {
        let text = client::get(self.admin, "/stats", &[]).await?.body;
        let statistics = text.lines().filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            let is_compared = !ignored.is_match(name) && !VARYING_STATISTICS.is_match(name);
            Some((name.to_owned(), value.parse().ok()?)).filter(|_| is_compared)
        });
        Ok(statistics.collect())
    }
}

/// Values that differ between runs, with their replacements.
static VARYING: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let rules = [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
        (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
        (r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", "DATE"),
        (r"(x-envoy-upstream-service-time(?:: |=))\d+", "${1}MS"),
    ];
    rules.iter().filter_map(|(rule, name)| Some((Regex::new(rule).ok()?, *name))).collect()
});

/// Statistics that depend on time or on sizes of the host's own data.
static VARYING_STATISTICS: LazyLock<RegexSet> = LazyLock::new(|| {
    RegexSet::new([r"^server\.", "memory", "_ms$", "bytes", r"^http\.admin\.", "cx_active$"]).unwrap_or_default()
});

fn blank(text: &str) -> String {
    VARYING.iter().fold(text.to_owned(), |text, (rule, name)| rule.replace_all(&text, *name).into_owned())
}

fn cleaned(lines: Vec<String>, hidden: &RegexSet) -> String {
    lines.iter().filter(|line| !hidden.is_match(line)).map(|line| format!("{}\n", blank(line))).collect()
}

fn without(text: &str, hidden: &RegexSet) -> String {
    text.lines().filter(|line| !hidden.is_match(line)).map(|line| format!("{}\n", blank(line))).collect()
}
