//! Cases of the behaviour of a proxy-wasm host, with the recorded behaviour of a real Envoy.
//! `tests/conformance/README.md` describes them.
//!
//! `RECORD=1` records Envoy's behaviour. `CONFORMANCE=name` runs the themes and cases whose names contain it.

/// Cases and their records.
mod case;
/// Clusters for raw TCP, sockets of the file system, and health checks.
mod clusters;
/// The Envoy configuration of a theme.
mod config;
/// Hosts that run an Envoy configuration.
mod host;
/// HTTP/1.1 on the wire.
mod http1;
/// Runs a case and observes it.
mod observe;
/// TCP servers that speak no HTTP.
mod raw;
/// The upstream and the callout server.
mod server;
/// Modules that call WASI functions.
mod wasi;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use case::{Observed, Theme, themes};
use host::Host;
use observe::observe_theme;
use similar::TextDiff;
use tokio::task::JoinSet;
use tollbell_tests::envoy;

/// The number of host processes that run at the same time.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn envoy_does_what_is_on_record() -> Result<()> {
    let _shared = crate::support::shared().await;
    let records = std::env::var_os("RECORD").is_some();
    let differences = differences::<host::Envoy>(records).await?;
    // The record is of one version. Another version may have a list of differences.
    let list = format!("envoy-{}.yaml", envoy::version()?);
    agree(&differences, &list)
}

/// Checks that exactly the cases of a list differ.
fn agree(differences: &[String], list: &str) -> Result<()> {
    let file = tollbell_tests::project_root().join("tests/conformance/differs").join(list);
    let known: BTreeMap<String, String> = match std::fs::read_to_string(&file) {
        Ok(text) => serde_norway::from_str(&text)?,
        Err(_) => BTreeMap::new(),
    };
    let is_of = |difference: &str, case: &str| {
        difference.lines().next().is_some_and(|line| line.contains(&format!(": {case} (")))
    };
    let new: Vec<_> = differences.iter().filter(|text| !known.keys().any(|case| is_of(text, case))).cloned().collect();
    ensure!(
        new.is_empty(),
        "{} cases differ:
{}",
        new.len(),
        new.join(
            "
"
        )
    );
    let agreeing: Vec<_> = known.keys().filter(|case| !differences.iter().any(|text| is_of(text, case))).collect();
    let is_whole = std::env::var_os("CONFORMANCE").is_none() && std::env::var_os("RECORD").is_none();
    ensure!(agreeing.is_empty() || !is_whole, "these agree now, and must go from {list}: {agreeing:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_shim_does_what_is_on_record() -> Result<()> {
    let _shared = crate::support::shared().await;
    // The module's path is relative, as in the configurations that users copy.
    std::env::set_current_dir(tollbell_tests::project_root())?;
    let differences = differences::<host::Shim>(false).await?;
    agree(&differences, "shim.yaml")
}

/// Runs every theme on a host, and returns the differences from the record, by case.
async fn differences<H: Host>(records: bool) -> Result<Vec<String>> {
    let mut waiting = selected()?.into_iter();
    let mut running = JoinSet::new();
    let mut differences = Vec::new();
    loop {
        while running.len() < AT_ONCE
            && let Some(theme) = waiting.next()
        {
            running.spawn(compare::<H>(theme, records));
        }
        let Some(done) = running.join_next().await else { break };
        differences.extend(done??);
    }
    Ok(differences)
}

/// The themes without unselected cases.
fn selected() -> Result<Vec<Theme>> {
    let mut themes = themes()?;
    if let Ok(wanted) = std::env::var("CONFORMANCE") {
        for theme in &mut themes {
            if !theme.name.contains(&wanted) {
                theme.cases.retain(|case| case.name.contains(&wanted));
            }
        }
    }
    themes.retain(|theme| !theme.cases.is_empty());
    Ok(themes)
}

async fn compare<H: Host>(mut theme: Theme, records: bool) -> Result<Vec<String>> {
    let observed = observe_theme::<H>(&theme).await?;
    let recorded = theme.recorded()?;
    if records {
        let mut all = recorded;
        all.retain(|(name, _)| {
            std::env::var_os("CONFORMANCE").is_some() || observed.iter().any(|(seen, _)| seen == name)
        });
        for (name, observed) in observed {
            match all.iter_mut().find(|(known, _)| *known == name) {
                Some((_, old)) => *old = observed,
                None => all.push((name, observed)),
            }
        }
        theme.write_record(all)?;
        return Ok(Vec::new());
    }
    let on_record = |name: &str| recorded.iter().find(|(known, _)| known == name).map(|(_, on_record)| on_record);
    let differs = |(name, observed): &(String, Observed)| on_record(name) != Some(observed);
    let differing: Vec<String> = observed.into_iter().filter(differs).map(|(name, _)| name).collect();
    theme.cases.retain(|case| differing.contains(&case.name));
    if theme.cases.is_empty() {
        return Ok(Vec::new());
    }
    // Many cases depend on time, and the machine may have been busy: only what differs again is a difference.
    let again = observe_theme::<H>(&theme).await?;
    let differing = again.iter().filter(|seen| differs(seen));
    differing.map(|(name, observed)| difference(&theme.name, name, on_record(name), observed)).collect()
}

fn difference(theme: &str, case: &str, recorded: Option<&Observed>, observed: &Observed) -> Result<String> {
    let text = |observed: Option<&Observed>| match observed {
        Some(observed) => serde_norway::to_string(observed),
        None => Ok("nothing on record\n".to_owned()),
    };
    let (old, new) = (text(recorded)?, text(Some(observed))?);
    let diff = TextDiff::from_lines(&old, &new);
    Ok(format!("==== {theme}: {case} (- on record, + seen)\n{}", diff.unified_diff().context_radius(3)))
}
