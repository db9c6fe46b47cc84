//! What once crashed a fuzz target, and the seeds of all of them, through the same functions.

use std::fs;

use anyhow::{Context, Result, ensure};
use tollbell_tests::project_root;

#[path = "../fuzz/src/targets/mod.rs"]
pub mod targets;

use targets::TARGETS;

#[test]
fn inputs_that_once_crashed_a_target_do_so_no_more() -> Result<()> {
    let mut inputs = 0;
    for folder in ["crashes", "seeds"] {
        for entry in fs::read_dir(project_root().join("tests/fuzz").join(folder))? {
            let folder = entry?.path();
            let name = folder.file_name().context("a name")?.to_string_lossy();
            let found = TARGETS.iter().find(|(known, _)| *known == name);
            let (_, run) = found.with_context(|| format!("no target has the name {name:?}"))?;
            for input in fs::read_dir(&folder)? {
                let input = input?.path();
                let bytes = fs::read(&input)?;
                // The harness shows what is printed only where the test fails.
                println!("{}", input.display());
                run(&bytes);
                inputs += 1;
            }
        }
    }
    ensure!(inputs >= TARGETS.len(), "only {inputs} inputs: is this test looking at them?");
    Ok(())
}
