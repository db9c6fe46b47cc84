//! The order of attempts: the used slots that the dispatching VM knows, by target and time.

use std::collections::{BTreeMap, BTreeSet};

use super::lookups::AGAIN_MS;
use super::outbox::Slot;
use crate::base::{UnixMillis, is_leased};

/// The maximum numbers of attempts in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlightLimits {
    /// For all targets together.
    pub total: usize,
    /// For one target.
    pub per_target: usize,
}

/// The slots that the dispatcher follows.
#[derive(Debug, Default)]
pub struct Schedule {
    slots: BTreeMap<Slot, State>,
    targets: BTreeMap<String, Queue>,
    under_way: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Empty { since: UnixMillis },
    Waiting { target: String, due: UnixMillis, held_since: UnixMillis },
    UnderWay { target: String, held_since: UnixMillis },
}

#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeSet<(UnixMillis, Slot)>,
    under_way: usize,
    /// The time before which nothing is sent to the target.
    put_off: UnixMillis,
}

impl Schedule {
    /// A slot waits until it is due; `held_since` is for [`Schedule::oldest`].
    pub fn wait(&mut self, slot: Slot, target: &str, due: UnixMillis, held_since: UnixMillis) {
        self.forget(slot);
        self.targets.entry(target.to_owned()).or_default().waiting.insert((due, slot));
        self.slots.insert(slot, State::Waiting { target: target.to_owned(), due, held_since });
    }

    /// Sends nothing to a target before `until`, if a slot waits for the target.
    pub fn put_off(&mut self, target: &str, until: UnixMillis) {
        if let Some(queue) = self.targets.get_mut(target) {
            queue.put_off = until;
        }
    }

    /// A slot is reserved and has no content yet. Returns the time since which this is known.
    pub fn empty(&mut self, slot: Slot, now: UnixMillis) -> UnixMillis {
        let since = match self.slots.get(&slot) {
            Some(State::Empty { since }) => *since,
            _ => now,
        };
        self.forget(slot);
        self.slots.insert(slot, State::Empty { since });
        since
    }

    /// The attempt of a waiting slot starts.
    pub fn start(&mut self, slot: Slot) {
        let Some(State::Waiting { target, due, held_since }) = self.slots.get(&slot).cloned() else { return };
        if let Some(queue) = self.targets.get_mut(&target) {
            queue.waiting.remove(&(due, slot));
            queue.under_way = queue.under_way.saturating_add(1);
        }
        self.under_way = self.under_way.saturating_add(1);
        self.slots.insert(slot, State::UnderWay { target, held_since });
    }

    /// Removes a slot.
    pub fn forget(&mut self, slot: Slot) {
        let target = match self.slots.remove(&slot) {
            Some(State::Waiting { target, due, .. }) => {
                if let Some(queue) = self.targets.get_mut(&target) {
                    queue.waiting.remove(&(due, slot));
                }
                target
            }
            Some(State::UnderWay { target, .. }) => {
                if let Some(queue) = self.targets.get_mut(&target) {
                    queue.under_way = queue.under_way.saturating_sub(1);
                }
                self.under_way = self.under_way.saturating_sub(1);
                target
            }
            Some(State::Empty { .. }) | None => return,
        };
        if self.targets.get(&target).is_some_and(|queue| queue.waiting.is_empty() && queue.under_way == 0) {
            self.targets.remove(&target);
        }
    }

    /// Keeps all slots in flight, and of the others only those for which `keep` returns true.
    pub fn retain_idle(&mut self, keep: impl Fn(Slot) -> bool) {
        self.forget_all(|slot, state| !matches!(state, State::UnderWay { .. }) && !keep(slot));
    }

    /// Removes the waiting slots. Slots in flight stay, and so do the times of reserved slots without content.
    pub fn forget_waiting(&mut self) {
        self.forget_all(|_, state| matches!(state, State::Waiting { .. }));
    }

    fn forget_all(&mut self, is_gone: impl Fn(Slot, &State) -> bool) {
        let gone = self.slots.iter().filter(|(slot, state)| is_gone(**slot, state));
        let gone: Vec<Slot> = gone.map(|(slot, _)| *slot).collect();
        gone.into_iter().for_each(|slot| self.forget(slot));
    }

