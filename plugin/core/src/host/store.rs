//! Read-modify-write on shared data: create-if-absent, then compare-and-swap, in a bounded loop.
//!
//! tollbell's keys begin with `tb1/`, 1 being the version of what is stored: a later format starts anew instead of
//! tripping over an older one. They are short because Envoy makes a string of each at every access, and one of up to
//! 15 bytes costs no allocation.

use thiserror::Error;

use crate::host::guess::Guesses;
use crate::host::metrics::Metric;
use crate::host::ports::{Entry, HostError, Metrics, SharedData};

/// Lost races after which an update gives up.
///
/// Every lost race means that another VM's write went through, so exhaustion takes as many winners in the time of
/// one microsecond each: it is not seen in practice, but a loop without an end would hang a worker.
pub const MAX_ATTEMPTS: u32 = 128;

/// Bytes in shared data that no version of tollbell wrote, or that were cut short.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a stored {record} of {len} bytes does not decode")]
pub struct CorruptRecord {
    /// What the bytes should have been.
    pub record: &'static str,
    /// How many there were.
    pub len: usize,
}

/// Why an update did not happen.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// The host refused.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The value in place is not ours; it is left as it is.
    #[error(transparent)]
    Corrupt(#[from] CorruptRecord),
    /// Other VMs won every one of [`MAX_ATTEMPTS`] races.
    #[error("lost {MAX_ATTEMPTS} races in a row for one value in shared data")]
    Exhausted,
    /// A store outside of the process owes its answer for too long.
    #[error("the store of counters does not answer in time")]
    Late,
}

/// What an update step wants done with the value it was shown.
#[derive(Debug)]
pub enum Change<T> {
    /// Nothing is to be written.
    Keep(T),
    /// This is to be written, if nobody wrote in between; else the step runs again.
    Write(Vec<u8>, T),
}

/// Applies `step` to the value at `key` until its write wins, and returns what the winning step returned.
///
/// `step` gets `None` for a key without a value. It may run several times and must have no other effect.
pub fn update<T>(
    host: &(impl SharedData + Metrics),
    key: &str,
    mut step: impl FnMut(Option<Vec<u8>>) -> Result<Change<T>, CorruptRecord>,
) -> Result<T, StoreError> {
    update_read(host, key, None, &mut step)
}

/// As [`update`], for a value that this VM writes again and again: what it wrote last is tried first, without a read.
///
/// A step that would write nothing runs again on what is read, since only a write shows that the guess was right.
pub fn update_often<T>(
    host: &(impl SharedData + Metrics),
    key: &str,
    mut step: impl FnMut(Option<Vec<u8>>) -> Result<Change<T>, CorruptRecord>,
) -> Result<T, StoreError> {
    let guesses = host.guesses();
    if let Some(guesses) = guesses
        && let Some(guess) = guesses.take(key)
        && let Ok(Change::Write(bytes, result)) = step(Some(guess.value))
        && let Ok(is_right) = host.replace(key, &bytes, guess.number)
    {
        if is_right {
            guesses.hit(key, bytes);
            return Ok(result);
        }
        guesses.miss();
    }
    update_read(host, key, guesses, &mut step)
}

fn update_read<T>(
    host: &(impl SharedData + Metrics),
    key: &str,
    guesses: Option<&Guesses>,
    step: &mut impl FnMut(Option<Vec<u8>>) -> Result<Change<T>, CorruptRecord>,
) -> Result<T, StoreError> {
    for _ in 0..MAX_ATTEMPTS {
        let (value, cas) = match host.get(key)? {
            // No key has the number 0: a host may show an absent key so.
            Entry::Absent | Entry::Emptied { cas: 0 } => (None, None),
            Entry::Emptied { cas } => (None, Some(cas)),
            Entry::Present(stored) => (Some(stored.value), Some(stored.cas)),
        };
        if let Some((guesses, cas)) = guesses.zip(cas) {
            guesses.saw(cas);
        }
        let (bytes, result) = match step(value) {
            Ok(Change::Keep(result)) => return Ok(result),
            Ok(Change::Write(bytes, result)) => (bytes, result),
            Err(corrupt) => return Err(left_alone(host, key, corrupt)),
        };
        let won = match cas {
            None => host.insert(key, &bytes)?,
            Some(cas) => host.replace(key, &bytes, cas)?,
        };
        if won {
            if let Some(guesses) = guesses {
                guesses.wrote(key, bytes);
            }
            return Ok(result);
        }
        host.count(Metric::CasRetries);
    }
    host.count(Metric::CasExhausted);
    log::error!("{key}: {}", StoreError::Exhausted);
    Err(StoreError::Exhausted)
}

#[cold]
#[inline(never)]
fn left_alone(host: &impl Metrics, key: &str, corrupt: CorruptRecord) -> StoreError {
    host.count(Metric::CorruptRecords);
    log::error!("{key}: {corrupt}; it is left as it is");
    corrupt.into()
}

/// The value at `key`, `None` where there is none.
pub fn read(host: &impl SharedData, key: &str) -> Result<Option<Vec<u8>>, HostError> {
    Ok(match host.get(key)? {
        Entry::Absent | Entry::Emptied { .. } => None,
        Entry::Present(stored) => Some(stored.value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryHost;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn append(value: Option<Vec<u8>>) -> Result<Change<usize>, CorruptRecord> {
        let mut value = value.unwrap_or_default();
        value.push(b'x');
        let len = value.len();
        Ok(Change::Write(value, len))
    }

    #[test]
    fn a_lost_race_runs_the_step_again() {
        let host = MemoryHost::default();
        host.fail_next_writes(3);
        assert_eq!(update(&host, "k", append), Ok(1));
        assert_eq!(update(&host, "k", append), Ok(2));
        assert_eq!(host.metric(Metric::CasRetries), 3);
    }

    #[test]
    fn losing_every_race_ends() {
        let host = MemoryHost::default();
        host.fail_next_writes(u32::MAX);
        assert_eq!(update(&host, "k", append), Err(StoreError::Exhausted));
        assert_eq!(host.metric(Metric::CasExhausted), 1);
    }

    #[test]
    fn an_emptied_key_is_written_again() {
        let host = MemoryHost::default();
        host.put("k", b"").unwrap();
        assert_eq!(read(&host, "k"), Ok(None));
        assert_eq!(update(&host, "k", append), Ok(1));
    }
}
