//! Counters and gauges of the proxy.
//!
//! Each hostcall for a statistic costs a request as much as reading the time. So counts of requests are summed here and
//! passed to the host at ticks. The proxy shows them half a second later, and if a VM dies, its sums are lost. Outcomes
//! of messages are counted at once.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use tollbell_core::host::{Gauge, Metric, attempts_name};

use crate::abi::{self, MetricType};

/// The counters and gauges of one configuration.
pub(crate) struct Statistics {
    /// The counters by [`Metric::index`].
    counters: Vec<Counter>,
    gauges: Vec<Option<u32>>,
    /// The counters of attempts. They are defined at the first count. Their targets come from configurations, so there
    /// are few.
    attempts: RefCell<BTreeMap<String, Option<u32>>>,
}

#[derive(Default)]
struct Counter {
    /// `None` if the host does not keep the counter.
    id: Option<u32>,
    /// The count that the host has not got yet.
    pending: Cell<u64>,
}

impl Counter {
    /// If the host cannot count, nothing else changes.
    fn increment(&self, n: u64) {
        if let Some(id) = self.id {
            let _ = abi::increment_metric(id, i64::try_from(n).unwrap_or(i64::MAX));
        }
    }
}

impl Statistics {
    /// Defines the counters.
    pub(crate) fn define(metrics: impl Iterator<Item = Metric>) -> Self {
        let mut counters: Vec<Counter> = Vec::new();
        counters.resize_with(Metric::MOST, Counter::default);
        let mut ids = Vec::new();
        for metric in metrics {
            let id = define(MetricType::Counter, &metric.name());
            ids.push(id);
            if let Some(counter) = counters.get_mut(metric.index()) {
                counter.id = id;
            }
        }
        let gauges: Vec<_> = Gauge::ALL.iter().map(|gauge| define(MetricType::Gauge, gauge.name())).collect();
        ids.extend(&gauges);
        let missing = ids.iter().filter(|id| id.is_none()).count();
        if missing > 0 {
            log::error!("the host does not keep {missing} of {} statistics", ids.len());
        }
        Statistics { counters, gauges, attempts: RefCell::default() }
    }

    pub(crate) fn add(&self, metric: Metric, n: u64) {
        let Some(counter) = self.counters.get(metric.index()) else { return };
        match metric {
            Metric::Requests(_) | Metric::Events(_) => counter.pending.set(counter.pending.get().saturating_add(n)),
            _ => counter.increment(n),
        }
    }

    /// Passes the counts since the last call to the host.
    pub(crate) fn hand_over(&self) {
        for counter in &self.counters {
            if let n @ 1.. = counter.pending.take() {
                counter.increment(n);
            }
        }
    }

    pub(crate) fn count_attempt(&self, target: &str, outcome: &'static str) {
        let name = attempts_name(target, outcome);
        let Ok(mut attempts) = self.attempts.try_borrow_mut() else { return };
        let counter = attempts.entry(name).or_insert_with_key(|name| define(MetricType::Counter, name));
        if let Some(counter) = counter {
            // A failure changes nothing else.
            let _ = abi::increment_metric(*counter, 1);
        }
    }

    pub(crate) fn set(&self, gauge: Gauge, value: u64) {
        if let Some(Some(gauge)) = self.gauges.get(gauge as usize) {
            // A failure changes nothing else.
            let _ = abi::record_metric(*gauge, value);
        }
    }

    pub(crate) fn change(&self, gauge: Gauge, by: i64) {
        if let Some(Some(gauge)) = self.gauges.get(gauge as usize) {
            // A failure changes nothing else.
            let _ = abi::increment_metric(*gauge, by);
        }
    }
}

fn define(kind: MetricType, name: &str) -> Option<u32> {
    abi::define_metric(kind, name).ok()
}
