//! Repeated events that cool-downs hold back. They are counted without being rendered.
//!
//! A message is rendered from its event, and an event is made from a few facts about the request, the time and an id.
//! Cool-downs compare neither the time nor the id. So if all messages of an event are held back, those of an event with
//! the same facts are held back, too, until the first of the cool-downs ends. The facts themselves are compared, not a
//! hash, so no client can choose facts that match another event's.
//!
//! A VM forgets these events at every tick, because a claim ends early if its message could not be delivered.

use crate::base::UnixMillis;
use crate::notify::incident::{Incident, Scene};
use crate::notify::outcome::MessageOutcome;

/// The maximum number of stored events.
const MAX_EVENTS: usize = 64;

/// Events with more facts are not stored.
const MAX_BYTES: usize = 1024;

/// The repeated events that one VM knows.
#[derive(Debug, Default)]
pub struct Repeats {
    events: Vec<Repeat>,
    /// The index of the entry that is replaced next.
    next: usize,
    /// The facts of the current event; empty if it has other facts, too.
    facts: Vec<u8>,
}

#[derive(Debug)]
struct Repeat {
    facts: Vec<u8>,
    seen: UnixMillis,
    until: UnixMillis,
    messages: u64,
}

/// The messages of one event, all of which are held back until a certain time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldBack {
    messages: u64,
    until: Option<UnixMillis>,
    has_others: bool,
}

impl HeldBack {
    /// Adds the outcome at one more handler.
    pub fn add(&mut self, outcome: MessageOutcome) {
        match outcome {
            MessageOutcome::Suppressed { until: Some(until) } => {
                self.messages = self.messages.saturating_add(1);
                self.until = Some(self.until.unwrap_or(until).min(until));
            }
            _ => self.has_others = true,
        }
    }
}

impl Repeats {
    /// The number of held-back messages of an event, if all are held back and this VM knows it.
    pub fn held_back(&mut self, scene: &Scene<'_>, incident: &Incident, origin: &str, now: UnixMillis) -> Option<u64> {
        self.facts.clear();
        add_facts(&mut self.facts, scene, incident, origin);
        let known = self.events.iter().find(|event| event.facts == self.facts)?;
        (known.seen <= now && now < known.until).then_some(known.messages)
    }

    /// Stores the outcome of the current event's messages.
    pub fn remember(&mut self, held_back: &HeldBack, now: UnixMillis) {
        let Some(until) = held_back.until.filter(|_| !held_back.has_others && !self.facts.is_empty()) else { return };
        let facts = std::mem::take(&mut self.facts);
        self.events.retain(|event| event.facts != facts);
        let event = Repeat { facts, seen: now, until, messages: held_back.messages };
        if self.events.len() < MAX_EVENTS {
            self.events.push(event);
            return;
        }
        if let Some(place) = self.events.get_mut(self.next) {
            *place = event;
        }
        self.next = self.next.saturating_add(1).checked_rem(MAX_EVENTS).unwrap_or_default();
    }

    pub fn clear(&mut self) {
        self.events.clear();
        self.next = 0;
    }
}

