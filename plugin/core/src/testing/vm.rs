//! One VM of a host, which remembers its own writes and counts its hostcalls.

use std::cell::RefCell;

use super::MemoryHost;
use crate::base::UnixMillis;
use crate::host::{
    BodyError, Callout, CalloutId, CalloutRefused, Callouts, Clock, Entry, Gauge, Guesses, HostError, Metric, Metrics,
    Setup, SharedData, Wakeups,
};

/// A VM of a host in memory.
pub struct Vm<'h> {
    host: &'h MemoryHost,
    guesses: Guesses,
    calls: RefCell<Vec<&'static str>>,
}

impl<'h> Vm<'h> {
    /// A VM on this host.
    pub fn on(host: &'h MemoryHost) -> Self {
        Vm { host, guesses: Guesses::default(), calls: RefCell::default() }
    }

    /// The hostcalls since the last call, by their ABI names, without statistics, which the host gets at ticks.
    pub fn take_calls(&self) -> Vec<&'static str> {
        self.calls.take()
    }

    /// Tests count the engine's allocations, not the host's.
    fn call<T>(&self, name: &'static str, work: impl FnOnce(&MemoryHost) -> T) -> T {
        uncounted(|| {
            self.calls.borrow_mut().push(name);
            work(self.host)
        })
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[allow(clippy::unwrap_used)]
pub(super) fn uncounted<T>(work: impl FnOnce() -> T) -> T {
    let mut result = None;
    allocation_counter::opt_out(|| result = Some(work()));
    result.unwrap()
}

#[cfg(not(all(test, not(target_arch = "wasm32"))))]
pub(super) fn uncounted<T>(work: impl FnOnce() -> T) -> T {
    work()
}

impl SharedData for Vm<'_> {
    fn get(&self, key: &str) -> Result<Entry, HostError> {
        self.call("get_shared_data", |host| host.get(key))
    }

    fn insert(&self, key: &str, value: &[u8]) -> Result<bool, HostError> {
        self.call("set_shared_data", |host| host.insert(key, value))
    }

    fn replace(&self, key: &str, value: &[u8], cas: u32) -> Result<bool, HostError> {
        self.call("set_shared_data", |host| host.replace(key, value, cas))
    }

    fn put(&self, key: &str, value: &[u8]) -> Result<(), HostError> {
        self.call("set_shared_data", |host| host.put(key, value))
    }

    fn guesses(&self) -> Option<&Guesses> {
        Some(&self.guesses)
    }
}

impl Wakeups for Vm<'_> {
    fn listen(&self) -> Result<(), HostError> {
        self.call("register_shared_queue", MemoryHost::listen)
    }

    fn wake(&self, message: &[u8]) -> Result<(), HostError> {
        self.call("enqueue_shared_queue", |host| host.wake(message))
    }

    fn take(&self) -> Result<Option<Vec<u8>>, HostError> {
        self.call("dequeue_shared_queue", MemoryHost::take)
    }
}

impl Callouts for Vm<'_> {
    fn send(&self, callout: &Callout) -> Result<CalloutId, CalloutRefused> {
        self.call("http_call", |host| host.send(callout))
    }

    fn reply_header(&self, name: &str) -> Option<String> {
        self.call("get_header_map_value", |host| host.reply_header(name))
    }

    fn reply_body(&self, most: usize) -> Result<Vec<u8>, BodyError> {
        self.call("get_buffer_bytes", |host| host.reply_body(most))
    }
}

impl Metrics for Vm<'_> {
    fn add(&self, metric: Metric, n: u64) {
        uncounted(|| self.host.add(metric, n));
    }

    fn count_attempt(&self, target: &str, outcome: &'static str) {
        uncounted(|| self.host.count_attempt(target, outcome));
    }

    fn set(&self, gauge: Gauge, value: u64) {
        uncounted(|| self.host.set(gauge, value));
    }

    fn change(&self, gauge: Gauge, by: i64) {
        uncounted(|| self.host.change(gauge, by));
    }
}

impl Clock for Vm<'_> {
    fn now(&self) -> Result<UnixMillis, HostError> {
        self.call("get_current_time_nanoseconds", MemoryHost::now)
    }

    fn tick_every(&self, period_ms: u64) {
        self.call("set_tick_period_milliseconds", |host| host.tick_every(period_ms));
    }
}

impl Setup for Vm<'_> {
    fn property(&self, path: &str) -> Option<Vec<u8>> {
        self.call("get_property", |host| host.property(path))
    }

    fn declare_request_property(&self, name: &str) {
        self.call("call_foreign_function", |host| host.declare_request_property(name));
    }
}