    /// The slot to send next: of the targets that have room, the one that has been due the longest.
    pub fn next(&self, limits: InFlightLimits, now: UnixMillis) -> Option<Slot> {
        if self.under_way >= limits.total {
            return None;
        }
        let first = |queue: &Queue| queue.waiting.first().copied().filter(|(due, _)| *due <= now);
        // A delay that ends further in the future was set before the clock was set back.
        let is_put_off = |queue: &Queue| is_leased(queue.put_off, AGAIN_MS, now);
        let has_room = |queue: &&Queue| queue.under_way < limits.per_target && !is_put_off(queue);
        let queues = self.targets.values().filter(has_room);
        queues.filter_map(first).min().map(|(_, slot)| slot)
    }

    /// True if a slot waits in a target's queue.
    pub fn is_waiting_for(&self, slot: Slot, wanted: &str) -> bool {
        matches!(self.slots.get(&slot), Some(State::Waiting { target, .. }) if target == wanted)
    }

    /// True if a slot waits or is in flight.
    pub fn knows(&self, slot: Slot) -> bool {
        matches!(self.slots.get(&slot), Some(State::Waiting { .. } | State::UnderWay { .. }))
    }

    /// True if an attempt of a slot is in flight.
    pub fn is_under_way(&self, slot: Slot) -> bool {
        matches!(self.slots.get(&slot), Some(State::UnderWay { .. }))
    }

    /// The number of attempts in flight.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// When the oldest held message was held.
    pub fn oldest(&self) -> Option<UnixMillis> {
        let held_since = |state: &State| match state {
            State::Waiting { held_since, .. } | State::UnderWay { held_since, .. } => Some(*held_since),
            State::Empty { .. } => None,
        };
        self.slots.values().filter_map(held_since).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const LIMITS: InFlightLimits = InFlightLimits { total: 4, per_target: 2 };

    fn at(ms: u64) -> UnixMillis {
        UnixMillis(ms)
    }

    #[test]
    fn the_longest_due_goes_first_and_a_target_without_room_is_skipped() {
        let mut schedule = Schedule::default();
        for (slot, target, due) in [(0, "slow", 1), (1, "slow", 2), (2, "slow", 3), (3, "quick", 5), (4, "quick", 99)] {
            schedule.wait(Slot(slot), target, at(due), at(0));
        }
        let mut started = Vec::new();
        while let Some(slot) = schedule.next(LIMITS, at(10)) {
            schedule.start(slot);
            started.push(slot.0);
        }
        assert_eq!(started, [0, 1, 3]);
        schedule.forget(Slot(0));
        assert_eq!(schedule.next(LIMITS, at(10)), Some(Slot(2)));
    }

    #[test]
    fn a_delayed_target_sends_nothing() {
        let mut schedule = Schedule::default();
        for slot in 0..100 {
            schedule.wait(Slot(slot), "unknown", at(1), at(0));
        }
        schedule.wait(Slot(100), "known", at(5), at(0));
        schedule.put_off("unknown", at(110));
        assert_eq!(schedule.next(LIMITS, at(10)), Some(Slot(100)));
        schedule.start(Slot(100));
        assert_eq!(schedule.next(LIMITS, at(109)), None);
        assert_eq!(schedule.next(LIMITS, at(110)), Some(Slot(0)));
    }

    proptest! {
        #[test]
        fn the_counts_match_the_slots(steps in prop::collection::vec((0_u32..8, 0_u8..4, 0_u8..3), 0..200)) {
            let mut schedule = Schedule::default();
            for (slot, step, target) in steps {
                match step {
                    0 => schedule.wait(Slot(slot), &target.to_string(), at(u64::from(slot)), at(0)),
                    1 => schedule.start(Slot(slot)),
                    2 => { schedule.empty(Slot(slot), at(0)); }
                    _ => schedule.forget(Slot(slot)),
                }
                let under_way = (0..8).filter(|slot| schedule.is_under_way(Slot(*slot))).count();
                prop_assert_eq!(schedule.under_way(), under_way);
                let queued: usize = schedule.targets.values().map(|queue| queue.waiting.len() + queue.under_way).sum();
                let known = (0..8).filter(|slot| schedule.knows(Slot(*slot))).count();
                prop_assert_eq!(queued, known);
                prop_assert!(schedule.targets.values().all(|queue| queue.under_way > 0 || !queue.waiting.is_empty()));
            }
        }
    }
}
