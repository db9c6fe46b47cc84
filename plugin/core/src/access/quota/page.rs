//! The stored form of counters: several in one value, so that one compare-and-swap counts them together.
//!
//! ```text
//! page    = version u8, entry*                                   at most 32
//! entry   = subject u64, started u64, count u64, alert, alert    little endian
//!           and, where the version is 4, used u64
//! alert   = percent u32, count u64
//! ```
//! `started` is the window's start in Unix milliseconds: the window lives in the value, never in the key.
//! The alerts are those of [`Alerts`], the latest first, the percentage in millionths; zeros stand for none.
//!
//! Entries of a page of version 3 are kept for ever. Version 4 is for subjects that traffic can invent: a full page
//! drops an entry for each new one. `used` is twice the time of the last use, and 1 more for an entry that is settled:
//! used again since it came. Newcomers push out newcomers only, so that a flood of subjects that come once leaves alone
//! whoever comes regularly (segmented LRU; Karedla, Love, Wherry, 1994).

use super::alerts::{Alert, Alerts};
use crate::base::{Percent, UnixMillis};
use crate::host::CorruptRecord;

/// Entries that a page takes. More would make every read of the page dearer.
pub const MAX_ENTRIES: usize = 32;

/// Settled entries of a page; the other places are for newcomers.
const MAX_SETTLED: usize = 24;

/// Whether a page keeps its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageKind {
    /// For ever.
    Kept,
    /// Until others need the place.
    Table,
}

impl PageKind {
    fn version(self) -> u8 {
        match self {
            PageKind::Kept => 3,
            PageKind::Table => 4,
        }
    }

    fn entry_len(self) -> usize {
        match self {
            PageKind::Kept => 48,
            PageKind::Table => 56,
        }
    }
}

/// A page's bytes, known to be well-formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    bytes: Vec<u8>,
    kind: PageKind,
    /// The places that were found or added since it was decoded, a bit each: they are in use and stay.
    opened: u32,
    evicted: u64,
    /// Whether an entry was used that had not been for a while.
    is_renewed: bool,
}

/// How long after its last use a use is worth a write by itself.
const RENEW_MS: u64 = 1000;

/// One subject's counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// When the window began.
    pub started: UnixMillis,
    /// Requests counted since.
    pub count: u64,
    /// The thresholds that were reported since.
    pub alerts: Alerts,
}

/// An entry's place in its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PagePlace(usize);

const STARTED_AT: usize = 8;
const COUNT_AT: usize = 16;
const LATEST_AT: usize = 24;
const HIGHER_AT: usize = 36;
const USED_AT: usize = 48;

impl Page {
    /// An empty page.
    pub fn new(kind: PageKind) -> Self {
        Page::of(vec![kind.version()], kind)
    }

    fn of(bytes: Vec<u8>, kind: PageKind) -> Self {
        Page { bytes, kind, opened: 0, evicted: 0, is_renewed: false }
    }

    /// Checks stored bytes; `None` stands for a key that was never written.
    pub fn decode(stored: Option<Vec<u8>>, kind: PageKind) -> Result<Self, CorruptRecord> {
        let Some(bytes) = stored else { return Ok(Page::new(kind)) };
        match bytes.split_first() {
            Some((version, entries))
                if *version == kind.version()
                    && entries.len().is_multiple_of(kind.entry_len())
                    && entries.len() <= kind.entry_len().saturating_mul(MAX_ENTRIES) =>
            {
                Ok(Page::of(bytes, kind))
            }
            _ => Err(CorruptRecord { record: "counter page", len: bytes.len() }),
        }
    }

    /// The bytes to store.
    pub fn encode(self) -> Vec<u8> {
        self.bytes
    }

    /// How many entries made room for others since it was decoded.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Whether it is worth writing although nothing was counted: who is refused all the time is no less active.
    pub fn is_renewed(&self) -> bool {
        self.is_renewed
    }

    /// Where `subject` stands, if it does.
    pub fn find(&self, subject: u64) -> Option<PagePlace> {
        let subject = subject.to_le_bytes();
        self.entries().position(|entry| entry.starts_with(&subject)).map(PagePlace)
    }

    /// Where `subject` stands, or a new place with a counter at 0 whose window starts at `now`. `None` on a page that
    /// keeps its entries and has `capacity` of them.
    pub fn open(&mut self, subject: u64, capacity: usize, now: UnixMillis) -> Option<PagePlace> {
        let known = self.find(subject);
        let place = match known {
            Some(place) => place,
            None if self.entries().count() < capacity.min(MAX_ENTRIES) => {
                let place = PagePlace(self.entries().count());
                let len = self.bytes.len().saturating_add(self.kind.entry_len());
                self.bytes.resize(len, 0);
                place
            }
            None if self.kind == PageKind::Table => {
                self.evicted = self.evicted.saturating_add(1);
                self.oldest(false)?
            }
            None => return None,
        };
        if known.is_none() {
            if let Some(entry) = self.entry_mut(place) {
                set_field(entry, 0, subject.to_le_bytes());
            }
            self.set(place, Counter { started: now, ..Counter::default() });
        }
        self.opened |= bit(place);
        if self.kind == PageKind::Table {
            self.use_again(place, known.is_some(), now);
        }
        Some(place)
    }

