//! An Envoy or host shim under measurement: pinned to the first core, while wrk runs on the second.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tollbell_tests::envoy::{Process, binary, free_port};
use tollbell_tests::project_root;

use crate::cases::Case;

const SHIM: &str = "target/release/tollbell";

/// The program that runs a case.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Gateway {
    Envoy,
    Shim,
}

pub(crate) struct Running {
    pub(crate) case: Case,
    /// The time from the start of the process to its first answer.
    pub(crate) first_answer: Duration,
    /// The CPU time of all its threads until then.
    pub(crate) start_cpu: Duration,
    port: u16,
    process: Process,
}

/// The results of wrk.
#[derive(Default)]
pub(crate) struct Round {
    pub(crate) requests: f64,
    pub(crate) requests_per_second: f64,
    /// The part of the answers that are not 2xx or 3xx.
    pub(crate) refused: f64,
    /// The time within which all but one percent of the answers came, in milliseconds.
    pub(crate) p99: f64,
    /// CPU time of the worker threads in microseconds.
    pub(crate) cpu_per_request: f64,
}

impl Running {
    pub(crate) fn start(case: Case, workers: u32, folder: &Path) -> Result<Running> {
        let (port, admin) = (free_port()?, free_port()?);
        let file = folder.join(format!("{port}.json"));
        fs::write(&file, bootstrap(&case, port, admin).to_string())?;
        let mut command = Command::new("taskset");
        // Several workers must be able to run at the same time.
        command.args(["--cpu-list", if workers == 1 { "0" } else { "0,1" }]);
        match case.gateway {
            Gateway::Envoy => command
                .arg(binary()?)
                .args(["--concurrency", &workers.to_string(), "--use-dynamic-base-id"])
                .arg("--config-path"),
            Gateway::Shim => {
                command.arg(project_root().join(SHIM)).args(["run", "--workers", &workers.to_string()]).arg("--config")
            }
        };
        command.arg(&file).args(["--log-level", "error"]).stdout(Stdio::null());
        let began = Instant::now();
        let process = Process::start(&mut command)?;
        let mut running = Running { case, first_answer: Duration::ZERO, start_cpu: Duration::ZERO, port, process };
        while began.elapsed() < Duration::from_secs(120) {
            sleep(Duration::from_millis(20));
            if let Some(status) = running.process.ended()? {
                bail!("{} ended: {status}", running.case.name);
            }
            if let Ok(status) = running.status() {
                running.first_answer = began.elapsed();
                running.start_cpu = running.process.cpu("")?;
                ensure!(status == running.case.status, "{} answers {status}", running.case.name);
                return Ok(running);
            }
        }
        bail!("{} does not answer", running.case.name)
    }

    /// Runs wrk for some seconds.
    pub(crate) fn round(&self, seconds: u32) -> Result<Round> {
        let threads = if self.case.gateway == Gateway::Envoy { "wrk:worker" } else { "worker" };
        let before = self.process.cpu(threads)?;
        let mut wrk = Command::new("taskset");
        wrk.args(["--cpu-list", "1", "wrk", "-t1", "-c16", "--latency", &format!("-d{seconds}s")]);
        if let Some(script) = &self.case.script {
            wrk.arg("-s").arg(script);
        }
        let output = wrk
            .args(["-H", &format!("authorization: {}", self.case.key)])
            .args(["-H", "user-agent: Mozilla/5.0 (X11; Linux x86_64)", "-H", "accept: application/json"])
            .arg(self.url())
            .output()?;
        let ran = self.process.cpu(threads)?.saturating_sub(before);
        let text = String::from_utf8(output.stdout)?;
        let number = |found: Option<&str>| -> Result<f64> {
            found.with_context(|| format!("wrk said: {text}"))?.trim().parse().context("not a number")
        };
        let requests_per_second = number(text.lines().find_map(|line| line.strip_prefix("Requests/sec:")))?;
        let requests = number(text.lines().find_map(|line| Some(line.split_once(" requests in ")?.0)))?;
        let refused = text.lines().find_map(|line| line.trim().strip_prefix("Non-2xx or 3xx responses:"));
        let refused = refused.map_or(Ok(0.0), |count| number(Some(count)))? / requests;
        let p99 = text.lines().find_map(|line| line.trim().strip_prefix("99%")).context("no latency")?;
        let p99 = millis(p99.trim()).with_context(|| format!("wrk said: {text}"))?;
        let cpu_per_request = ran.as_secs_f64() * 1e6 / requests;
        Ok(Round { requests, requests_per_second, refused, p99, cpu_per_request })
    }

    /// Resident memory, in MiB.
    pub(crate) fn resident(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
        Ok(kilobytes.context("no VmRSS")?.trim().parse::<f64>()? / 1024.0)
    }

    fn status(&self) -> Result<u16> {
        let output = Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H"])
            .arg(format!("authorization: {}", self.case.key))
            .arg(self.url())
            .output()?;
        ensure!(output.status.success(), "no answer");
        Ok(String::from_utf8(output.stdout)?.parse()?)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/orders/1", self.port)
    }
}

fn address(port: u16) -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } })
}

/// A time of wrk, as in `1.20ms`.
fn millis(time: &str) -> Option<f64> {
    let (number, unit) = time.split_at(time.find(|c: char| c.is_ascii_alphabetic())?);
    let factor = match unit {
        "us" => 1e-3,
        "ms" => 1.0,
        "s" => 1e3,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

/// A cluster with one endpoint.
pub(crate) fn cluster(name: &str, port: u16) -> Value {
    let endpoint = json!({ "endpoint": { "address": address(port) } });
    json!({
        "name": name, "type": "STATIC", "connect_timeout": "1s",
        "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [endpoint] }] }
    })
}

/// A listener whose route answers directly or has an upstream, after the filters.
fn bootstrap(case: &Case, port: u16, admin: u16) -> Value {
    let router = json!({
        "name": "router",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" }
    });
    let filters: Vec<Value> = case.filters.iter().cloned().chain([router]).collect();
    let mut route = json!({ "match": { "prefix": "/" } });
    let mut clusters = case.clusters.clone();
    clusters.push(json!({
        "name": "tollbell_http", "type": "STATIC", "load_assignment": { "cluster_name": "tollbell_http" }
    }));
    if let Some(upstream) = case.upstream {
        clusters.push(cluster("upstream", upstream));
        // Only the filter of a rate limit service reads the limits.
        let of_key = json!({ "request_headers": { "header_name": "authorization", "descriptor_key": "key" } });
        let of_org = json!({ "generic_key": { "descriptor_key": "org", "descriptor_value": "acme" } });
        route["route"] = json!({
            "cluster": "upstream", "rate_limits": [{ "actions": [of_key] }, { "actions": [of_org] }]
        });
    } else {
        route["direct_response"] = json!({ "status": 200, "body": { "inline_string": "ok" } });
    }
    json!({
        "admin": { "address": address(admin) },
        "static_resources": {
            "listeners": [{
                "name": "bench", "address": address(port),
                "filter_chains": [{ "filters": [{
                    "name": "http",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                        "stat_prefix": "bench",
                        "route_config": { "virtual_hosts": [{
                            "name": "all", "domains": ["*"],
                            "routes": [route]
                        }] },
                        "http_filters": filters
                    }
                }] }]
            }],
            "clusters": clusters
        }
    })
}
