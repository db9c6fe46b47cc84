//! Clusters that the proxy does not have: one error line for each, and a gauge.
//!
//! They are in one value in shared data. The VM that is refused first logs the line.

use std::collections::BTreeSet;

use litemap::LiteMap;

use super::target::Target;
use crate::base::{fingerprint, record};
use crate::host::{Change, Metrics, SharedData, StoreError, read, update};

const KEY: &str = "tb1/x";
const VERSION: u8 = 2;

/// The maximum number of clusters that are stored.
const CAPACITY: usize = 64;

/// The maximum number of targets in a log line.
const MAX_SHOWN: usize = 8;

/// The settings and targets that need a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterUse {
    pub paths: Vec<String>,
    /// Host and port of each target.
    pub targets: BTreeSet<String>,
}

impl ClusterUse {
    /// The targets as text; if there are many, only the first.
    pub fn shown_targets(&self) -> String {
        let shown: Vec<&str> = self.targets.iter().take(MAX_SHOWN).map(String::as_str).collect();
        match self.targets.len().saturating_sub(shown.len()) {
            0 => shown.join(", "),
            more => format!("{} and {more} more", shown.join(", ")),
        }
    }
}

/// The uses of clusters, by the cluster's name.
pub type Clusters = LiteMap<String, ClusterUse>;

/// The unknown clusters, as of this VM's last tick.
#[derive(Debug, Default)]
pub struct UnknownClusters(BTreeSet<u64>);

impl UnknownClusters {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Reads the unknown clusters of all VMs. Bytes that do not decode count as none.
    ///
    /// # Errors
    /// When the host refuses.
    pub fn refresh(&mut self, host: &impl SharedData) -> Result<(), StoreError> {
        self.0 = decode(read(host, KEY)?.as_deref());
        Ok(())
    }

    /// Called when the proxy refused a callout because it does not have the cluster.
    pub fn refused(&mut self, host: &(impl SharedData + Metrics), used: Option<&ClusterUse>, target: &Target) {
        let cluster = &target.cluster;
        let own = fingerprint(&[cluster]);
        if !self.0.insert(own) {
            return;
        }
        let is_first = update(host, KEY, |stored| {
            let mut all = decode(stored.as_deref());
            let is_first = all.len() < CAPACITY && all.insert(own);
            Ok(if is_first { Change::Write(encode(&all), true) } else { Change::Keep(false) })
        });
        if is_first.unwrap_or(true) {
            let (place, targets) = match used {
                Some(used) => (format!("{}: ", used.paths.join(", ")), used.shown_targets()),
                None => (String::new(), target.authority.clone()),
            };
            log::error!("{place}the proxy has no cluster {cluster:?}: nothing reaches {targets}");
        }
    }

    /// Called when the proxy started a callout through a cluster.
    pub fn found(&mut self, host: &(impl SharedData + Metrics), cluster: &str) {
        let own = fingerprint(&[cluster]);
        if self.0.is_empty() || !self.0.remove(&own) {
            return;
        }
        let forgotten = update(host, KEY, |stored| {
            let mut all = decode(stored.as_deref());
            Ok(if all.remove(&own) { Change::Write(encode(&all), ()) } else { Change::Keep(()) })
        });
        if let Err(error) = forgotten {
            log::warn!("the cluster {cluster:?} counts as unknown for a while: {error}");
        }
    }
}

/// Called when a configuration begins. It may no longer name the clusters that were unknown before.
///
/// # Errors
/// When the host refuses.
pub fn forget(host: &impl SharedData) -> Result<(), StoreError> {
    if read(host, KEY)?.is_some() {
        host.put(KEY, b"")?;
    }
    Ok(())
}

fn decode(stored: Option<&[u8]>) -> BTreeSet<u64> {
    stored.and_then(|bytes| record::decode(VERSION, bytes)).unwrap_or_default()
}

fn encode(all: &BTreeSet<u64>) -> Vec<u8> {
    record::encode(VERSION, all)
}
