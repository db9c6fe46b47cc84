use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::host::ports::SharedData;
use crate::host::store::{Change, StoreError, update, update_often};
use crate::testing::{MemoryHost, Vm};

const READ: &str = "get_shared_data";
const WRITE: &str = "set_shared_data";

/// Adds 1 to the number at a key, up to `most`. Returns whether it added.
fn count_to(vm: &Vm<'_>, key: &str, most: u64) -> Result<bool, StoreError> {
    update_often(vm, key, |stored| {
        let count = stored.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
        Ok(if count < most { Change::Write((count + 1).to_le_bytes().to_vec(), true) } else { Change::Keep(false) })
    })
}

fn count(vm: &Vm<'_>, key: &str) {
    assert_eq!(count_to(vm, key, u64::MAX), Ok(true));
}

fn counted(host: &MemoryHost, key: &str) -> u64 {
    crate::host::store::read(host, key).unwrap().map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
}

#[test]
fn one_busy_vm_reads_each_of_its_values_once() {
    let host = MemoryHost::default();
    let vm = Vm::on(&host);
    let keys = ["a", "b", "c"];
    for key in keys {
        count(&vm, key);
        count(&vm, key);
    }
    vm.take_calls();
    for n in 0..300 {
        count(&vm, keys[n % 3]);
    }
    assert_eq!(vm.take_calls(), [WRITE; 300]);
    assert_eq!(keys.map(|key| counted(&host, key)), [102; 3]);
}

#[test]
fn a_write_of_another_vm_costs_one_failure_whatever_its_key() {
    for foreign in ["a", "elsewhere"] {
        let host = MemoryHost::default();
        let (vm, other) = (Vm::on(&host), Vm::on(&host));
        for _ in 0..4 {
            count(&vm, "a");
        }
        count(&other, foreign);
        vm.take_calls();
        for _ in 0..40 {
            count(&vm, "a");
        }
        let writes = vm.take_calls().into_iter().filter(|call| *call == WRITE).count();
        assert_eq!(writes, 41, "{foreign}");
        vm.take_calls();
        count(&vm, "a");
        assert_eq!(vm.take_calls(), [WRITE], "it guesses again");
        assert_eq!(counted(&host, "a"), if foreign == "a" { 46 } else { 45 });
    }
}

#[test]
fn several_busy_vms_hardly_ever_guess() {
    let host = MemoryHost::default();
    let vms: Vec<Vm<'_>> = (0..8).map(|_| Vm::on(&host)).collect();
    for round in 0..2000 {
        for vm in &vms {
            count(vm, ["a", "b"][round % 2]);
        }
    }
    for vm in &vms {
        let calls = vm.take_calls();
        let writes = calls.iter().filter(|call| **call == WRITE).count();
        assert!((2000..2020).contains(&writes), "{writes}");
    }
    assert_eq!(counted(&host, "a") + counted(&host, "b"), 16_000);
}

#[test]
fn a_value_is_read_before_a_request_is_refused_on_it() {
    let host = MemoryHost::default();
    let (vm, other) = (Vm::on(&host), Vm::on(&host));
    for _ in 0..10 {
        assert_eq!(count_to(&vm, "a", 10), Ok(true));
    }
    // A refund does this.
    update(&other, "a", |_| Ok(Change::Write(9_u64.to_le_bytes().to_vec(), ()))).unwrap();
    vm.take_calls();
    assert_eq!(count_to(&vm, "a", 10), Ok(true), "the guess says that 10 are counted");
    assert_eq!(vm.take_calls(), [READ, WRITE]);
    assert_eq!(count_to(&vm, "a", 10), Ok(false));
    assert_eq!(vm.take_calls(), [READ]);
}

#[test]
fn numbers_start_again_after_the_last() {
    for last in (u32::MAX - 20)..=u32::MAX {
        let host = MemoryHost::with_last_number(last);
        let vm = Vm::on(&host);
        for _ in 0..40 {
            count(&vm, "a");
        }
        vm.take_calls();
        count(&vm, "a");
        assert_eq!(vm.take_calls(), [WRITE], "{last}");
        assert_eq!(counted(&host, "a"), 41);
    }
}

