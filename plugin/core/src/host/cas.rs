//! Compare-and-swap as hosts have it, found out once at configuration.
//!
//! What a write with a number does to an absent key, the ABI does not say. Envoy writes it whatever the number, so a
//! number that no key has makes a write a create-if-absent. Other hosts answer that the number does not match, or look
//! at no number at all; and some only pretend to keep what they are given.

use crate::host::ports::{Entry, HostError};
use crate::host::store::MAX_ATTEMPTS;

/// Envoy counts from 1 and would need four billion writes to get here.
const NO_KEYS_CAS: u32 = u32::MAX;

/// The number for a write whatever the key holds.
const ANY_CAS: u32 = 0;

/// What was found out stands here, for all VMs that share the data: the first of them to write it saw the key absent.
const KEY: &str = "tb1/cas";

/// Two keys whose numbers tell whether a host numbers all writes in one sequence.
const SELDOM_KEY: &str = "tb1/cas/1";
const OFTEN_KEY: &str = "tb1/cas/2";

/// Writes to the second between two to the first: where each key is numbered by itself, its numbers get ahead of those
/// of the first, unless more VMs than this begin at the same moment.
const OFTEN: u32 = 64;

/// The host's own two calls on shared data.
pub trait RawData {
    /// Reads a key.
    ///
    /// # Errors
    /// What the host answers, but that there is no such key.
    fn get(&self, key: &str) -> Result<Entry, HostError>;

    /// Writes a key. `false`: its number is not `cas`, or so the host says.
    ///
    /// # Errors
    /// What else the host answers.
    fn set(&self, key: &str, value: &[u8], cas: u32) -> Result<bool, HostError>;
}

/// What a host makes of compare-and-swap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompareAndSwap {
    /// As in Envoy: every write is exact.
    #[default]
    Exact,
    /// An absent key has no number, so that none matches: a first write can replace that of another VM.
    NotForNewKeys,
    /// Numbers are not looked at: any write can replace that of another VM.
    Ignored,
    /// Nothing can be written, or what was written is not there.
    Unusable(HostError),
}

impl CompareAndSwap {
    /// Tries it, and logs what follows where it is not as in Envoy.
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
            // Another VM was faster, or the key is absent still.
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

    /// Whether each write gets a greater number than every write before it, whatever their keys and VMs are. What
    /// [`crate::host::guess::Guesses`] are exact with.
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
    /// What the host answers; always where shared data cannot be used, since every key is absent then for ever.
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

    /// [`crate::host::ports::SharedData::put`]. Some hosts have no write without a number.
    ///
    /// # Errors
    /// What the host answers, or that other VMs have written in between each time.
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

/// The ABI's status for a number that does not match.
const CAS_MISMATCH: u32 = 8;

#[cfg(test)]
mod tests;
