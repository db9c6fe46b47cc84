//! Envoy's verdicts on an API's upstream, as events: once when they change.
//!
//! ```text
//! state   = version u8 = 1, host is down u8, last overflow u64        little endian; 0 for no overflow
//! ```
//! One value in shared data for each API that is observed. Each VM keeps a copy, read anew at every tick, so that a
//! response of an API whose upstream is well costs nothing.

use std::collections::HashMap;

use crate::event::EventKind;
use crate::ports::{Metrics, SharedData};
use crate::route::{Api, ApiIndex};
use crate::store::{Change, CorruptRecord, StoreError, read, update};
use crate::units::UnixMillis;

const VERSION: u8 = 1;

/// How long no request must have overflowed before the breaker counts as reset. Under load Envoy's refuses some requests
/// and lets others through, many times a second.
const QUIET_MS: u64 = 5000;

/// An overflow sooner than this after the last one needs no note.
const NOTE_EVERY_MS: u64 = 1000;

/// What a response says of the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No healthy host: the response flag UH.
    NoHealthyHost,
    /// The circuit breaker is open: the response flag UO.
    Overflow,
    /// The upstream itself answered.
    Answered,
}

impl Verdict {
    /// From Envoy's response flags, a bit each, and its response code details.
    pub fn of(flags: u64, details: &str) -> Option<Self> {
        const NO_HEALTHY_UPSTREAM: u64 = 1 << 1;
        const UPSTREAM_OVERFLOW: u64 = 1 << 7;
        if flags & NO_HEALTHY_UPSTREAM != 0 {
            Some(Verdict::NoHealthyHost)
        } else if flags & UPSTREAM_OVERFLOW != 0 {
            Some(Verdict::Overflow)
        } else {
            (details == "via_upstream").then_some(Verdict::Answered)
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    host_is_down: bool,
    /// 0 where the breaker is closed.
    last_overflow: u64,
}

impl State {
    fn decode(stored: Option<Vec<u8>>) -> Result<Self, CorruptRecord> {
        let Some(bytes) = stored else { return Ok(State::default()) };
        let corrupt = CorruptRecord { record: "upstream state", len: bytes.len() };
        match bytes.split_first_chunk() {
            Some(([VERSION, down], rest)) => {
                let last_overflow = u64::from_le_bytes(rest.try_into().map_err(|_| corrupt)?);
                Ok(State { host_is_down: *down != 0, last_overflow })
            }
            _ => Err(corrupt),
        }
    }

    fn encode(self) -> Vec<u8> {
        let head = [VERSION, u8::from(self.host_is_down)];
        [&head[..], &self.last_overflow.to_le_bytes()].concat()
    }

    /// The state after a verdict, and what has changed.
    fn after(self, verdict: Verdict, now: UnixMillis) -> (Self, &'static [EventKind]) {
        match verdict {
            Verdict::NoHealthyHost if !self.host_is_down => {
                (State { host_is_down: true, ..self }, &[EventKind::HostDown])
            }
            Verdict::Overflow if self.last_overflow == 0 => {
                let events = &[EventKind::BreakerTripped, EventKind::BreakerTriggered];
                (State { last_overflow: now.0.max(1), ..self }, events)
            }
            Verdict::Overflow if now.since(UnixMillis(self.last_overflow)) >= NOTE_EVERY_MS => {
                (State { last_overflow: now.0, ..self }, &[])
            }
            Verdict::Answered if self.host_is_down => (State { host_is_down: false, ..self }, &[EventKind::HostUp]),
            Verdict::Answered if self.is_quiet(now) => {
                (State { last_overflow: 0, ..self }, &[EventKind::BreakerReset, EventKind::BreakerTriggered])
            }
            _ => (self, &[]),
        }
    }

    fn is_quiet(self, now: UnixMillis) -> bool {
        let last = UnixMillis(self.last_overflow);
        // A note from a clock that has been set back since is an old one.
        self.last_overflow != 0 && (now.since(last) >= QUIET_MS || last.since(now) > QUIET_MS)
    }
}

/// What one VM knows of the upstreams.
#[derive(Debug, Default)]
pub struct Upstreams(HashMap<ApiIndex, State>);

impl Upstreams {
    /// Whether a response with this status can change anything.
    pub fn minds(&self, index: ApiIndex, status: u16) -> bool {
        status == 503 || self.0.get(&index).is_some_and(|state| *state != State::default())
    }

    /// Reads what other VMs have found out.
    pub fn refresh<'a>(&mut self, host: &impl SharedData, observed: impl Iterator<Item = (ApiIndex, &'a Api)>) {
        for (index, api) in observed {
            if let Ok(state) =
                read(host, &key(api)).map_err(drop).and_then(|stored| State::decode(stored).map_err(drop))
            {
                self.0.insert(index, state);
            }
        }
    }

