//! The queue of events of a simulated gateway: events that wait for a thread, and events that wait for a time.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::thread::SimThread;
use crate::base::lock;
use crate::state::timers::{TimerId, Timers};

pub(super) type Event = Box<dyn FnOnce(&SimThread) + Send>;

/// The events of all threads in one order.
#[derive(Default)]
pub(super) struct Events(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    ready: VecDeque<(usize, Event)>,
    later: Timers<(usize, Event)>,
}

impl Events {
    pub(super) fn push(&self, thread: usize, event: Event) {
        lock(&self.0).ready.push_back((thread, event));
    }

    /// Plans an event for a time in nanoseconds.
    pub(super) fn push_at(&self, due: u64, thread: usize, event: Event) -> TimerId {
        lock(&self.0).later.set(due, (thread, event))
    }

    pub(super) fn cancel(&self, id: TimerId) {
        lock(&self.0).later.cancel(id);
    }

    pub(super) fn pop(&self) -> Option<(usize, Event)> {
        lock(&self.0).ready.pop_front()
    }

    pub(super) fn next_due(&self) -> Option<u64> {
        lock(&self.0).later.next_due()
    }

    pub(super) fn pop_due(&self, now: u64) -> Option<(usize, Event)> {
        lock(&self.0).later.pop_due(now)
    }
}
