//! Every story of `tests/stories` on three hosts: the core natively, the module in the shim, and the module in a real
//! Envoy (except those that need a clock or faults). All must have the same results.

mod core;
mod envoy;

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use host_shim::Modules;
use host_shim::story::{self, ShimSubject, Story, Subject};
use tollbell_tests::project_root;

use self::core::CoreSubject;
pub use self::envoy::EnvoySubject;

fn stories() -> Result<Vec<Story>> {
    Story::read_all(&[project_root().join("tests/stories")])
}

/// Runs all stories, and shows those that fail.
fn run_all(stories: &[Story], mut start: impl FnMut(&Story) -> Result<Box<dyn Subject>>) -> Result<()> {
    ensure!(!stories.is_empty(), "there is no story");
    let mut failures = Vec::new();
    for story in stories {
        let outcome = start(story).and_then(|mut subject| Ok(story::run(story, &mut *subject, &mut |_| {})?));
        if let Err(error) = outcome {
            failures.push(format!("{}: {error:#}", story.name));
        }
    }
    ensure!(failures.is_empty(), "{} of {} stories fail:\n{}", failures.len(), stories.len(), failures.join("\n"));
    Ok(())
}

#[test]
fn every_story_succeeds_on_the_core() -> Result<()> {
    run_all(&stories()?, |story| Ok(Box::new(CoreSubject::start(story)?)))
}

#[test]
fn every_story_succeeds_in_the_shim() -> Result<()> {
    std::env::set_current_dir(project_root())?;
    // In a container, the module is elsewhere.
    let modules = Modules { folders: vec!["dist".into()], ..Modules::default() };
    run_all(&stories()?, |story| Ok(Box::new(ShimSubject::start(story, &modules)?)))
}

#[test]
fn every_story_without_clock_and_faults_succeeds_in_envoy() -> Result<()> {
    let mut stories = stories()?;
    stories.retain(|story| !story.needs_control());
    run_all(&stories, |story| Ok(Box::new(EnvoySubject::start(story)?)))
}

/// A configuration for users without a story would not be tested in both gateways.
#[test]
fn every_configuration_has_a_story_that_runs_everywhere() -> Result<()> {
    let mut configurations = BTreeSet::from([project_root().join("envoy/envoy.yaml")]);
    for entry in fs::read_dir(project_root().join("examples"))? {
        configurations.insert(entry?.path().join("envoy.yaml"));
    }
    for story in stories()?.iter().filter(|story| !story.needs_control()) {
        let file = story.envoy.canonicalize().with_context(|| story.envoy.display().to_string())?;
        configurations.retain(|other| other.canonicalize().is_ok_and(|other| other != file));
    }
    ensure!(configurations.is_empty(), "no story for {configurations:?}");
    Ok(())
}
