//! Quotas and rates: a fixed window that starts at its first counted request, counted exactly across all workers.
//!
//! A rate is a quota with a short window. Its window is fixed too: two numbers count it exactly at any rate, and the
//! same compare-and-swap counts it with the quota, whereas a window that slides exactly would keep the time of each
//! request in it. Up to twice the rate can pass in a period that lies across the end of a window.
//!
//! [`page`] is the stored form, [`ledger`] the counting.

mod ledger;
mod page;

pub use ledger::{Charge, Charged, Crossing, Home, Line, List, PageName, Scope, charge, usages};
pub use page::{Counter, Kind, MAX_ENTRIES, Page};

use crate::units::{Percent, UnixMillis};

/// A quota as configured: how much, for how long, and when to ring.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    /// Requests per window; at least 1.
    pub max: u64,
    /// The window in milliseconds; `None` never renews.
    pub window_ms: Option<u64>,
    /// The monitor's thresholds, ascending by count, one per count.
    triggers: Vec<Trigger>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Trigger {
    at: u64,
    limit: Percent,
}

impl Quota {
    /// `limits` in any order. Where two fall on the same count, the higher one rings.
    pub fn new(max: u64, window_ms: Option<u64>, limits: impl IntoIterator<Item = Percent>) -> Self {
        let max = max.max(1);
        let mut triggers: Vec<Trigger> =
            limits.into_iter().map(|limit| Trigger { at: limit.count_of(max), limit }).collect();
        triggers.sort_by(|a, b| a.at.cmp(&b.at).then(b.limit.cmp(&a.limit)));
        triggers.dedup_by_key(|trigger| trigger.at);
        Quota { max, window_ms, triggers }
    }

    /// `rate` requests per `per` seconds; `None` where either is 0 or less. Less than one request a period is one request
    /// in a longer one.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn of_rate(rate: f64, per: f64) -> Option<Self> {
        let is_limit = rate > 0.0 && per > 0.0 && rate.is_finite() && per.is_finite();
        let (max, seconds) = if rate < 1.0 { (1.0, per / rate) } else { (rate.floor(), per) };
        // Casts of floats saturate.
        is_limit.then(|| Quota::new(max as u64, Some(((seconds * 1000.0).round() as u64).max(1)), []))
    }

    /// A counter as of now: an ended window is replaced by a new one.
    fn as_of(&self, counter: Counter, now: UnixMillis) -> Counter {
        // A window that starts further ahead than it is long was begun by a clock that has been set right since.
        let is_over = |window| now.since(counter.started) >= window || counter.started.since(now) > window;
        if self.window_ms.is_some_and(is_over) { Counter { started: now, ..Counter::default() } } else { counter }
    }

    /// The threshold that a step from `before` to `after` crosses, above those that have rung up to count `rung`.
    fn crossed(&self, before: u64, after: u64, rung: u64) -> Option<Trigger> {
        self.triggers
            .iter()
            .rev()
            .find(|trigger| before < trigger.at && trigger.at <= after && rung < trigger.at)
            .copied()
    }

    fn usage(&self, count: u64, started: UnixMillis) -> Usage {
        let renews = self.window_ms.map(|window| started.plus(window));
        Usage { max: self.max, count, window_ms: self.window_ms, renews }
    }
}

/// How far a quota is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Requests per window.
    pub max: u64,
    /// Requests counted in this window.
    pub count: u64,
    /// The window in milliseconds; `None` never renews.
    pub window_ms: Option<u64>,
    /// When the window ends; `None` never.
    pub renews: Option<UnixMillis>,
}

impl Usage {
    /// Requests left in this window.
    pub fn remaining(&self) -> u64 {
        self.max.saturating_sub(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn quota(max: u64, limits: &[f64]) -> Quota {
        Quota::new(max, None, limits.iter().map(|limit| Percent::new(*limit).unwrap()))
    }

    #[test]
    fn the_highest_of_several_crossed_thresholds_rings() {
        let quota = quota(3, &[50.0, 80.0, 60.0]);
        assert_eq!(quota.crossed(0, 1, 0), None);
        assert_eq!(quota.crossed(1, 2, 0).map(|t| t.limit.to_string()), Some("60".into()));
        assert_eq!(quota.crossed(0, 3, 0).map(|t| t.limit.to_string()), Some("80".into()));
    }

    #[test]
    fn rates_become_whole_requests() {
        let rate = |rate, per| Quota::of_rate(rate, per).map(|quota| (quota.max, quota.window_ms));
        assert_eq!(rate(100.0, 1.0), Some((100, Some(1000))));
        assert_eq!(rate(2.5, 0.5), Some((2, Some(500))));
        assert_eq!(rate(0.5, 1.0), Some((1, Some(2000))));
        for none in [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (1.0, -1.0), (f64::NAN, 1.0), (1.0, f64::INFINITY)] {
            assert_eq!(rate(none.0, none.1), None, "{none:?}");
        }
    }

    #[test]
    fn a_threshold_that_rang_stays_silent() {
        let quota = quota(10, &[50.0, 80.0]);
        assert!(quota.crossed(4, 5, 0).is_some());
        assert!(quota.crossed(4, 5, 5).is_none());
        assert!(quota.crossed(7, 8, 5).is_some());
    }
}
