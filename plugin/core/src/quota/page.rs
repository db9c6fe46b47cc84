//! The stored form of counters: several in one value, so that one compare-and-swap counts them together.
//!
//! ```text
//! page    = version u8 = 1, entry*
//! entry   = subject u64, started u64, count u64, rung u64        little endian, 32 bytes
//! ```
//! `started` is the window's start in Unix milliseconds: the window lives in the value, never in the key.
//! `rung` is the count of the highest threshold that has rung in this window.

use crate::store::CorruptRecord;
use crate::units::UnixMillis;

const VERSION: u8 = 1;
const ENTRY_LEN: usize = 32;

/// Entries that a page takes. More would make every read of the page dearer.
pub(super) const MAX_ENTRIES: usize = 32;

/// A page's bytes, known to be well-formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page(Vec<u8>);

/// One subject's counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// When the window began.
    pub started: UnixMillis,
    /// Requests counted since.
    pub count: u64,
    /// The count of the highest threshold that has rung since; 0 for none.
    pub rung: u64,
}

/// An entry's place in its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(usize);

impl Page {
    /// An empty page.
    pub fn new() -> Self {
        Page(vec![VERSION])
    }

    /// Checks stored bytes; `None` stands for a key that was never written.
    pub fn decode(stored: Option<Vec<u8>>) -> Result<Self, CorruptRecord> {
        let Some(bytes) = stored else { return Ok(Page::new()) };
        match bytes.split_first() {
            Some((&VERSION, entries))
                if entries.len().is_multiple_of(ENTRY_LEN)
                    && entries.len() <= ENTRY_LEN.saturating_mul(MAX_ENTRIES) =>
            {
                Ok(Page(bytes))
            }
            _ => Err(CorruptRecord { record: "counter page", len: bytes.len() }),
        }
    }

    /// The bytes to store.
    pub fn encode(self) -> Vec<u8> {
        self.0
    }

    /// Where `subject` stands, if it does.
    pub fn find(&self, subject: u64) -> Option<Place> {
        let subject = subject.to_le_bytes();
        self.entries().position(|entry| entry.starts_with(&subject)).map(Place)
    }

    /// Adds `subject` with a counter at 0 whose window starts at `now`; `None` on a page that has `capacity` entries.
    pub fn add(&mut self, subject: u64, capacity: usize, now: UnixMillis) -> Option<Place> {
        let place = self.entries().count();
        if place >= capacity.min(MAX_ENTRIES) {
            return None;
        }
        self.0.extend_from_slice(&subject.to_le_bytes());
        self.0.extend_from_slice(&now.0.to_le_bytes());
        self.0.extend_from_slice(&[0; 16]);
        Some(Place(place))
    }

    /// The counter at `place`.
    pub fn counter(&self, place: Place) -> Counter {
        let Some(entry) = self.entries().nth(place.0) else { return Counter::default() };
        let field = |at: usize| {
            let bytes = entry.get(at..at.saturating_add(8)).and_then(|bytes| bytes.try_into().ok());
            u64::from_le_bytes(bytes.unwrap_or_default())
        };
        Counter { started: UnixMillis(field(8)), count: field(16), rung: field(24) }
    }

    /// Replaces the counter at `place`.
    pub fn set(&mut self, place: Place, counter: Counter) {
        let entries = self.0.get_mut(1..).unwrap_or_default();
        let Some(entry) = entries.chunks_exact_mut(ENTRY_LEN).nth(place.0) else { return };
        for (field, value) in entry.chunks_exact_mut(8).skip(1).zip([counter.started.0, counter.count, counter.rung]) {
            field.copy_from_slice(&value.to_le_bytes());
        }
    }

    fn entries(&self) -> impl Iterator<Item = &[u8]> {
        self.0.get(1..).unwrap_or_default().chunks_exact(ENTRY_LEN)
    }
}

impl Default for Page {
    fn default() -> Self {
        Page::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_full_page_takes_no_more() {
        let mut page = Page::new();
        for subject in 0..32 {
            assert!(page.add(subject, MAX_ENTRIES, UnixMillis(1)).is_some());
        }
        assert!(page.add(32, MAX_ENTRIES, UnixMillis(1)).is_none());
        assert!(Page::decode(Some(page.encode())).is_ok());
    }

    #[test]
    fn foreign_bytes_are_an_error_not_zero() {
        for bytes in [vec![], vec![2], vec![1; 32], vec![1; 34], vec![1; 1 + 33 * 32], b"12".to_vec()] {
            let len = bytes.len();
            assert_eq!(Page::decode(Some(bytes)), Err(CorruptRecord { record: "counter page", len }));
        }
        assert_eq!(Page::decode(None), Ok(Page::new()));
    }

    proptest! {
        #[test]
        fn what_is_set_is_read_back(
            counters in prop::collection::btree_map(any::<u64>(), (any::<u64>(), any::<u64>(), any::<u64>()), 0..32)
        ) {
            let mut page = Page::new();
            for (subject, (started, count, rung)) in &counters {
                let place = page.add(*subject, MAX_ENTRIES, UnixMillis(7)).unwrap();
                page.set(place, Counter { started: UnixMillis(*started), count: *count, rung: *rung });
            }
            let page = Page::decode(Some(page.encode())).unwrap();
            for (subject, (started, count, rung)) in &counters {
                let place = page.find(*subject).unwrap();
                let counter = Counter { started: UnixMillis(*started), count: *count, rung: *rung };
                prop_assert_eq!(page.counter(place), counter);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(page) = Page::decode(Some(bytes.clone())) {
                prop_assert_eq!(page.encode(), bytes);
            }
        }
    }
}
