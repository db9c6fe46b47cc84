//! `make bench`: the cost of tollbell, compared with no filter, the smallest counting filter, and Lua.
//!
//! The cost of a request is the CPU time of Envoy's worker thread, which other work on the machine hardly changes.
//! Requests per second are shown, too. Two processes of the same case differ more than two rounds of one process, so
//! each case is started several times. The cases take turns, and each ratio compares processes that ran at the same
//! time.

mod cases;
mod cost;
mod fleet;
mod process;
mod scale;
mod shim;
mod size;
mod start;
mod statistics;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use tollbell_tests::envoy::binary;
use tollbell_tests::project_root;

/// The extent of the measurements.
pub(crate) struct Extent {
    /// The number of starts of each case.
    pub(crate) processes: usize,
    /// The number of rounds with each process.
    pub(crate) rounds: usize,
    /// The length of a round in seconds.
    pub(crate) seconds: u32,
    /// True for the short form, without the long measurements.
    pub(crate) is_quick: bool,
}

fn main() -> Result<()> {
    for tool in ["wrk", "taskset"] {
        ensure!(
            Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok(),
            "{tool} is not installed; on Debian: apt-get install wrk util-linux"
        );
    }
    let has = |flag: &str| std::env::args().any(|argument| argument == flag);
    let is_quick = has("--quick");
    let extent = match is_quick {
        true => Extent { processes: 3, rounds: 2, seconds: 2, is_quick },
        false => Extent { processes: 5, rounds: 4, seconds: 2, is_quick },
    };
    let folder = project_root().join("target/bench");
    fs::create_dir_all(&folder)?;
    println!("{}\n", machine()?);
    if has("--shim") {
        println!("{}", shim::table(&folder, &extent)?);
        return Ok(());
    }
    if has("--fleet") {
        println!("{}", fleet::tables(&folder, &extent)?);
        return Ok(());
    }
    println!("{}", size::table()?);
    println!("{}", start::table(&folder, &extent)?);
    println!("{}", cost::table(&folder, &extent)?);
    if !is_quick {
        println!("{}", shim::table(&folder, &extent)?);
        println!("{}", scale::table(&folder, &extent)?);
    }
    Ok(())
}

/// The machine, and its load before the measurement.
fn machine() -> Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unknown processor");
    let model = model.trim_matches(['\t', ' ', ':']);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let envoy = Command::new(binary().unwrap_or_else(|_| PathBuf::from("envoy"))).arg("--version").output();
    let envoy = envoy.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let version = envoy.split('/').rev().nth(3).unwrap_or("unknown");
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or("unknown");
    Ok(format!(
        "{model}, {cores} cores, Envoy {version} with one worker pinned to one core, wrk with 16 connections on another; \
         the machine's load before it began: {load}"
    ))
}
