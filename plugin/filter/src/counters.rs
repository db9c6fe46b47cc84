//! The store that counts requests.

#[cfg(not(feature = "faults"))]
pub(crate) use tollbell_core::engine::LocalCounters as Counters;
#[cfg(feature = "faults")]
pub(crate) use tollbell_core::testing::TestCounters as Counters;

/// The counters of the process.
#[cfg(not(feature = "faults"))]
pub(crate) fn counters() -> Counters {
    Counters
}

/// The counters of the process, or late ones: see the feature `faults`.
#[cfg(feature = "faults")]
pub(crate) fn counters() -> Counters {
    use tollbell_core::engine::LocalCounters;
    use tollbell_core::testing::LateCounters;

    const PATIENCE_MS: u64 = 3000;
    let root_id = crate::host::property("plugin_root_id").and_then(|bytes| String::from_utf8(bytes).ok());
    match root_id.as_deref().and_then(|id| id.strip_prefix("late ")?.parse().ok()) {
        Some(ticks) => Counters::Late(LateCounters::after_ticks(ticks, PATIENCE_MS)),
        None => Counters::Local(LocalCounters),
    }
}
