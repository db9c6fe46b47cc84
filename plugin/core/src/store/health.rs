//! The state of the store, as one VM sees it.

use crate::base::UnixMillis;
use crate::host::{Metric, Metrics, StoreCall};

/// The state of the store, as this VM sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The time of the last good answer; 0 for none.
    pub last_answer: UnixMillis,
    /// The number of failed calls since. In a Redis Cluster, a call fails if a node of it fails.
    pub failures: u32,
    /// Why the last call failed.
    pub trouble: String,
}

impl Health {
    /// A call to one node ran without an error.
    pub(super) fn succeed(&mut self, host: &impl Metrics, cluster: &str, now: UnixMillis) {
        host.count(Metric::StoreCalls(StoreCall::Answered));
        if self.failures > 0 {
            log::warn!("the store {cluster} answers again, after {} failed calls", self.failures);
        }
        *self = Health { last_answer: now, ..Health::default() };
    }

    /// A call to one node failed.
    pub(super) fn fail(&mut self, host: &impl Metrics, cluster: &str, trouble: &str) {
        host.count(Metric::StoreCalls(StoreCall::Failed));
        if self.trouble != trouble {
            log::error!("the store {cluster} fails: {trouble}");
            trouble.clone_into(&mut self.trouble);
        }
        self.failures = self.failures.saturating_add(1);
    }
}
