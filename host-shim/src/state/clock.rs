//! The clock: the system's, or a manual clock that a test moves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The start of a manual clock: 2026-01-01T00:00:00Z.
const MANUAL_START_S: u64 = 1_767_225_600;

#[derive(Clone, Debug)]
pub enum Clock {
    System,
    /// A manual clock, in nanoseconds since 1970.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// Makes a manual clock that shows 2026-01-01T00:00:00Z.
    pub fn manual() -> Self {
        Clock::Manual(Arc::new(AtomicU64::new(nanos(Duration::from_secs(MANUAL_START_S)))))
    }

    /// Makes a manual clock that shows a time in nanoseconds since 1970.
    pub fn manual_at(now: u64) -> Self {
        Clock::Manual(Arc::new(AtomicU64::new(now)))
    }

    pub fn now(&self) -> u64 {
        match self {
            Clock::System => SystemTime::now().duration_since(UNIX_EPOCH).map(nanos).unwrap_or_default(),
            Clock::Manual(now) => now.load(Ordering::SeqCst),
        }
    }

    /// Returns the time of a clock that never goes back, in nanoseconds since the first call.
    pub fn monotonic(&self) -> u64 {
        static FIRST: OnceLock<Instant> = OnceLock::new();
        match self {
            Clock::System => nanos(FIRST.get_or_init(Instant::now).elapsed()),
            Clock::Manual(_) => self.now(),
        }
    }

    /// Formats the time for a `date` header: `Sat, 21 Nov 2026 10:50:25 GMT`.
    pub fn http_date(&self) -> String {
        let time = jiff::Timestamp::from_nanosecond(i128::from(self.now())).unwrap_or_default();
        time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }

    /// Moves a manual clock forward to a time. A clock never goes back, and the system's clock cannot be moved.
    pub fn move_to(&self, time: u64) {
        if let Clock::Manual(now) = self {
            now.fetch_max(time, Ordering::SeqCst);
        }
    }
}

/// Converts a duration to nanoseconds, for times up to the year 2554.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_does_not_show_the_date() {
        let (first, second) = (Clock::System.monotonic(), Clock::System.monotonic());
        assert!(first <= second && second < Clock::System.now() / 2);
        assert_eq!(Clock::manual().monotonic(), Clock::manual().now());
    }
}
