//! The counters, for builds with and without faults.

use tollbell_core::BodyPool;
use tollbell_core::config::Config;
#[cfg(not(feature = "faults"))]
pub(crate) use tollbell_core::engine::Counting as Counters;
use tollbell_core::engine::Engine;
#[cfg(feature = "faults")]
pub(crate) use tollbell_core::testing::LateCounters as Counters;

use crate::host::ProxyHost;

/// Makes an engine that counts as its configuration says.
#[cfg(not(feature = "faults"))]
pub(crate) fn engine(config: Config, host: &ProxyHost, bodies: &BodyPool, nanos: u64) -> Engine<Counters> {
    Engine::new(config, host, bodies, nanos)
}

/// Makes an engine with the counters of the process, or late ones: see the feature `faults`.
#[cfg(feature = "faults")]
pub(crate) fn engine(config: Config, host: &ProxyHost, bodies: &BodyPool, nanos: u64) -> Engine<Counters> {
    const PATIENCE_MS: u64 = 3000;
    let root_id = crate::host::property("plugin_root_id").and_then(|bytes| String::from_utf8(bytes).ok());
    let ticks = root_id.as_deref().and_then(|id| id.strip_prefix("late ")?.parse().ok());
    let counters = Counters::after_ticks(ticks.unwrap_or_default(), PATIENCE_MS);
    Engine::with_counters(config, host, bodies, nanos, |_, _| counters)
}
