//! Types for every room: header maps, the numbers of the ABI, a lock.

mod codes;
mod headers;
mod inline;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) use codes::from_code;
pub use codes::{LogLevel, MetricType, Status};
pub use headers::Headers;
pub use inline::MapKind;

/// Locks a mutex. After a panic of its owner the value is still consistent, because every update is one assignment.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
