//! Checked units that the whole core uses.

use std::fmt;

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use crate::base::datetime;

/// A point in time: milliseconds since the Unix epoch.
///
/// The adapter reads the clock once per callback and passes this value down. The core never reads a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// Converts the nanoseconds that a proxy-wasm host reports.
    pub fn from_nanos(nanos: u64) -> Self {
        UnixMillis(nanos / 1_000_000)
    }

    /// True if a correct clock can show this time. A host without a clock may give the time since its start, or a part
    /// of the number. Then it is unknown which keys have expired.
    pub fn is_of_a_clock(self) -> bool {
        const JANUARY_2020: u64 = 1_577_836_800_000;
        self.0 >= JANUARY_2020
    }

    /// This time plus `millis`, or the largest time.
    pub fn plus(self, millis: u64) -> Self {
        UnixMillis(self.0.saturating_add(millis))
    }

    /// Milliseconds since `earlier`. The result is 0 if `earlier` is in the future, as after a clock was set back.
    pub fn since(self, earlier: UnixMillis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole seconds since the epoch, rounded down.
    pub fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// Whole seconds since the epoch, rounded up.
    pub fn as_secs_ceil(self) -> u64 {
        self.0.div_ceil(1000)
    }

    /// RFC 3339 in UTC with milliseconds, such as `2026-11-21T08:15:30.250Z`; empty past the year 9999.
    pub fn to_rfc3339(self) -> String {
        datetime::rfc3339_millis(self.0).unwrap_or_default()
    }
}

/// How far in the future a time may be that another VM has just read. A VM reads the clock once per callback and uses
/// that value until the callback ends. A time further in the future was read before the clock was set back.
pub const CLOCK_SKEW_MS: u64 = 1000;

/// True while a lease that was last renewed for `length_ms` is valid.
pub fn is_leased(until: UnixMillis, length_ms: u64, now: UnixMillis) -> bool {
    now < until && until.since(now) <= length_ms.saturating_add(CLOCK_SKEW_MS)
}

/// When something is due that was delayed at `from` until `due`. If the clock has been set back since, it is due at
/// once: too early is better than an hour late.
pub fn set_right(due: UnixMillis, from: UnixMillis, now: UnixMillis) -> UnixMillis {
    if from.since(now) <= CLOCK_SKEW_MS { due } else { now }
}

/// A hash of these texts. Their order and their boundaries count.
pub fn fingerprint(parts: &[&str]) -> u64 {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(part.len().to_le_bytes());
        md5.update(part);
    }
    let digest: [u8; 16] = md5.finalize().into();
    u64::from_le_bytes(digest.first_chunk().copied().unwrap_or_default())
}

/// A percentage in (0, 100], stored in millionths, so that thresholds are computed with integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent {
    millionths: u32,
}

impl Percent {
    /// `None` for anything outside (0, 100].
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn new(percent: f64) -> Option<Self> {
        if !(percent > 0.0 && percent <= 100.0) {
            return None;
        }
        let millionths = ((percent * 1_000_000.0).round() as u32).max(1);
        Some(Percent { millionths })
    }

    /// Converts from [`Percent::millionths`]; `None` for anything outside (0, 100] percent.
    pub fn from_millionths(millionths: u32) -> Option<Self> {
        (1..=100_000_000).contains(&millionths).then_some(Percent { millionths })
    }

    /// Millionths of a percent.
    pub fn millionths(self) -> u32 {
        self.millionths
    }

    /// The smallest count that is at least this share of `max`; at least 1.
    pub fn count_of(self, max: u64) -> u64 {
        let scaled = u128::from(self.millionths).saturating_mul(u128::from(max));
        u64::try_from(scaled.div_ceil(100_000_000)).unwrap_or(u64::MAX).max(1)
    }
}

impl fmt::Display for Percent {
    /// `80`, or `80.5` if the configuration has decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.millionths / 1_000_000, self.millionths % 1_000_000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{rest:06}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn time_is_formatted_as_rfc3339() {
        assert_eq!(UnixMillis(0).to_rfc3339(), "1970-01-01T00:00:00.000Z");
        assert_eq!(UnixMillis(1_792_570_530_250).to_rfc3339(), "2026-10-21T08:15:30.250Z");
        assert_eq!(UnixMillis(u64::MAX).to_rfc3339(), "");
    }

    #[test]
    fn a_clock_that_steps_back_gives_no_elapsed_time() {
        assert_eq!(UnixMillis(5).since(UnixMillis(9)), 0);
        assert_eq!(UnixMillis(1001).as_secs_ceil(), 2);
        assert_eq!(UnixMillis(1000).as_secs_ceil(), 1);
    }

    #[test]
    fn delayed_work_is_due_at_once_after_the_clock_was_set_back() {
        let due = |now| set_right(UnixMillis(70_000), UnixMillis(60_000), UnixMillis(now));
        assert_eq!(due(60_000), UnixMillis(70_000));
        assert_eq!(due(59_500), UnixMillis(70_000));
        assert_eq!(due(1000), UnixMillis(1000));
        assert_eq!(due(90_000), UnixMillis(70_000));
    }

    #[test]
    fn a_lease_is_valid_although_its_holder_read_the_clock_later() {
        let runs = |now| is_leased(UnixMillis(62_000), 2000, UnixMillis(now));
        assert!(runs(61_999) && runs(60_000) && runs(59_999) && runs(59_000));
        assert!(!runs(62_000), "it is over");
        assert!(!runs(58_999), "the clock has been set back");
    }

    #[test]
    fn percentages_are_over_0_to_100() {
        for bad in [0.0, -1.0, 100.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Percent::new(bad), None, "{bad}");
        }
        assert_eq!(Percent::new(100.0).unwrap().to_string(), "100");
        assert_eq!(Percent::new(80.5).unwrap().to_string(), "80.5");
    }

    #[test]
    fn decimal_percentages_do_not_drift() {
        let count = |percent: f64, max| Percent::new(percent).unwrap().count_of(max);
        assert_eq!(count(55.1, 1000), 551);
        assert_eq!(count(80.0, 10), 8);
        assert_eq!(count(50.0, 3), 2);
        assert_eq!(count(0.000_001, 5), 1);
        assert_eq!(count(100.0, u64::MAX), u64::MAX);
    }

    proptest! {
        #[test]
        fn the_threshold_count_is_the_first_at_or_above_the_percentage(tenths in 1_u64..=1000, max in 1_u64..1_000_000_000) {
            #[allow(clippy::cast_precision_loss)]
            let at = Percent::new(tenths as f64 / 10.0).unwrap().count_of(max);
            prop_assert!(u128::from(at) * 1000 >= u128::from(tenths) * u128::from(max));
            prop_assert!(u128::from(at - 1) * 1000 < u128::from(tenths) * u128::from(max));
        }
    }
}
