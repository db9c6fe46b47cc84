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
pub(crate) struct Round {
    pub(crate) requests_per_second: f64,
    /// CPU time of the worker threads in microseconds.
    pub(crate) cpu_per_request: f64,
}

impl Running {
    pub(crate) fn start(case: Case, workers: u32, folder: &Path) -> Result<Running> {
        let (port, admin) = (free_port()?, free_port()?);
        let file = folder.join(format!("{port}.json"));
        fs::write(&file, bootstrap(&case.filters, port, admin).to_string())?;
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
        wrk.args(["--cpu-list", "1", "wrk", "-t1", "-c16", &format!("-d{seconds}s")]);
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
        Ok(Round { requests_per_second, cpu_per_request: ran.as_secs_f64() * 1e6 / requests })
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

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/orders/1", self.port)
    }
}

/// A listener whose route answers directly, after the filters.
fn bootstrap(filters: &[Value], port: u16, admin: u16) -> Value {
    let address = |port: u16| json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } });
    let router = json!({
        "name": "router",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" }
    });
    let filters: Vec<Value> = filters.iter().cloned().chain([router]).collect();
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
                            "routes": [{
                                "match": { "prefix": "/" },
                                "direct_response": { "status": 200, "body": { "inline_string": "ok" } }
                            }]
                        }] },
                        "http_filters": filters
                    }
                }] }]
            }],
            "clusters": [{
                "name": "tollbell_http", "type": "STATIC", "load_assignment": { "cluster_name": "tollbell_http" }
            }]
        }
    })
}
