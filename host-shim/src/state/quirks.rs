//! How other hosts differ from Envoy, for tests of modules that must work on them too, or say why they cannot.

use std::sync::OnceLock;

use crate::base::Status;

/// A difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quirk {
    /// A hostcall, such as `proxy_define_metric`, always answers with this status.
    Refuses(&'static str, Status),
    /// Compare-and-swap with any number but 0 mismatches where the key is absent.
    AbsentKeysMismatch,
    /// An absent key is an empty value with the number 0.
    AbsentKeysAreEmpty,
    /// Compare-and-swap writes whatever the number is.
    NumbersAreIgnored,
    /// No write needs no number: 0 is one as any other where the key is there.
    WritesNeedNumbers,
    /// Shared data takes every value and keeps none.
    DataIsForgotten,
    /// An empty `vm_id` is that of no VM, unless a VM's own is empty.
    EmptyVmIdIsNotOwn,
    /// The time has the lower 32 bits of the nanoseconds.
    TimeIsCutShort,
}

#[derive(Debug, Default)]
pub struct Quirks(OnceLock<Vec<Quirk>>);

impl Quirks {
    pub fn set(&self, quirks: Vec<Quirk>) {
        // They come from a builder, which starts one host.
        let _ = self.0.set(quirks);
    }

    fn all(&self) -> &[Quirk] {
        self.0.get().map_or(&[], Vec::as_slice)
    }

    pub fn has(&self, quirk: &Quirk) -> bool {
        self.all().contains(quirk)
    }

    /// The status that a hostcall always answers with.
    pub fn refusal(&self, hostcall: &str) -> Option<Status> {
        self.all().iter().find_map(|quirk| match quirk {
            Quirk::Refuses(refused, status) if *refused == hostcall => Some(*status),
            _ => None,
        })
    }
}
