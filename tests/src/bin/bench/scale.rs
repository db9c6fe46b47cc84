//! The cost of many workers, keys and APIs.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Map, Value, json};
use tollbell_tests::envoy::{Process, Setup};
use tollbell_tests::project_root;

use crate::Extent;
use crate::cases::{Case, KEY, config, tollbell};
use crate::process::Running;
use crate::statistics::{median, spread};

const MANY_KEYS: usize = 100_000;
const MANY_APIS: usize = 1000;

pub(crate) fn table(folder: &Path, extent: &Extent) -> Result<String> {
    let mut out = "| scale | ratio |\n|---|---:|\n".to_owned();
    let one = Case::new("one key", vec![tollbell(&config())]);
    let workers = ratios(&[(one.clone(), 1), (one, 2)], folder, extent)?;
    let capacity: Vec<f64> = workers.iter().map(|cpu| 2.0 / cpu).collect();
    writeln!(out, "| requests that two workers can serve in a second, of what one can | {} |", spread(&capacity, 2)?)?;
    let few = with_keys(10, folder)?;
    let many = with_keys(MANY_KEYS, folder)?;
    let keys = ratios(&[(few, 1), (many, 1)], folder, extent)?;
    writeln!(out, "| CPU of a request with {MANY_KEYS} keys in turn, of that with 10 | {} |", spread(&keys, 2)?)?;
    for (count, title) in [(MANY_APIS, "of one"), (2 * MANY_APIS, "of half as many")] {
        let base = if count == MANY_APIS { 1 } else { MANY_APIS };
        let mut ratios = Vec::new();
        for _ in 0..3 {
            let cpu = |count| -> Result<f64> {
                let case = Case::new("APIs", vec![tollbell(&with_apis(count))]);
                Ok(Running::start(case, 1, folder)?.start_cpu.as_secs_f64())
            };
            ratios.push(cpu(count)? / cpu(base)?);
        }
        writeln!(out, "| CPU of a start with {count} APIs and keys, {title} | {} |", spread(&ratios, 2)?)?;
    }
    writeln!(out, "\n{}", check(folder)?)?;
    Ok(out)
}

/// The ratio of the CPU times per request of the second case and the first, by process.
fn ratios(cases: &[(Case, u32); 2], folder: &Path, extent: &Extent) -> Result<Vec<f64>> {
    let mut ratios = Vec::new();
    for _ in 0..extent.processes {
        let start = |(case, workers): &(Case, u32)| Running::start(case.clone(), *workers, folder);
        let running = [start(&cases[0])?, start(&cases[1])?];
        let mut cpu = [Vec::new(), Vec::new()];
        for round in 0..=extent.rounds {
            for (running, cpu) in running.iter().zip(&mut cpu) {
                let seen = running.round(extent.seconds)?;
                if round > 0 {
                    cpu.push(seen.cpu_per_request);
                }
            }
        }
        ratios.push(median(&cpu[1])? / median(&cpu[0])?);
    }
    Ok(ratios)
}

fn key(number: usize) -> String {
    format!("bench-key-{number:026}")
}

/// `count` keys of an organisation, used in turn.
fn with_keys(count: usize, folder: &Path) -> Result<Case> {
    let script = folder.join(format!("{count}-keys.lua"));
    fs::write(
        &script,
        format!(
            "local n = 0\nfunction request()\n  n = (n * 1103515245 + 12345) % 2147483648\n  \
             wrk.headers['authorization'] = string.format('bench-key-%026d', n % {count})\n  \
             return wrk.format('GET')\nend\n"
        ),
    )?;
    Ok(Case { script: Some(script), ..Case::new("keys", vec![tollbell(&keys(count))]) })
}

fn keys(count: usize) -> Value {
    let mut config = config();
    let session = config["keys"][KEY].clone();
    let mut keys: Map<String, Value> = (0..count).map(|number| (key(number), session.clone())).collect();
    keys.insert(KEY.to_owned(), session);
    config["keys"] = keys.into();
    config
}

/// `count` APIs, each with its own key.
fn with_apis(count: usize) -> Value {
    let mut config = config();
    let session = config["keys"][KEY].clone();
    let api = config["apis"][0].clone();
    for number in 1..count {
        let mut api = api.clone();
        api["api_id"] = json!(format!("api-{number}"));
        api["listen_path"] = json!(format!("/api-{number}/"));
        if let Some(apis) = config["apis"].as_array_mut() {
            apis.push(api);
        }
        let mut session = session.clone();
        session["access_rights"] = json!({ format!("api-{number}"): {} });
        config["keys"][key(number)] = session;
    }
    config
}

/// The time and memory that `tollbell check` needs for many keys.
fn check(folder: &Path) -> Result<String> {
    let file = folder.join("many-keys.yaml");
    fs::write(&file, Setup::config(&keys(MANY_KEYS), 1, 2)?.text())?;
    let began = Instant::now();
    let mut shim = Command::new(project_root().join("target/release/tollbell"));
    let mut check = Process::start(shim.arg("check").arg("--config").arg(&file).stdout(Stdio::null()))?;
    let mut most = 0;
    let status = loop {
        if let Some(status) = check.ended()? {
            break status;
        }
        let status = fs::read_to_string(format!("/proc/{}/status", check.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB")?.trim().parse().ok());
        most = peak.map_or(most, |peak: u64| most.max(peak));
        sleep(Duration::from_millis(10));
    };
    ensure!(status.success(), "tollbell check of {}: {status}", file.display());
    let took = began.elapsed().as_secs_f64();
    Ok(format!("`tollbell check` of {MANY_KEYS} keys took {took:.1} s and {} MiB.", most / 1024))
}
