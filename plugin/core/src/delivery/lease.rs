//! Which VM of the process dispatches: the holder of a lease in shared data.
//!
//! The holder renews it at every tick. When it dies, or its configuration goes, the lease runs out and the first VM
//! to tick takes over.
//!
//! ```text
//! lease   = version u8 = 1, holder u64, until u64                little endian, 17 bytes
//! ```

use crate::ports::{Metrics, SharedData};
use crate::store::{Change, CorruptRecord, StoreError, update};
use crate::units::UnixMillis;

/// How long a lease lasts. With a tick every [`crate::engine::TICK_MS`], another VM takes over within 2.5 s.
pub const LEASE_MS: u64 = 2000;

const KEY: &str = "tb1/leader";
const NEXT_VM_KEY: &str = "tb1/next-vm";
const VERSION: u8 = 1;

/// A number for a VM that no other in this process has.
///
/// # Errors
/// As for any update of shared data.
pub fn register_vm(host: &(impl SharedData + Metrics)) -> Result<u64, StoreError> {
    update(host, NEXT_VM_KEY, |stored| {
        let next = match stored.as_deref() {
            None => 1,
            Some(bytes) => {
                let bytes = bytes.try_into().map_err(|_| CorruptRecord { record: "VM number", len: bytes.len() })?;
                u64::from_le_bytes(bytes)
            }
        };
        Ok(Change::Write(next.saturating_add(1).to_le_bytes().to_vec(), next))
    })
}

/// Takes a free lease or renews one's own. `true`: `vm` has it until [`LEASE_MS`] from `now`.
///
/// # Errors
/// As for any update of shared data; a lease that does not decode is taken.
pub fn hold(host: &(impl SharedData + Metrics), vm: u64, now: UnixMillis) -> Result<bool, StoreError> {
    update(host, KEY, |stored| {
        let taken = stored.and_then(|bytes| decode(&bytes)).is_some_and(|(holder, until)| {
            // A lease far ahead was written before the clock stepped back, by a holder that may be gone.
            holder != vm && now < until && until.since(now) <= LEASE_MS
        });
        Ok(if taken { Change::Keep(false) } else { Change::Write(encode(vm, now.plus(LEASE_MS)), true) })
    })
}

/// Gives up one's own lease, for the next VM to take at once.
///
/// # Errors
/// As for any update of shared data; the lease then runs out by itself.
pub fn give_up(host: &(impl SharedData + Metrics), vm: u64) -> Result<(), StoreError> {
    update(host, KEY, |stored| {
        let is_own = stored.and_then(|bytes| decode(&bytes)).is_some_and(|(holder, _)| holder == vm);
        Ok(if is_own { Change::Write(encode(0, UnixMillis(0)), ()) } else { Change::Keep(()) })
    })
}

fn encode(holder: u64, until: UnixMillis) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&holder.to_le_bytes());
    bytes.extend_from_slice(&until.0.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<(u64, UnixMillis)> {
    let (version, rest) = bytes.split_first()?;
    let (holder, rest) = rest.split_first_chunk::<8>()?;
    let until: [u8; 8] = rest.try_into().ok()?;
    (*version == VERSION).then(|| (u64::from_le_bytes(*holder), UnixMillis(u64::from_le_bytes(until))))
}
