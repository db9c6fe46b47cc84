//! What clients ask for: keys with a Zipf load, and their limits.

use tollbell_core::testing::LesseeLimit;

use crate::Size;

/// Pseudo-random numbers: SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to 1, without 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn below(&mut self, most: usize) -> usize {
        (self.next() % most.max(1) as u64) as usize
    }
}

/// The keys, by their rank.
pub(crate) struct Demand {
    /// The sum of the weights up to each key.
    sums: Vec<f64>,
    limits: Vec<LesseeLimit>,
    /// Requests of a key in a window.
    per_window: Vec<f64>,
}

impl Demand {
    /// The n-th key has 1/n of the load of the first. Every fourth key's quota is half of what its clients ask for in a
    /// window, and the others' quotas are twice as much, but never less than 20.
    pub(crate) fn new(size: &Size, share: f64) -> Self {
        let mut sum = 0.0;
        let sums: Vec<f64> = (1..=size.keys)
            .map(|rank| {
                sum += 1.0 / rank as f64;
                sum
            })
            .collect();
        let per_window = |rank: usize| (size.rate * size.window) as f64 / (rank as f64 * sum);
        let limit = |rank: usize| {
            let factor = if rank % 4 == 1 { 0.5 } else { 2.0 };
            let max = ((per_window(rank) * factor).max(20.0) * share).max(1.0) as u64;
            LesseeLimit { key: rank as u64 + 1, max, window_ms: size.window * 1000, threshold: 80.0 }
        };
        Demand {
            limits: (1..=size.keys).map(limit).collect(),
            per_window: (1..=size.keys).map(per_window).collect(),
            sums,
        }
    }

    /// The key of the next request.
    pub(crate) fn draw(&self, random: &mut Random) -> usize {
        let at = random.unit() * self.sums.last().copied().unwrap_or_default();
        self.sums.partition_point(|sum| *sum < at).min(self.sums.len() - 1)
    }

    pub(crate) fn limit(&self, key: usize) -> LesseeLimit {
        self.limits[key]
    }

    /// True if clients ask for more than the limit.
    pub(crate) fn is_limited(&self, key: usize) -> bool {
        self.per_window[key] > self.limits[key].max as f64
    }

    pub(crate) fn len(&self) -> usize {
        self.limits.len()
    }
}
