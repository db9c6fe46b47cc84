//! Counters and gauges of the proxy.
//!
//! Each call for one costs a request as much as the time does. So what happens with every request is summed here and
//! handed over at ticks: the proxy shows it half a second later, and what a VM summed is lost if it dies. What became of
//! messages is counted at once.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use tollbell_core::host::{Gauge, Metric, attempts_name};

use crate::abi::{self, MetricType};

/// The counters and gauges of one configuration.
pub(crate) struct Statistics {
    /// By [`Metric::index`].
    counters: Vec<Counter>,
    gauges: Vec<Option<u32>>,
    /// Defined when first counted. Their targets come from configurations, so there are few.
    attempts: RefCell<BTreeMap<String, Option<u32>>>,
}

#[derive(Default)]
struct Counter {
    /// `None` where the host does not keep it.
    id: Option<u32>,
    /// What the host has not got yet.
    pending: Cell<u64>,
}

impl Counter {
    /// A counter that cannot be kept is no reason to do anything else.
    fn increment(&self, n: u64) {
        if let Some(id) = self.id {
            let _ = abi::increment_metric(id, i64::try_from(n).unwrap_or(i64::MAX));
        }
    }
}

impl Statistics {
    /// Defines them.
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

    /// Hands the host what was counted since the last time.
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
            // As above.
            let _ = abi::increment_metric(*counter, 1);
        }
    }

    pub(crate) fn set(&self, gauge: Gauge, value: u64) {
        if let Some(Some(gauge)) = self.gauges.get(gauge as usize) {
            // As above.
            let _ = abi::record_metric(*gauge, value);
        }
    }
}

fn define(kind: MetricType, name: &str) -> Option<u32> {
    abi::define_metric(kind, name).ok()
}
