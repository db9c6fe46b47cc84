//! The lease in shared data. Its holder is the VM of the process that dispatches.
//!
//! The holder renews the lease at every tick. If the holder dies, the lease expires and the first VM to tick takes
//! over. After an update, the VMs of the former configuration live as long as Envoy drains their listener. A VM of the
//! latest configuration then asks for the lease, and the holder hands it over after its attempts have ended.

use serde::{Deserialize, Serialize};

use super::disabled::ConfigId;
use crate::base::{UnixMillis, is_leased, record};
use crate::host::{Change, CorruptRecord, Metrics, SharedData, StoreError, update};

/// How long a lease lasts. With a tick every [`crate::host::TICK_MS`], another VM takes over within 2.5 s.
pub const LEASE_MS: u64 = 2000;

const KEY: &str = "tb1/leader";
const NEXT_VM_KEY: &str = "tb1/next-vm";
const VERSION: u8 = 2;

/// A VM that can dispatch.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// The VM's number, see [`register_vm`].
    pub vm: u64,
    pub config: ConfigId,
    /// True if no other configuration has started since.
    pub is_latest: bool,
}

/// The result of an attempt to hold the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// This VM holds it until [`LEASE_MS`] from now.
    Held,
    /// This VM holds it, and a VM of the latest configuration waits for it.
    Wanted,
    /// A VM of this configuration holds it, or is waiting for it.
    Taken(ConfigId),
}

/// Returns a number that no other VM in this process has.
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

/// Takes a free lease, renews the VM's lease, or asks for the lease of an older configuration.
///
/// # Errors
/// Any error of an update of shared data. A lease that does not decode is taken.
pub fn hold(host: &(impl SharedData + Metrics), who: Candidate, now: UnixMillis) -> Result<Hold, StoreError> {
    update(host, KEY, |stored| {
        let lease = stored.and_then(|bytes| Lease::decode(&bytes)).unwrap_or_default();
        let is_ahead = |until| is_leased(until, LEASE_MS, now);
        let is_wanted = lease.wanted_by != who.config && is_ahead(lease.wanted_until);
        let renewed = Lease { holder: who.vm, until: now.plus(LEASE_MS), config: who.config, ..lease };
        Ok(if is_ahead(lease.until) && lease.holder == who.vm {
            Change::Write(renewed.encode(), if is_wanted { Hold::Wanted } else { Hold::Held })
        } else if is_ahead(lease.until) {
            if who.is_latest && lease.config != who.config {
                let asked = Lease { wanted_by: who.config, wanted_until: now.plus(LEASE_MS), ..lease };
                Change::Write(asked.encode(), Hold::Taken(lease.config))
            } else {
                Change::Keep(Hold::Taken(lease.config))
            }
        } else if is_wanted {
            Change::Keep(Hold::Taken(lease.wanted_by))
        } else {
            Change::Write(renewed.encode(), Hold::Held)
        })
    })
}

/// Gives up this VM's lease. The next VM takes it at once.
///
/// # Errors
/// Any error of an update of shared data. The lease then expires.
pub fn give_up(host: &(impl SharedData + Metrics), vm: u64) -> Result<(), StoreError> {
    update(host, KEY, |stored| {
        let lease = stored.and_then(|bytes| Lease::decode(&bytes)).filter(|lease| lease.holder == vm);
        Ok(match lease {
            Some(lease) => Change::Write(Lease { holder: 0, until: UnixMillis(0), ..lease }.encode(), ()),
            None => Change::Keep(()),
        })
    })
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    holder: u64,
    until: UnixMillis,
    config: ConfigId,
    wanted_by: ConfigId,
    wanted_until: UnixMillis,
}

impl Lease {
    fn encode(&self) -> Vec<u8> {
        record::encode(VERSION, self)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        record::decode(VERSION, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryHost;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn at(ms: u64) -> UnixMillis {
        UnixMillis(1_000_000 + ms)
    }

    #[test]
    fn the_latest_configuration_gets_the_lease_before_any_other() {
        let host = MemoryHost::default();
        let [old, other_old] = [1, 2].map(|vm| Candidate { vm, config: ConfigId(1), is_latest: false });
        let new = Candidate { vm: 3, config: ConfigId(2), is_latest: true };
        assert_eq!(hold(&host, old, at(0)), Ok(Hold::Held));
        assert_eq!(hold(&host, other_old, at(1)), Ok(Hold::Taken(ConfigId(1))));
        assert_eq!(hold(&host, old, at(2)), Ok(Hold::Held), "a VM of the same configuration does not ask");
        assert_eq!(hold(&host, new, at(3)), Ok(Hold::Taken(ConfigId(1))));
        assert_eq!(hold(&host, old, at(4)), Ok(Hold::Wanted));
        give_up(&host, 1).unwrap();
        assert_eq!(hold(&host, other_old, at(5)), Ok(Hold::Taken(ConfigId(2))));
        assert_eq!(hold(&host, new, at(6)), Ok(Hold::Held));
        assert_eq!(hold(&host, old, at(7)), Ok(Hold::Taken(ConfigId(2))));
        assert_eq!(
            hold(&host, old, at(2006)),
            Ok(Hold::Held),
            "the waiting VM died, and an older configuration is better than none"
        );
    }

    #[test]
    fn a_vm_that_read_the_clock_before_the_holder_does_not_take_the_lease() {
        let host = MemoryHost::default();
        let [one, other] = [1, 2].map(|vm| Candidate { vm, config: ConfigId(1), is_latest: true });
        for tick in 0..20 {
            // The other VM read the clock, then did something else while the holder renewed.
            assert_eq!(hold(&host, one, at(500 * tick)), Ok(Hold::Held));
            for late in [1, 10, 300] {
                assert_eq!(hold(&host, other, UnixMillis(at(500 * tick).0 - late)), Ok(Hold::Taken(ConfigId(1))));
            }
        }
    }

    #[test]
    fn the_lease_does_not_wait_for_a_vm_that_died() {
        let host = MemoryHost::default();
        let old = Candidate { vm: 1, config: ConfigId(1), is_latest: false };
        let new = Candidate { vm: 2, config: ConfigId(2), is_latest: true };
        hold(&host, old, at(0)).unwrap();
        hold(&host, new, at(0)).unwrap();
        assert_eq!(hold(&host, old, at(1)), Ok(Hold::Wanted));
        assert_eq!(hold(&host, old, at(2000)), Ok(Hold::Held));
    }
}
