//! The table of held messages: a fixed number of slots in shared data, and an index of those that are taken.
//!
//! ```text
//! index   = version u8 = 1, one byte a slot                       0: free, else for whom it is taken
//! slot    = a Held, or empty
//! ```
//! A slot is reserved in the index, then filled; emptied, then freed. Whoever dies in between leaves a taken slot
//! that holds nothing, which the dispatcher frees after a while.
//!
//! What clients can repeat at will gets three quarters of the table, and a sixteenth more for targets that have few
//! messages here: a stalled target cannot keep others out. Management events may fill seven eighths. The rest is for what
//! comes only once: crossed thresholds, and verdicts on upstreams. Tallies of cool-downs, which clients can begin at will,
//! get a quarter of the table at most; what finds it full is counted in its handler's own.

use thiserror::Error;

use super::Held;
use crate::metrics::Metric;
use crate::ports::{Entry, Metrics, SharedData};
use crate::store::{Change, CorruptRecord, StoreError, read, update};
use crate::units::fingerprint;

const INDEX_KEY: &str = "tb1/d";
const VERSION: u8 = 1;

/// A slot's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

impl Slot {
    fn key(self) -> String {
        format!("tb1/d/{}", self.0)
    }
}

/// For whom a slot is taken: two targets may share a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(u8);

impl Tag {
    /// A tally's.
    pub const TALLY: Tag = Tag(1);

    /// Of a target's host and port.
    pub fn of(target: &str) -> Self {
        let number = u8::try_from(fingerprint(&[target]) % 254).unwrap_or_default();
        Tag(number.saturating_add(2))
    }
}

/// How much of the table a message may claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Any free slot: for what comes only once.
    All,
    /// While an eighth stays free.
    Management,
    /// While a quarter stays free, or a little less of it for the first messages to a target.
    Common,
    /// As for a target's first messages, while no more than a quarter of the table holds tallies.
    Tally,
}

/// Why no slot could be had.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ReserveError {
    /// Every slot is taken.
    #[error("every slot is taken")]
    Full,
    /// Shared data failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes a free slot below `capacity`.
///
/// # Errors
/// When there is none for this share, or shared data fails.
pub fn reserve(
    host: &(impl SharedData + Metrics),
    capacity: u32,
    tag: Tag,
    share: Share,
) -> Result<Slot, ReserveError> {
    let reserved = update(host, INDEX_KEY, |stored| {
        let mut index = Index::decode(stored)?;
        let free = index.first_free(capacity).filter(|_| index.has_room(capacity, tag, share));
        Ok(match free {
            None => Change::Keep(None),
            Some(slot) => {
                index.set(slot, tag.0);
                Change::Write(index.0, Some(slot))
            }
        })
    })?;
    reserved.ok_or(ReserveError::Full)
}

/// Fills a slot that one has reserved.
///
/// # Errors
/// When the host refuses.
pub fn fill(host: &impl SharedData, slot: Slot, held: &Held) -> Result<(), StoreError> {
    Ok(host.put(&slot.key(), &held.encode())?)
}

/// What a taken slot holds.
///
/// # Errors
/// When the host refuses, or the bytes do not decode.
pub fn held(host: &(impl SharedData + Metrics), slot: Slot) -> Result<Option<Held>, StoreError> {
    Ok(match read(host, &slot.key())? {
        None => None,
        Some(bytes) => Some(Held::decode(&bytes)?),
    })
}

/// Changes what a slot holds, in a bounded loop; `false` where `step` found something else than it wanted.
///
/// # Errors
/// As for any update of shared data.
pub fn change(
    host: &(impl SharedData + Metrics),
    slot: Slot,
    step: impl Fn(Held) -> Option<Held>,
) -> Result<bool, StoreError> {
    update(host, &slot.key(), |stored| {
        let held = stored.map(|bytes| Held::decode(&bytes)).transpose()?;
        Ok(match held.and_then(&step) {
            Some(changed) => Change::Write(changed.encode(), true),
            None => Change::Keep(false),
        })
    })
}

