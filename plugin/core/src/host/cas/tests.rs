use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::*;
use crate::host::guess::Guesses;
use crate::host::metrics::{Gauge, Metric};
use crate::host::ports::{Metrics, SharedData, Stored};
use crate::host::store::{Change, StoreError, update, update_often};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// A host with any deviation from Envoy.
#[derive(Clone, Debug, Default)]
struct Host {
    data: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
    last: Cell<u32>,
    /// No number matches an absent key.
    absent_mismatches: bool,
    /// An absent key reads as an empty value with the number 0.
    absent_is_empty: bool,
    /// Writes with any number.
    ignores_numbers: bool,
    /// 0 is a number like any other.
    has_no_plain_write: bool,
    /// Reports a write that it did not do.
    forgets: bool,
    /// Each key has its own sequence of numbers.
    numbers_each_key: bool,
    /// The status that every call returns.
    status: Option<u32>,
}

impl Host {
    fn answer(&self, call: &'static str) -> Result<(), HostError> {
        self.status.map_or(Ok(()), |status| Err(HostError { call, status }))
    }
}

impl RawData for Host {
    fn get(&self, key: &str) -> Result<Entry, HostError> {
        self.answer("get_shared_data")?;
        Ok(match self.data.borrow().get(key) {
            None if self.absent_is_empty => Entry::Emptied { cas: 0 },
            None => Entry::Absent,
            Some((value, cas)) if value.is_empty() => Entry::Emptied { cas: *cas },
            Some((value, cas)) => Entry::Present(Stored { value: value.clone(), cas: *cas }),
        })
    }

    fn set(&self, key: &str, value: &[u8], cas: u32) -> Result<bool, HostError> {
        self.answer("set_shared_data")?;
        let mut data = self.data.borrow_mut();
        let is_plain = cas == 0 && !self.has_no_plain_write;
        let matches = match data.get(key) {
            None => !self.absent_mismatches || cas == 0,
            Some((_, present)) => *present == cas,
        };
        if !(is_plain || matches || self.ignores_numbers) {
            return Ok(false);
        }
        if !self.forgets {
            let present = data.get(key).map_or(0, |(_, present)| *present);
            self.last.set(self.last.get().wrapping_add(1).max(1));
            let number = if self.numbers_each_key { present + 1 } else { self.last.get() };
            data.insert(key.to_owned(), (value.to_vec(), number));
        }
        Ok(true)
    }
}

/// A VM on this host.
struct Vm<'h> {
    host: &'h Host,
    cas: CompareAndSwap,
    guesses: Option<Guesses>,
}

impl<'h> Vm<'h> {
    fn on(host: &'h Host) -> Self {
        let cas = CompareAndSwap::find_out(host);
        Vm { host, cas, guesses: cas.numbers_all_writes(host).then(Guesses::default) }
    }

    fn count(&self, key: &str) -> Result<u32, StoreError> {
        update_often(self, key, |stored| {
            let count = stored.map_or(0, |bytes| u32::from_le_bytes(bytes.try_into().unwrap())) + 1;
            Ok(Change::Write(count.to_le_bytes().to_vec(), count))
        })
    }
}

impl SharedData for Vm<'_> {
    fn get(&self, key: &str) -> Result<Entry, HostError> {
        self.host.get(key)
    }

    fn insert(&self, key: &str, value: &[u8]) -> Result<bool, HostError> {
        self.cas.insert(self.host, key, value)
    }

    fn replace(&self, key: &str, value: &[u8], cas: u32) -> Result<bool, HostError> {
        self.host.set(key, value, cas)
    }

    fn put(&self, key: &str, value: &[u8]) -> Result<(), HostError> {
        self.cas.put(self.host, key, value)
    }

    fn guesses(&self) -> Option<&Guesses> {
        self.guesses.as_ref()
    }
}

impl Metrics for Vm<'_> {
    fn add(&self, _: Metric, _: u64) {}
    fn count_attempt(&self, _: &str, _: &'static str) {}
    fn set(&self, _: Gauge, _: u64) {}
    fn change(&self, _: Gauge, _: i64) {}
}

