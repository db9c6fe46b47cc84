//! Statistics: those that modules define, and the host's own. One name is one statistic, whoever defines it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::lock;
use crate::abi::types::MetricType;

/// A statistic.
#[derive(Debug)]
pub struct Stat {
    /// Its kind.
    pub kind: MetricType,
    value: AtomicU64,
    samples: Mutex<Vec<u64>>,
}

/// A histogram keeps this many samples, the latest.
const MAX_SAMPLES: usize = 10_000;

impl Stat {
    /// The value of a counter or a gauge.
    pub fn value(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }

    /// A histogram's latest samples.
    pub fn samples(&self) -> Vec<u64> {
        lock(&self.samples).clone()
    }

    /// Adds to a counter or a gauge.
    pub fn add(&self, amount: u64) {
        self.value.fetch_add(amount, Ordering::Relaxed);
    }

    /// Takes from a gauge.
    pub fn sub(&self, amount: u64) {
        self.value.fetch_sub(amount, Ordering::Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, value: u64) {
        self.value.store(value, Ordering::Relaxed);
    }

    /// Records a histogram's sample.
    pub fn record(&self, sample: u64) {
        let mut samples = lock(&self.samples);
        if samples.len() == MAX_SAMPLES {
            samples.remove(0);
        }
        samples.push(sample);
    }
}

/// The statistics of a process.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<BTreeMap<(String, u32), Arc<Stat>>>);

impl Metrics {
    /// The statistic of a name and kind, made where it is not there.
    pub fn define(&self, kind: MetricType, name: &str) -> Arc<Stat> {
        let mut stats = lock(&self.0);
        let stat = stats
            .entry((name.to_owned(), kind.code()))
            .or_insert_with(|| Arc::new(Stat { kind, value: AtomicU64::new(0), samples: Mutex::new(Vec::new()) }));
        Arc::clone(stat)
    }

    /// A counter of the host's own.
    pub(crate) fn counter(&self, name: &str) -> Arc<Stat> {
        self.define(MetricType::Counter, name)
    }

    /// A gauge of the host's own.
    pub(crate) fn gauge(&self, name: &str) -> Arc<Stat> {
        self.define(MetricType::Gauge, name)
    }

    /// The value of a counter or gauge, if it is defined.
    pub fn value(&self, name: &str) -> Option<u64> {
        self.all()
            .into_iter()
            .find(|(other, stat)| other == name && stat.kind != MetricType::Histogram)
            .map(|(_, stat)| stat.value())
    }

    /// All of them, sorted by name.
    pub fn all(&self) -> Vec<(String, Arc<Stat>)> {
        lock(&self.0).iter().map(|((name, _), stat)| (name.clone(), Arc::clone(stat))).collect()
    }
}
