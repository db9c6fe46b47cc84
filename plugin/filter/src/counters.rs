//! The store that counts requests.

#[cfg(not(feature = "faults"))]
pub(crate) use tollbell_core::engine::LocalCounters as Counters;
#[cfg(feature = "faults")]
pub(crate) use tollbell_core::testing::LateCounters as Counters;

/// The counters of the process.
#[cfg(not(feature = "faults"))]
pub(crate) fn counters() -> Counters {
    Counters
}

/// The counters of the process, or late ones: see the feature `faults`.
#[cfg(feature = "faults")]
pub(crate) fn counters() -> Counters {
    const PATIENCE_MS: u64 = 3000;
    let root_id = crate::host::property("plugin_root_id").and_then(|bytes| String::from_utf8(bytes).ok());
    let ticks = root_id.as_deref().and_then(|id| id.strip_prefix("late ")?.parse().ok());
    Counters::after_ticks(ticks.unwrap_or_default(), PATIENCE_MS)
}
