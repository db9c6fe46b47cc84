//! Envoy's verdicts on an API's upstream. Each change of a verdict is one event.
//!
//! Each observed API has one value in shared data. Each VM keeps a copy, which it reads again at every tick. So a
//! response costs nothing while the upstream works.

use rustc_hash::FxHashMap;

use serde::{Deserialize, Serialize};

use crate::access::{Api, ApiIndex};
use crate::base::{UnixMillis, record};
use crate::event::EventKind;
use crate::host::{Change, CorruptRecord, Metrics, SharedData, StoreError, read, update};

const VERSION: u8 = 3;

/// The number of failed connections in a row after which an upstream is down, unless the API sets another.
pub const DEFAULT_FAILURES: u32 = 3;

/// How long a verdict must not occur before the opposite event fires. Under load, Envoy's circuit breaker refuses some
/// requests and passes others many times a second, and an API can have several clusters of which one is down.
const QUIET_MS: u64 = 5000;

/// A verdict that comes sooner than this after the last one is not stored.
const NOTE_EVERY_MS: u64 = 1000;

/// The verdict that a response gives on the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamVerdict {
    /// No healthy host: the response flag UH.
    NoHealthyHost,
    /// No connection, or one that was closed before the answer: the response flags UF and UC, or a name without an
    /// address.
    ConnectionFailed,
    /// The circuit breaker is open: the response flag UO.
    Overflow,
    /// The upstream itself answered.
    Answered,
}

impl UpstreamVerdict {
    /// Derives the verdict from Envoy's response flags, one bit each, and its response code details.
    pub fn of(flags: u64, details: &str) -> Option<Self> {
        const NO_HEALTHY_UPSTREAM: u64 = 1 << 1;
        const CONNECTION_FAILURE: u64 = 1 << 5;
        const CONNECTION_TERMINATION: u64 = 1 << 6;
        const UPSTREAM_OVERFLOW: u64 = 1 << 7;
        if flags & NO_HEALTHY_UPSTREAM != 0 {
            Some(UpstreamVerdict::NoHealthyHost)
        } else if flags & UPSTREAM_OVERFLOW != 0 {
            Some(UpstreamVerdict::Overflow)
        } else if flags & (CONNECTION_FAILURE | CONNECTION_TERMINATION) != 0
            || details.starts_with("dns_resolution_failure")
        {
            Some(UpstreamVerdict::ConnectionFailed)
        } else {
            (details == "via_upstream").then_some(UpstreamVerdict::Answered)
        }
    }
}

/// The time of the last verdict of each kind; 0 while the upstream works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// The upstream is down: it has no healthy host, or enough connections failed in a row.
    down: u64,
    overflow: u64,
    /// Failed connections since the last answer, while there are too few for the upstream to be down.
    failures: u32,
}

impl State {
    fn decode(stored: Option<Vec<u8>>) -> Result<Self, CorruptRecord> {
        let Some(bytes) = stored else { return Ok(State::default()) };
        record::decode(VERSION, &bytes).ok_or(CorruptRecord { record: "upstream state", len: bytes.len() })
    }

    fn encode(&self) -> Vec<u8> {
        record::encode(VERSION, self)
    }

    /// The state after a verdict, and the changes. After `failures` failed connections in a row, the upstream is down.
    fn after(self, verdict: UpstreamVerdict, failures: u32, now: UnixMillis) -> (Self, Vec<EventKind>) {
        let (mut state, mut events) = (self, Vec::new());
        if verdict == UpstreamVerdict::ConnectionFailed && state.down == 0 {
            state.failures = state.failures.saturating_add(1);
        }
        match verdict {
            UpstreamVerdict::ConnectionFailed if state.down == 0 && state.failures < failures => {}
            UpstreamVerdict::NoHealthyHost | UpstreamVerdict::ConnectionFailed => {
                state.failures = 0;
                if note(&mut state.down, now) {
                    events.push(EventKind::HostDown);
                }
            }
            UpstreamVerdict::Overflow => {
                if note(&mut state.overflow, now) {
                    events.extend([EventKind::BreakerTripped, EventKind::BreakerTriggered]);
                }
            }
            UpstreamVerdict::Answered => {
                state.failures = 0;
                if is_over(state.down, now) {
                    state.down = 0;
                    events.push(EventKind::HostUp);
                }
                if is_over(state.overflow, now) {
                    state.overflow = 0;
                    events.extend([EventKind::BreakerReset, EventKind::BreakerTriggered]);
                }
            }
        }
        (state, events)
    }
}

