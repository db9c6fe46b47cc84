//! An in-memory host with the rules of Envoy's shared data and queues, for tests.
//!
//! A test reads the state afterwards; nothing is scripted. One host is one process, and several engines on it are
//! several VMs.

mod late;
mod lessee;
mod stream;
mod vm;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};

use crate::base::UnixMillis;
use crate::host::{
    BodyError, Callout, CalloutId, CalloutRefused, Callouts, Clock, Entry, Gauge, Guesses, HostError, Metric, Metrics,
    Setup, SharedData, Stored, Wakeups, attempts_name,
};

pub use crate::store::Script;

/// The scripts that run in the store of a fleet.
pub const SCRIPTS: [Script; 6] = [Script::LEASE, Script::EMIT, Script::END, Script::TALLY, Script::BEAT, Script::FETCH];

pub use late::LateCounters;
pub use lessee::{Lessee, LesseeLimit, LesseeSettings, LesseeVerdict};
pub use stream::{TestStream, TestStreams};
pub use vm::Vm;

/// The host.
#[derive(Default)]
pub struct MemoryHost {
    data: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
    last_cas: Cell<u32>,
    queue: RefCell<VecDeque<Vec<u8>>>,
    sent: RefCell<Vec<(CalloutId, Callout)>>,
    reply_headers: RefCell<Vec<(String, String)>>,
    reply_body: RefCell<Vec<u8>>,
    refusals: RefCell<VecDeque<CalloutRefused>>,
    metrics: RefCell<BTreeMap<String, u64>>,
    lost_races: Cell<u32>,
    broken: Cell<bool>,
    now: Cell<UnixMillis>,
    plugin_name: RefCell<String>,
    guesses: Option<Guesses>,
}

impl MemoryHost {
    /// A host on which all engines share their own last writes, as if they were one VM.
    pub fn guessing() -> Self {
        MemoryHost { guesses: Some(Guesses::default()), ..MemoryHost::default() }
    }

    /// A host whose last write had this number.
    pub fn with_last_number(number: u32) -> Self {
        MemoryHost { last_cas: Cell::new(number), ..MemoryHost::default() }
    }

    /// Makes the next `n` conditional writes lose their race.
    pub fn fail_next_writes(&self, n: u32) {
        self.lost_races.set(n);
    }

    /// Makes every access to shared data fail, as under a restricted capability.
    pub fn break_shared_data(&self, broken: bool) {
        self.broken.set(broken);
    }

    /// Sets the name of the plugin that starts next.
    pub fn set_plugin_name(&self, name: &str) {
        self.plugin_name.replace(name.to_owned());
    }

    /// Sets the clock.
    pub fn set_now(&self, now: UnixMillis) {
        self.now.set(now);
    }

    /// Makes the host refuse the next callout.
    pub fn refuse_next_callout(&self, why: CalloutRefused) {
        self.refusals.borrow_mut().push_back(why);
    }

    /// Sets the headers and the body of the replies from now on.
    pub fn set_reply(&self, headers: &[(&str, &str)], body: &[u8]) {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.reply_headers.replace(headers);
        self.reply_body.replace(body.to_vec());
    }

    /// The callouts sent since the last call.
    pub fn take_sent(&self) -> Vec<(CalloutId, Callout)> {
        self.sent.take()
    }

    /// A counter's value.
    pub fn metric(&self, metric: Metric) -> u64 {
        self.metrics.borrow().get(&metric.name()).copied().unwrap_or_default()
    }

    /// A counter's value by its name, if it was ever counted.
    pub fn metric_named(&self, name: &str) -> Option<u64> {
        self.metrics.borrow().get(name).copied()
    }

    /// True if a message waits for the listening VM.
    pub fn has_wakeup(&self) -> bool {
        !self.queue.borrow().is_empty()
    }

    /// The number of keys, including emptied ones.
    pub fn key_count(&self) -> usize {
        self.data.borrow().len()
    }

    /// The keys, emptied ones included.
    pub fn keys(&self) -> Vec<String> {
        self.data.borrow().keys().cloned().collect()
    }

    /// The size of all values in bytes.
    pub fn stored_bytes(&self) -> usize {
        self.data.borrow().values().map(|(value, _)| value.len()).sum()
    }

    fn check(&self, call: &'static str) -> Result<(), HostError> {
        if self.broken.get() { Err(HostError { call, status: 10 }) } else { Ok(()) }
    }

