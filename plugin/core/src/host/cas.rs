//! How a host does compare-and-swap. Each VM tests it once, when it is configured.
//!
//! The ABI does not say what a write with a CAS number does to an absent key. Envoy ignores the number then and writes,
//! so a write with a number that no key has is a create-if-absent. Other hosts answer that the number does not match,
//! or ignore all numbers. Some only pretend to store a value.

use crate::host::ports::{Entry, HostError};
use crate::host::store::MAX_ATTEMPTS;

/// Envoy counts from 1. It would need four billion writes to reach this number.
const NO_KEYS_CAS: u32 = u32::MAX;

/// The number for an unconditional write.
const ANY_CAS: u32 = 0;

/// Holds the result of the test for all VMs that share the data. The VM that writes it first saw the key absent.
const KEY: &str = "tb1/cas";

/// Two keys whose numbers show whether a host numbers all writes in one sequence.
const SELDOM_KEY: &str = "tb1/cas/1";
const OFTEN_KEY: &str = "tb1/cas/2";

/// Writes to the second key between two writes to the first. If each key has its own numbers, the second key's get
/// ahead of the first key's, unless more VMs than this start at the same moment.
const OFTEN: u32 = 64;

/// The host's two calls for shared data.
pub trait RawData {
    /// Reads a key.
    ///
    /// # Errors
    /// Any error of the host, except that the key does not exist.
    fn get(&self, key: &str) -> Result<Entry, HostError>;

    /// Writes a key. `false` means that, according to the host, its number is not `cas`.
    ///
    /// # Errors
    /// Any other error of the host.
    fn set(&self, key: &str, value: &[u8], cas: u32) -> Result<bool, HostError>;
}

/// What a host does with the number of a compare-and-swap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompareAndSwap {
    /// As in Envoy: no write is lost.
    #[default]
    Exact,
    /// An absent key has no number, so no number matches. The first write to a key can overwrite another VM's.
    NotForNewKeys,
    /// The host ignores the numbers. Any write can overwrite another VM's.
    Ignored,
    /// Nothing can be written, or a written value cannot be read.
    Unusable(HostError),
}

impl CompareAndSwap {
    /// Tests the host, and logs a warning or an error if it does not do as Envoy does.
    pub fn find_out(data: &impl RawData) -> Self {
        let found = Self::tried(data).unwrap_or_else(Self::Unusable);
        match found {
            Self::Exact => {}
            Self::NotForNewKeys => log::warn!(
                "this host creates no key of shared data by compare-and-swap: where two VMs count the first request of \
                 a key at the same moment, one count can be lost; all later ones are exact"
            ),
            Self::Ignored => log::warn!(
                "this host ignores compare-and-swap: VMs that count at the same moment lose counts, so that more \
                 requests pass than a limit allows; with one VM, counts are exact"
            ),
            Self::Unusable(error) => log::error!(
                "shared data cannot be used: {error}; requests that must be counted are refused with 503, and no \
                 message is sent"
            ),
        }
        found
    }

    fn tried(data: &impl RawData) -> Result<Self, HostError> {
        if let Some(known) = Self::known(data)? {
            return Ok(known);
        }
        if !data.set(KEY, Self::Exact.code(), NO_KEYS_CAS)? {
            // Another VM was faster, or the key is still absent.
            if let Some(known) = Self::known(data)? {
                return Ok(known);
            }
            data.set(KEY, Self::NotForNewKeys.code(), ANY_CAS)?;
            return Self::known(data)?.ok_or(Self::NOT_KEPT);
        }
        Self::known(data)?.ok_or(Self::NOT_KEPT)?;
        let is_ignored = data.set(KEY, Self::Ignored.code(), NO_KEYS_CAS)?;
        Ok(if is_ignored { Self::Ignored } else { Self::Exact })
    }

    const NOT_KEPT: HostError = HostError { call: "get_shared_data for a key that was just written", status: 1 };

    fn known(data: &impl RawData) -> Result<Option<Self>, HostError> {
        let Entry::Present(stored) = data.get(KEY)? else { return Ok(None) };
        let known = [Self::NotForNewKeys, Self::Ignored].into_iter().find(|known| known.code() == stored.value);
        Ok(Some(known.unwrap_or(Self::Exact)))
    }

    fn code(self) -> &'static [u8] {
        match self {
            Self::Exact | Self::Unusable(_) => b"exact",
            Self::NotForNewKeys => b"not for new keys",
            Self::Ignored => b"ignored",
        }
    }

    /// True if each write gets a greater number than every write before it, of any key and any VM.
    /// [`crate::host::guess::Guesses`] need this.
    pub fn numbers_all_writes(self, data: &impl RawData) -> bool {
        self == Self::Exact && self.numbers_rise(data).unwrap_or_default()
    }

    fn numbers_rise(self, data: &impl RawData) -> Result<bool, HostError> {
        let mut newest = 0;
        for (key, writes) in [(SELDOM_KEY, 1), (OFTEN_KEY, OFTEN), (SELDOM_KEY, 1)] {
            for _ in 0..writes {
                self.put(data, key, self.code())?;
            }
            let number = match data.get(key)? {
                Entry::Present(stored) => stored.cas,
                Entry::Absent | Entry::Emptied { .. } => return Ok(false),
            };
            if number <= newest {
                return Ok(false);
            }
            newest = number;
        }
        Ok(true)
    }

    /// [`crate::host::ports::SharedData::insert`].
    ///
    /// # Errors
    /// Any error of the host. Without usable shared data this always fails, because every key would be absent for ever.
    pub fn insert(self, data: &impl RawData, key: &str, value: &[u8]) -> Result<bool, HostError> {
        match self {
            Self::Exact | Self::Ignored => data.set(key, value, NO_KEYS_CAS),
            Self::NotForNewKeys => {
                let is_written = data.set(key, value, ANY_CAS)?;
                Ok(is_written && matches!(data.get(key)?, Entry::Present(stored) if stored.value == value))
            }
            Self::Unusable(error) => Err(error),
        }
    }

    /// [`crate::host::ports::SharedData::put`]. Some hosts have no unconditional write.
    ///
    /// # Errors
    /// An error of the host, or other VMs wrote between the read and the write each time.
    pub fn put(self, data: &impl RawData, key: &str, value: &[u8]) -> Result<(), HostError> {
        for _ in 0..MAX_ATTEMPTS {
            if data.set(key, value, ANY_CAS)? {
                return Ok(());
            }
            let is_written = match data.get(key)? {
                Entry::Absent | Entry::Emptied { cas: 0 } => data.set(key, value, NO_KEYS_CAS)?,
                Entry::Emptied { cas } => data.set(key, value, cas)?,
                Entry::Present(stored) => data.set(key, value, stored.cas)?,
            };
            if is_written {
                return Ok(());
            }
        }
        Err(HostError { call: "set_shared_data", status: CAS_MISMATCH })
    }
}

/// The ABI's status for a CAS number that does not match.
const CAS_MISMATCH: u32 = 8;

#[cfg(test)]
mod tests;
