//! The statistics of modules and of the host. Each name is one statistic, even if several modules define it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::base::{MetricType, lock};

#[derive(Debug)]
pub struct Stat {
    pub kind: MetricType,
    value: AtomicU64,
    histogram: Mutex<Histogram>,
}

/// The upper bounds of Envoy's buckets.
pub const BUCKETS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1000.0,
    2500.0,
    5000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// The number of samples in each of [`BUCKETS`] and the buckets before it.
    pub buckets: [u64; BUCKETS.len()],
    pub count: u64,
    pub sum: f64,
    /// The latest samples, for quantiles.
    samples: VecDeque<u64>,
}

/// The number of samples that a histogram keeps.
const MAX_SAMPLES: usize = 10_000;

impl Stat {
    /// Returns the value of a counter or a gauge.
    pub fn value(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }

    pub fn samples(&self) -> Vec<u64> {
        lock(&self.histogram).samples.iter().copied().collect()
    }

    pub fn histogram(&self) -> Histogram {
        lock(&self.histogram).clone()
    }

    /// Adds to a counter or a gauge.
    pub fn add(&self, amount: u64) {
        self.value.fetch_add(amount, Ordering::Relaxed);
    }

    pub fn sub(&self, amount: u64) {
        self.value.fetch_sub(amount, Ordering::Relaxed);
    }

    pub fn set(&self, value: u64) {
        self.value.store(value, Ordering::Relaxed);
    }

    pub fn record(&self, sample: u64) {
        let mut histogram = lock(&self.histogram);
        if histogram.samples.len() == MAX_SAMPLES {
            histogram.samples.pop_front();
        }
        histogram.samples.push_back(sample);
        let value = sample as f64;
        histogram.count = histogram.count.saturating_add(1);
        histogram.sum += value;
        for (bound, count) in BUCKETS.iter().zip(&mut histogram.buckets) {
            *count = count.saturating_add(u64::from(value <= *bound));
        }
    }
}

#[derive(Debug, Default)]
pub struct Metrics(Mutex<BTreeMap<(String, u32), Arc<Stat>>>);

impl Metrics {
    /// Returns the statistic with a name and kind, and creates it if necessary.
    pub fn define(&self, kind: MetricType, name: &str) -> Arc<Stat> {
        let mut stats = lock(&self.0);
        let stat = stats
            .entry((name.to_owned(), kind.code()))
            .or_insert_with(|| Arc::new(Stat { kind, value: AtomicU64::new(0), histogram: Mutex::default() }));
        Arc::clone(stat)
    }

    /// Returns a counter of the host.
    pub fn counter(&self, name: &str) -> Arc<Stat> {
        self.define(MetricType::Counter, name)
    }

    /// Returns a gauge of the host.
    pub fn gauge(&self, name: &str) -> Arc<Stat> {
        self.define(MetricType::Gauge, name)
    }

    /// Returns the value of a counter or a gauge if it is defined.
    pub fn value(&self, name: &str) -> Option<u64> {
        self.all()
            .into_iter()
            .find(|(other, stat)| other == name && stat.kind != MetricType::Histogram)
            .map(|(_, stat)| stat.value())
    }

    /// Returns all statistics, sorted by name.
    pub fn all(&self) -> Vec<(String, Arc<Stat>)> {
        lock(&self.0).iter().map(|((name, _), stat)| (name.clone(), Arc::clone(stat))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_more_samples_than_it_keeps() {
        let metrics = Metrics::default();
        let stat = metrics.define(MetricType::Histogram, "h");
        let recorded = 2 * u64::try_from(MAX_SAMPLES).unwrap();
        (0..recorded).for_each(|sample| stat.record(sample % 2 * 7));
        let histogram = stat.histogram();
        assert_eq!((histogram.count, histogram.sum), (recorded, 7.0 * (recorded / 2) as f64));
        // The buckets with the bounds 5 and 10.
        assert_eq!(histogram.buckets[2..4], [recorded / 2, recorded]);
        assert_eq!(stat.samples().len(), MAX_SAMPLES);
    }
}
