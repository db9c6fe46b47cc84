//! The counters that tollbell keeps, and their names.
//!
//! Names have a fixed part and at most one label, packed as `.label=value`; `stats_tags` in Envoy's configuration
//! turn the labels into Prometheus labels. The set is fixed: no client, key, path or URL is ever part of a name.

use crate::answer::Outcome;
use crate::event::EventKind;

/// A counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Requests to a known API, by what became of them.
    Requests(Outcome),
    /// Events that happened, whether or not anybody handles them, by type.
    Events(EventKind),
    /// Messages held back by a cool-down.
    Suppressed,
    /// Messages that a receiver answered with 2xx.
    Delivered,
    /// Attempts that failed and will be repeated.
    Retried,
    /// Messages given up: refused for good, or out of attempts.
    Failed,
    /// Messages that found the table of held deliveries full.
    Dropped,
    /// Cool-down claims that a newer claim pushed out before their period ended.
    CooldownEvicted,
    /// Lost compare-and-swap races, each of which was tried again.
    CasRetries,
    /// Updates given up after too many lost races.
    CasExhausted,
    /// Stored values that did not decode.
    CorruptRecords,
}

const PLAIN: [Metric; 9] = [
    Metric::Suppressed,
    Metric::Delivered,
    Metric::Retried,
    Metric::Failed,
    Metric::Dropped,
    Metric::CooldownEvicted,
    Metric::CasRetries,
    Metric::CasExhausted,
    Metric::CorruptRecords,
];

impl Metric {
    /// Every counter, in the order of [`Metric::index`].
    pub fn all() -> impl Iterator<Item = Metric> {
        let requests = Outcome::ALL.into_iter().map(Metric::Requests);
        let events = EventKind::FIRED.into_iter().map(Metric::Events);
        PLAIN.into_iter().chain(requests).chain(events)
    }

    /// This counter's place in [`Metric::all`].
    pub fn index(self) -> usize {
        let (first_request, first_event) = (PLAIN.len(), PLAIN.len().saturating_add(Outcome::ALL.len()));
        match self {
            Metric::Requests(outcome) => first_request.saturating_add(outcome as usize),
            Metric::Events(kind) => first_event.saturating_add(kind as usize),
            plain => PLAIN.iter().position(|metric| *metric == plain).unwrap_or_default(),
        }
    }

    /// The name under which the proxy knows it.
    pub fn name(self) -> String {
        match self {
            Metric::Requests(outcome) => format!("tollbell_requests.outcome={}", outcome.label()),
            Metric::Events(kind) => format!("tollbell_events.type={}", kind.name()),
            Metric::Suppressed => "tollbell_suppressed".into(),
            Metric::Delivered => "tollbell_delivered".into(),
            Metric::Retried => "tollbell_retried".into(),
            Metric::Failed => "tollbell_failed".into(),
            Metric::Dropped => "tollbell_dropped".into(),
            Metric::CooldownEvicted => "tollbell_cooldown_evicted".into(),
            Metric::CasRetries => "tollbell_cas_retries".into(),
            Metric::CasExhausted => "tollbell_cas_exhausted".into(),
            Metric::CorruptRecords => "tollbell_corrupt_records".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn every_counter_has_its_own_place_and_name() {
        for (place, metric) in Metric::all().enumerate() {
            assert_eq!(metric.index(), place, "{metric:?}");
        }
        let names: BTreeSet<String> = Metric::all().map(Metric::name).collect();
        assert_eq!(names.len(), Metric::all().count());
    }
}