/// Writes what a slot holds over its former self; `false` where the slot no longer holds it.
///
/// # Errors
/// As for any update of shared data.
pub fn replace(host: &(impl SharedData + Metrics), slot: Slot, held: &Held) -> Result<bool, StoreError> {
    change_if_held(host, slot, held.id(), &held.encode())
}

/// Frees the slot of what is done with, by its id; `false` where the slot no longer holds it.
///
/// # Errors
/// As for any update of shared data.
pub fn finish(host: &(impl SharedData + Metrics), slot: Slot, id: &str) -> Result<bool, StoreError> {
    let is_held = change_if_held(host, slot, id, b"")?;
    if is_held {
        release(host, slot)?;
    }
    Ok(is_held)
}

/// Frees a slot whatever it holds.
///
/// # Errors
/// As for any update of shared data.
pub fn free(host: &(impl SharedData + Metrics), slot: Slot) -> Result<(), StoreError> {
    host.put(&slot.key(), b"")?;
    release(host, slot)
}

/// Gives back a slot that has been emptied.
fn release(host: &(impl SharedData + Metrics), slot: Slot) -> Result<(), StoreError> {
    update(host, INDEX_KEY, |stored| {
        let mut index = Index::decode(stored)?;
        index.set(slot, 0);
        Ok(Change::Write(index.0, ()))
    })
}

/// The slots that are taken, in order.
///
/// # Errors
/// When the host refuses, or the index does not decode.
pub fn taken(host: &impl SharedData) -> Result<Vec<Slot>, StoreError> {
    Ok(Index::decode(read(host, INDEX_KEY)?)?.taken().collect())
}

/// The slots that are taken for tallies, in order.
///
/// # Errors
/// As for [`taken`].
pub fn tallies(host: &impl SharedData) -> Result<Vec<Slot>, StoreError> {
    let index = Index::decode(read(host, INDEX_KEY)?)?;
    Ok((0_u32..).map(Slot).zip(index.slots()).filter(|(_, tag)| **tag == Tag::TALLY.0).map(|(slot, _)| slot).collect())
}

/// Makes an index that does not decode anew, from what the slots below `capacity` hold.
///
/// # Errors
/// When the host refuses.
pub fn rebuild(host: &(impl SharedData + Metrics), capacity: u32) -> Result<(), StoreError> {
    host.count(Metric::CorruptRecords);
    let Entry::Present(foreign) = host.get(INDEX_KEY)? else { return Ok(()) };
    let mut index = Index(vec![VERSION]);
    for slot in (0..capacity).map(Slot) {
        let tag = match held(host, slot) {
            Ok(None) => continue,
            Ok(Some(Held::Tally(_))) | Err(_) => Tag::TALLY,
            Ok(Some(Held::Message(delivery))) => Tag::of(delivery.target()),
        };
        index.set(slot, tag.0);
    }
    // Another VM may have been quicker.
    host.replace(INDEX_KEY, &index.0, foreign.cas)?;
    Ok(())
}

/// Writes over what has this id.
fn change_if_held(host: &(impl SharedData + Metrics), slot: Slot, id: &str, bytes: &[u8]) -> Result<bool, StoreError> {
    update(host, &slot.key(), |stored| {
        let held = stored.and_then(|bytes| Held::decode(&bytes).ok());
        Ok(match held {
            Some(held) if held.id() == id => Change::Write(bytes.to_vec(), true),
            _ => Change::Keep(false),
        })
    })
}

struct Index(Vec<u8>);

impl Index {
    fn decode(stored: Option<Vec<u8>>) -> Result<Self, CorruptRecord> {
        match stored {
            None => Ok(Index(vec![VERSION])),
            Some(bytes) if bytes.first() == Some(&VERSION) => Ok(Index(bytes)),
            Some(bytes) => Err(CorruptRecord { record: "outbox index", len: bytes.len() }),
        }
    }

