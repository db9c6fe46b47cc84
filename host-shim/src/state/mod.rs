//! What all VMs of a process share. Nothing here knows wasmtime.

pub mod clock;
pub mod faults;
pub mod logs;
pub mod metrics;
pub mod shared_data;
pub mod shared_queue;
pub mod timers;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock whose owner panicked still guards whole values: every update here is one assignment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
