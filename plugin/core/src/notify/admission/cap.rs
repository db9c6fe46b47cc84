//! Caps: a handler sends at most `max_per_minute` messages of one group in any 60 seconds. One digest counts and
//! reports the excess (see [`crate::notify::admission::digest`]).
//!
//! Each group of events has its own budget (see [`Event::group`]), so events that clients can repeat never use up the
//! budget of events that happen only once. Events of the gateway have a cap unless the handler sets it to 0. Clients
//! cannot cause management events, and each of these has its own payload, so they have a cap only if the handler sets
//! one.
//!
//! Shared data has one value for a handler, its URL and a group of events. It contains the times of the last messages
//! and the tally that counts the excess.

use serde::{Deserialize, Serialize};

use crate::base::{UnixMillis, fingerprint, record};
use crate::delivery::{EndpointId, Link};
use crate::event::Event;
use crate::host::{Change, CorruptRecord, Metric, Metrics, SharedData, StoreError, read, update};

/// The window in which a cap limits messages.
pub const WINDOW_MS: u64 = 60_000;

/// The default of `max_per_minute` for events of the gateway.
pub const DEFAULT_MAX_PER_MINUTE: u32 = 120;

const VERSION: u8 = 2;

/// A handler's cap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cap {
    number: u64,
    /// 0 means no limit, `None` means the default.
    most: Option<u32>,
}

/// The limit of a handler's cap for one group of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    key: String,
    number: u64,
    /// 0 means no limit.
    most: usize,
}

/// The answer to a message that asks for a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The message may go out.
    Free,
    /// The limit is reached. The tally that counts the excess, if there is one.
    Capped(Option<Link>),
}

impl Cap {
    /// Made for the handler that these texts identify. 0 means no limit, and `None` the default.
    pub fn new(handler: &[&str], endpoint: EndpointId, max_per_minute: Option<u32>) -> Self {
        let endpoint = endpoint.0.to_string();
        let parts: Vec<&str> = handler.iter().copied().chain([endpoint.as_str()]).collect();
        Cap { number: fingerprint(&parts), most: max_per_minute }
    }

    /// The budget of an event's group: see [`Notifications::group`](crate::notify::Notifications::group).
    pub fn budget(&self, event: &Event, group: u64) -> Budget {
        let default = if event.kind.is_management() { 0 } else { DEFAULT_MAX_PER_MINUTE };
        // An odd factor spreads small numbers over all bits. The key shows the upper half.
        let number = self.number ^ group.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Budget {
            key: format!("tb1/m/{:08x}", number >> 32),
            number,
            most: usize::try_from(self.most.unwrap_or(default)).unwrap_or(usize::MAX),
        }
    }
}

impl Budget {
    /// Distinguishes the budget from those of other handlers and groups.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The most messages in any 60 seconds; 0 means no limit.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Peeks without taking a turn. A record that does not decode counts as empty.
    ///
    /// # Errors
    /// When the host refuses.
    pub fn peek(&self, host: &impl SharedData, now: UnixMillis) -> Result<Turn, StoreError> {
        if self.most == 0 {
            return Ok(Turn::Free);
        }
        Ok(Record::decode(read(host, &self.key)?).map_or(Turn::Free, |record| record.turn(self.most, now)))
    }

    /// Takes a turn.
    ///
    /// # Errors
    /// Any error of an update of shared data.
    pub fn take(&self, host: &(impl SharedData + Metrics), now: UnixMillis) -> Result<Turn, StoreError> {
        if self.most == 0 {
            return Ok(Turn::Free);
        }
        self.change(host, |record| {
            let turn = record.turn(self.most, now);
            if turn == Turn::Free {
                record.sent.retain(|at| is_recent(*at, now));
                record.sent.push(now);
            }
            (turn == Turn::Free, turn)
        })
    }

    /// Gives back a turn that was taken at `at` and is not used.
    ///
    /// # Errors
    /// As for any update of shared data.
    pub fn give_back(&self, host: &(impl SharedData + Metrics), at: UnixMillis) -> Result<(), StoreError> {
        if self.most == 0 {
            return Ok(());
        }
        self.change(host, |record| {
            let own = record.sent.iter().rposition(|sent| *sent == at);
            (own.map(|index| record.sent.remove(index)).is_some(), ())
        })
    }

