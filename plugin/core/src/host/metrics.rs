//! The counters and gauges of tollbell, and their names.
//!
//! A name has a fixed part and labels in the form `.label=value`. `stats_tags` in Envoy's configuration turn them into
//! Prometheus labels. The configuration bounds the set of names. A target appears with its host; a client, a key, a
//! path or a URL never appears.

use strum::IntoStaticStr;

/// A value of a label, and its place among all values of that label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Less than [`Label::MOST`].
    pub place: usize,
    /// Lower case with underscores, or an event's name.
    pub text: &'static str,
}

impl Label {
    /// The maximum number of values of a label.
    pub const MOST: usize = 64;
}

/// A counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Requests to an API, and refused requests to none, by outcome.
    Requests(Label),
    /// Requests that were admitted because refusals are only observed, by the outcome that they would have had.
    WouldRefuse(Label),
    /// Events by type, whether or not a handler exists.
    Events(Label),
    /// Messages that a cool-down held back.
    Suppressed,
    /// Messages that a handler's `max_per_minute` held back. A digest counts them.
    Capped,
    /// Digests that were made.
    Digests,
    /// Messages for a target that answered 410 Gone. They are not sent.
    Disabled,
    /// Messages that a receiver answered with 2xx.
    Delivered,
    /// Attempts that failed and will be repeated.
    Retried,
    /// Messages that failed for good: refused, or out of attempts.
    Failed,
    /// Failed messages that an administrator sent again.
    Resent,
    /// Held messages that an update of the configuration sent to their handler's new URL.
    Readdressed,
    /// Held messages whose handler an update removed. They are not sent.
    Withdrawn,
    /// Messages that found the table of held messages full.
    Dropped,
    /// Cool-downs that ended early, because the table of cool-downs was full.
    CooldownEvicted,
    /// Counters that were evicted from the table of identities or of fetched keys.
    IdentitiesEvicted,
    /// Fetches of `keys_from`, by result.
    KeysFetched(Fetch),
    /// Calls to the store of a fleet, by result.
    StoreCalls(StoreCall),
    /// Seconds that the store of a fleet took for its answers.
    StoreSeconds,
    /// Requests that were decided without the store of a fleet, by `on_loss`.
    StoreLost,
    /// Lost compare-and-swap races. Each update was tried again.
    CasRetries,
    /// Updates that were given up after too many lost races.
    CasExhausted,
    /// Stored values that did not decode.
    CorruptRecords,
}

/// The result of a fetch of `keys_from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Fetch {
    /// New or changed sessions were loaded.
    Loaded,
    /// The sessions were the same as before.
    Unchanged,
    /// There was no good answer. The former sessions stay.
    Failed,
}

/// The result of a call to the store of a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum StoreCall {
    /// The store answered without an error.
    Answered,
    /// The store did not answer, or answered with an error.
    Failed,
}

const PLAIN: [Metric; 23] = [
    Metric::Suppressed,
    Metric::Capped,
    Metric::Digests,
    Metric::Disabled,
    Metric::Delivered,
    Metric::Retried,
    Metric::Failed,
    Metric::Resent,
    Metric::Readdressed,
    Metric::Withdrawn,
    Metric::Dropped,
    Metric::CooldownEvicted,
    Metric::IdentitiesEvicted,
    Metric::KeysFetched(Fetch::Loaded),
    Metric::KeysFetched(Fetch::Unchanged),
    Metric::KeysFetched(Fetch::Failed),
    Metric::StoreCalls(StoreCall::Answered),
    Metric::StoreCalls(StoreCall::Failed),
    Metric::StoreSeconds,
    Metric::StoreLost,
    Metric::CasRetries,
    Metric::CasExhausted,
    Metric::CorruptRecords,
];

impl Metric {
    /// An upper bound of [`Metric::index`].
    pub const MOST: usize = 3 * Label::MOST + PLAIN.len();

    /// The counters whose names have no labels from another module.
    pub fn plain() -> impl Iterator<Item = Metric> {
        PLAIN.into_iter()
    }

    /// A unique number.
    pub fn index(self) -> usize {
        match self {
            Metric::Requests(Label { place, .. }) => place,
            Metric::Events(Label { place, .. }) => Label::MOST.saturating_add(place),
            Metric::WouldRefuse(Label { place, .. }) => (2 * Label::MOST).saturating_add(place),
            plain => {
                let place = PLAIN.iter().position(|metric| *metric == plain).unwrap_or_default();
                (3 * Label::MOST).saturating_add(place)
            }
        }
    }

