//! `make bench-fleet`: what counting in a Redis costs, against counting in each Envoy, and against a rate limit service
//! with the same Redis.
//!
//! A rate limit service is asked only for routes to an upstream. So all cases have one: another Envoy on the same core,
//! whose CPU is not counted.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tollbell_tests::envoy::{Process, free_port};
use tollbell_tests::project_root;
use tollbell_tests::redis::Redis;

use crate::Extent;
use crate::cases::{Case, FULL, NO_FILTER, config, tollbell};
use crate::process::{Round, Running, cluster};
use crate::statistics::{median, spread};

const LEASED: &str = "tollbell, leased";
const EXACT: &str = "tollbell, exact";
const SERVICE: &str = "a rate limit service";

/// The members that count together.
const MEMBERS: usize = 3;

pub(crate) fn tables(folder: &Path, extent: &Extent) -> Result<String> {
    let upstream = Running::start(Case::new("upstream", vec![]), 1, folder)?;
    let parts = Parts { redis: Redis::start()?, folder, upstream: upstream.port() };
    Ok(format!("{}\n{}\n{}", costs(&parts, extent)?, members(&parts, extent)?, stopped(&parts)?))
}

struct Parts<'f> {
    redis: Redis,
    folder: &'f Path,
    upstream: u16,
}

impl Parts<'_> {
    fn case(&self, name: &'static str, filters: Vec<Value>) -> Case {
        Case { upstream: Some(self.upstream), ..Case::new(name, filters) }
    }

    fn counting(&self, name: &'static str, counting: &str, on_loss: &str) -> Case {
        let mut config = config();
        config["store"] = json!({ "redis": {}, "counting": counting, "on_loss": on_loss });
        Case { clusters: vec![store(self.redis.port())], ..self.case(name, vec![tollbell(&config)]) }
    }
}

/// Redis as in `envoy/fleet.yaml`.
fn store(port: u16) -> Value {
    let mut store = cluster("tollbell_redis", port);
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    store["typed_extension_protocol_options"] = json!({ options: {
        "@type": format!("type.googleapis.com/{options}"),
        "common_http_protocol_options": { "max_requests_per_connection": 1 },
        "explicit_http_config": { "http_protocol_options": {} }
    } });
    store["upstream_config"] = json!({
        "name": "envoy.filters.connection_pools.http.tcp",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.upstreams.http.tcp.v3.TcpConnectionPoolProto" }
    });
    store["preconnect_policy"] = json!({ "per_upstream_preconnect_ratio": 2.0 });
    store
}

/// envoyproxy/ratelimit, if `make bench-fleet` built it.
fn service(parts: &Parts<'_>) -> Result<Option<(Process, Case)>> {
    let program = project_root().join(".tools/ratelimit/service_cmd");
    if !program.is_file() {
        return Ok(None);
    }
    let folder = parts.folder.join("ratelimit");
    fs::create_dir_all(folder.join("bench/config"))?;
    let limit = "{ unit: day, requests_per_unit: 1000000000 }";
    fs::write(
        folder.join("bench/config/bench.yaml"),
        format!("domain: bench\ndescriptors:\n- key: key\n  rate_limit: {limit}\n- key: org\n  rate_limit: {limit}\n"),
    )?;
    let (grpc, http, debug) = (free_port()?, free_port()?, free_port()?);
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "1"]).arg(program);
    for (name, value) in [
        ("REDIS_SOCKET_TYPE", "tcp".to_owned()),
        ("REDIS_URL", format!("127.0.0.1:{}", parts.redis.port())),
        ("RUNTIME_ROOT", folder.display().to_string()),
        ("RUNTIME_SUBDIRECTORY", "bench".to_owned()),
        ("RUNTIME_WATCH_ROOT", "false".to_owned()),
        ("USE_STATSD", "false".to_owned()),
        ("LOG_LEVEL", "error".to_owned()),
        ("GRPC_PORT", grpc.to_string()),
        ("PORT", http.to_string()),
        ("DEBUG_PORT", debug.to_string()),
    ] {
        command.env(name, value);
    }
    let process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
    let mut service = cluster("ratelimit", grpc);
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    service["typed_extension_protocol_options"] = json!({ options: {
        "@type": format!("type.googleapis.com/{options}"),
        "explicit_http_config": { "http2_protocol_options": {} }
    } });
    let filter = json!({
        "name": "ratelimit",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit",
            "domain": "bench", "failure_mode_deny": true, "timeout": "0.25s",
            "rate_limit_service": {
                "transport_api_version": "V3", "grpc_service": { "envoy_grpc": { "cluster_name": "ratelimit" } }
            }
        }
    });
    let case = Case { clusters: vec![service], ..parts.case(SERVICE, vec![filter]) };
    let is_ready = || std::net::TcpStream::connect(("127.0.0.1", grpc)).is_ok();
    for _ in 0..100 {
        if is_ready() {
            break;
        }
        sleep(Duration::from_millis(100));
    }
    ensure!(is_ready(), "the rate limit service does not start");
    Ok(Some((process, case)))
}