    /// The counter at `place`.
    pub fn counter(&self, place: PagePlace) -> Counter {
        let Some(entry) = self.entry(place) else { return Counter::default() };
        let alert = |at: usize| Alert {
            percent: Percent::from_millionths(u32::from_le_bytes(field(entry, at))),
            count: number(entry, at.saturating_add(4)),
        };
        Counter {
            started: UnixMillis(number(entry, STARTED_AT)),
            count: number(entry, COUNT_AT),
            alerts: Alerts { latest: alert(LATEST_AT), higher: alert(HIGHER_AT) },
        }
    }

    /// Replaces the counter at `place`.
    pub fn set(&mut self, place: PagePlace, counter: Counter) {
        let Some(entry) = self.entry_mut(place) else { return };
        set_field(entry, STARTED_AT, counter.started.0.to_le_bytes());
        set_field(entry, COUNT_AT, counter.count.to_le_bytes());
        for (at, alert) in [(LATEST_AT, counter.alerts.latest), (HIGHER_AT, counter.alerts.higher)] {
            set_field(entry, at, alert.percent.map_or(0, Percent::millionths).to_le_bytes());
            set_field(entry, at.saturating_add(4), alert.count.to_le_bytes());
        }
    }

    /// Notes a use; a second one settles the entry, for which the settled one that was used longest ago may have to
    /// become a newcomer again.
    fn use_again(&mut self, place: PagePlace, settles: bool, now: UnixMillis) {
        let used = self.used(place);
        let is_settled = used & 1 == 1;
        self.is_renewed |= settles && now.since(UnixMillis(used / 2)) >= RENEW_MS;
        if settles && !is_settled {
            let settled = (0..self.entries().count()).filter(|at| self.used(PagePlace(*at)) & 1 == 1).count();
            if settled >= MAX_SETTLED
                && let Some(other) = self.oldest(true)
            {
                self.set_used(other, self.used(other) & !1);
            }
        }
        self.set_used(place, now.0.saturating_mul(2) | u64::from(settles || is_settled));
    }

    /// The entry that was used longest ago, of the settled ones or of the newcomers.
    fn oldest(&self, settled: bool) -> Option<PagePlace> {
        (0..self.entries().count())
            .map(PagePlace)
            .filter(|place| self.opened & bit(*place) == 0)
            .filter(|place| (self.used(*place) & 1 == 1) == settled)
            .min_by_key(|place| self.used(*place))
    }

    fn entries(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.get(1..).unwrap_or_default().chunks_exact(self.kind.entry_len())
    }

    fn entry(&self, place: PagePlace) -> Option<&Entry> {
        self.bytes.get(self.start(place)..)?.first_chunk()
    }

    fn entry_mut(&mut self, place: PagePlace) -> Option<&mut Entry> {
        let start = self.start(place);
        self.bytes.get_mut(start..)?.first_chunk_mut()
    }

    fn start(&self, place: PagePlace) -> usize {
        place.0.saturating_mul(self.kind.entry_len()).saturating_add(1)
    }

    fn used(&self, place: PagePlace) -> u64 {
        let used = self.bytes.get(self.start(place).saturating_add(USED_AT)..).and_then(|rest| rest.first_chunk());
        used.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    fn set_used(&mut self, place: PagePlace, used: u64) {
        let at = self.start(place).saturating_add(USED_AT);
        if let Some(bytes) = self.bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
            *bytes = used.to_le_bytes();
        }
    }
}

/// The part that every entry has.
type Entry = [u8; 48];

#[inline]
fn field<const N: usize>(entry: &Entry, at: usize) -> [u8; N] {
    entry.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

#[inline]
fn number(entry: &Entry, at: usize) -> u64 {
    u64::from_le_bytes(field(entry, at))
}

#[inline]
fn set_field<const N: usize>(entry: &mut Entry, at: usize, value: [u8; N]) {
    if let Some(field) = entry.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *field = value;
    }
}

