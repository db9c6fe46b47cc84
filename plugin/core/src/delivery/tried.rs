//! What became of attempts: those of a message, and the last one of each target.

use super::attempt::{DeliveryOutcome, OutcomeKind};
use super::target::EndpointId;
use crate::base::{UnixMillis, record};
use crate::host::{Change, Metric, Metrics, SharedData, StoreError, read, update};

/// The number of attempts that a message remembers: the last ones.
const MAX_TRIED: usize = 8;

/// The number of targets whose last attempt is remembered. A further one evicts the one that was tried longest ago.
pub const MAX_TARGETS: usize = 256;

const KEY: &str = "tb1/t";
const VERSION: u8 = 1;

/// A finished attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// When it ended.
    pub at: UnixMillis,
    /// How long it took; `None` if it did not start, or never ended.
    pub took_ms: Option<u64>,
    /// The status of the target's answer; `None` without an answer.
    pub status: Option<u16>,
    /// An [`OutcomeKind`].
    kind: u8,
}

impl Tried {
    /// `status` is that of the reply, and `took_ms` the time until it came.
    pub fn new(outcome: &DeliveryOutcome, status: Option<u16>, took_ms: Option<u64>, at: UnixMillis) -> Self {
        let status = status.filter(|_| outcome.is_by_target());
        Tried { at, took_ms, status, kind: outcome.kind() as u8 }
    }

    /// The form in which it is stored: the time, and from its lowest bits the kind, the status, and the time that it
    /// took and 1. The code that serde derives is longer.
    pub fn pack(self) -> (u64, u64) {
        let took = self.took_ms.map_or(0, |ms| ms.saturating_add(1).min(u64::MAX >> 24));
        let status = u64::from(self.status.unwrap_or_default());
        (self.at.0, took << 24 | status << 8 | u64::from(self.kind))
    }

    pub fn unpack((at, facts): (u64, u64)) -> Self {
        let status = u16::try_from(facts >> 8 & 0xffff).unwrap_or_default();
        Tried {
            at: UnixMillis(at),
            took_ms: (facts >> 24).checked_sub(1),
            status: Some(status).filter(|status| *status != 0),
            kind: u8::try_from(facts & 0xff).unwrap_or_default(),
        }
    }

    /// The outcome as in statistics.
    pub fn label(&self) -> &'static str {
        OutcomeKind::from_repr(self.kind).map_or("", Into::into)
    }
}

/// Adds an attempt to those of a message.
pub fn remember(all: &mut Vec<(u64, u64)>, tried: Tried) {
    if all.len() >= MAX_TRIED {
        all.remove(0);
    }
    all.push(tried.pack());
}

/// The last attempt of each target, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastTried(Vec<(EndpointId, Tried)>);

impl LastTried {
    pub fn of(&self, endpoint: EndpointId) -> Option<Tried> {
        self.0.iter().find(|(known, _)| *known == endpoint).map(|(_, tried)| *tried)
    }

