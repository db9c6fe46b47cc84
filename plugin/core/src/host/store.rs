//! Read-modify-write on shared data: create-if-absent, then compare-and-swap, in a bounded loop.
//!
//! The keys begin with `tb1/`, where 1 is the version of the format: a later format uses other keys and never reads an
//! older one. The keys are short because Envoy makes a string of the key at every access, and a string of up to 15
//! bytes needs no allocation.

use thiserror::Error;

use crate::host::guess::Guesses;
use crate::host::metrics::Metric;
use crate::host::ports::{Entry, HostError, Metrics, SharedData};

/// The number of lost races after which an update gives up.
///
/// Each lost race means that another VM's write succeeded. So exhaustion needs that many winners within about a
/// microsecond each. This does not happen in practice, but a loop without an end would hang a worker.
pub const MAX_ATTEMPTS: u32 = 128;

/// Bytes in shared data that no version of tollbell wrote, or that are incomplete.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a stored {record} of {len} bytes does not decode")]
pub struct CorruptRecord {
    /// The kind of record that was expected.
    pub record: &'static str,
    /// The number of bytes.
    pub len: usize,
}

/// Why an update failed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// The host refused.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The stored value is not tollbell's. It stays as it is.
    #[error(transparent)]
    Corrupt(#[from] CorruptRecord),
    /// Other VMs won [`MAX_ATTEMPTS`] races in a row.
    #[error("lost {MAX_ATTEMPTS} races in a row for one value in shared data")]
    Exhausted,
    /// A store outside of the process did not answer in time.
    #[error("the store of counters does not answer in time")]
    Late,
}

/// The result of an update step.
#[derive(Debug)]
pub enum Change<T> {
    /// Write nothing.
    Keep(T),
    /// Write this value. If another VM wrote since the read, the step runs again.
    Write(Vec<u8>, T),
}

/// Applies `step` to the value at `key` until its write wins, and returns what the winning step returned.
///
/// `step` gets `None` for a key without a value. It may run several times, so it must have no side effects.
pub fn update<T>(
    host: &(impl SharedData + Metrics),
    key: &str,
    mut step: impl FnMut(Option<Vec<u8>>) -> Result<Change<T>, CorruptRecord>,
) -> Result<T, StoreError> {
    update_read(host, key, None, &mut step)
}

/// As [`update`], for a value that this VM writes often: the update first tries this VM's last written value, without a
/// read.
///
/// A step that would write nothing runs again on a value that was read, because only a successful write shows that the
/// guess was right.
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
            // No key has the number 0. A host may show an absent key in this form.
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

/// The value at `key`; `None` if there is none.
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
    fn a_lost_race_repeats_the_step() {
        let host = MemoryHost::default();
        host.fail_next_writes(3);
        assert_eq!(update(&host, "k", append), Ok(1));
        assert_eq!(update(&host, "k", append), Ok(2));
        assert_eq!(host.metric(Metric::CasRetries), 3);
    }

    #[test]
    fn an_update_gives_up_after_too_many_lost_races() {
        let host = MemoryHost::default();
        host.fail_next_writes(u32::MAX);
        assert_eq!(update(&host, "k", append), Err(StoreError::Exhausted));
        assert_eq!(host.metric(Metric::CasExhausted), 1);
    }

    #[test]
    fn an_emptied_key_can_be_written_again() {
        let host = MemoryHost::default();
        host.put("k", b"").unwrap();
        assert_eq!(read(&host, "k"), Ok(None));
        assert_eq!(update(&host, "k", append), Ok(1));
    }
}
