//! The table of held deliveries: a fixed number of slots in shared data, and a bitmap of those that are taken.
//!
//! ```text
//! index   = version u8 = 1, one bit a slot                        set: taken
//! slot    = a Delivery, or empty
//! ```
//! A slot is reserved in the bitmap, then filled; emptied, then freed. Whoever dies in between leaves a taken slot
//! without a delivery, which the dispatcher frees after a while.

use thiserror::Error;

use super::Delivery;
use crate::ports::{Entry, Metrics, SharedData};
use crate::store::{Change, CorruptRecord, StoreError, read, update};

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
/// When all are taken, or shared data fails.
pub fn reserve(host: &(impl SharedData + Metrics), capacity: u32) -> Result<Slot, ReserveError> {
    let reserved = update(host, INDEX_KEY, |stored| {
        let mut index = Index::decode(stored)?;
        Ok(match index.first_free(capacity) {
            None => Change::Keep(None),
            Some(slot) => {
                index.set(slot, true);
                Change::Write(index.0, Some(slot))
            }
        })
    })?;
    reserved.ok_or(ReserveError::Full)
}

/// Puts a delivery into a slot that one has reserved, or into its own slot again.
///
/// # Errors
/// When the host refuses.
pub fn fill(host: &impl SharedData, slot: Slot, delivery: &Delivery) -> Result<(), StoreError> {
    Ok(host.put(&slot.key(), &delivery.encode())?)
}

/// What a taken slot holds.
///
/// # Errors
/// When the host refuses, or the bytes do not decode.
pub fn delivery(host: &(impl SharedData + Metrics), slot: Slot) -> Result<Option<Delivery>, StoreError> {
    Ok(match read(host, &slot.key())? {
        None => None,
        Some(bytes) => Some(Delivery::decode(&bytes)?),
    })
}

/// Writes `delivery` over its former self; `false` where the slot no longer holds it.
///
/// # Errors
/// As for any update of shared data.
pub fn replace(host: &impl SharedData, slot: Slot, delivery: &Delivery) -> Result<bool, StoreError> {
    change_if_held(host, slot, delivery, &delivery.encode())
}

/// Frees the slot of a delivery that is done; `false` where the slot no longer holds it.
///
/// # Errors
/// As for any update of shared data.
pub fn finish(host: &(impl SharedData + Metrics), slot: Slot, delivery: &Delivery) -> Result<bool, StoreError> {
    let held = change_if_held(host, slot, delivery, b"")?;
    if held {
        free(host, slot)?;
    }
    Ok(held)
}

/// Frees a slot whatever it holds.
///
/// # Errors
/// As for any update of shared data.
pub fn free(host: &(impl SharedData + Metrics), slot: Slot) -> Result<(), StoreError> {
    host.put(&slot.key(), b"")?;
    update(host, INDEX_KEY, |stored| {
        let mut index = Index::decode(stored)?;
        index.set(slot, false);
        Ok(Change::Write(index.0, ()))
    })
}

/// The slots that are taken, in order.
///
/// # Errors
/// When the host refuses, or the bitmap does not decode.
pub fn taken(host: &impl SharedData) -> Result<Vec<Slot>, StoreError> {
    Ok(Index::decode(read(host, INDEX_KEY)?)?.taken().collect())
}

/// One try: only this delivery's dispatcher writes to its slot, so a lost race means that another took over.
fn change_if_held(host: &impl SharedData, slot: Slot, delivery: &Delivery, bytes: &[u8]) -> Result<bool, StoreError> {
    let Entry::Present(stored) = host.get(&slot.key())? else { return Ok(false) };
    let is_held =
        Delivery::decode(&stored.value).is_ok_and(|held| held.id == delivery.id && held.handler == delivery.handler);
    Ok(is_held && host.replace(&slot.key(), bytes, stored.cas)?)
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

    fn first_free(&self, capacity: u32) -> Option<Slot> {
        let bytes = self.0.get(1..).unwrap_or_default();
        let partly_free = bytes.iter().position(|byte| *byte != u8::MAX).unwrap_or(bytes.len());
        let bit = bytes.get(partly_free).map_or(0, |byte| byte.trailing_ones());
        let slot = u32::try_from(partly_free).ok()?.checked_mul(8)?.checked_add(bit)?;
        (slot < capacity).then_some(Slot(slot))
    }

    fn set(&mut self, slot: Slot, taken: bool) {
        let (byte, mask) = (slot.0 as usize / 8, 1_u8.wrapping_shl(slot.0 % 8));
        let place = byte.saturating_add(1);
        if self.0.len() <= place {
            self.0.resize(place.saturating_add(1), 0);
        }
        if let Some(byte) = self.0.get_mut(place) {
            *byte = if taken { *byte | mask } else { *byte & !mask };
        }
    }

    fn taken(&self) -> impl Iterator<Item = Slot> {
        let bytes = self.0.get(1..).unwrap_or_default().iter();
        let slots = (0_u32..).zip(bytes).filter(|(_, byte)| **byte != 0).flat_map(|(at, byte)| {
            (0..8_u32)
                .filter(move |bit| byte & 1_u8.wrapping_shl(*bit) != 0)
                .map(move |bit| at.saturating_mul(8).saturating_add(bit))
        });
        slots.map(Slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    proptest! {
        #[test]
        fn the_bitmap_is_a_set_of_slots(changes in prop::collection::vec((0_u32..300, any::<bool>()), 0..200)) {
            let mut index = Index(vec![VERSION]);
            let mut model = std::collections::BTreeSet::new();
            for (slot, taken) in changes {
                index.set(Slot(slot), taken);
                if taken { model.insert(slot); } else { model.remove(&slot); }
                prop_assert_eq!(index.taken().map(|slot| slot.0).collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
                let free = (0..300).find(|slot| !model.contains(slot)).map(Slot);
                prop_assert_eq!(index.first_free(300), free);
            }
        }
    }
}
