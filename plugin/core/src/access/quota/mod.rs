//! Quotas and rates: fixed windows that start at their first counted request, counted exactly across all workers.
//!
//! A rate is a quota with a short window. Its window is fixed, too: two numbers count it exactly at any rate, and one
//! compare-and-swap counts it together with the quota. An exact sliding window would have to store the time of each
//! request. Up to twice the rate can pass in a period that lies across the end of a window.
//!
//! [`Counters`] is a store of counters. [`ledger`] is the store of this process, [`page`] its stored form, and
//! [`alerts`] records which thresholds were reported.

mod alerts;
mod counters;
mod fleet;
mod forecast;
mod ledger;
mod owner;
mod page;

pub use alerts::Alerts;
pub use counters::{ChargeResult, Counters, LocalCounters, StoreView};
pub use fleet::{FleetCounters, FleetSettings, OnLoss};
pub use forecast::{Forecast, QuotaChange};
pub use ledger::{Charge, ChargeLine, Charged, Home, LimitScope, List, PageName, QuotaNews, Usages};
pub use owner::{MakeOwner, Notice, Owner};
pub use page::{Counter, MAX_ENTRIES, changed};

use serde::{Deserialize, Serialize};

use crate::base::{Percent, UnixMillis};

/// A configured quota: its maximum, its window and its thresholds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    /// Requests per window; at least 1.
    pub max: u64,
    /// The window in milliseconds; `None` means that it never renews.
    pub window_ms: Option<u64>,
    /// Whether VMs of a fleet read ahead; `None` means as the store says.
    pub reads_ahead: Option<bool>,
    /// Whether and when it is told that the quota will be used up.
    pub forecast: Option<Forecast>,
    /// The monitor's thresholds in ascending order, at most one for each count.
    triggers: Vec<Trigger>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Trigger {
    at: u64,
    limit: Percent,
}

impl Quota {
    /// Accepts `limits` in any order. If two thresholds have the same count, the higher percentage is reported.
    pub fn new(max: u64, window_ms: Option<u64>, limits: impl IntoIterator<Item = Percent>) -> Self {
        let max = max.max(1);
        let mut triggers: Vec<Trigger> =
            limits.into_iter().map(|limit| Trigger { at: limit.count_of(max), limit }).collect();
        triggers.sort_by(|a, b| a.at.cmp(&b.at).then(b.limit.cmp(&a.limit)));
        triggers.dedup_by_key(|trigger| trigger.at);
        Quota { max, window_ms, reads_ahead: None, forecast: None, triggers }
    }

    /// The thresholds, and the counts at which they are crossed, in ascending order.
    pub fn thresholds(&self) -> impl Iterator<Item = (Percent, u64)> {
        self.triggers.iter().map(|trigger| (trigger.limit, trigger.at))
    }

    /// `rate` requests per `per` seconds; `None` if either is 0 or less. Less than one request per period becomes one
    /// request in a longer period.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn of_rate(rate: f64, per: f64) -> Option<Self> {
        let is_limit = rate > 0.0 && per > 0.0 && rate.is_finite() && per.is_finite();
        let (max, seconds) = if rate < 1.0 { (1.0, per / rate) } else { (rate.floor(), per) };
        // Casts of floats saturate.
        is_limit.then(|| Quota::new(max as u64, Some(((seconds * 1000.0).round() as u64).max(1)), []))
    }

    /// The counter as of now: a window that ended is replaced by a new one.
    fn as_of(&self, counter: Counter, now: UnixMillis) -> Counter {
        // If the window starts further in the future than its length, a wrong clock started it that has been corrected
        // since.
        let is_over = |window| now.since(counter.started) >= window || counter.started.since(now) > window;
        if self.window_ms.is_some_and(is_over) { Counter { started: now, ..Counter::default() } } else { counter }
    }

    /// The highest threshold that the counter has reached, unless it was reported.
    fn due(&self, counter: &Counter) -> Option<Trigger> {
        let reached = self.triggers.iter().rev().find(|trigger| trigger.at <= counter.count)?;
        // An alert that covers the highest covers those below it.
        (!counter.alerts.cover(*reached)).then_some(*reached)
    }

    /// When the quota will be used up, if that is to be told now.
    fn foretold(&self, counter: &Counter, now: UnixMillis) -> Option<UnixMillis> {
        let (forecast, window_ms) = self.forecast.filter(|_| !counter.is_foretold).zip(self.window_ms)?;
        let left = forecast.due((counter.count, self.max), now.since(counter.started), window_ms)?;
        Some(now.plus(left))
    }

    fn usage(&self, count: u64, started: UnixMillis) -> Usage {
        let renews = self.window_ms.map(|window| started.plus(window));
        Usage { max: self.max, count, window_ms: self.window_ms, renews }
    }
}

/// The number of the rate's counter that belongs to a quota's counter, and the reverse.
pub fn rate_subject(subject: u64) -> u64 {
    (subject ^ 0x9e37_79b9_7f4a_7c15).max(2)
}

/// The usage of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Requests per window.
    pub max: u64,
    /// The count in this window.
    pub count: u64,
    /// The window in milliseconds; `None` means that it never renews.
    pub window_ms: Option<u64>,
    /// The end of the window; `None` means never.
    pub renews: Option<UnixMillis>,
}

impl Usage {
    /// The requests that are left in this window.
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

    fn due(quota: &Quota, count: u64, alerts: Alerts) -> Option<String> {
        quota.due(&Counter { count, alerts, ..Counter::default() }).map(|trigger| trigger.limit.to_string())
    }

    #[test]
    fn the_highest_of_several_crossed_thresholds_is_reported() {
        let quota = quota(3, &[50.0, 80.0, 60.0]);
        let due = |count| due(&quota, count, Alerts::default());
        assert_eq!([due(1), due(2), due(3)], [None, Some("60".into()), Some("80".into())]);
    }

    #[test]
    fn rates_are_rounded_to_whole_requests() {
        let rate = |rate, per| Quota::of_rate(rate, per).map(|quota| (quota.max, quota.window_ms));
        assert_eq!(rate(100.0, 1.0), Some((100, Some(1000))));
        assert_eq!(rate(2.5, 0.5), Some((2, Some(500))));
        assert_eq!(rate(0.5, 1.0), Some((1, Some(2000))));
        for none in [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (1.0, -1.0), (f64::NAN, 1.0), (1.0, f64::INFINITY)] {
            assert_eq!(rate(none.0, none.1), None, "{none:?}");
        }
    }

    #[test]
    fn a_reported_threshold_is_not_reported_again() {
        let quota = quota(10, &[50.0, 80.0]);
        let mut alerts = Alerts::default();
        alerts.add(Percent::new(50.0).unwrap(), 5);
        assert_eq!(due(&quota, 5, alerts), None);
        assert_eq!(due(&quota, 8, alerts), Some("80".into()));
    }
}
