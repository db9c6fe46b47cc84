//! Runs a case and observes it.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use regex::Regex;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tollbell_tests::envoy::free_port;

use super::case::{Case, Observed, Request, Seen, Theme};
use super::config::{self, Ports};
use super::host::Host;
use super::http1::{Message, receive, talk};
use super::raw::RawServers;
use super::server::Server;

/// A case is over after this time without a line.
const QUIET: Duration = Duration::from_millis(120);

/// The maximum time that a case waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// The behaviour of a host in the cases of a theme, in their order.
pub async fn observe_theme<H: Host>(theme: &Theme) -> Result<Vec<(String, Observed)>> {
    let upstream = Server::start().await?;
    let raw = RawServers::start(upstream.port).await?;
    let (own, common): (Vec<&Case>, Vec<&Case>) = theme.cases.iter().partition(|case| case.own_process);
    let mut observed = observe::<H>(&common, &upstream, &raw).await?;
    for case in own {
        observed.extend(observe::<H>(&[case], &upstream, &raw).await.or_else(|error| {
            println!("{}: {error:#}", case.name);
            Ok::<_, anyhow::Error>(vec![(case.name.clone(), Observed { refused: true, ..Observed::default() })])
        })?);
    }
    let place = |name: &str| theme.cases.iter().position(|case| case.name == name);
    observed.sort_by_key(|(name, _)| place(name));
    Ok(observed)
}

/// The behaviour of a host in some cases that share a process.
async fn observe<H: Host>(cases: &[&Case], upstream: &Server, raw: &RawServers) -> Result<Vec<(String, Observed)>> {
    if cases.is_empty() {
        return Ok(Vec::new());
    }
    let ports = Ports {
        listeners: cases.iter().map(|_| free_port()).collect::<Result<_>>()?,
        admin: free_port()?,
        upstream: upstream.port,
        refused: free_port()?,
        raw,
    };
    let host = H::start(&config::yaml(cases, &ports), ports.admin).await?;
    let mut observed = Vec::new();
    for (case, port) in cases.iter().zip(&ports.listeners) {
        upstream.reset(&case.first_answers, &case.upstream);
        raw.reset();
        let responses = send_all(case, *port, &host).await.with_context(|| case.name.clone())?;
        let log_lines = settled(case, &host).await;
        let mut upstream_requests = upstream.received();
        upstream_requests.extend(raw.received());
        upstream_requests.retain(|request| !(case.upstream_races && request.cut));
        // Several connections race.
        upstream_requests.sort_by(|one, other| one.start.cmp(&other.start));
        let stats = stats(case, ports.admin).await?;
        let seen = Observed { refused: false, responses, upstream_requests, stats, log_lines };
        observed.push((case.name.clone(), blank(seen)));
    }
    Ok(observed)
}

async fn send_all<H: Host>(case: &Case, port: u16, host: &H) -> Result<Vec<Seen>> {
    let mut responses: Vec<JoinHandle<Result<Seen>>> = Vec::new();
    if case.setup {
        return Ok(Vec::new());
    }
    for request in &case.requests {
        let response = tokio::spawn(send(port, request.clone()));
        if request.wait {
            while !response.is_finished() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        responses.push(response);
        // The last callbacks of the stream come before the first of the next one.
        quiet(case, host, QUIET / 3).await;
    }
    let mut seen = Vec::new();
    for response in responses {
        seen.push(response.await??);
    }
    Ok(seen)
}

async fn send(port: u16, request: Request) -> Result<Seen> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut headers = vec!["host: gateway.test".to_owned()];
    for _ in 0..request.repeat_headers {
        headers.extend(request.headers.clone());
    }
    let message = Message {
        start: format!("{} {} HTTP/1.1", request.method, request.path),
        headers,
        body: &request.body.repeat(request.repeat),
        chunks: &request.chunks,
        trailers: &request.trailers,
        always_length: false,
        cut: false,
    };
    // A host may answer and close the connection before it has read everything.
    let sent = if request.raw.is_empty() {
        message.send(&mut stream).await
    } else {
        stream.write_all(request.raw.as_bytes()).await.map_err(Into::into)
    };
    let patience = request.hang_up_ms.map_or(PATIENCE, Duration::from_millis);
    let is_head = request.method == "HEAD" || request.raw.starts_with("HEAD");
    let has_no_body = is_head || !request.tunnel.is_empty();
    let nothing = || Seen { start: "nothing".to_owned(), ..Seen::default() };
    match tokio::time::timeout(patience, receive_final(&mut stream, has_no_body)).await {
        Ok(Ok(Some(mut seen))) => {
            if !request.tunnel.is_empty() && !seen.cut {
                seen.body.push_str(&talk(&mut stream, &request.tunnel).await?);
            }
            Ok(seen)
        }
        Ok(Ok(None)) => Ok(nothing()),
        Ok(Err(error)) if sent.is_ok() && !error.is::<std::io::Error>() => Err(error),
        Ok(Err(_)) => Ok(nothing()),
        Err(_) => Ok(Seen { start: "no answer in time".to_owned(), ..Seen::default() }),
    }
}

