//! Messages that failed for good, kept so that they can be seen and sent again.
//!
//! ```text
//! index   = the kept messages, the oldest first
//! slot    = a Held message, or empty
//! ```
//! The table has a fixed number of slots, and all messages together have a maximum size. A further message evicts the
//! oldest. What is kept is bare: see [`Author::bare`](super::Author::bare). It was decided on when it failed.

use super::{Delivery, Held};
use crate::base::{UnixMillis, fingerprint, is_leased, record};
use crate::host::{Change, Metric, Metrics, SharedData, StoreError, read, update};

/// The maximum number of messages.
pub const CAPACITY: usize = 64;

/// The maximum size of all messages together.
pub const MAX_BYTES: u64 = 2 * 1024 * 1024;

/// How long a VM may take to put a message back into the outbox. After that it has died, and another may try.
const TAKE_MS: u64 = 10_000;

const INDEX_KEY: &str = "tb1/f";
const VERSION: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    slot: u64,
    /// A fingerprint of the message's id.
    id: u64,
    bytes: u64,
    /// When a VM began to put the message back into the outbox; 0 if none did.
    taken: UnixMillis,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Index(Vec<Entry>);

/// Keeps a message. If it is kept already, this replaces it.
///
/// # Errors
/// As for any update of shared data.
pub fn keep(host: &(impl SharedData + Metrics), bare: Delivery) -> Result<(), StoreError> {
    let id = fingerprint(&[&bare.id]);
    let encoded = Held::Message(bare).encode();
    let bytes = u64::try_from(encoded.len()).unwrap_or(u64::MAX);
    if bytes > MAX_BYTES {
        log::warn!("a failed message of {bytes} bytes is too long to be kept");
        return Ok(());
    }
    let (mut own, mut gone) = (0, Vec::new());
    change(host, &mut |index| {
        gone.clear();
        let before = index.0.iter().position(|entry| entry.id == id);
        gone.extend(before.map(|place| index.0.remove(place)));
        while index.0.len() >= CAPACITY || index.bytes().saturating_add(bytes) > MAX_BYTES {
            gone.push(index.0.remove(0));
        }
        own = index.free_slot();
        index.0.push(Entry { slot: own, id, bytes, taken: UnixMillis(0) });
        true
    })?;
    host.put(&slot_key(own), &encoded)?;
    gone.iter().filter(|entry| entry.slot != own).try_for_each(|entry| empty(host, *entry))
}

/// All kept messages, the latest first.
///
/// # Errors
/// When the host refuses.
pub fn all(host: &impl SharedData) -> Result<Vec<Delivery>, StoreError> {
    let index = Index::decode(read(host, INDEX_KEY)?.as_deref()).unwrap_or_default();
    index.0.iter().rev().filter_map(|entry| content(host, *entry).transpose()).collect()
}

/// The kept message with this id.
///
/// # Errors
/// When the host refuses.
pub fn find(host: &impl SharedData, id: &str) -> Result<Option<Delivery>, StoreError> {
    let index = Index::decode(read(host, INDEX_KEY)?.as_deref()).unwrap_or_default();
    match index.0.iter().find(|entry| entry.id == fingerprint(&[id])) {
        Some(entry) => content(host, *entry),
        None => Ok(None),
    }
}

/// Begins to put a message back into the outbox; `false` if it is not kept, or if another VM has begun. This VM ends it
/// by [`remove`] or [`give_back`], with the same `now`.
///
/// # Errors
/// As for any update of shared data.
pub fn take(host: &(impl SharedData + Metrics), id: &str, now: UnixMillis) -> Result<bool, StoreError> {
    let id = fingerprint(&[id]);
    change(host, &mut |index| {
        let is_free = |entry: &Entry| !is_leased(entry.taken.plus(TAKE_MS), TAKE_MS, now);
        let entry = index.0.iter_mut().find(|entry| entry.id == id && is_free(entry));
        entry.map(|entry| entry.taken = now).is_some()
    })
}

