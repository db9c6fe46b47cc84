//! Differences between other hosts and Envoy. They are for tests of modules that must work on other hosts too, or must
//! report why they cannot.

use std::sync::OnceLock;

use crate::base::Status;

/// A difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quirk {
    /// A hostcall, such as `proxy_define_metric`, always returns this status.
    Refuses(&'static str, Status),
    /// A compare-and-swap of an absent key mismatches, unless the number is 0.
    AbsentKeysMismatch,
    /// An absent key is an empty value with the number 0.
    AbsentKeysAreEmpty,
    /// A compare-and-swap always writes, with any number.
    NumbersAreIgnored,
    /// The number 0 is not special: a write to an existing key with the number 0 can mismatch.
    WritesNeedNumbers,
    /// Shared data accepts every value and stores none.
    DataIsForgotten,
    /// An empty `vm_id` refers to no VM, unless the `vm_id` of the VM is empty.
    EmptyVmIdIsNotOwn,
    /// The time has only the lower 32 bits of the nanoseconds.
    TimeIsCutShort,
}

#[derive(Debug, Default)]
pub struct Quirks(OnceLock<Vec<Quirk>>);

impl Quirks {
    pub fn set(&self, quirks: Vec<Quirk>) {
        // The quirks come from a builder, which starts one host.
        let _ = self.0.set(quirks);
    }

    fn all(&self) -> &[Quirk] {
        self.0.get().map_or(&[], Vec::as_slice)
    }

    pub fn has(&self, quirk: &Quirk) -> bool {
        self.all().contains(quirk)
    }

    /// Returns the status that a hostcall always returns.
    pub fn refusal(&self, hostcall: &str) -> Option<Status> {
        self.all().iter().find_map(|quirk| match quirk {
            Quirk::Refuses(refused, status) if *refused == hostcall => Some(*status),
            _ => None,
        })
    }
}
