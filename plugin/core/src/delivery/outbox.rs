//! The table of held messages: a fixed number of slots in shared data, and an index of the used slots.
//!
//! ```text
//! index   = version u8 = 2, (for whom u8, of which line u8)*      a slot each; 0: free
//! slot    = a Held, or empty
//! ```
//! Each line of configurations (see [`super::succession`]) has its own table size and counts only its own slots.
//!
//! A slot is reserved in the index, then filled. At its end it is emptied, then freed. A VM that dies between these
//! steps leaves a reserved slot without content, which the dispatcher frees later.
//!
//! Events that clients can repeat without limit get three quarters of the table, and a sixteenth more for targets that
//! have few messages here: a stalled target cannot keep others out. Management events can fill seven eighths. The rest
//! is for events that happen only once: crossed thresholds, and verdicts on upstreams. Clients can start tallies of
//! cool-downs without limit, so these get at most a quarter of the table. Events beyond that are counted in one tally
//! of their handler.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Held;
use super::succession::Line;
use crate::base::fingerprint;
use crate::host::{Change, CorruptRecord, Entry, Metric, Metrics, SharedData, StoreError, read, update};

const INDEX_KEY: &str = "tb1/d";
const VERSION: u8 = 2;

/// The number of unused slots in a row after which no slot was ever used.
const MAX_UNUSED: u32 = 64;

/// A slot's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot(pub u32);

impl Slot {
    fn key(self) -> String {
        format!("tb1/d/{}", self.0)
    }
}

/// The target of a slot. Two targets may have the same tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag(u8);

impl Tag {
    /// The tag of a tally.
    pub const TALLY: Tag = Tag(1);

    /// The tag of a target's host and port.
    pub fn of(target: &str) -> Self {
        let number = u8::try_from(fingerprint(&[target]) % 254).unwrap_or_default();
        Tag(number.saturating_add(2))
    }
}

/// The part of the table that a message may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Any free slot, for events that happen only once.
    All,
    /// While an eighth stays free.
    Management,
    /// While a quarter stays free; a little less for the first messages to a target.
    Common,
    /// As for the first messages to a target, while tallies hold no more than a quarter of the table.
    Tally,
}

/// Why no slot was reserved.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ReserveError {
    /// Every slot is taken.
    #[error("every slot is taken")]
    Full,
    /// Shared data failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The slots that a line of configurations may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    pub line: Line,
    /// Their number.
    pub capacity: u32,
}

/// Reserves a free slot for a line whose table has `capacity` slots.
///
/// # Errors
/// No slot is free for this share, or shared data fails.
pub fn reserve(host: &(impl SharedData + Metrics), table: Table, tag: Tag, share: Share) -> Result<Slot, ReserveError> {
    let reserved = update(host, INDEX_KEY, |stored| {
        let mut index = Index::decode(stored)?;
        if !index.has_room(table, tag, share) {
            return Ok(Change::Keep(None));
        }
        let slot = index.first_free();
        index.set(slot, [tag.0, table.line.mark()]);
        Ok(Change::Write(index.0, Some(slot)))
    })?;
    reserved.ok_or(ReserveError::Full)
}

/// Puts content into a slot of its own.
///
/// # Errors
/// No slot is free for this share, or shared data fails.
pub fn hold(
    host: &(impl SharedData + Metrics),
    table: Table,
    tag: Tag,
    share: Share,
    held: &Held,
) -> Result<Slot, ReserveError> {
    let slot = reserve(host, table, tag, share)?;
    if let Err(error) = fill(host, slot, held) {
        free(host, slot)?;
        return Err(error.into());
    }
    Ok(slot)
}

/// Fills a reserved slot.
///
/// # Errors
/// When the host refuses.
pub fn fill(host: &impl SharedData, slot: Slot, held: &Held) -> Result<(), StoreError> {
    Ok(host.put(&slot.key(), &held.encode())?)
}

/// Reads the content of a used slot.
///
/// # Errors
/// When the host refuses, or the bytes do not decode.
pub fn held(host: &(impl SharedData + Metrics), slot: Slot) -> Result<Option<Held>, StoreError> {
    Ok(match read(host, &slot.key())? {
        None => None,
        Some(bytes) => Some(Held::decode(&bytes)?),
    })
}

/// Changes the content of a slot, in a bounded loop. `false` if `step` found other content than expected.
///
/// # Errors
/// As for any update of shared data.
pub fn change(
    host: &(impl SharedData + Metrics),
    slot: Slot,
    mut step: impl FnMut(Held) -> Option<Held>,
) -> Result<bool, StoreError> {
    update(host, &slot.key(), |stored| {
        let held = stored.map(|bytes| Held::decode(&bytes)).transpose()?;
        Ok(match held.and_then(&mut step) {
            Some(changed) => Change::Write(changed.encode(), true),
            None => Change::Keep(false),
        })
    })
}