/// Stores the time of a verdict. `true` means that it is the first.
fn note(last: &mut u64, now: UnixMillis) -> bool {
    let is_first = *last == 0;
    if is_first || now.since(UnixMillis(*last)) >= NOTE_EVERY_MS || *last > now.0 {
        *last = now.0.max(1);
    }
    is_first
}

fn is_over(last: u64, now: UnixMillis) -> bool {
    // A time in the future is from a clock that was set back since, so it counts as old.
    last != 0 && (now.since(UnixMillis(last)) >= QUIET_MS || UnixMillis(last).since(now) > QUIET_MS)
}

/// The states of the upstreams that this VM knows.
#[derive(Debug, Default)]
pub struct Upstreams(FxHashMap<ApiIndex, State>);

impl Upstreams {
    /// True if a response with this status can change the state.
    pub fn minds(&self, index: ApiIndex, status: u16) -> bool {
        status == 503 || self.0.get(&index).is_some_and(|state| *state != State::default())
    }

    /// Reads the states that other VMs have written.
    pub fn refresh<'a>(&mut self, host: &impl SharedData, observed: impl Iterator<Item = (ApiIndex, &'a Api)>) {
        for (index, api) in observed {
            if let Ok(state) =
                read(host, &key(api)).map_err(drop).and_then(|stored| State::decode(stored).map_err(drop))
            {
                self.0.insert(index, state);
            }
        }
    }

    /// Judges a response. Returns the events that it causes; no other VM returns the same ones.
    ///
    /// # Errors
    /// As for any update of shared data.
    pub fn judge(
        &mut self,
        host: &(impl SharedData + Metrics),
        (index, api): (ApiIndex, &Api),
        verdict: UpstreamVerdict,
        now: UnixMillis,
    ) -> Result<Vec<EventKind>, StoreError> {
        let known = self.0.get(&index).copied().unwrap_or_default();
        let failures = api.observe_upstream.unwrap_or(DEFAULT_FAILURES);
        if known.after(verdict, failures, now).0 == known {
            return Ok(Vec::new());
        }
        let (state, events) = update(host, &key(api), |stored| {
            let before = State::decode(stored)?;
            let (after, events) = before.after(verdict, failures, now);
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

/// The reason in Envoy's response code details: the text in braces, as in `jwt_authn_access_denied{Jwt_is_expired}`, or
/// else all of it.
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
        assert_eq!(UpstreamVerdict::of(0x2, "no_healthy_upstream"), Some(UpstreamVerdict::NoHealthyHost));
        assert_eq!(UpstreamVerdict::of(0x80, "overflow"), Some(UpstreamVerdict::Overflow));
        assert_eq!(UpstreamVerdict::of(0, "via_upstream"), Some(UpstreamVerdict::Answered));
        let refused = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}";
        for (flags, details) in [
            (0x20, refused),
            (0x40, "upstream_reset_before_response_started{connection_termination}"),
            (0x8020, refused),
            (0, "dns_resolution_failure{completed}"),
        ] {
            assert_eq!(
                UpstreamVerdict::of(flags, details),
                Some(UpstreamVerdict::ConnectionFailed),
                "{flags:x} {details}"
            );
        }
        assert_eq!(UpstreamVerdict::of(0x22, ""), Some(UpstreamVerdict::NoHealthyHost));
        // The upstream's own 503, a time-out, a reset stream, a missing route, and a refusal by another filter.
        for (flags, details) in
            [(0x4, "response_timeout"), (0x10, "remote_reset"), (0x100, "route_not_found"), (0, "x")]
        {
            assert_eq!(UpstreamVerdict::of(flags, details), None, "{flags:x} {details}");
        }
    }

    #[test]
    fn each_change_is_reported_once() {
        use EventKind::{BreakerReset, BreakerTriggered, BreakerTripped, HostDown, HostUp};
        let well = State::default();
        for (verdict, fell, rose) in [
            (UpstreamVerdict::NoHealthyHost, vec![HostDown], vec![HostUp]),
            (UpstreamVerdict::Overflow, vec![BreakerTripped, BreakerTriggered], vec![BreakerReset, BreakerTriggered]),
        ] {
            let after = |state: State, verdict, now| state.after(verdict, 3, UnixMillis(now));
            let (state, events) = after(well, verdict, 20);
            assert_eq!(events, fell);
            assert_eq!(after(state, verdict, 500), (state, vec![]));
            assert_eq!(after(state, UpstreamVerdict::Answered, 4000), (state, vec![]), "others still fail");
            let (state, events) = after(state, verdict, 4000);
            assert!(events.is_empty());
            assert_eq!(after(state, UpstreamVerdict::Answered, 8999).1, []);
            assert_eq!(after(state, UpstreamVerdict::Answered, 9000), (well, rose));
        }
    }

    #[test]
    fn a_host_is_down_after_failed_connections_in_a_row() {
        use UpstreamVerdict::{Answered, ConnectionFailed as Failed, NoHealthyHost, Overflow};
        let told = |failures: u32, verdicts: &[(u64, UpstreamVerdict)]| {
            let (mut state, mut told) = (State::default(), Vec::new());
            for (at, verdict) in verdicts {
                let (next, events) = state.after(*verdict, failures, UnixMillis(*at));
                told.extend(events.into_iter().map(|event| (*at, event.name())));
                state = next;
            }
            (told, state)
        };
        let (down, up) = ("HostDown", "HostUp");
        let well = State::default();
        assert_eq!(told(3, &[(1, Failed), (2, Failed), (3, Failed), (4, Failed)]).0, [(3, down)]);
        assert_eq!(told(1, &[(1, Failed), (2, Failed)]).0, [(1, down)]);
        assert_eq!(told(3, &[(1, Failed), (2, Failed), (3, Answered), (4, Failed), (5, Failed)]).0, []);
        assert_eq!(told(3, &[(1, Failed), (2, Failed), (3, Answered)]).1, well, "nothing is left to write");
        assert_eq!(told(3, &[(1, Failed), (2, NoHealthyHost), (3, Failed)]).0, [(2, down)], "one event for either");
        assert_eq!(told(2, &[(1, Failed), (2, Overflow), (3, Failed)]).0.last(), Some(&(3, down)));
        let back = told(2, &[(1, Failed), (2, Failed), (5001, Answered), (5002, Answered), (5003, Failed)]);
        assert_eq!(back.0, [(2, down), (5002, up)]);
        assert_eq!(back.1.failures, 1, "one more is not enough again");
    }

    #[test]
    fn the_state_is_read_back_and_foreign_bytes_are_refused() {
        let state = State { down: 5, overflow: 7, failures: 2 };
        assert_eq!(State::decode(Some(state.encode())), Ok(state));
        for bytes in [vec![], vec![2, 0], vec![1; 21], vec![2; 22]] {
            assert!(State::decode(Some(bytes)).is_err());
        }
    }

    #[test]
    fn the_reason_is_the_text_in_braces() {
        assert_eq!(reason("jwt_authn_access_denied{Jwt_is_expired}"), "Jwt_is_expired");
        assert_eq!(reason("rbac_access_denied_matched_policy[p]"), "rbac_access_denied_matched_policy[p]");
        assert_eq!(reason("odd{}"), "odd{}");
    }
}