    /// Sets the last attempt of a target, unless a later one is known.
    pub fn set(&mut self, endpoint: EndpointId, tried: Tried) {
        if self.of(endpoint).is_some_and(|known| known.at > tried.at) {
            return;
        }
        self.0.retain(|(known, _)| *known != endpoint);
        if self.0.len() >= MAX_TARGETS {
            self.0.remove(0);
        }
        self.0.push((endpoint, tried));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn decode(stored: Option<&[u8]>) -> Option<Self> {
        let Some(bytes) = stored else { return Some(LastTried::default()) };
        let numbers: Vec<u64> = record::decode(VERSION, bytes)?;
        let each = |numbers: &[u64]| match *numbers {
            [endpoint, at, facts] => Some((EndpointId(endpoint), Tried::unpack((at, facts)))),
            _ => None,
        };
        numbers.chunks(3).map(each).collect::<Option<Vec<_>>>().map(LastTried)
    }

    fn encode(&self) -> Vec<u8> {
        let each = |(endpoint, tried): &(EndpointId, Tried)| {
            let (at, facts) = tried.pack();
            [endpoint.0, at, facts]
        };
        record::encode(VERSION, &self.0.iter().flat_map(each).collect::<Vec<u64>>())
    }
}

/// Reads the last attempts. If they do not decode, there are none, and the next attempt overwrites them.
///
/// # Errors
/// When the host refuses.
pub fn last(host: &impl SharedData) -> Result<LastTried, StoreError> {
    Ok(LastTried::decode(read(host, KEY)?.as_deref()).unwrap_or_default())
}

/// Adds the attempts that a VM has finished.
///
/// # Errors
/// As for any update of shared data.
pub fn add(host: &(impl SharedData + Metrics), news: &LastTried) -> Result<(), StoreError> {
    update(host, KEY, |stored| {
        let mut all = LastTried::decode(stored.as_deref()).unwrap_or_else(|| {
            host.count(Metric::CorruptRecords);
            log::error!("{KEY}: the last attempts do not decode; they are replaced");
            LastTried::default()
        });
        news.0.iter().for_each(|(endpoint, tried)| all.set(*endpoint, *tried));
        Ok(Change::Write(all.encode(), ()))
    })
}

#[cfg(test)]
mod tests {
    use strum::EnumCount;

    use super::*;
    use crate::testing::MemoryHost;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn tried(at: u64) -> Tried {
        Tried::new(&DeliveryOutcome::Refused(404), Some(404), Some(7), UnixMillis(at))
    }

    fn news(endpoint: u64, at: u64) -> LastTried {
        LastTried(vec![(EndpointId(endpoint), tried(at))])
    }

    #[test]
    fn a_message_remembers_its_last_attempts() {
        let mut all = Vec::new();
        (0..20).for_each(|at| remember(&mut all, tried(at)));
        assert_eq!(all.iter().map(|(at, _)| *at).collect::<Vec<_>>(), (12..20).collect::<Vec<_>>());
        let first = Tried::unpack(all[0]);
        assert_eq!((first.label(), first.status, first.took_ms), ("refused", Some(404), Some(7)));
    }

    #[test]
    fn the_status_of_the_proxys_own_answer_is_not_the_targets() {
        let unreachable = DeliveryOutcome::Failed(crate::delivery::Failure::Unreachable);
        let tried = Tried::new(&unreachable, Some(503), Some(1), UnixMillis(1));
        assert_eq!((tried.label(), tried.status), ("unreachable", None));
    }

    #[test]
    fn attempts_are_read_back() {
        for kind in 0..OutcomeKind::COUNT {
            for (took_ms, status) in [(None, None), (Some(0), Some(100)), (Some(600_000), Some(599))] {
                let tried = Tried { at: UnixMillis(7), took_ms, status, kind: u8::try_from(kind).unwrap() };
                assert_eq!(Tried::unpack(tried.pack()), tried);
            }
        }
        let long = Tried { took_ms: Some(u64::MAX), ..tried(1) };
        assert_eq!(Tried::unpack(long.pack()).status, Some(404));
    }

    #[test]
    fn the_last_attempt_of_each_target_is_kept_within_a_fixed_size() {
        let host = MemoryHost::default();
        add(&host, &news(7, 5)).unwrap();
        add(&host, &news(7, 4)).unwrap();
        assert_eq!(last(&host).unwrap().of(EndpointId(7)).unwrap().at, UnixMillis(5), "a late VM changes nothing");
        (100..600).for_each(|endpoint| add(&host, &news(endpoint, 6)).unwrap());
        let all = last(&host).unwrap();
        assert_eq!((all.0.len(), all.of(EndpointId(7))), (MAX_TARGETS, None));
        assert_eq!((host.key_count(), host.stored_bytes() < 8192), (1, true));
    }

    #[test]
    fn foreign_bytes_are_replaced() {
        let host = MemoryHost::default();
        host.put(KEY, b"not ours").unwrap();
        assert!(last(&host).unwrap().is_empty());
        add(&host, &news(7, 5)).unwrap();
        assert!(!last(&host).unwrap().is_empty());
        assert_eq!(host.metric(Metric::CorruptRecords), 1);
    }
}