/// The statistics that a case names.
async fn stats(case: &Case, admin: u16) -> Result<Vec<String>> {
    if case.stats.is_empty() {
        return Ok(Vec::new());
    }
    let all = tollbell_tests::client::get(admin, "/stats", &[]).await?.body;
    let is_wanted = |line: &&str| case.stats.iter().any(|beginning| line.starts_with(beginning));
    Ok(all.lines().filter(is_wanted).map(str::to_owned).collect())
}

/// Receives a response, after a possible 100.
async fn receive_final(stream: &mut BufReader<TcpStream>, is_head: bool) -> Result<Option<Seen>> {
    let seen = receive(stream, true, is_head).await?;
    if seen.as_ref().is_none_or(|seen| seen.start != "100") {
        return Ok(seen);
    }
    Ok(receive(stream, true, is_head).await?.map(|seen| Seen { continues: true, ..seen }))
}

/// The case's lines, after the last has come.
async fn settled<H: Host>(case: &Case, host: &H) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    if let Some(until) = &case.until {
        while Instant::now() < deadline && !lines(case, host).iter().any(|line| line.contains(until)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    quiet(case, host, QUIET).await;
    lines(case, host)
}

/// Waits until no line of the case has come for `span`.
async fn quiet<H: Host>(case: &Case, host: &H, span: Duration) {
    let deadline = Instant::now() + PATIENCE;
    let (mut count, mut since) = (lines(case, host).len(), Instant::now());
    while since.elapsed() < span && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let now = lines(case, host).len();
        if now != count {
            (count, since) = (now, Instant::now());
        }
    }
}

/// The lines of a case: those of the traffic, or those of the setup, sorted.
fn lines<H: Host>(case: &Case, host: &H) -> Vec<String> {
    // Envoy leaves out the plugin's name if a root context logs.
    let origins: Vec<[String; 2]> = case
        .filters()
        .iter()
        .enumerate()
        .map(|(n, filter)| {
            let joined =
                |parts: &[&str]| parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" ");
            let (root_id, vm_id) = (filter.root_id.as_str(), case.vm_id(filter));
            [joined(&[&case.plugin(n), root_id, &vm_id]), joined(&[root_id, &vm_id])]
        })
        .collect();
    let shown = |line: super::host::Line| {
        let mut filters = (0..origins.len()).filter(|n| origins[*n].contains(&line.origin));
        let plugin = case.plugin(filters.next()?);
        // Root contexts of filters with the same root_id and vm_id log with the same origin.
        let letter = if filters.next().is_some() { "?" } else { plugin.rsplit('.').next()? };
        let is_setup = line.text.starts_with("setup ");
        if is_setup != case.setup {
            return None;
        }
        Some(match line.level.as_str() {
            "info" => format!("[{letter}] {}", line.text),
            level => format!("[{letter} {level}] {}", line.text),
        })
    };
    let mut lines: Vec<String> = host.lines().into_iter().filter_map(shown).collect();
    if case.setup {
        lines.sort();
        let runs = lines.chunk_by(|one, next| one == next);
        return runs.filter_map(|run| Some(format!("{} times {}", run.len(), run.first()?))).collect();
    }
    lines
}

/// Values that differ between runs, with their replacements.
static VARYING: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let rules = [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
        (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
        (r"/\S*/conformance-[\w-]+\.sock", "PIPE"),
        (r"date: \w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", "date: DATE"),
        (r"x-envoy-upstream-service-time: \d+", "x-envoy-upstream-service-time: MS"),
        (r"x-envoy-expected-rq-timeout-ms: 14\d\d\d", "x-envoy-expected-rq-timeout-ms: LESS"),
    ];
    rules.iter().filter_map(|(rule, name)| Some((Regex::new(rule).ok()?, *name))).collect()
});

/// Replaces all varying values.
fn blank(mut observed: Observed) -> Observed {
    let messages = observed.responses.iter_mut().chain(&mut observed.upstream_requests);
    let parts = messages
        .flat_map(|seen| seen.headers.iter_mut().chain(&mut seen.trailers).chain([&mut seen.body, &mut seen.start]));
    for text in parts.chain(&mut observed.log_lines) {
        for (rule, name) in VARYING.iter() {
            *text = rule.replace_all(text, *name).into_owned();
        }
    }
    observed
}
