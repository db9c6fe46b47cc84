use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tollbell_tests::envoy::Setup;
use tollbell_tests::project_root;

use crate::support::{config, shared};

/// The percentage by which the module may exceed the recorded size, because compilers differ.
const ROOM: u64 = 5;

/// The size of the module in bytes at the time of writing. A change that makes the module smaller lowers it.
fn recorded(std_is_rebuilt: bool, is_optimized: bool) -> u64 {
    match (std_is_rebuilt, is_optimized) {
        (true, true) => 1_425_000,
        (true, false) => 1_629_000,
        (false, true) => 1_603_000,
        (false, false) => 1_833_000,
    }
}

/// Envoy compiles the whole module at every start and update of a listener, so a larger module makes these slower.
#[test]
fn the_module_does_not_grow() -> Result<()> {
    let dist = project_root().join("dist");
    let bytes = fs::metadata(dist.join("tollbell.wasm")).context("dist/tollbell.wasm; run `make build`")?.len();
    let built = fs::read_to_string(dist.join("build.txt")).context("dist/build.txt; run `make build`")?;
    let says = |line: &str| built.lines().any(|known| known == line);
    let recorded = recorded(says("std: rebuilt"), !says("wasm-opt: none"));
    let most = recorded * (100 + ROOM) / 100;
    ensure!(bytes <= most, "{bytes} bytes, {most} at most; built with\n{built}");
    Ok(())
}

/// The maximum CPU time of a start, as a multiple of that of the smallest counting filter.
const MOST_STARTS: f64 = 15.0;

#[tokio::test(flavor = "multi_thread")]
async fn a_start_costs_a_few_times_that_of_the_smallest_filter() -> Result<()> {
    let _shared = shared().await;
    let start = async |module: &str| -> Result<Duration> {
        let setup = Setup::config(&config(json!({ "quota_max": 10 })), 1, 1)?.workers(1);
        setup.edit(|yaml| yaml.replace("dist/tollbell.wasm", module)).start().await?.cpu()
    };
    let mut ratios = Vec::new();
    for _ in 0..3 {
        let smallest = start("dist/bench/counter.wasm").await?;
        ratios.push(start("dist/tollbell.wasm").await?.as_secs_f64() / smallest.as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    ensure!(ratios[1] <= MOST_STARTS, "{ratios:?}");
    Ok(())
}
