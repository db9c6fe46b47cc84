//! The stored form of counters: one value has several, so that one compare-and-swap counts them together.
//!
//! ```text
//! page    = version u8, entry*                                   at most 32
//! entry   = subject u64, started u64, count u64, alert, alert    little endian
//!           and, where the version is 4, used u64
//! alert   = percent u32, count u64
//! ```
//! `started` is the window's start in Unix milliseconds. It is in the value, never in the key. The alerts are those of
//! [`Alerts`], the latest first, with the percentage in millionths; zeros mean no alert. The highest bit of the first
//! percentage says that the end of the quota was foretold in this window.
//!
//! Pages of version 3 keep their entries for ever. Version 4 is for subjects that clients can choose: a full page
//! evicts an entry for each new one. `used` is twice the time of the last use, plus 1 for a settled entry, which was
//! used again after it came. Newcomers evict only newcomers, so a flood of subjects that come once does not evict
//! subjects that come regularly (segmented LRU; Karedla, Love, Wherry, 1994).

use super::alerts::{Alert, Alerts};
use crate::base::{Percent, UnixMillis};
use crate::host::CorruptRecord;

/// The maximum number of entries of a page. More would make every read of the page slower.
pub const MAX_ENTRIES: usize = 32;

/// The maximum number of settled entries of a page. The other places are for newcomers.
const MAX_SETTLED: usize = 24;

/// Whether a page keeps its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageKind {
    /// It keeps them for ever.
    Kept,
    /// It evicts them when others need the place.
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

/// A page's bytes, checked to be well-formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    bytes: Vec<u8>,
    kind: PageKind,
    /// A bit for each entry that was found or added since the page was decoded. These entries are in use and stay.
    opened: u32,
    evicted: u64,
    /// True if an entry was used that had not been used for a while.
    is_renewed: bool,
}

/// How long after its last use the next use alone is worth a write.
const RENEW_MS: u64 = 1000;

/// One subject's counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// The start of the window.
    pub started: UnixMillis,
    /// The requests counted since the start.
    pub count: u64,
    /// The thresholds reported since the start.
    pub alerts: Alerts,
    /// True if it was foretold in this window that the quota will be used up.
    pub is_foretold: bool,
}

/// The index of an entry in its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PagePlace(usize);

const STARTED_AT: usize = 8;
const COUNT_AT: usize = 16;
const LATEST_AT: usize = 24;
const HIGHER_AT: usize = 36;
const USED_AT: usize = 48;

/// The bit of the latest alert's percentage: see the module's text.
const FORETOLD: u32 = 1 << 31;

impl Page {
    /// An empty page.
    pub fn new(kind: PageKind) -> Self {
        Page::of(vec![kind.version()], kind)
    }

    fn of(bytes: Vec<u8>, kind: PageKind) -> Self {
        Page { bytes, kind, opened: 0, evicted: 0, is_renewed: false }
    }

    /// Checks stored bytes; `None` means a key that was never written.
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

    pub fn encode(self) -> Vec<u8> {
        self.bytes
    }

    /// The number of entries evicted since the page was decoded.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// True if the page should be written although nothing was counted: a subject whose requests are all refused is
    /// active, too.
    pub fn is_renewed(&self) -> bool {
        self.is_renewed
    }

    /// The place of `subject`, if the page has it.
    pub fn find(&self, subject: u64) -> Option<PagePlace> {
        let subject = subject.to_le_bytes();
        self.entries().position(|entry| entry.starts_with(&subject)).map(PagePlace)
    }

    /// The place of `subject`, or a new place with a counter at 0 whose window starts at `now`. `None` if the page
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

    pub fn counter(&self, place: PagePlace) -> Counter {
        self.entry(place).map(counter_of).unwrap_or_default()
    }

    pub fn set(&mut self, place: PagePlace, counter: Counter) {
        let Some(entry) = self.entry_mut(place) else { return };
        set_field(entry, STARTED_AT, counter.started.0.to_le_bytes());
        set_field(entry, COUNT_AT, counter.count.to_le_bytes());
        let foretold = if counter.is_foretold { FORETOLD } else { 0 };
        for (at, alert, flag) in [(LATEST_AT, counter.alerts.latest, foretold), (HIGHER_AT, counter.alerts.higher, 0)] {
            set_field(entry, at, (alert.percent.map_or(0, Percent::millionths) | flag).to_le_bytes());
            set_field(entry, at.saturating_add(4), alert.count.to_le_bytes());
        }
    }

    /// Records a use. The second use settles the entry. For that, the least recently used settled entry may become a
    /// newcomer again.
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

    /// The least recently used entry among the settled ones or among the newcomers.
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

/// The counters of a stored page that differ from those of the value before, with their subjects.
pub fn changed<'v>(before: &'v [u8], after: &'v [u8]) -> impl Iterator<Item = (u64, Counter)> + 'v {
    let kinds = [PageKind::Kept, PageKind::Table];
    let kind = kinds.into_iter().find(|kind| after.first() == Some(&kind.version()));
    let len = kind.map_or(1, PageKind::entry_len);
    let entries = |bytes: &'v [u8]| bytes.get(1..).unwrap_or_default().chunks_exact(len);
    let mut old = entries(before);
    entries(after).filter_map(move |entry| {
        let (entry, old): (&Entry, _) = (entry.first_chunk()?, old.next().and_then(|old| old.first_chunk()));
        (Some(entry) != old).then(|| (number(entry, 0), counter_of(entry)))
    })
}

/// The part that all entries have.
type Entry = [u8; 48];

#[inline]
fn counter_of(entry: &Entry) -> Counter {
    let alert = |at: usize| Alert {
        percent: Percent::from_millionths(u32::from_le_bytes(field(entry, at)) & !FORETOLD),
        count: number(entry, at.saturating_add(4)),
    };
    Counter {
        started: UnixMillis(number(entry, STARTED_AT)),
        count: number(entry, COUNT_AT),
        alerts: Alerts { latest: alert(LATEST_AT), higher: alert(HIGHER_AT) },
        is_foretold: u32::from_le_bytes(field(entry, LATEST_AT)) & FORETOLD != 0,
    }
}

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

    /// The page as the next update reads it.
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
    fn regular_subjects_outlive_any_number_that_come_once() {
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
            // First twice in a row, then once at a time.
            for _ in 0..=u8::from(visit == 0) {
                page = stored(page);
                page.open(regular, MAX_ENTRIES, UnixMillis(time)).unwrap();
            }
        }
        assert_eq!(page.entries().count(), MAX_ENTRIES);
    }

    #[test]
    fn two_counters_of_one_request_do_not_evict_each_other() {
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
        (any::<u64>(), any::<u64>(), alert(), alert(), any::<bool>()).prop_map(
            |(started, count, latest, higher, is_foretold)| Counter {
                started: UnixMillis(started),
                count,
                alerts: Alerts { latest, higher },
                is_foretold,
            },
        )
    }

    proptest! {
        #[test]
        fn counters_are_read_back_as_set(
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
