//! A process: everything that its VMs share, on whatever thread they are.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use crate::base::{LogLevel, lock};
use crate::state::clock::Clock;
use crate::state::faults::Faults;
use crate::state::logs::{LogLine, Logs};
use crate::state::metrics::Metrics;
use crate::state::quirks::Quirks;
use crate::state::shared_data::SharedData;
use crate::state::shared_queue::{Registrant, SharedQueues};

/// What a thread is told by another one.
#[derive(Clone, Debug)]
pub struct QueueReady {
    pub(crate) registrant: Registrant,
    pub(crate) token: u32,
}

/// How a thread is told.
pub type Mailbox = Box<dyn Fn(QueueReady) + Send + Sync>;

/// Limits of each VM.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most memory that a guest can have, in bytes. V8 in Envoy gives 1 GiB.
    pub memory: usize,
    /// How long one callback may take; None for as long as it likes, as in Envoy.
    pub callback: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { memory: 1 << 30, callback: None }
    }
}

/// So many failures are kept: a VM that is made anew may fail again and again.
const MAX_FAILURES: usize = 100;

/// So many warnings are remembered, and no others are given: a module may make up names.
const MAX_WARNED: usize = 100;

/// The process.
pub struct Host {
    /// Shared data.
    pub shared_data: SharedData,
    /// Shared queues.
    pub queues: SharedQueues,
    /// Statistics.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
    /// The log.
    pub logs: Logs,
    /// Faults to come.
    pub faults: Faults,
    /// How it differs from Envoy.
    pub(crate) quirks: Quirks,
    /// What each VM may use.
    pub limits: Limits,
    failures: Mutex<Vec<String>>,
    warned: Mutex<HashSet<String>>,
    mailboxes: Mutex<HashMap<usize, Mailbox>>,
    vm_ids: Mutex<HashMap<String, Weak<VmId>>>,
}

impl Host {
    pub(crate) fn new(clock: Clock, logs: Logs, limits: Limits) -> Arc<Self> {
        Arc::new(Host {
            shared_data: SharedData::default(),
            queues: SharedQueues::default(),
            metrics: Metrics::default(),
            clock,
            logs,
            faults: Faults::default(),
            quirks: Quirks::default(),
            limits,
            failures: Mutex::default(),
            warned: Mutex::default(),
            mailboxes: Mutex::default(),
            vm_ids: Mutex::default(),
        })
    }

    /// Logs a line of the host's own.
    pub(crate) fn log(&self, thread: usize, level: LogLevel, text: String) {
        self.logs.write(self.clock.now(), LogLine { level, thread, from_module: false, text });
    }

    /// Warns of what a module may do again and again.
    pub(crate) fn warn_once(&self, thread: usize, text: String) {
        let mut warned = lock(&self.warned);
        if warned.len() < MAX_WARNED && warned.insert(text.clone()) {
            drop(warned);
            self.log(thread, LogLevel::Warn, text);
        }
    }

    pub(crate) fn vm_failed(&self, text: String) {
        let mut failures = lock(&self.failures);
        if failures.len() < MAX_FAILURES {
            failures.push(text);
        }
    }

    /// The first failures of VMs, such as traps, that no planned fault has caused.
    pub fn failures(&self) -> Vec<String> {
        lock(&self.failures).clone()
    }

    /// Sets how a thread is told of queues.
    pub(crate) fn set_mailbox(&self, thread: usize, mailbox: Mailbox) {
        lock(&self.mailboxes).insert(thread, mailbox);
    }

    /// Tells a queue's registrant. If its thread is gone, or the fault is planned, the notification is lost.
    pub(crate) fn notify(&self, registrant: Registrant, token: u32) {
        if self.faults.strikes_notification() {
            return;
        }
        if let Some(mailbox) = lock(&self.mailboxes).get(&registrant.thread) {
            mailbox(QueueReady { registrant, token });
        }
    }

    /// A handle that keeps the shared data and queues of a `vm_id`: they go with its last one.
    pub(crate) fn vm_id(self: &Arc<Self>, id: &str) -> Arc<VmId> {
        let mut ids = lock(&self.vm_ids);
        if let Some(present) = ids.get(id).and_then(Weak::upgrade) {
            return present;
        }
        let made = Arc::new(VmId { id: id.to_owned(), host: Arc::downgrade(self) });
        ids.insert(id.to_owned(), Arc::downgrade(&made));
        made
    }
}

pub struct VmId {
    pub(crate) id: String,
    host: Weak<Host>,
}

impl Drop for VmId {
    fn drop(&mut self) {
        let Some(host) = self.host.upgrade() else { return };
        let mut ids = lock(&host.vm_ids);
        // Another handle may have been made since the last one went.
        if ids.get(&self.id).is_some_and(|present| present.strong_count() > 0) {
            return;
        }
        ids.remove(&self.id);
        host.shared_data.forget(&self.id);
        host.queues.forget(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_goes_with_the_last_vm_of_its_id() {
        let host = Host::new(Clock::manual(), Logs::kept(LogLevel::Info), Limits::default());
        let (first, second) = (host.vm_id("a"), host.vm_id("a"));
        host.shared_data.set("a", b"k", b"v", 0).unwrap();
        drop(first);
        assert!(host.shared_data.get("a", b"k").is_some());
        drop(second);
        assert!(host.shared_data.get("a", b"k").is_none());
    }
}