    fn loses_race(&self) -> bool {
        let left = self.lost_races.get();
        self.lost_races.set(left.saturating_sub(1));
        left > 0
    }

    fn write(&self, key: &str, value: &[u8]) {
        let cas = self.last_cas.get().wrapping_add(1).max(1);
        self.last_cas.set(cas);
        self.data.borrow_mut().insert(key.to_owned(), (value.to_vec(), cas));
    }
}

impl SharedData for MemoryHost {
    fn get(&self, key: &str) -> Result<Entry, HostError> {
        self.check("get_shared_data")?;
        Ok(match self.data.borrow().get(key) {
            None => Entry::Absent,
            Some((value, cas)) if value.is_empty() => Entry::Emptied { cas: *cas },
            Some((value, cas)) => Entry::Present(Stored { value: value.clone(), cas: *cas }),
        })
    }

    fn insert(&self, key: &str, value: &[u8]) -> Result<bool, HostError> {
        self.check("set_shared_data")?;
        if self.loses_race() || self.data.borrow().contains_key(key) {
            return Ok(false);
        }
        self.write(key, value);
        Ok(true)
    }

    fn replace(&self, key: &str, value: &[u8], cas: u32) -> Result<bool, HostError> {
        self.check("set_shared_data")?;
        if self.loses_race() || self.data.borrow().get(key).is_some_and(|(_, current)| *current != cas) {
            return Ok(false);
        }
        self.write(key, value);
        Ok(true)
    }

    fn put(&self, key: &str, value: &[u8]) -> Result<(), HostError> {
        self.check("set_shared_data")?;
        self.write(key, value);
        Ok(())
    }

    fn guesses(&self) -> Option<&Guesses> {
        self.guesses.as_ref()
    }
}

impl Wakeups for MemoryHost {
    fn listen(&self) -> Result<(), HostError> {
        Ok(())
    }

    fn wake(&self, message: &[u8]) -> Result<(), HostError> {
        self.queue.borrow_mut().push_back(message.to_vec());
        Ok(())
    }

    fn take(&self) -> Result<Option<Vec<u8>>, HostError> {
        Ok(self.queue.borrow_mut().pop_front())
    }
}

impl Callouts for MemoryHost {
    fn send(&self, callout: &Callout) -> Result<CalloutId, CalloutRefused> {
        if let Some(why) = self.refusals.borrow_mut().pop_front() {
            return Err(why);
        }
        let id = CalloutId(self.last_cas.get());
        self.last_cas.set(id.0.wrapping_add(1));
        self.sent.borrow_mut().push((id, callout.clone()));
        Ok(id)
    }

    fn reply_header(&self, name: &str) -> Option<String> {
        let headers = self.reply_headers.borrow();
        headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    fn reply_body(&self, most: usize) -> Result<Vec<u8>, BodyError> {
        let body = self.reply_body.borrow().clone();
        if body.len() > most { Err(BodyError::TooLong { most }) } else { Ok(body) }
    }
}

impl Metrics for MemoryHost {
    fn add(&self, metric: Metric, n: u64) {
        let mut metrics = self.metrics.borrow_mut();
        let value = metrics.entry(metric.name()).or_default();
        *value = value.saturating_add(n);
    }

    fn count_attempt(&self, target: &str, outcome: &'static str) {
        let mut metrics = self.metrics.borrow_mut();
        let value = metrics.entry(attempts_name(target, outcome)).or_default();
        *value = value.saturating_add(1);
    }

    fn set(&self, gauge: Gauge, value: u64) {
        self.metrics.borrow_mut().insert(gauge.name().to_owned(), value);
    }

    fn change(&self, gauge: Gauge, by: i64) {
        let mut metrics = self.metrics.borrow_mut();
        let value = metrics.entry(gauge.name().to_owned()).or_default();
        *value = value.saturating_add_signed(by);
    }
}

impl Clock for MemoryHost {
    fn now(&self) -> Result<UnixMillis, HostError> {
        Ok(self.now.get())
    }

    fn tick_every(&self, _period_ms: u64) {}
}

impl Setup for MemoryHost {
    fn property(&self, path: &str) -> Option<Vec<u8>> {
        (path == "plugin_name").then(|| self.plugin_name.borrow().clone().into_bytes())
    }

    fn declare_request_property(&self, _name: &str) {}
}
