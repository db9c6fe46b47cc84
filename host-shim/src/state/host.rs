//! A process, with the state that all its VMs share.

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

/// A message from one thread to another.
#[derive(Clone, Debug)]
pub struct QueueReady {
    pub(crate) registrant: Registrant,
    pub(crate) token: u32,
}

/// Sends a message to a thread.
pub type Mailbox = Box<dyn Fn(QueueReady) + Send + Sync>;

/// Limits of each VM.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The memory limit of a guest in bytes. V8 in Envoy has a limit of 1 GiB.
    pub memory: usize,
    /// The maximum time of a callback. `None` means no limit, as in Envoy.
    pub callback: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { memory: 1 << 30, callback: None }
    }
}

/// The maximum number of failures that are kept, because a VM can fail again after each reload.
const MAX_FAILURES: usize = 100;

/// The maximum number of different warnings, because a module can use any number of names.
const MAX_WARNED: usize = 100;

/// A process.
pub struct Host {
    /// Shared data.
    pub shared_data: SharedData,
    /// Shared queues.
    pub queues: SharedQueues,
    /// Statistics.
    pub metrics: Metrics,
    /// The clock.
    pub clock: Clock,
    /// The log.
    pub logs: Logs,
    /// The planned faults.
    pub faults: Faults,
    /// The differences from Envoy.
    pub(crate) quirks: Quirks,
    /// The limits of each VM.
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

    /// Logs a line of the host.
    pub(crate) fn log(&self, thread: usize, level: LogLevel, text: String) {
        self.logs.write(self.clock.now(), LogLine { level, thread, from_module: false, text });
    }

    /// Logs a warning once, even if a module causes it many times.
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

    /// Returns the first failures of VMs, such as traps, except those that a planned fault caused.
    pub fn failures(&self) -> Vec<String> {
        lock(&self.failures).clone()
    }

    /// Sets the function that sends messages to a thread.
    pub(crate) fn set_mailbox(&self, thread: usize, mailbox: Mailbox) {
        lock(&self.mailboxes).insert(thread, mailbox);
    }

    /// Notifies the registrant of a queue. The notification is lost if the thread has ended or a fault is planned.
    pub(crate) fn notify(&self, registrant: Registrant, token: u32) {
        if self.faults.strikes_notification() {
            return;
        }
        if let Some(mailbox) = lock(&self.mailboxes).get(&registrant.thread) {
            mailbox(QueueReady { registrant, token });
        }
    }

    /// Returns a handle that keeps the shared data and queues of a `vm_id`. Dropping the last handle removes them.
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
        // There can be a new handle since the last one was dropped.
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
    fn shared_data_is_removed_with_the_last_vm_of_its_id() {
        let host = Host::new(Clock::manual(), Logs::kept(LogLevel::Info), Limits::default());
        let (first, second) = (host.vm_id("a"), host.vm_id("a"));
        host.shared_data.set("a", b"k", b"v", 0).unwrap();
        drop(first);
        assert!(host.shared_data.get("a", b"k").is_some());
        drop(second);
        assert!(host.shared_data.get("a", b"k").is_none());
    }
}