    fn slots(&self) -> &[u8] {
        self.0.get(1..).unwrap_or_default()
    }

    fn first_free(&self, capacity: u32) -> Option<Slot> {
        let slots = self.slots();
        let free = slots.iter().position(|tag| *tag == 0).unwrap_or(slots.len());
        u32::try_from(free).ok().filter(|slot| *slot < capacity).map(Slot)
    }

    fn has_room(&self, capacity: u32, tag: Tag, share: Share) -> bool {
        let below = |sixteenths: u32| {
            let kept_free = (capacity / 16).saturating_mul(16_u32.saturating_sub(sixteenths));
            self.count(|slot| slot != 0) < capacity.saturating_sub(kept_free).max(1)
        };
        match share {
            Share::All => true,
            Share::Management => below(14),
            Share::Common => below(12) || below(13) && self.count(|slot| slot == tag.0) < capacity / 16,
            Share::Tally => below(13) && self.count(|slot| slot == Tag::TALLY.0) < (capacity / 4).max(1),
        }
    }

    fn count(&self, wanted: impl Fn(u8) -> bool) -> u32 {
        u32::try_from(self.slots().iter().filter(|tag| wanted(**tag)).count()).unwrap_or(u32::MAX)
    }

    fn set(&mut self, slot: Slot, tag: u8) {
        let place = (slot.0 as usize).saturating_add(1);
        if self.0.len() <= place {
            self.0.resize(place.saturating_add(1), 0);
        }
        if let Some(byte) = self.0.get_mut(place) {
            *byte = tag;
        }
    }

    fn taken(&self) -> impl Iterator<Item = Slot> {
        (0_u32..).map(Slot).zip(self.slots()).filter(|(_, tag)| **tag != 0).map(|(slot, _)| slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryHost;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn noise_leaves_room_for_other_targets_and_for_what_comes_only_once() {
        let host = MemoryHost::default();
        let took = |target: &str, share| (0..64).filter(|_| reserve(&host, 64, Tag::of(target), share).is_ok()).count();
        assert_eq!(took("stalled", Share::Common), 48);
        assert_eq!(took("healthy", Share::Common), 4, "a sixteenth is its due");
        assert_eq!(took("another", Share::Common), 0, "of all such targets together");
        assert_eq!((0..64).filter(|_| reserve(&host, 64, Tag::TALLY, Share::Tally).is_ok()).count(), 0);
        assert_eq!(took("channel", Share::Management), 4);
        assert_eq!(took("monitor", Share::All), 8);
        assert_eq!(reserve(&host, 64, Tag::of("monitor"), Share::All), Err(ReserveError::Full));
    }

    #[test]
    fn tallies_are_a_quarter_of_the_table() {
        let host = MemoryHost::default();
        assert_eq!((0..64).filter(|_| reserve(&host, 64, Tag::TALLY, Share::Tally).is_ok()).count(), 16);
    }

    #[test]
    fn the_smallest_table_has_one_slot() {
        let host = MemoryHost::default();
        assert!(reserve(&host, 1, Tag::of("a"), Share::Common).is_ok());
        assert_eq!(reserve(&host, 1, Tag::of("a"), Share::All), Err(ReserveError::Full));
    }

    proptest! {
        #[test]
        fn the_index_is_a_set_of_slots(changes in prop::collection::vec((0_u32..300, 0_u8..3), 0..200)) {
            let mut index = Index(vec![VERSION]);
            let mut model = std::collections::BTreeSet::new();
            for (slot, tag) in changes {
                index.set(Slot(slot), tag);
                if tag > 0 { model.insert(slot); } else { model.remove(&slot); }
                prop_assert_eq!(index.taken().map(|slot| slot.0).collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
                let free = (0..300).find(|slot| !model.contains(slot)).map(Slot);
                prop_assert_eq!(index.first_free(300), free);
            }
        }
    }
}