/// Collects all facts that an event shows besides its time and id; empty if it shows more.
fn add_facts(facts: &mut Vec<u8>, scene: &Scene<'_>, incident: &Incident, origin: &str) {
    let Scene { api, request, caller, .. } = scene;
    let Incident::Refusal { outcome, .. } = incident else { return };
    // Events also show the session's alias, tags and metadata.
    if caller.about().is_some() {
        return;
    }
    let texts = [api.id.as_bytes(), caller.org_id().as_bytes(), caller.name().1, request.path(), origin.as_bytes()];
    facts.push(*outcome as u8);
    for text in texts {
        facts.extend_from_slice(&text.len().to_le_bytes());
        facts.extend_from_slice(text);
    }
    if facts.len() > MAX_BYTES {
        facts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{AUTH_FAILURE, Api, Caller, Request, RequestOutcome};
    use crate::event::EventKind;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const HELD_BACK: MessageOutcome = MessageOutcome::Suppressed { until: Some(UnixMillis(5000)) };

    /// An event with this path, origin and outcome, seen by one VM.
    fn held_back(
        repeats: &mut Repeats,
        (path, origin, outcome): (&str, &str, RequestOutcome),
        now: u64,
    ) -> Option<u64> {
        let headers = [(&b":path"[..], path.as_bytes())];
        let request = Request { headers: &headers, property: &|_| None };
        let scene =
            Scene { api: &Api::default(), request: &request, caller: &Caller::anonymous(None), is_observed: false };
        let incident = Incident::Refusal { kind: EventKind::AuthFailure, message: AUTH_FAILURE, outcome };
        repeats.held_back(&scene, &incident, origin, UnixMillis(now))
    }

    fn remember(repeats: &mut Repeats, fates: &[MessageOutcome], now: u64) {
        let mut held_back = HeldBack::default();
        fates.iter().for_each(|fate| held_back.add(*fate));
        repeats.remember(&held_back, UnixMillis(now));
    }

    const EVENT: (&str, &str, RequestOutcome) = ("/a", "192.0.2.7", RequestOutcome::UnknownKey);

    #[test]
    fn the_same_event_is_held_back_until_the_first_cool_down_ends() {
        let mut repeats = Repeats::default();
        assert_eq!(held_back(&mut repeats, EVENT, 1000), None);
        let longer = MessageOutcome::Suppressed { until: Some(UnixMillis(9000)) };
        remember(&mut repeats, &[longer, HELD_BACK], 1000);
        assert_eq!(held_back(&mut repeats, EVENT, 1000), Some(2));
        assert_eq!(held_back(&mut repeats, EVENT, 4999), Some(2));
        assert_eq!(held_back(&mut repeats, EVENT, 5000), None);
        assert_eq!(held_back(&mut repeats, EVENT, 999), None, "the clock has been set back");
        repeats.clear();
        assert_eq!(held_back(&mut repeats, EVENT, 1000), None);
    }

    #[test]
    fn an_event_that_differs_in_any_shown_fact_is_another() {
        let mut repeats = Repeats::default();
        held_back(&mut repeats, EVENT, 0);
        remember(&mut repeats, &[HELD_BACK], 0);
        for other in [
            ("/b", "192.0.2.7", RequestOutcome::UnknownKey),
            ("/a", "192.0.2.8", RequestOutcome::UnknownKey),
            ("/a", "192.0.2.7", RequestOutcome::NoAccess),
            ("/a1", "92.0.2.7", RequestOutcome::UnknownKey),
        ] {
            assert_eq!(held_back(&mut repeats, other, 0), None, "{other:?}");
        }
        assert_eq!(held_back(&mut repeats, EVENT, 0), Some(1));
    }

    #[test]
    fn an_event_that_a_handler_takes_or_a_digest_counts_is_not_stored() {
        let in_digest = MessageOutcome::Suppressed { until: None };
        for fates in [
            &[HELD_BACK, MessageOutcome::Taken][..],
            &[HELD_BACK, MessageOutcome::Capped],
            &[HELD_BACK, in_digest],
            &[],
        ] {
            let mut repeats = Repeats::default();
            held_back(&mut repeats, EVENT, 0);
            remember(&mut repeats, fates, 0);
            assert_eq!(held_back(&mut repeats, EVENT, 0), None, "{fates:?}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut repeats = Repeats::default();
        for n in 0..1000 {
            let path = format!("/{n}");
            held_back(&mut repeats, (&path, "", RequestOutcome::UnknownKey), 0);
            remember(&mut repeats, &[HELD_BACK], 0);
            assert_eq!(held_back(&mut repeats, (&path, "", RequestOutcome::UnknownKey), 0), Some(1));
        }
        assert_eq!(repeats.events.len(), MAX_EVENTS);
        let long = "/".repeat(MAX_BYTES);
        held_back(&mut repeats, (&long, "", RequestOutcome::UnknownKey), 0);
        remember(&mut repeats, &[HELD_BACK], 0);
        assert_eq!(held_back(&mut repeats, (&long, "", RequestOutcome::UnknownKey), 0), None);
    }
}
