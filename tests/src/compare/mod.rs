//! Compares the host shim with a real Envoy: the same configuration and the same requests, with an upstream of its own
//! for each host. `docs/host-shim.md` describes the command.

mod client;
mod host;
mod http1;
mod known;
mod observe;
mod requests;
mod rewrite;
mod upstream;

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use similar::TextDiff;

pub use known::{Known, Part, read_known};
pub use requests::{Answer, Ignored, Request, Requests, Version};
pub use rewrite::Configuration;

use host::{Envoy, Shim};
use observe::{Observed, observe};

/// A difference between the hosts.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The name of the request or of the statistic, or `start`.
    pub name: String,
    /// What differs.
    pub part: Part,
    /// The differing lines: `-` for Envoy, `+` for the shim.
    pub text: String,
    /// Whether it is in the list of known differences.
    pub is_known: bool,
}

/// Runs both hosts, and returns what differs.
///
/// # Errors
/// A host does not start. The error contains its log.
pub async fn compare(
    configuration: &Configuration,
    module: Option<&str>,
    requests: &Requests,
    known: &[Known],
) -> Result<Vec<Difference>> {
    let (envoy, shim) = tokio::join!(
        observe::<Envoy>(configuration, module, requests),
        observe::<Shim>(configuration, module, requests)
    );
    let mut differences = differences(&envoy.context("Envoy")?, &shim.context("the shim")?, requests);
    for difference in &mut differences {
        difference.is_known = known.iter().any(|entry| entry.covers(&difference.name, difference.part));
    }
    Ok(differences)
}

/// What the shim does not support in a configuration. Its errors come when it starts.
pub fn warnings(yaml: &str) -> Vec<String> {
    let loaded = host_shim::config::parse(yaml, "the configuration", false);
    loaded.map(|loaded| loaded.warnings.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

/// Runs both hosts, and again if something differs that is not known. Returns what differs both times. A busy machine
/// can delay a host so much that something else happens.
///
/// # Errors
/// A host does not start. The error contains its log.
pub async fn compare_twice(
    configuration: &Configuration,
    module: Option<&str>,
    requests: &Requests,
    known: &[Known],
) -> Result<Vec<Difference>> {
    let mut first = compare(configuration, module, requests, known).await?;
    if first.iter().any(|difference| !difference.is_known) {
        let again = compare(configuration, module, requests, known).await?;
        let is_again = |one: &Difference| again.iter().any(|other| (&one.name, one.part) == (&other.name, other.part));
        first.iter().filter(|one| !one.is_known && !is_again(one)).for_each(|one| println!("only once {one}"));
        first.retain(|difference| difference.is_known || is_again(difference));
    }
    Ok(first)
}

fn differences(envoy: &Observed, shim: &Observed, requests: &Requests) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut text = |name: &str, part, envoy: &str, shim: &str| {
        if envoy != shim {
            let text = TextDiff::from_lines(envoy, shim).unified_diff().context_radius(2).to_string();
            differences.push(Difference { name: name.to_owned(), part, text, is_known: false });
        }
    };
    text("start", Part::Start, &envoy.start, &shim.start);
    for ((request, envoy), shim) in requests.requests.iter().zip(&envoy.requests).zip(&shim.requests) {
        text(&request.name, Part::Answer, &envoy.answer, &shim.answer);
        text(&request.name, Part::Log, &envoy.log, &shim.log);
        text(&request.name, Part::Upstream, &envoy.upstream, &shim.upstream);
    }
    let names: BTreeSet<&String> = envoy.statistics.keys().chain(shim.statistics.keys()).collect();
    for name in names {
        let (of_envoy, of_shim) = (envoy.statistics.get(name), shim.statistics.get(name));
        // The shim has a part of Envoy's own statistics, but all of a module's.
        let is_compared = name.starts_with("wasmcustom.") || (of_envoy.is_some() && of_shim.is_some());
        if is_compared && of_envoy != of_shim {
            let shown = |value: Option<&u64>| value.map_or("none".to_owned(), u64::to_string);
            let text = format!("-{}\n+{}\n", shown(of_envoy), shown(of_shim));
            differences.push(Difference { name: name.clone(), part: Part::Statistic, text, is_known: false });
        }
    }
    differences
}

impl std::fmt::Display for Difference {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "==== {}: {} (- Envoy, + shim)\n{}", self.name, self.part.name(), self.text)
    }
}