    /// The name of the statistic in the proxy.
    pub fn name(self) -> String {
        match self {
            Metric::Requests(outcome) => format!("tollbell_requests.outcome={}", outcome.text),
            Metric::WouldRefuse(outcome) => format!("tollbell_would_refuse.outcome={}", outcome.text),
            Metric::Events(kind) => format!("tollbell_events.type={}", kind.text),
            Metric::Suppressed => "tollbell_suppressed".into(),
            Metric::Capped => "tollbell_capped".into(),
            Metric::Digests => "tollbell_digests".into(),
            Metric::Disabled => "tollbell_disabled".into(),
            Metric::Delivered => "tollbell_delivered".into(),
            Metric::Retried => "tollbell_retried".into(),
            Metric::Failed => "tollbell_failed".into(),
            Metric::Resent => "tollbell_resent".into(),
            Metric::Readdressed => "tollbell_readdressed".into(),
            Metric::Withdrawn => "tollbell_withdrawn".into(),
            Metric::Dropped => "tollbell_dropped".into(),
            Metric::CooldownEvicted => "tollbell_cooldown_evicted".into(),
            Metric::IdentitiesEvicted => "tollbell_identities_evicted".into(),
            Metric::KeysFetched(fetch) => format!("tollbell_keys_fetched.outcome={}", <&str>::from(fetch)),
            Metric::StoreCalls(call) => format!("tollbell_store_calls.outcome={}", <&str>::from(call)),
            Metric::StoreSeconds => "tollbell_store_seconds".into(),
            Metric::StoreLost => "tollbell_store_lost".into(),
            Metric::CasRetries => "tollbell_cas_retries".into(),
            Metric::CasExhausted => "tollbell_cas_exhausted".into(),
            Metric::CorruptRecords => "tollbell_corrupt_records".into(),
        }
    }
}

/// A gauge. The VM that dispatches sets all gauges at every tick, except [`Gauge::Leases`], which each VM changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gauge {
    /// Used slots in the table of held messages.
    Held,
    /// Attempts under way.
    InFlight,
    /// The age of the oldest held message, in seconds.
    OldestAge,
    /// Targets that answered 410 Gone.
    DisabledTargets,
    /// Sessions that were fetched from `keys_from`.
    FetchedKeys,
    /// The fetched sessions that are closed, for every API or for some.
    ClosedKeys,
    /// Clusters that the proxy does not have. Their targets cannot be reached.
    UnknownClusters,
    /// Counters of the fleet of which a VM has a lease, summed over the VMs.
    Leases,
}

impl Gauge {
    /// All gauges, in the order of their discriminants.
    pub const ALL: [Gauge; 8] = [
        Gauge::Held,
        Gauge::InFlight,
        Gauge::OldestAge,
        Gauge::DisabledTargets,
        Gauge::FetchedKeys,
        Gauge::ClosedKeys,
        Gauge::UnknownClusters,
        Gauge::Leases,
    ];

    /// The name of the statistic in the proxy.
    pub fn name(self) -> &'static str {
        match self {
            Gauge::Held => "tollbell_held",
            Gauge::InFlight => "tollbell_in_flight",
            Gauge::OldestAge => "tollbell_oldest_age_seconds",
            Gauge::DisabledTargets => "tollbell_disabled_targets",
            Gauge::FetchedKeys => "tollbell_fetched_keys",
            Gauge::ClosedKeys => "tollbell_closed_keys",
            Gauge::UnknownClusters => "tollbell_unknown_clusters",
            Gauge::Leases => "tollbell_leases",
        }
    }
}

/// The counter of attempts to a target (its host and port, as configured), by outcome.
///
/// The host comes last, because it has dots. Characters that the name of a statistic cannot have become underscores.
pub fn attempts_name(target: &str, outcome: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') { c } else { '_' };
    let target: String = target.chars().map(plain).collect();
    format!("tollbell_attempts.outcome={outcome}.target={target}")
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn gauges_are_in_the_order_of_their_discriminants() {
        for (place, gauge) in Gauge::ALL.into_iter().enumerate() {
            assert_eq!(gauge as usize, place);
        }
    }

    #[test]
    fn a_target_is_named_by_its_host() {
        let name = attempts_name("hooks.example.com:8080", "delivered");
        assert_eq!(name, "tollbell_attempts.outcome=delivered.target=hooks.example.com_8080");
    }
}