/// The CPU of a request, by case and process.
fn costs(parts: &Parts<'_>, extent: &Extent) -> Result<String> {
    let mut cases = vec![
        parts.case(NO_FILTER, vec![]),
        parts.case(FULL, vec![tollbell(&config())]),
        parts.counting(LEASED, "leased", "share"),
        parts.counting(EXACT, "exact", "share"),
    ];
    let service = service(parts)?;
    cases.extend(service.as_ref().map(|(_, case)| case.clone()));
    let service_cpu = || service.as_ref().map_or(Ok(Duration::ZERO), |(process, _)| process.cpu(""));
    // For each case, of its rounds: CPU of Envoy, of Redis and of the service for a request, and requests a second.
    let mut seen = vec![[const { Vec::<f64>::new() }; 4]; cases.len()];
    for _ in 0..extent.processes {
        let start = |case: &Case| Running::start(case.clone(), 1, parts.folder);
        let running = cases.iter().map(start).collect::<Result<Vec<_>>>()?;
        let mut rounds = vec![[const { Vec::<f64>::new() }; 4]; cases.len()];
        for round in 0..=extent.rounds {
            for (running, rounds) in running.iter().zip(&mut rounds) {
                let before = (parts.redis.cpu()?, service_cpu()?);
                let measured = running.round(if round == 0 { 1 } else { extent.seconds })?;
                ensure!(measured.refused < 0.01, "{}: {} were refused", running.case.name, measured.refused);
                let micros = |cpu: Duration| cpu.as_secs_f64() * 1e6 / measured.requests;
                let (redis, service) = (parts.redis.cpu()? - before.0, service_cpu()? - before.1);
                if round > 0 {
                    let values =
                        [measured.cpu_per_request, micros(redis), micros(service), measured.requests_per_second];
                    rounds.iter_mut().zip(values).for_each(|(rounds, value)| rounds.push(value));
                }
            }
        }
        for (seen, rounds) in seen.iter_mut().zip(&rounds) {
            for (seen, rounds) in seen.iter_mut().zip(rounds) {
                seen.push(median(rounds)?);
            }
        }
    }
    let mut out = format!(
        "CPU in µs for a request that is counted on two limits: the median of {} processes (the least and the most)\n\n\
         | counting | Envoy's worker | added | of local counting | Redis | service | requests/s |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
        extent.processes
    );
    let (none, local) = (seen[0][0].clone(), seen[1][0].clone());
    for (case, [envoy, redis, service, rate]) in cases.iter().zip(&seen) {
        let added: Vec<f64> = envoy.iter().zip(&none).map(|(cpu, none)| cpu - none).collect();
        let of_local = added.iter().zip(local.iter().zip(&none)).map(|(added, (local, none))| added / (local - none));
        let of_local: Vec<f64> = of_local.collect();
        let (name, envoy, rate) = (case.name, median(envoy)?, median(rate)?);
        let (redis, service) = (median(redis)?, median(service)?);
        let (added, of_local) = (spread(&added, 1)?, spread(&of_local, 2)?);
        writeln!(out, "| {name} | {envoy:.1} | {added} | {of_local} | {redis:.1} | {service:.1} | {rate:.0} |")?;
    }
    Ok(out)
}