    /// The tally that counts the excess, if there is one.
    ///
    /// # Errors
    /// When the host refuses.
    pub fn tally(&self, host: &impl SharedData) -> Result<Option<Link>, StoreError> {
        Ok(Record::decode(read(host, &self.key)?).unwrap_or_default().tally)
    }

    /// Makes `link` the tally that counts the excess, unless another VM has replaced `seen` since.
    ///
    /// # Errors
    /// Any error of an update of shared data.
    pub fn link(&self, host: &(impl SharedData + Metrics), seen: Option<Link>, link: Link) -> Result<bool, StoreError> {
        self.change(host, |record| {
            let is_unchanged = record.tally == seen;
            if is_unchanged {
                record.tally = Some(link);
            }
            (is_unchanged, is_unchanged)
        })
    }

    fn change<T>(
        &self,
        host: &(impl SharedData + Metrics),
        step: impl Fn(&mut Record) -> (bool, T),
    ) -> Result<T, StoreError> {
        update(host, &self.key, |stored| {
            let mut record = Record::decode(stored).unwrap_or_else(|corrupt| {
                host.count(Metric::CorruptRecords);
                log::error!("{}: {corrupt}; it is replaced", self.key);
                Record::default()
            });
            let (is_changed, result) = step(&mut record);
            Ok(if is_changed { Change::Write(record.encode(), result) } else { Change::Keep(result) })
        })
    }
}

/// A time further in the future than a window was stored by a wrong clock that has been corrected since.
fn is_recent(at: UnixMillis, now: UnixMillis) -> bool {
    now.since(at) < WINDOW_MS && at.since(now) < WINDOW_MS
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    tally: Option<Link>,
    sent: Vec<UnixMillis>,
}

impl Record {
    fn turn(&self, most: usize, now: UnixMillis) -> Turn {
        let recent = self.sent.iter().filter(|at| is_recent(**at, now)).count();
        if recent < most { Turn::Free } else { Turn::Capped(self.tally) }
    }

    fn decode(stored: Option<Vec<u8>>) -> Result<Self, CorruptRecord> {
        let Some(bytes) = stored else { return Ok(Record::default()) };
        record::decode(VERSION, &bytes).ok_or(CorruptRecord { record: "handler's cap", len: bytes.len() })
    }