#[test]
fn values_that_are_not_written_for_a_tick_are_forgotten() {
    let host = MemoryHost::default();
    let vm = Vm::on(&host);
    let guesses = vm.guesses().unwrap();
    for _ in 0..3 {
        count(&vm, "a");
    }
    guesses.tick();
    vm.take_calls();
    count(&vm, "a");
    assert_eq!(vm.take_calls(), [WRITE]);
    guesses.tick();
    guesses.tick();
    count(&vm, "a");
    assert_eq!(vm.take_calls(), [READ, WRITE]);
}

#[test]
fn a_new_vm_has_no_guess() {
    let host = MemoryHost::default();
    let former = Vm::on(&host);
    for _ in 0..3 {
        count(&former, "a");
    }
    let vm = Vm::on(&host);
    count(&vm, "a");
    assert_eq!(vm.take_calls(), [READ, WRITE]);
    count(&former, "a");
    assert_eq!(counted(&host, "a"), 5);
}

#[test]
fn memory_is_bounded() {
    let host = MemoryHost::default();
    let vm = Vm::on(&host);
    for n in 0..1000 {
        count(&vm, "often");
        count(&vm, &n.to_string());
        update_often(&vm, "long", |_| Ok(Change::Write(vec![1; MAX_BYTES + 1], ()))).unwrap();
    }
    let guesses = vm.guesses().unwrap().0.borrow();
    assert_eq!(guesses.values.len(), MAX_VALUES);
    assert!(guesses.values.iter().any(|remembered| remembered.key == "often" && remembered.number.is_some()));
    assert!(guesses.values.iter().all(|remembered| remembered.value.len() <= MAX_BYTES));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Count {
        vm: usize,
        key: usize,
    },
    /// Between the read of one VM and its write.
    Race {
        vm: usize,
        other: usize,
        key: usize,
    },
    Tick {
        vm: usize,
    },
    Restart {
        vm: usize,
    },
    Foreign,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0_usize..3, 0_usize..4).prop_map(|(vm, key)| Step::Count { vm, key }),
        4 => (0_usize..3, 0_usize..3, 0_usize..4).prop_map(|(vm, other, key)| Step::Race { vm, other, key }),
        1 => (0_usize..3).prop_map(|vm| Step::Tick { vm }),
        1 => (0_usize..3).prop_map(|vm| Step::Restart { vm }),
        1 => Just(Step::Foreign),
    ]
}

proptest! {
    /// Whatever the VMs do and whatever the numbers are, each count is counted once and never beyond the limit.
    #[test]
    fn vms_with_guesses_count_exactly(
        steps in prop::collection::vec(step(), 1..400),
        last in prop_oneof![Just(0_u32), (u32::MAX - 300)..=u32::MAX],
        most in prop_oneof![Just(u64::MAX), 1_u64..60],
    ) {
        let host = MemoryHost::with_last_number(last);
        let mut vms: Vec<Vm<'_>> = (0..3).map(|_| Vm::on(&host)).collect();
        let keys = ["a", "b", "c", "d"];
        let mut expected = [0_u64; 4];
        for step in steps {
            match step {
                Step::Count { vm, key } => {
                    let is_counted = count_to(&vms[vm], keys[key], most).unwrap();
                    prop_assert_eq!(is_counted, expected[key] < most);
                    expected[key] += u64::from(is_counted);
                }
                Step::Race { vm, other, key } => {
                    let mut is_raced = vm == other;
                    let is_counted = update_often(&vms[vm], keys[key], |stored| {
                        if !std::mem::replace(&mut is_raced, true) {
                            expected[key] += u64::from(count_to(&vms[other], keys[key], most).unwrap());
                        }
                        let count = stored.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
                        let next = || Change::Write((count + 1).to_le_bytes().to_vec(), true);
                        Ok(if count < most { next() } else { Change::Keep(false) })
                    }).unwrap();
                    prop_assert_eq!(is_counted, expected[key] < most);
                    expected[key] += u64::from(is_counted);
                }
                Step::Tick { vm } => vms[vm].guesses().unwrap().tick(),
                Step::Restart { vm } => vms[vm] = Vm::on(&host),
                Step::Foreign => host.put("elsewhere", b"x").unwrap(),
            }
            prop_assert_eq!(keys.map(|key| counted(&host, key)), expected);
        }
    }
}
