//! The timers of a thread, in the order in which they are due.

use std::collections::BTreeMap;

/// Identifies a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerId {
    due: u64,
    serial: u64,
}

/// Timers with a value `T`. Timers that are due at the same time fire in the order in which they were set.
#[derive(Debug)]
pub struct Timers<T> {
    waiting: BTreeMap<TimerId, T>,
    serial: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Timers { waiting: BTreeMap::new(), serial: 0 }
    }
}

impl<T> Timers<T> {
    /// Sets a timer for a time in nanoseconds.
    pub fn set(&mut self, due: u64, what: T) -> TimerId {
        self.serial += 1;
        let id = TimerId { due, serial: self.serial };
        self.waiting.insert(id, what);
        id
    }

    /// Cancels a timer, unless it has fired.
    pub fn cancel(&mut self, id: TimerId) -> Option<T> {
        self.waiting.remove(&id)
    }

    pub fn is_set(&self, id: TimerId) -> bool {
        self.waiting.contains_key(&id)
    }

    pub fn next_due(&self) -> Option<u64> {
        self.waiting.first_key_value().map(|(id, _)| id.due)
    }

    /// Removes and returns the next timer that is due at `now`.
    pub fn pop_due(&mut self, now: u64) -> Option<T> {
        if self.next_due()? > now {
            return None;
        }
        self.waiting.pop_first().map(|(_, what)| what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_in_order() {
        let mut timers = Timers::default();
        timers.set(20, "c");
        timers.set(10, "a");
        let cancelled = timers.set(10, "x");
        timers.set(10, "b");
        assert_eq!(timers.cancel(cancelled), Some("x"));
        assert_eq!(timers.pop_due(9), None);
        assert_eq!(timers.pop_due(10), Some("a"));
        assert_eq!(timers.pop_due(30), Some("b"));
        assert_eq!(timers.pop_due(30), Some("c"));
        assert_eq!(timers.next_due(), None);
        assert_eq!(timers.cancel(cancelled), None);
    }
}
