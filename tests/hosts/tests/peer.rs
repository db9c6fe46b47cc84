//! Stories of `tests/stories` on the independent crate `proxy-wasm-host`: quotas, refusals, headers, ticks and webhooks
//! have the same results as in Envoy.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use host_shim::story::{self, Action, Story};
use tollbell_hosts::{Compiled, Peer, Spelling};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The stories without faults. Only the shim has faults.
fn stories() -> Result<Vec<Story>> {
    let mut stories = Story::read_all(&[root().join("tests/stories")])?;
    stories.retain(|story| !story.steps.iter().any(|step| matches!(step.action, Action::Fault(_))));
    ensure!(stories.len() >= 10, "only {} stories", stories.len());
    Ok(stories)
}

#[test]
fn every_story_without_faults_succeeds() -> Result<()> {
    let path = root().join("dist/tollbell.wasm");
    let module = fs::read(&path).with_context(|| format!("{} is not built; run `make test-hosts`", path.display()))?;
    let compiled = Compiled::new(&module)?;
    let mut failures = Vec::new();
    for story in &stories()? {
        for spelling in [Spelling::Lower, Spelling::Title] {
            let outcome = Peer::start(story, &compiled, spelling)
                .and_then(|mut peer| Ok(story::run(story, &mut peer, &mut |_| {})?));
            if let Err(error) = outcome {
                failures.push(format!("{} {spelling:?}: {error:#}", story.file.display()));
            }
        }
    }
    ensure!(failures.is_empty(), "{} stories fail:\n{}", failures.len(), failures.join("\n"));
    Ok(())
}