fn bit(place: PagePlace) -> u32 {
    u32::try_from(place.0).ok().and_then(|at| 1_u32.checked_shl(at)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// As the next update finds it.
    fn stored(page: Page) -> Page {
        let kind = page.kind;
        Page::decode(Some(page.encode()), kind).unwrap()
    }

    #[test]
    fn a_full_page_that_keeps_its_entries_takes_no_more() {
        let mut page = Page::new(PageKind::Kept);
        for subject in 0..32 {
            assert!(page.open(subject, MAX_ENTRIES, UnixMillis(1)).is_some());
        }
        assert!(page.open(32, MAX_ENTRIES, UnixMillis(1)).is_none());
        assert!(page.open(31, MAX_ENTRIES, UnixMillis(1)).is_some());
        assert!(Page::decode(Some(page.encode()), PageKind::Kept).is_ok());
    }

    #[test]
    fn foreign_bytes_are_an_error_not_zero() {
        for bytes in [vec![], vec![4], vec![3; 48], vec![3; 50], vec![3; 1 + 33 * 48], b"12".to_vec()] {
            let len = bytes.len();
            assert_eq!(Page::decode(Some(bytes), PageKind::Kept), Err(CorruptRecord { record: "counter page", len }));
        }
        assert_eq!(Page::decode(None, PageKind::Kept), Ok(Page::new(PageKind::Kept)));
    }

    #[test]
    fn whoever_comes_regularly_outlives_any_number_that_come_once() {
        let mut page = Page::new(PageKind::Table);
        let mut time = 0;
        let regular = 7;
        for visit in 0..50_u64 {
            for stranger in 0..40 {
                time += 1;
                page = stored(page);
                page.open(1000 + visit * 100 + stranger, MAX_ENTRIES, UnixMillis(time)).unwrap();
            }
            page = stored(page);
            let is_known = page.find(regular).is_some();
            assert_eq!(is_known, visit > 0, "visit {visit}");
            // At first twice in a row, then once at a time.
            for _ in 0..=u8::from(visit == 0) {
                page = stored(page);
                page.open(regular, MAX_ENTRIES, UnixMillis(time)).unwrap();
            }
        }
        assert_eq!(page.entries().count(), MAX_ENTRIES);
    }

    #[test]
    fn two_counters_of_one_request_do_not_push_each_other_out() {
        let mut page = Page::new(PageKind::Table);
        for subject in 0..32 {
            page.open(subject, MAX_ENTRIES, UnixMillis(1)).unwrap();
        }
        for round in 0..100 {
            page = stored(page);
            let (a, b) = (100 + 2 * round, 101 + 2 * round);
            let places = [a, b].map(|subject| page.open(subject, MAX_ENTRIES, UnixMillis(1)).unwrap());
            assert_ne!(places[0], places[1]);
            assert_eq!([page.find(a), page.find(b)], places.map(Some));
            assert_eq!(page.evicted(), 2);
        }
    }

    fn counter() -> impl Strategy<Value = Counter> {
        let alert = || {
            (0_u32..=100_000_000, any::<u64>())
                .prop_map(|(millionths, count)| Alert { percent: Percent::from_millionths(millionths), count })
        };
        (any::<u64>(), any::<u64>(), alert(), alert()).prop_map(|(started, count, latest, higher)| Counter {
            started: UnixMillis(started),
            count,
            alerts: Alerts { latest, higher },
        })
    }

    proptest! {
        #[test]
        fn what_is_set_is_read_back(
            counters in prop::collection::btree_map(any::<u64>(), counter(), 0..32),
            kind in prop::sample::select(&[PageKind::Kept, PageKind::Table][..]),
        ) {
            let mut page = Page::new(kind);
            for (subject, counter) in &counters {
                let place = page.open(*subject, MAX_ENTRIES, UnixMillis(7)).unwrap();
                page.set(place, *counter);
            }
            let page = stored(page);
            for (subject, counter) in &counters {
                prop_assert_eq!(page.counter(page.find(*subject).unwrap()), *counter);
            }
        }

        #[test]
        fn a_table_never_grows_and_always_has_room(
            uses in prop::collection::vec((0_u64..60, 0_u64..3), 1..400)
        ) {
            let mut page = Page::new(PageKind::Table);
            let mut time = 0;
            for (subject, step) in uses {
                time += step;
                page = stored(page);
                prop_assert!(page.open(subject, MAX_ENTRIES, UnixMillis(time)).is_some());
                prop_assert!(page.find(subject).is_some());
                prop_assert!(page.entries().count() <= MAX_ENTRIES);
                let settled = (0..page.entries().count()).filter(|at| page.used(PagePlace(*at)) & 1 == 1).count();
                prop_assert!(settled <= MAX_SETTLED);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for kind in [PageKind::Kept, PageKind::Table] {
                if let Ok(page) = Page::decode(Some(bytes.clone()), kind) {
                    prop_assert_eq!(page.encode(), bytes.clone());
                }
            }
        }
    }
}
