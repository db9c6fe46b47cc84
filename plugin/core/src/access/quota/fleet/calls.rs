//! The calls of one VM to the store: what goes out, and what its answers change.

use std::collections::BTreeMap;

use super::lease::{self, Sent};
use super::{FleetCounters, InFlight, MAX_LINES, RETRY_MS};
use crate::base::UnixMillis;
use crate::host::{Callouts, Metrics};
use crate::store::{Call, Outcome, Reply, Script};

/// The keys and arguments of a script call, and what each of its lines says.
type Group = (Vec<String>, Vec<String>, Vec<(u64, Sent)>);

impl FleetCounters {
    /// Sends what is due, if no call is in flight.
    pub(super) fn send_next(&mut self, host: &(impl Callouts + Metrics), now: UnixMillis) {
        if self.client.is_busy() || now < self.next_attempt {
            return;
        }
        let Some(name) = self.name.clone() else { return self.send_hello(host, now) };
        if self.due.is_empty() && !self.outbox.is_due() {
            return;
        }
        self.due.sort_unstable();
        self.due.dedup();
        let rest = self.due.split_off(self.due.len().min(MAX_LINES));
        let due = std::mem::replace(&mut self.due, rest);
        self.call = self.call.saturating_add(1);
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for place in due {
            let Some(lease) = self.leases.get_mut(&place) else { continue };
            let tag = lease.key.split_inclusive('}').next().unwrap_or_default().to_owned();
            let group = groups.entry(tag).or_insert_with(|| (Vec::new(), vec![name.clone()], Vec::new()));
            let (keys, arguments, sent) = group;
            keys.push(lease.key.clone());
            sent.push((place, lease.line(self.call, now, arguments)));
        }
        let script = |(keys, arguments, sent)| (Call::Script { script: Script::LEASE, keys, arguments }, sent);
        let (mut calls, sent): (Vec<Call>, Vec<_>) = groups.into_values().map(script).unzip();
        let (further, about_messages): (Vec<Call>, Vec<_>) =
            self.outbox.calls(&self.settings.key_prefix, now).into_iter().unzip();
        calls.extend(further);
        self.in_flight = InFlight { sent: now, calls: sent, about_messages };
        if !self.client.send(host, &calls) {
            self.next_attempt = now.plus(RETRY_MS);
            self.lose_calls();
        }
    }

    /// Asks the store for a number, with which this VM has a name that no other has.
    fn send_hello(&mut self, host: &(impl Callouts + Metrics), now: UnixMillis) {
        let counter = format!("{}:members", self.settings.key_prefix);
        if !self.client.send(host, &[Call::Command(vec!["INCR".to_owned(), counter])]) {
            self.next_attempt = now.plus(RETRY_MS);
        }
    }

    /// The calls in flight had no answer that says what happened.
    fn lose_calls(&mut self) {
        for call in std::mem::take(&mut self.in_flight.about_messages) {
            self.outbox.settle(call, Outcome::NotRun, self.in_flight.sent);
        }
        for (place, _) in std::mem::take(&mut self.in_flight.calls).into_iter().flatten() {
            if let Some(lease) = self.leases.get_mut(&place) {
                lease.lose_call();
            }
        }
    }

    pub(super) fn settle(&mut self, outcomes: Vec<Outcome>, now: UnixMillis) {
        if self.client.health().failures > 0 {
            self.next_attempt = now.plus(RETRY_MS);
        }
        if self.name.is_none() {
            if let Some(Outcome::Ran(Reply::Integer(number))) = outcomes.first() {
                self.name = Some(format!("{number:x}.{}", self.born));
            }
            return;
        }
        let InFlight { sent, calls, about_messages } = std::mem::take(&mut self.in_flight);
        let mut outcomes = outcomes.into_iter();
        for (lines, outcome) in calls.into_iter().zip(outcomes.by_ref()) {
            let numbers = match &outcome {
                Outcome::Ran(reply) => lease::read_reply(reply),
                Outcome::NotRun | Outcome::Unknown => None,
            };
            let (clock, numbers) = numbers.unwrap_or_default();
            let mut replies = lease::lines(&numbers);
            for (place, line) in lines {
                let Some(lease) = self.leases.get_mut(&place) else { continue };
                let reply = replies.next().unwrap_or_default();
                if lease.settle((self.call, sent, &line), clock, reply, now, &mut self.notices).is_err() {
                    lease.lose_call();
                }
            }
        }
        for (call, outcome) in about_messages.into_iter().zip(outcomes) {
            self.outbox.settle(call, outcome, sent);
        }
    }
}