/// All combinations of deviations with which the host is still usable.
fn usable() -> impl Iterator<Item = Host> {
    (0..16).map(|bits| Host {
        absent_mismatches: bits & 1 != 0,
        absent_is_empty: bits & 2 != 0,
        ignores_numbers: bits & 4 != 0,
        has_no_plain_write: bits & 8 != 0,
        ..Host::default()
    })
}

#[test]
fn each_kind_of_host_is_recognised_by_every_vm() {
    for host in usable() {
        let expected = match (host.ignores_numbers, host.absent_mismatches) {
            (true, _) => CompareAndSwap::Ignored,
            (false, true) => CompareAndSwap::NotForNewKeys,
            (false, false) => CompareAndSwap::Exact,
        };
        for _ in 0..3 {
            assert_eq!(CompareAndSwap::find_out(&host), expected, "{host:?}");
        }
    }
}

#[test]
fn vms_that_take_turns_count_exactly_on_every_usable_host() {
    for host in usable() {
        let vms = [Vm::on(&host), Vm::on(&host)];
        for count in 1..=20 {
            for key in ["a", "b"] {
                assert_eq!(vms[count as usize % 2].count(key), Ok(count), "{host:?}");
            }
        }
        vms[0].put("a", b"").unwrap();
        assert_eq!(vms[1].count("a"), Ok(1), "{host:?}");
        vms[0].put("a", &7u32.to_le_bytes()).unwrap();
        assert_eq!(vms[1].count("a"), Ok(8), "{host:?}");
        let own = if vms[0].guesses.is_some() { 3 } else { 1 };
        assert_eq!(host.data.borrow().len(), 2 + own, "the result of the test");
    }
}

#[test]
fn nothing_is_counted_on_a_host_that_stores_nothing() {
    let unusable = [
        Host { forgets: true, ..Host::default() },
        Host { forgets: true, absent_mismatches: true, ..Host::default() },
        Host { forgets: true, absent_is_empty: true, ..Host::default() },
        Host { status: Some(10), ..Host::default() },
        Host { status: Some(12), ..Host::default() },
    ];
    for host in unusable {
        let vm = Vm::on(&host);
        assert!(matches!(vm.cas, CompareAndSwap::Unusable(_)), "{host:?}");
        for _ in 0..3 {
            assert!(matches!(vm.count("a"), Err(StoreError::Host(_))), "{host:?}");
        }
    }
}

/// If a new key has no number, the last VM to write is the one that counts. After that, no count is lost.
#[test]
fn after_the_first_write_no_race_is_lost() {
    for host in usable().filter(|host| !host.ignores_numbers) {
        let (first, second) = (Vm::on(&host), Vm::on(&host));
        let mut is_raced = false;
        let counted = update(&first, "a", |stored| {
            if !std::mem::replace(&mut is_raced, true) {
                second.count("a").unwrap();
            }
            let count = stored.map_or(0, |bytes| u32::from_le_bytes(bytes.try_into().unwrap())) + 1;
            Ok(Change::Write(count.to_le_bytes().to_vec(), count))
        });
        let is_exact = first.cas == CompareAndSwap::Exact;
        assert!(counted == Ok(2) || !is_exact && counted == Ok(1), "{host:?}: {counted:?}");
        let before = counted.unwrap();
        let mut is_raced = false;
        let counted = update(&first, "a", |stored| {
            if !std::mem::replace(&mut is_raced, true) {
                second.count("a").unwrap();
            }
            let count = stored.map_or(0, |bytes| u32::from_le_bytes(bytes.try_into().unwrap())) + 1;
            Ok(Change::Write(count.to_le_bytes().to_vec(), count))
        });
        assert_eq!(counted, Ok(before + 2), "{host:?}");
    }
}

#[test]
fn guesses_are_for_hosts_that_number_all_writes_in_one_sequence() {
    for host in usable() {
        let is_exact = !host.ignores_numbers && !host.absent_mismatches;
        for _ in 0..3 {
            assert_eq!(Vm::on(&host).guesses.is_some(), is_exact, "{host:?}");
        }
    }
    let host = Host { numbers_each_key: true, ..Host::default() };
    for _ in 0..200 {
        assert!(Vm::on(&host).guesses.is_none());
    }
    let vms = [Vm::on(&host), Vm::on(&host)];
    for count in 1..=100 {
        assert_eq!(vms[count as usize % 2].count("a"), Ok(count));
    }
}
