//! Checks of an Envoy configuration whose tollbell counts in the store of a fleet.

use std::time::Duration;

use host_shim::config::model::Bootstrap;
use host_shim::{Finding, FindingKind};
use tollbell_core::preview::Preview;

/// The longest time after which a request that waits for the store should end by itself.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// Warnings about listeners whose requests could hang.
pub fn findings(bootstrap: &Bootstrap) -> Vec<Finding> {
    let mut findings = Vec::new();
    for listener in &bootstrap.listeners {
        let manager = &listener.manager;
        let has_store = manager.filters.iter().any(|filter| {
            Preview::load(&filter.plugin.configuration).is_ok_and(|preview| preview.store_cluster().is_some())
        });
        if has_store && (manager.stream_idle_timeout.is_zero() || manager.stream_idle_timeout > MAX_IDLE) {
            let text = format!(
                "listener {:?}: stream_idle_timeout is {:?}: a request that waits for the store hangs for that long if \
                 its VM fails; set it to a few seconds (envoy/fleet.yaml)",
                listener.name, manager.stream_idle_timeout
            );
            findings.push(Finding { kind: FindingKind::Warning, text });
        }
    }
    findings
}