/// Frees the slot of a finished message, given by its id; `false` if the slot no longer holds it.
///
/// # Errors
/// As for any update of shared data.
pub fn finish(host: &(impl SharedData + Metrics), slot: Slot, id: &str) -> Result<bool, StoreError> {
    finish_if(host, slot, |held| held.id() == id)
}

/// Frees a slot if its content matches; `false` if it does not.
///
/// # Errors
/// As for any update of shared data.
pub fn finish_if(
    host: &(impl SharedData + Metrics),
    slot: Slot,
    is_meant: impl Fn(&Held) -> bool,
) -> Result<bool, StoreError> {
    let is_held = update(host, &slot.key(), |stored| {
        let held = stored.and_then(|bytes| Held::decode(&bytes).ok());
        Ok(match held {
            Some(held) if is_meant(&held) => Change::Write(Vec::new(), true),
            _ => Change::Keep(false),
        })
    })?;
    if is_held {
        release(host, slot)?;
    }
    Ok(is_held)
}

/// Frees a slot with any content.
///
/// # Errors
/// As for any update of shared data.
pub fn free(host: &(impl SharedData + Metrics), slot: Slot) -> Result<(), StoreError> {
    host.put(&slot.key(), b"")?;
    release(host, slot)
}

/// Removes an emptied slot from the index.
fn release(host: &(impl SharedData + Metrics), slot: Slot) -> Result<(), StoreError> {
    update(host, INDEX_KEY, |stored| {
        let mut index = Index::decode(stored)?;
        index.set(slot, FREE);
        Ok(Change::Write(index.0, ()))
    })
}

/// The used slots, in order.
///
/// # Errors
/// When the host refuses, or the index does not decode.
pub fn taken(host: &impl SharedData) -> Result<Vec<Slot>, StoreError> {
    Ok(Index::decode(read(host, INDEX_KEY)?)?.taken().collect())
}

/// The slots that a line uses, in order, and whether each holds a tally. Another line may have the same mark.
///
/// # Errors
/// As for [`taken`].
pub fn taken_by(host: &impl SharedData, line: Line) -> Result<Vec<(Slot, bool)>, StoreError> {
    let index = Index::decode(read(host, INDEX_KEY)?)?;
    let own = index.slots().filter(|(_, [tag, mark])| *tag != 0 && *mark == line.mark());
    Ok(own.map(|(slot, [tag, _])| (slot, tag == Tag::TALLY.0)).collect())
}

/// All that is held and can be read.
pub fn all(host: &(impl SharedData + Metrics)) -> impl Iterator<Item = Held> {
    let slots = taken(host).unwrap_or_default();
    slots.into_iter().filter_map(move |slot| held(host, slot).ok().flatten())
}

/// Rebuilds an index that does not decode, from the content of the slots.
///
/// # Errors
/// When the host refuses.
pub fn rebuild(host: &(impl SharedData + Metrics)) -> Result<(), StoreError> {
    host.count(Metric::CorruptRecords);
    let Entry::Present(foreign) = host.get(INDEX_KEY)? else { return Ok(()) };
    let mut index = Index(vec![VERSION]);
    let mut unused = 0_u32;
    for slot in (0_u32..).map(Slot) {
        let entry = host.get(&slot.key())?;
        unused = if entry == Entry::Absent { unused.saturating_add(1) } else { 0 };
        if unused > MAX_UNUSED {
            break;
        }
        let Entry::Present(stored) = entry else { continue };
        let own = match Held::decode(&stored.value) {
            Ok(Held::Message(delivery)) => [delivery.target.tag.0, delivery.origin.line.mark()],
            Ok(held @ Held::Tally(_)) => [Tag::TALLY.0, held.origin().line.mark()],
            Err(_) => [Tag::TALLY.0, Line::default().mark()],
        };
        index.set(slot, own);
    }
    // Another VM may have been faster.
    host.replace(INDEX_KEY, &index.0, foreign.cas)?;
    Ok(())
}

struct Index(Vec<u8>);

/// An entry of the index: the target's tag and the line's mark.
type Mark = [u8; 2];

const FREE: Mark = [0, 0];

impl Index {
    fn decode(stored: Option<Vec<u8>>) -> Result<Self, CorruptRecord> {
        match stored {
            None => Ok(Index(vec![VERSION])),
            Some(bytes) if bytes.first() == Some(&VERSION) && bytes.len() % 2 == 1 => Ok(Index(bytes)),
            Some(bytes) => Err(CorruptRecord { record: "outbox index", len: bytes.len() }),
        }
    }

    fn slots(&self) -> impl Iterator<Item = (Slot, Mark)> {
        let marks = self.0.get(1..).unwrap_or_default().chunks_exact(2);
        (0_u32..).map(Slot).zip(marks.filter_map(|mark| mark.first_chunk().copied()))
    }

