use std::fs;

use anyhow::{Context, Result, ensure};
use tollbell_tests::project_root;

/// Per cent that the module may be above the recorded size: compilers differ.
const ROOM: u64 = 5;

/// The module's bytes when this was written last. A change that makes the module smaller lowers them.
fn recorded(std_is_rebuilt: bool, is_optimized: bool) -> u64 {
    match (std_is_rebuilt, is_optimized) {
        (true, true) => 1_115_623,
        (true, false) => 1_279_713,
        (false, true) => 1_276_779,
        (false, false) => 1_469_025,
    }
}

/// Envoy compiles all of the module at every start and update of a listener, so its size is the time that takes.
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
