//! What all VMs of a process share. Nothing here knows wasmtime.

pub(crate) mod clock;
pub(crate) mod faults;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod quirks;
pub(crate) mod shared_data;
pub(crate) mod shared_queue;
pub(crate) mod timers;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock whose owner panicked still guards whole values: every update here is one assignment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