    fn first_free(&self) -> Slot {
        let behind = u32::try_from(self.0.len() / 2).unwrap_or(u32::MAX);
        self.slots().find(|(_, mark)| *mark == FREE).map_or(Slot(behind), |(slot, _)| slot)
    }

    fn has_room(&self, Table { line, capacity }: Table, tag: Tag, share: Share) -> bool {
        let count = |is_wanted: &dyn Fn(u8) -> bool| {
            let own = self.slots().filter(|(_, [tag, mark])| *tag != 0 && *mark == line.mark() && is_wanted(*tag));
            u32::try_from(own.count()).unwrap_or(u32::MAX)
        };
        let all = count(&|_| true);
        let below = |sixteenths: u32| {
            let kept_free = (capacity / 16).saturating_mul(16_u32.saturating_sub(sixteenths));
            all < capacity.saturating_sub(kept_free).max(1)
        };
        match share {
            Share::All => all < capacity,
            Share::Management => below(14),
            Share::Common => below(12) || below(13) && count(&|own| own == tag.0) < capacity / 16,
            Share::Tally => below(13) && count(&|own| own == Tag::TALLY.0) < (capacity / 4).max(1),
        }
    }

    fn set(&mut self, slot: Slot, mark: Mark) {
        let place = (slot.0 as usize).saturating_mul(2).saturating_add(1);
        if self.0.len() < place.saturating_add(2) {
            self.0.resize(place.saturating_add(2), 0);
        }
        if let Some(entry) = self.0.get_mut(place..).and_then(|rest| rest.first_chunk_mut::<2>()) {
            *entry = mark;
        }
    }

    fn taken(&self) -> impl Iterator<Item = Slot> {
        self.slots().filter(|(_, mark)| *mark != FREE).map(|(slot, _)| slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryHost;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const LINE: Line = Line(3);

    #[test]
    fn each_line_has_a_table_of_its_own_size() {
        let host = MemoryHost::default();
        let took = |line, capacity| {
            (0..100)
                .filter(|_| reserve(&host, Table { line: Line(line), capacity }, Tag::of("x"), Share::All).is_ok())
                .count()
        };
        assert_eq!([took(1, 64), took(2, 16), took(1, 64), took(2, 16)], [64, 16, 0, 0]);
        assert_eq!(taken(&host).unwrap().len(), 80);
        assert_eq!(taken_by(&host, Line(2)).unwrap().len(), 16);
    }

    #[test]
    fn repeated_events_leave_room_for_other_targets_and_for_single_events() {
        let host = MemoryHost::default();
        let took = |target: &str, share| {
            (0..64)
                .filter(|_| reserve(&host, Table { line: LINE, capacity: 64 }, Tag::of(target), share).is_ok())
                .count()
        };
        assert_eq!(took("stalled", Share::Common), 48);
        assert_eq!(took("healthy", Share::Common), 4, "a sixteenth is reserved");
        assert_eq!(took("another", Share::Common), 0, "shared by all such targets");
        assert_eq!(
            (0..64)
                .filter(|_| reserve(&host, Table { line: LINE, capacity: 64 }, Tag::TALLY, Share::Tally).is_ok())
                .count(),
            0
        );
        assert_eq!(took("channel", Share::Management), 4);
        assert_eq!(took("monitor", Share::All), 8);
        assert_eq!(
            reserve(&host, Table { line: LINE, capacity: 64 }, Tag::of("monitor"), Share::All),
            Err(ReserveError::Full)
        );
    }

    #[test]
    fn tallies_use_at_most_a_quarter_of_the_table() {
        let host = MemoryHost::default();
        assert_eq!(
            (0..64)
                .filter(|_| reserve(&host, Table { line: LINE, capacity: 64 }, Tag::TALLY, Share::Tally).is_ok())
                .count(),
            16
        );
    }

    #[test]
    fn the_smallest_table_has_one_slot() {
        let host = MemoryHost::default();
        assert!(reserve(&host, Table { line: LINE, capacity: 1 }, Tag::of("a"), Share::Common).is_ok());
        assert_eq!(
            reserve(&host, Table { line: LINE, capacity: 1 }, Tag::of("a"), Share::All),
            Err(ReserveError::Full)
        );
    }

    proptest! {
        #[test]
        fn the_index_is_a_set_of_slots(changes in prop::collection::vec((0_u32..300, 0_u8..3), 0..200)) {
            let mut index = Index(vec![VERSION]);
            let mut model = std::collections::BTreeSet::new();
            for (slot, tag) in changes {
                index.set(Slot(slot), [tag, tag]);
                if tag > 0 { model.insert(slot); } else { model.remove(&slot); }
                prop_assert_eq!(index.taken().map(|slot| slot.0).collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
                let free = (0..=300).find(|slot| !model.contains(slot)).map(Slot);
                prop_assert_eq!(Some(index.first_free()), free);
            }
        }
    }
}
