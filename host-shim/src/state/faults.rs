//! Faults that a test injects.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::base::lock;

/// A fault of a callout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CalloutFault {
    /// The hostcall returns InternalFailure, and there is no callback.
    RefusedAtOnce,
    /// There is no answer until the timeout. The callback gets Envoy's 504.
    TimesOut,
    /// The connection cannot be made. The callback gets Envoy's 503.
    ConnectFailure,
    /// The stream is reset: the callback gets no headers, and the status is 11.
    Reset,
    /// The target's answer is delayed by this time.
    Late(std::time::Duration),
    /// The callback gets this status instead of the target's answer.
    Status(u16),
}

/// The planned faults. Each is used up when it is triggered.
#[derive(Debug, Default)]
pub struct Faults {
    any: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    cas_mismatches: Count,
    lost_notifications: Count,
    callouts: std::collections::VecDeque<CalloutFault>,
    deaths: Vec<Death>,
}

#[derive(Debug, Default)]
struct Count {
    left: u32,
    /// Whether a fault was triggered since the last plan.
    has_struck: bool,
}

impl Count {
    fn plan(&mut self, count: u32) {
        *self = Count { left: self.left.saturating_add(count), has_struck: false };
    }

    fn strike(&mut self) -> Option<()> {
        *self = Count { left: self.left.checked_sub(1)?, has_struck: true };
        Some(())
    }
}

#[derive(Debug)]
struct Death {
    thread: Option<usize>,
    hostcall: String,
    calls_left: u32,
}

impl Faults {
    fn plan(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut lock(&self.inner));
        self.any.store(true, Ordering::SeqCst);
    }

    fn strike<T>(&self, take: impl FnOnce(&mut Inner) -> Option<T>) -> Option<T> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        take(&mut lock(&self.inner))
    }

    /// The next `count` compare-and-swaps of existing keys mismatch.
    pub fn cas_mismatches(&self, count: u32) {
        self.plan(|inner| inner.cas_mismatches.plan(count));
    }

    /// The next `count` queue notifications are lost. Their messages stay.
    pub fn lost_notifications(&self, count: u32) {
        self.plan(|inner| inner.lost_notifications.plan(count));
    }

    /// Plans a fault for the next callout that has none.
    pub fn callout(&self, fault: CalloutFault) {
        self.plan(|inner| inner.callouts.push_back(fault));
    }

    /// The VM that makes the `nth` call (from 1) of a hostcall, such as `proxy_http_call`, dies in it. `thread` limits
    /// the fault to one thread: 0 is the main thread, and the first worker is 1.
    pub fn death_at(&self, hostcall: &str, nth: u32, thread: Option<usize>) {
        self.plan(|inner| inner.deaths.push(Death { thread, hostcall: hostcall.to_owned(), calls_left: nth.max(1) }));
    }

    /// Removes all planned faults.
    pub fn clear(&self) {
        *lock(&self.inner) = Inner::default();
        self.any.store(false, Ordering::SeqCst);
    }

    /// Lists the faults that nothing has triggered so far, for people to read. A fault with a count is not in the list
    /// after it was triggered once.
    pub fn left(&self) -> Vec<String> {
        let inner = lock(&self.inner);
        let mut left = Vec::new();
        let counted = [("cas_mismatches", &inner.cas_mismatches), ("lost_notifications", &inner.lost_notifications)];
        let unused = counted.iter().filter(|(_, count)| count.left > 0 && !count.has_struck);
        left.extend(unused.map(|(name, count)| format!("{name}: {}", count.left)));
        left.extend(inner.callouts.iter().map(|fault| format!("callout: {fault:?}")));
        left.extend(inner.deaths.iter().map(|death| {
            let thread = death.thread.map(|thread| format!(" on thread {thread}")).unwrap_or_default();
            format!("death: in {}{thread}, after {} more calls", death.hostcall, death.calls_left)
        }));
        left
    }

    pub(crate) fn strikes_cas(&self) -> bool {
        self.strike(|inner| inner.cas_mismatches.strike()).is_some()
    }

    pub(crate) fn strikes_notification(&self) -> bool {
        self.strike(|inner| inner.lost_notifications.strike()).is_some()
    }

    pub(crate) fn next_callout(&self) -> Option<CalloutFault> {
        self.strike(|inner| inner.callouts.pop_front())
    }

    pub(crate) fn strikes_hostcall(&self, hostcall: &str, thread: usize) -> bool {
        let struck = self.strike(|inner| {
            let meant = |death: &Death| death.hostcall == hostcall && death.thread.is_none_or(|only| only == thread);
            let index = inner.deaths.iter().position(meant)?;
            let death = inner.deaths.get_mut(index)?;
            death.calls_left -= 1;
            if death.calls_left > 0 {
                return None;
            }
            inner.deaths.remove(index);
            Some(())
        });
        struck.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_used_up() {
        let faults = Faults::default();
        assert!(!faults.strikes_cas());
        faults.cas_mismatches(1);
        assert!(faults.strikes_cas() && !faults.strikes_cas());
        faults.death_at("proxy_log", 2, Some(1));
        assert!(!faults.strikes_hostcall("proxy_log", 0) && !faults.strikes_hostcall("proxy_log", 1));
        assert!(faults.strikes_hostcall("proxy_log", 1) && !faults.strikes_hostcall("proxy_log", 1));
        faults.callout(CalloutFault::Reset);
        assert_eq!(faults.next_callout(), Some(CalloutFault::Reset));
        assert_eq!(faults.next_callout(), None);
        assert_eq!(faults.left(), [""; 0]);
    }

    #[test]
    fn faults_that_nothing_triggers_are_listed() {
        let faults = Faults::default();
        faults.cas_mismatches(2);
        faults.lost_notifications(1);
        faults.callout(CalloutFault::TimesOut);
        faults.death_at("proxy_log", 2, Some(1));
        assert!(faults.strikes_cas());
        let left =
            ["lost_notifications: 1", "callout: TimesOut", "death: in proxy_log on thread 1, after 2 more calls"];
        assert_eq!(faults.left(), left);
    }
}
