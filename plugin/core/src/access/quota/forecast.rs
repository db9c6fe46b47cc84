//! When a quota will be used up at the present rate.
//!
//! The rate is that of the whole window so far, and it counts as known after a hundredth of the window. A load that is
//! random differs from its mean by about the square root of its count. So the forecast is told when that much less would
//! still use the quota up, and a load that ends a little below the quota causes none.
//!
//! `lease.lua` does the same calculation, also with floating-point numbers.

use crate::base::{Percent, UnixMillis};

/// The part of a window after which the rate is known: one of this many.
const KNOWN_AFTER: f64 = 100.0;

/// The settings of a quota's forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Forecast {
    /// The longest time before the end of the quota at which it is told.
    pub within_ms: u64,
    /// The smallest use of the quota at which it is told.
    pub min_used: Percent,
}

impl Forecast {
    /// The time in milliseconds after which a quota of `max` will be used up, if that is to be told now: `count`
    /// requests came in `elapsed_ms`, and the window has `window_ms`.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn due(self, (count, max): (u64, u64), elapsed_ms: u64, window_ms: u64) -> Option<u64> {
        if count < self.min_used.count_of(max) || count >= max {
            return None;
        }
        let [count, max, elapsed, window] = [count, max, elapsed_ms, window_ms].map(|number| number as f64);
        // The window starts with the first request.
        let intervals = count - 1.0;
        let certain = intervals - intervals.sqrt();
        if elapsed * KNOWN_AFTER < window || certain * window <= max * elapsed {
            return None;
        }
        let left = (elapsed * (max - count) / intervals).floor() as u64;
        (left <= self.within_ms).then_some(left)
    }
}

/// Something that happened to a quota, which is told once in its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaChange {
    /// The use crossed a threshold.
    Crossed(Percent),
    /// The window ended, in which this was the highest threshold that was reported.
    Renewed(Percent),
    /// The quota will be used up at this time, which is before the end of its window.
    Foretold(UnixMillis),
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const HOUR: u64 = 3_600_000;

    fn forecast(within_ms: u64) -> Forecast {
        Forecast { within_ms, min_used: Percent::new(20.0).unwrap() }
    }

    /// When a load with a request every `every_ms` is foretold to use up a quota of 1000 an hour, in milliseconds after
    /// the first request, and at which request.
    fn told(forecast: Forecast, max: u64, every_ms: u64) -> Option<(u64, u64)> {
        (1..=max).find_map(|count| {
            let elapsed = (count - 1) * every_ms;
            Some((count, elapsed + forecast.due((count, max), elapsed, HOUR)?))
        })
    }

    #[test]
    fn a_steady_load_is_foretold_when_enough_is_used() {
        // 1999 requests an hour: the thousandth comes after half an hour.
        assert_eq!(told(forecast(HOUR), 1000, 1801), Some((200, 999 * 1801)));
        // Little more than the quota is certain only later.
        assert_eq!(told(forecast(HOUR), 1000, 3400), Some((326, 999 * 3400)));
        assert_eq!(told(forecast(HOUR), 100, 30_000), Some((38, 99 * 30_000)));
        assert_eq!(told(forecast(600_000), 1000, 1801).map(|(count, _)| count), Some(667), "ten minutes before");
    }

    #[test]
    fn a_load_that_ends_below_the_quota_is_never_foretold() {
        for (max, every_ms) in [(1000, 3600), (1000, 3700), (100, 36_000), (1000, 10_000), (10, 360_000)] {
            assert_eq!(told(forecast(HOUR), max, every_ms), None, "{every_ms}");
        }
    }

    #[test]
    fn a_burst_is_not_a_rate_yet() {
        assert_eq!(forecast(HOUR).due((500, 1000), 35_999, HOUR), None);
        assert_eq!(forecast(HOUR).due((500, 1000), 36_000, HOUR), Some(36_072));
        for (count, max) in [(0, 10), (1, 1), (1, 5), (10, 10), (u64::MAX, u64::MAX), (u64::MAX - 1, u64::MAX)] {
            forecast(HOUR).due((count, max), u64::MAX, u64::MAX);
        }
    }
}