    fn encode(&self) -> Vec<u8> {
        record::encode(VERSION, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Crossed, EventKind, Subject};
    use crate::testing::MemoryHost;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn event(kind: EventKind) -> Event {
        Event::sample(kind)
    }

    fn cap(most: u32) -> Budget {
        Cap::new(&["h"], EndpointId(7), Some(most))
            .budget(&event(EventKind::AuthFailure), event(EventKind::AuthFailure).group())
    }

    #[test]
    fn zero_means_no_limit_and_writes_nothing() {
        let host = MemoryHost::default();
        assert!((0..1000).all(|_| cap(0).take(&host, UnixMillis(0)) == Ok(Turn::Free)));
        assert_eq!(host.key_count(), 0);
    }

    #[test]
    fn management_events_have_a_cap_only_if_it_is_configured() {
        let management = EventKind::KeyEvent;
        let host = MemoryHost::default();
        let free = |cap: &Cap, kind| {
            let budget = cap.budget(&event(kind), event(kind).group());
            (0..200).filter(|_| budget.take(&host, UnixMillis(0)) == Ok(Turn::Free)).count()
        };
        for (name, most, expected) in [("h", None, (200, 120)), ("i", Some(3), (3, 3)), ("j", Some(0), (200, 200))] {
            let cap = Cap::new(&[name], EndpointId(7), most);
            assert_eq!((free(&cap, management), free(&cap, EventKind::AuthFailure)), expected, "{most:?}");
        }
    }

    #[test]
    fn each_kind_has_its_own_budget() {
        let crossing = |subject| {
            let crossed = Crossed { subject, ..Crossed::default() };
            Event { crossed: Some(Box::new(crossed)), ..event(EventKind::TriggerExceeded) }
        };
        let mut kinds: Vec<Event> =
            EventKind::all().filter(|kind| *kind != EventKind::TriggerExceeded).map(event).collect();
        kinds.extend([Subject::Key, Subject::Organisation, Subject::Identity].map(crossing));
        for (field, value) in [("api", "other"), ("action", "key_event.delete")] {
            let mut host_down = event(if field == "api" { EventKind::HostDown } else { EventKind::KeyEvent });
            (host_down.meta.api_id, host_down.meta.message) = (value.to_owned(), value.to_owned());
            kinds.push(host_down);
        }
        let host = MemoryHost::default();
        let cap = Cap::new(&["channel"], EndpointId(7), Some(2));
        for event in &kinds {
            let budget = cap.budget(event, event.group());
            let free = (0..9).filter(|_| budget.take(&host, UnixMillis(0)) == Ok(Turn::Free)).count();
            assert_eq!(free, 2, "{event:?}");
        }
        assert_eq!(host.key_count(), kinds.len(), "one value each");
    }

    #[test]
    fn a_returned_turn_can_be_taken_again() {
        let host = MemoryHost::default();
        let cap = cap(1);
        cap.take(&host, UnixMillis(5)).unwrap();
        cap.give_back(&host, UnixMillis(4)).unwrap();
        assert_eq!(cap.take(&host, UnixMillis(6)), Ok(Turn::Capped(None)));
        cap.give_back(&host, UnixMillis(5)).unwrap();
        assert_eq!(cap.take(&host, UnixMillis(6)), Ok(Turn::Free));
    }

    #[test]
    fn a_record_of_foreign_bytes_is_replaced() {
        let host = MemoryHost::default();
        let cap = cap(1);
        host.put(&cap.key, b"not ours").unwrap();
        assert_eq!(cap.peek(&host, UnixMillis(0)), Ok(Turn::Free));
        assert_eq!(cap.take(&host, UnixMillis(0)), Ok(Turn::Free));
        assert_eq!(cap.take(&host, UnixMillis(0)), Ok(Turn::Capped(None)));
        assert_eq!(host.metric(Metric::CorruptRecords), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_silence_a_handler() {
        let host = MemoryHost::default();
        let cap = cap(1);
        cap.take(&host, UnixMillis(10_000_000)).unwrap();
        assert_eq!(cap.peek(&host, UnixMillis(0)), Ok(Turn::Free));
    }

    #[test]
    fn one_tally_is_linked() {
        let host = MemoryHost::default();
        let cap = cap(1);
        let link = |slot| Link { slot: crate::delivery::Slot(slot), until: UnixMillis(5) };
        assert_eq!(cap.link(&host, None, link(1)), Ok(true));
        assert_eq!(cap.link(&host, None, link(2)), Ok(false));
        assert_eq!(cap.link(&host, Some(link(1)), link(3)), Ok(true));
        cap.take(&host, UnixMillis(0)).unwrap();
        assert_eq!(cap.peek(&host, UnixMillis(0)), Ok(Turn::Capped(Some(link(3)))));
    }

    proptest! {
        #[test]
        fn no_minute_has_more(most in 1_u32..20, steps in prop::collection::vec(0_u64..20_000, 1..200)) {
            let host = MemoryHost::default();
            let cap = cap(most);
            let (mut now, mut sent) = (UnixMillis(1), Vec::new());
            for step in steps {
                now = now.plus(step);
                let peeked = cap.peek(&host, now).unwrap();
                let turn = cap.take(&host, now).unwrap();
                prop_assert_eq!(peeked, turn);
                let recent = sent.iter().filter(|at| now.since(**at) < WINDOW_MS).count();
                prop_assert_eq!(turn == Turn::Free, recent < most as usize);
                if turn == Turn::Free { sent.push(now); }
            }
        }

        #[test]
        fn records_are_read_back(slot in any::<u32>(), until in any::<u64>(), sent in prop::collection::vec(any::<u64>(), 0..9)) {
            let tally = Some(Link { slot: crate::delivery::Slot(slot), until: UnixMillis(until) });
            let record = Record { tally, sent: sent.into_iter().map(UnixMillis).collect() };
            prop_assert_eq!(Record::decode(Some(record.encode())), Ok(record));
        }
    }
}
