//! The ticks of a thread's root contexts.

use std::collections::HashMap;
use std::time::Duration;

use crate::state::clock::nanos;
use crate::state::timers::{TimerId, Timers};

/// The root context of a tick: the number of the VM, and the id of the context.
pub type TickKey = (u64, u32);

/// Times are in nanoseconds since 1970.
#[derive(Default)]
pub struct Ticks {
    timers: Timers<TickKey>,
    periods: HashMap<TickKey, (Duration, TimerId)>,
}

impl Ticks {
    /// Sets a period from now on. Zero ends the ticks.
    pub fn set(&mut self, key: TickKey, period: Duration, now: u64) {
        self.forget(key);
        if !period.is_zero() {
            self.start(key, period, now);
        }
    }

    fn start(&mut self, key: TickKey, period: Duration, now: u64) {
        let timer = self.timers.set(now.saturating_add(nanos(period)), key);
        self.periods.insert(key, (period, timer));
    }

    pub fn forget(&mut self, key: TickKey) {
        if let Some((_, timer)) = self.periods.remove(&key) {
            self.timers.cancel(timer);
        }
    }

    /// Removes the ticks of dropped VMs.
    pub fn keep_only(&mut self, lives: impl Fn(u64) -> bool) {
        let Ticks { timers, periods } = self;
        periods.retain(|(instance, _), (_, timer)| {
            let is_kept = lives(*instance);
            if !is_kept {
                timers.cancel(*timer);
            }
            is_kept
        });
    }

    pub fn next_due(&self) -> Option<u64> {
        self.timers.next_due()
    }

    pub fn pop_due(&mut self, now: u64) -> Option<TickKey> {
        self.timers.pop_due(now)
    }

    /// Sets a tick again, unless its callback has changed the period, which also sets the timer.
    pub fn repeat(&mut self, key: TickKey, now: u64) {
        if let Some((period, timer)) = self.periods.get(&key).copied()
            && !self.timers.is_set(timer)
        {
            self.start(key, period, now);
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.periods.len()
    }
}