    /// Judges a response; returns the events that it makes, which no other VM returns.
    ///
    /// # Errors
    /// As for any update of shared data.
    pub fn judge(
        &mut self,
        host: &(impl SharedData + Metrics),
        (index, api): (ApiIndex, &Api),
        verdict: Verdict,
        now: UnixMillis,
    ) -> Result<&'static [EventKind], StoreError> {
        let known = self.0.get(&index).copied().unwrap_or_default();
        if known.after(verdict, now).0 == known {
            return Ok(&[]);
        }
        let (state, events) = update(host, &key(api), |stored| {
            let before = State::decode(stored)?;
            let (after, events) = before.after(verdict, now);
            Ok(if after == before {
                Change::Keep((after, events))
            } else {
                Change::Write(after.encode(), (after, events))
            })
        })?;
        self.0.insert(index, state);
        Ok(events)
    }
}

fn key(api: &Api) -> String {
    format!("tb1/u/{}", api.id)
}

/// The reason in Envoy's response code details: what stands in braces, as in `jwt_authn_access_denied{Jwt_is_expired}`,
/// else all of it.
pub fn reason(details: &str) -> &str {
    let inner = details.split_once('{').and_then(|(_, rest)| rest.strip_suffix('}'));
    inner.filter(|inner| !inner.is_empty()).unwrap_or(details)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn flags_and_details_give_the_verdict() {
        assert_eq!(Verdict::of(0x2, "no_healthy_upstream"), Some(Verdict::NoHealthyHost));
        assert_eq!(Verdict::of(0x80, "overflow"), Some(Verdict::Overflow));
        assert_eq!(Verdict::of(0, "via_upstream"), Some(Verdict::Answered));
        assert_eq!(Verdict::of(0x20, "upstream_reset_before_response_started{connection_failure}"), None);
    }

    #[test]
    fn each_change_is_told_once() {
        let state = State::default();
        let (down, events) = state.after(Verdict::NoHealthyHost, UnixMillis(10));
        assert_eq!(events, [EventKind::HostDown]);
        assert_eq!(down.after(Verdict::NoHealthyHost, UnixMillis(11)), (down, &[][..]));
        assert_eq!(down.after(Verdict::Answered, UnixMillis(12)), (state, &[EventKind::HostUp][..]));
        let (open, events) = state.after(Verdict::Overflow, UnixMillis(20));
        assert_eq!(events, [EventKind::BreakerTripped, EventKind::BreakerTriggered]);
        assert_eq!(open.after(Verdict::Answered, UnixMillis(4000)), (open, &[][..]), "others still overflow");
        let (open, events) = open.after(Verdict::Overflow, UnixMillis(4000));
        assert!(events.is_empty());
        assert_eq!(open.after(Verdict::Answered, UnixMillis(8999)).1, []);
        let (closed, events) = open.after(Verdict::Answered, UnixMillis(9000));
        assert_eq!((closed, events), (state, &[EventKind::BreakerReset, EventKind::BreakerTriggered][..]));
    }

    #[test]
    fn the_state_is_stored_and_foreign_bytes_are_refused() {
        let state = State { host_is_down: true, last_overflow: 7 };
        assert_eq!(State::decode(Some(state.encode())), Ok(state));
        for bytes in [vec![], vec![1, 0], vec![2; 10], vec![1; 11]] {
            assert!(State::decode(Some(bytes)).is_err());
        }
    }

    #[test]
    fn the_reason_stands_in_braces() {
        assert_eq!(reason("jwt_authn_access_denied{Jwt_is_expired}"), "Jwt_is_expired");
        assert_eq!(reason("rbac_access_denied_matched_policy[p]"), "rbac_access_denied_matched_policy[p]");
        assert_eq!(reason("odd{}"), "odd{}");
    }
}