/// Several members that count together, against one, all on the same core.
fn members(parts: &Parts<'_>, extent: &Extent) -> Result<String> {
    let mut out = format!(
        "{MEMBERS} members together on one core against one member on it: requests a second, and CPU for a request\n\n\
         | counting | requests/s | CPU |\n|---|---:|---:|\n"
    );
    for (name, counting) in [(LEASED, "leased"), (EXACT, "exact")] {
        let case = parts.counting(name, counting, "share");
        let members = (0..MEMBERS).map(|_| Running::start(case.clone(), 1, parts.folder));
        let members = members.collect::<Result<Vec<_>>>()?;
        let (mut rates, mut costs) = (Vec::new(), Vec::new());
        for round in 0..=extent.rounds * 2 {
            let (one, all) = (together(&members[..1], extent)?, together(&members, extent)?);
            if round > 0 {
                rates.push(all.0 / one.0);
                costs.push(all.1 / one.1);
            }
        }
        writeln!(out, "| {name} | {} | {} |", spread(&rates, 2)?, spread(&costs, 2)?)?;
    }
    Ok(out)
}

/// Requests a second of these members at the same time, and CPU for a request.
fn together(members: &[Running], extent: &Extent) -> Result<(f64, f64)> {
    let rounds = thread::scope(|scope| {
        let rounds: Vec<_> = members.iter().map(|member| scope.spawn(|| member.round(extent.seconds))).collect();
        rounds.into_iter().map(|round| round.join().expect("no panic")).collect::<Result<Vec<Round>>>()
    })?;
    let requests: f64 = rounds.iter().map(|round| round.requests).sum();
    let cpu: f64 = rounds.iter().map(|round| round.cpu_per_request * round.requests).sum();
    Ok((rounds.iter().map(|round| round.requests_per_second).sum(), cpu / requests))
}

/// What clients see in a second in which Redis is stopped.
fn stopped(parts: &Parts<'_>) -> Result<String> {
    let mut out = String::from(
        "Clients in the second in which Redis is stopped (`SIGSTOP`), and in one before\n\n\
         | counting | on_loss | 99 % of answers, ms | before | refused | requests, of those before |\n\
         |---|---|---:|---:|---:|---:|\n",
    );
    for (name, counting) in [(LEASED, "leased"), (EXACT, "exact")] {
        for on_loss in ["share", "refuse", "admit"] {
            let member = Running::start(parts.counting(name, counting, on_loss), 1, parts.folder)?;
            let mut seen = [const { Vec::<f64>::new() }; 4];
            for _ in 0..3 {
                member.round(1)?;
                let before = member.round(1)?;
                parts.redis.pause(true)?;
                let during = member.round(1);
                parts.redis.pause(false)?;
                let during = during?;
                let values = [during.p99, before.p99, during.refused * 100.0, during.requests / before.requests];
                seen.iter_mut().zip(values).for_each(|(seen, value)| seen.push(value));
                sleep(Duration::from_secs(1));
            }
            let [during, before, refused, rate] = &seen;
            let (during, before) = (spread(during, 1)?, median(before)?);
            let (refused, rate) = (median(refused)?, median(rate)?);
            writeln!(out, "| {name} | {on_loss} | {during} | {before:.1} | {refused:.0} % | {rate:.2} |")?;
        }
    }
    Ok(out)
}
