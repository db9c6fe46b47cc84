//! `tollbell test-connection`: a HEAD request to a named webhook's target, without its configured headers, through the
//! cluster that Envoy would use.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use host_shim::command::load;
use host_shim::config::model::{Bootstrap, Cluster};
use host_shim::{Reachability, probe};
use http::Uri;
use tollbell_core::preview::NamedTarget;

use crate::plugins::previews;

const USER_AGENT: &str = concat!("tollbell/", env!("CARGO_PKG_VERSION"));

/// The options of `test-connection`.
#[derive(Debug, Args)]
pub struct TestConnection {
    /// The Envoy configuration, YAML or JSON
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// The name of an entry of webhooks
    #[arg(long, value_name = "NAME")]
    webhook: String,
    /// Seconds to wait for an answer
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u64,
}

impl TestConnection {
    /// Prints the result of the request. Returns whether the target is reachable.
    ///
    /// # Errors
    /// The configuration has an error, or it has no such webhook.
    pub fn execute(&self) -> Result<bool> {
        let bootstrap = load(&self.config)?.bootstrap;
        let (url, cluster) = target(&bootstrap, &self.webhook)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let within = Duration::from_secs(self.timeout);
        let found = runtime.block_on(probe(&url, cluster, USER_AGENT, within));
        println!("{}: {found}", self.webhook);
        Ok(matches!(found, Reachability::Reachable(..)))
    }
}

/// The URL of a webhook, and the cluster that reaches it.
fn target<'b>(bootstrap: &'b Bootstrap, webhook: &str) -> Result<(Uri, &'b Cluster)> {
    let found: Vec<_> = previews(bootstrap)?.iter().map(|preview| preview.webhook(webhook)).collect();
    let found = found.iter().find(|target| target.is_ok()).or(found.first()).context("there is no wasm filter")?;
    let NamedTarget { url, cluster } = found.clone()?;
    let uri: Uri = url.parse().context("the webhook's target_url is not a URL")?;
    let known = bootstrap.clusters.iter().find(|known| known.name == cluster);
    Ok((uri, known.with_context(|| format!("its cluster {cluster:?} is not in the configuration"))?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use host_shim::gateway::Gateway;

    #[test]
    fn webhooks_are_found_with_their_cluster() {
        let config = r#"{
            "apis": [{ "api_id": "a" }],
            "webhooks": [
                { "name": "crm", "target_url": "https://u:p@a.test:8443/in" },
                { "name": "soc", "target_url": "http://b.test" },
                { "name": "lost", "target_url": "http://c.test" }
            ],
            "callouts": { "clusters": { "a.test": "upstream", "b.test": "upstream", "c.test": "none" } }
        }"#;
        let bootstrap = Gateway::builder(Vec::new()).config(config).get_bootstrap().clone();
        let found = |name: &str| target(&bootstrap, name).map(|(url, cluster)| (url.to_string(), cluster.name.clone()));
        assert_eq!(found("soc").unwrap(), ("http://b.test/".to_owned(), "upstream".to_owned()));
        assert!(found("crm").unwrap().0.ends_with("a.test:8443/in"));
        let error = |name: &str| found(name).unwrap_err().to_string();
        assert!(error("sock").contains("there are crm, lost, soc"), "{}", error("sock"));
        assert!(error("lost").contains("\"none\""), "{}", error("lost"));
    }
}