/// Keeps a message that was taken and is not in the outbox.
///
/// # Errors
/// As for any update of shared data.
pub fn give_back(host: &(impl SharedData + Metrics), id: &str, taken: UnixMillis) -> Result<(), StoreError> {
    let id = fingerprint(&[id]);
    let given = change(host, &mut |index| {
        let entry = index.0.iter_mut().find(|entry| entry.id == id && entry.taken == taken);
        entry.map(|entry| entry.taken = UnixMillis(0)).is_some()
    });
    given.map(drop)
}

/// Forgets a message that was taken and is in the outbox now. If it has failed again since, it stays.
///
/// # Errors
/// As for any update of shared data.
pub fn remove(host: &(impl SharedData + Metrics), id: &str, taken: UnixMillis) -> Result<(), StoreError> {
    let id = fingerprint(&[id]);
    let mut gone = None;
    change(host, &mut |index| {
        let place = index.0.iter().position(|entry| entry.id == id && entry.taken == taken);
        gone = place.map(|place| index.0.remove(place));
        gone.is_some()
    })?;
    gone.map_or(Ok(()), |entry| empty(host, entry))
}

fn slot_key(slot: u64) -> String {
    format!("tb1/f/{slot}")
}

/// The message of an entry, unless another VM has replaced it since.
fn content(host: &impl SharedData, entry: Entry) -> Result<Option<Delivery>, StoreError> {
    let stored = read(host, &slot_key(entry.slot))?;
    Ok(stored.and_then(|bytes| decode(&bytes, entry)))
}

fn decode(bytes: &[u8], entry: Entry) -> Option<Delivery> {
    match Held::decode(bytes) {
        Ok(Held::Message(bare)) if fingerprint(&[&bare.id]) == entry.id => Some(bare),
        _ => None,
    }
}

/// Empties the slot of an entry that is no longer in the index, unless it has another message by now.
fn empty(host: &(impl SharedData + Metrics), entry: Entry) -> Result<(), StoreError> {
    update(host, &slot_key(entry.slot), |stored| {
        let is_meant = stored.is_some_and(|bytes| decode(&bytes, entry).is_some());
        Ok(if is_meant { Change::Write(Vec::new(), ()) } else { Change::Keep(()) })
    })
}

/// Changes the index, unless `step` returns false. An index that does not decode is replaced.
fn change(host: &(impl SharedData + Metrics), step: &mut dyn FnMut(&mut Index) -> bool) -> Result<bool, StoreError> {
    update(host, INDEX_KEY, |stored| {
        let mut index = Index::decode(stored.as_deref()).unwrap_or_else(|| {
            host.count(Metric::CorruptRecords);
            log::error!("{INDEX_KEY}: the table of failed messages does not decode; it is replaced");
            Index::default()
        });
        let is_changed = step(&mut index);
        Ok(if is_changed { Change::Write(index.encode(), true) } else { Change::Keep(false) })
    })
}

impl Index {
    /// The index is stored as plain numbers. The code that serde derives is longer.
    fn decode(stored: Option<&[u8]>) -> Option<Self> {
        let Some(bytes) = stored else { return Some(Index::default()) };
        let numbers: Vec<u64> = record::decode(VERSION, bytes)?;
        let each = |numbers: &[u64]| match *numbers {
            [slot, id, bytes, taken] => Some(Entry { slot, id, bytes, taken: UnixMillis(taken) }),
            _ => None,
        };
        numbers.chunks(4).map(each).collect::<Option<Vec<_>>>().map(Index)
    }

    fn encode(&self) -> Vec<u8> {
        let each = |entry: &Entry| [entry.slot, entry.id, entry.bytes, entry.taken.0];
        record::encode(VERSION, &self.0.iter().flat_map(each).collect::<Vec<u64>>())
    }

    fn bytes(&self) -> u64 {
        self.0.iter().fold(0, |sum, entry| sum.saturating_add(entry.bytes))
    }

    /// The lowest slot that no entry has.
    fn free_slot(&self) -> u64 {
        (0..).find(|slot| self.0.iter().all(|entry| entry.slot != *slot)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
