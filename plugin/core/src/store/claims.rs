//! Cool-downs of a fleet: of several messages with one cause, the first that claims it in the store goes out.

use std::collections::BTreeMap;
use std::task::Poll;

use super::client::{Call, Outcome};
use super::protocol::Reply;
use super::scripts::Script;
use crate::base::UnixMillis;

/// How long a message waits for the store. Then it goes out: a message twice is better than none.
const PATIENCE_MS: u64 = 2000;

/// The most claims in one call.
const MAX_CALLS: usize = 128;

/// A cause that a message asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The same at all members.
    pub digest: [u8; 16],
    /// The end of its period.
    pub until: UnixMillis,
}

/// Asks the other members of a fleet.
pub trait Claims {
    /// Whether a message may go out. Pending means that the store is asked: ask again later.
    fn claim(&mut self, _message: &str, _cause: Cause, _now: UnixMillis) -> Poll<bool> {
        Poll::Ready(true)
    }

    /// The message with this cause was not delivered, so another one may go out.
    fn release(&mut self, _message: &str, _cause: Cause) {}

    /// True once after claims were answered.
    fn take_answered(&mut self) -> bool {
        false
    }
}

/// The claims of one VM.
#[derive(Debug, Default)]
pub struct StoreClaims {
    asked: BTreeMap<String, Asked>,
    released: Vec<(String, Cause)>,
    has_answers: bool,
}

#[derive(Debug)]
struct Asked {
    cause: Cause,
    since: UnixMillis,
    is_sent: bool,
    answer: Option<bool>,
}

/// A part of a call about claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimCall {
    Claim(String),
    Release,
}

impl StoreClaims {
    /// See [`Claims::claim`]. `is_lost` means that the store cannot be reached.
    pub fn claim(&mut self, message: &str, cause: Cause, is_lost: bool, now: UnixMillis) -> Poll<bool> {
        let Some(asked) = self.asked.get(message) else {
            if is_lost || now >= cause.until {
                return Poll::Ready(true);
            }
            let asked = Asked { cause, since: now, is_sent: false, answer: None };
            self.asked.insert(message.to_owned(), asked);
            return Poll::Pending;
        };
        let is_over = is_lost || now.since(asked.since) >= PATIENCE_MS;
        match asked.answer.or(is_over.then_some(true)) {
            None => Poll::Pending,
            Some(answer) => {
                self.asked.remove(message);
                Poll::Ready(answer)
            }
        }
    }

    /// See [`Claims::release`].
    pub fn release(&mut self, message: &str, cause: Cause) {
        self.released.push((message.to_owned(), cause));
    }

    /// See [`Claims::take_answered`].
    pub fn take_answered(&mut self) -> bool {
        std::mem::take(&mut self.has_answers)
    }

    pub fn is_due(&self) -> bool {
        !self.released.is_empty() || self.asked.values().any(|asked| !asked.is_sent)
    }

    /// The parts of the next call.
    pub fn calls(&mut self, prefix: &str, now: UnixMillis) -> Vec<(Call, ClaimCall)> {
        let call = |message: &str, cause: &Cause, period_ms: u64| Call::Script {
            script: Script::CLAIM,
            keys: vec![format!("{prefix}{{c/{}}}", hex::encode(cause.digest))],
            arguments: vec![message.to_owned(), period_ms.to_string()],
        };
        let releases = self.released.drain(..self.released.len().min(MAX_CALLS));
        let mut calls: Vec<_> =
            releases.map(|(message, cause)| (call(&message, &cause, 0), ClaimCall::Release)).collect();
        for (message, asked) in self.asked.iter_mut().filter(|(_, asked)| !asked.is_sent).take(MAX_CALLS) {
            asked.is_sent = true;
            let period_ms = asked.cause.until.since(now).max(1);
            calls.push((call(message, &asked.cause, period_ms), ClaimCall::Claim(message.clone())));
        }
        calls
    }

    /// Takes the outcome of a part. Without one, the part is sent again.
    pub fn settle(&mut self, call: &ClaimCall, outcome: &Outcome) {
        let ClaimCall::Claim(message) = call else { return };
        let Some(asked) = self.asked.get_mut(message) else { return };
        match outcome {
            Outcome::Ran(Reply::Integer(is_own)) => {
                asked.answer = Some(*is_own == 1);
                self.has_answers = true;
            }
            Outcome::Ran(_) | Outcome::NotRun | Outcome::Unknown => asked.is_sent = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const CAUSE: Cause = Cause { digest: [7; 16], until: UnixMillis(60_000) };

    fn at(millis: u64) -> UnixMillis {
        UnixMillis(millis)
    }

    #[test]
    fn a_message_goes_out_when_its_claim_is_answered() {
        let mut claims = StoreClaims::default();
        assert_eq!(claims.claim("m", CAUSE, false, at(0)), Poll::Pending);
        let calls = claims.calls("p", at(10));
        let [(Call::Script { keys, arguments, .. }, claim)] = calls.as_slice() else { panic!("{calls:?}") };
        assert_eq!(keys[..], ["p{c/07070707070707070707070707070707}".to_owned()]);
        assert_eq!(arguments[..], ["m".to_owned(), "59990".to_owned()]);
        assert!(!claims.is_due(), "it is asked once");
        claims.settle(claim, &Outcome::Unknown);
        assert!(claims.is_due(), "and again, if the outcome is unknown");
        claims.calls("p", at(20));
        claims.settle(claim, &Outcome::Ran(Reply::Integer(0)));
        assert!(claims.take_answered() && !claims.take_answered());
        assert_eq!(claims.claim("m", CAUSE, false, at(30)), Poll::Ready(false), "another member has it");
    }

    #[test]
    fn a_message_does_not_wait_for_a_store_that_fails() {
        let mut claims = StoreClaims::default();
        assert_eq!(claims.claim("m", CAUSE, true, at(0)), Poll::Ready(true));
        assert_eq!(claims.claim("m", CAUSE, false, at(0)), Poll::Pending);
        assert_eq!(claims.claim("m", CAUSE, false, at(PATIENCE_MS)), Poll::Ready(true));
    }
}
