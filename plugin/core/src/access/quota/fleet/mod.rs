//! Counters of a fleet in a store that all its members share.
//!
//! ```text
//! charge ─ all limits have stock ─▶ admitted at once
//!    └──── else: the request waits ─▶ one call for all that is due ─▶ reply ─▶ admitted | refused | asks again
//! tick ─▶ reports what was used, and gives back what is not needed
//! ```
//! [`lease`] is one counter with this VM's grant. `lease.lua` is the other side.

mod lease;
mod loss;

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::task::Poll;

use rustc_hash::{FxHashMap, FxHasher};

use super::ledger::{Charge, ChargeLine, Charged, Home, LimitScope, List, PageName, Usages};
use super::{ChargeResult, Counters, Notice, rate_subject};
use crate::base::UnixMillis;
use crate::host::{CalloutId, CalloutReply, Callouts, Metrics, SharedData, StoreError, StreamId, TICK_MS};
use crate::store::{Call, Cause, ClaimCall, Claims, Client, Outcome, Reply, Script, Settings, StoreClaims};
use lease::{Alert, Lease, Sent};
pub use loss::OnLoss;

/// The keys and arguments of a call, and what it sends for each place.
type Group = (Vec<String>, Vec<String>, Vec<(u64, Sent)>);

/// The most counters that one call settles.
const MAX_LINES: usize = 512;

/// The most counters that a VM knows at a time.
const MAX_LEASES: usize = 200_000;

/// The time between calls while they fail.
const RETRY_MS: u64 = 25;

/// How a fleet counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetSettings {
    pub store: Settings,
    /// The start of every key in the store.
    pub key_prefix: String,
    /// Whether VMs read ahead. Otherwise each request waits for the store.
    pub reads_ahead: bool,
    /// How long a request waits at most.
    pub patience_ms: u64,
    pub on_loss: OnLoss,
}

/// The counters of a fleet, for one VM.
#[derive(Debug)]
pub struct FleetCounters {
    settings: FleetSettings,
    client: Client,
    /// The name of this VM in the store, when the store has given it a number.
    name: Option<String>,
    /// The part of the name that is known before.
    born: String,
    /// The number of the latest call.
    call: u64,
    leases: FxHashMap<u64, Lease>,
    /// Counters that must be in the next call.
    due: Vec<u64>,
    in_flight: InFlight,
    claims: StoreClaims,
    waiting: Vec<Waiting>,
    settled: Vec<(StreamId, ChargeResult)>,
    notices: Vec<Notice>,
    next_attempt: UnixMillis,
    next_report: UnixMillis,
}

#[derive(Debug, Default)]
struct InFlight {
    sent: UnixMillis,
    /// The counters of each script call, in the order of its lines.
    calls: Vec<Vec<(u64, Sent)>>,
    /// The calls about claims that follow them.
    claims: Vec<ClaimCall>,
}

/// A request that waits.
#[derive(Debug)]
struct Waiting {
    stream: StreamId,
    since: UnixMillis,
    limits: List<u64>,
}

impl FleetCounters {
    /// `born` distinguishes this VM from those that got the same number from a store that was lost since.
    pub fn new(settings: FleetSettings, born: String) -> Self {
        FleetCounters {
            client: Client::new(settings.store.clone()),
            settings,
            name: None,
            born,
            call: 0,
            leases: FxHashMap::default(),
            due: Vec::new(),
            in_flight: InFlight::default(),
            claims: StoreClaims::default(),
            waiting: Vec::new(),
            settled: Vec::new(),
            notices: Vec::new(),
            next_attempt: UnixMillis(0),
            next_report: UnixMillis(0),
        }
    }

    /// The counters of a charge, in the order of its limits.
    fn open(&mut self, charge: &Charge<'_>) -> Result<List<u64>, StoreError> {
        let mut places = List::new();
        let is_full = self.leases.len() >= MAX_LEASES;
        for line in &charge.lines {
            let tag = Tag::of(line, charge);
            let place = tag.place(line.subject);
            match self.leases.get_mut(&place) {
                Some(lease) if lease.quota == *line.quota => {}
                Some(lease) => lease.quota = line.quota.clone(),
                None if is_full => return Err(StoreError::Exhausted),
                None => {
                    let Some(make_owner) = charge.owner else { return Err(StoreError::Exhausted) };
                    let key = format!("{}{{{}}}:{:x}", self.settings.key_prefix, tag.text(), line.subject);
                    let reads_ahead = line.quota.reads_ahead.unwrap_or(self.settings.reads_ahead);
                    let lease = Lease::new(key, (line.scope, line.quota), make_owner.0(), reads_ahead);
                    self.leases.insert(place, lease);
                }
            }
            places.push(place);
        }
        Ok(places)
    }

    /// Admits a request that all its limits have stock for, or refuses it by what the store said last. `None` means
    /// that the store must be asked.
    fn decide(&mut self, limits: &[u64], now: UnixMillis) -> Option<Charged> {
        let refusing = limits.iter().filter_map(|place| self.leases.get(place));
        let refusing = refusing.filter(|lease| lease.stock(now) == 0).find(|lease| lease.refuses(now));
        if let Some(lease) = refusing {
            return Some(lease.refusal(now));
        }
        let has_stock = |place: &u64| self.leases.get(place).is_some_and(|lease| lease.stock(now) > 0);
        if !limits.iter().all(has_stock) {
            return None;
        }
        let mut usages = Usages::new();
        for place in limits {
            let Some(lease) = self.leases.get_mut(place) else { continue };
            lease.take(now);
            usages.push((lease.scope, lease.usage(now)));
            if lease.is_low(now) {
                lease.ask(0);
                self.due.push(*place);
            }
        }
        Some(Charged { usages, ..Charged::default() })
    }

    /// Decides on the requests that wait, and asks for those that still must.
    fn serve_waiting(&mut self, now: UnixMillis) {
        let mut needed: BTreeMap<u64, u64> = BTreeMap::new();
        for waiting in std::mem::take(&mut self.waiting) {
            match self.decide(&waiting.limits, now) {
                Some(charged) => self.settled.push((waiting.stream, Ok(charged))),
                None => {
                    for place in &waiting.limits {
                        let count = needed.entry(*place).or_default();
                        *count = count.saturating_add(1);
                    }
                    self.waiting.push(waiting);
                }
            }
        }
        for (place, count) in needed {
            if let Some(lease) = self.leases.get_mut(&place)
                && let missing = count.saturating_sub(lease.stock(now))
                && missing > 0
            {
                lease.ask(missing);
                self.due.push(place);
            }
        }
    }

    /// Sends what is due, if no call is in flight.
    fn send_next(&mut self, host: &(impl Callouts + Metrics), now: UnixMillis) {
        if self.client.is_busy() || now < self.next_attempt {
            return;
        }
        let Some(name) = self.name.clone() else { return self.send_hello(host, now) };
        if self.due.is_empty() && !self.claims.is_due() {
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
        let (further, claims): (Vec<Call>, Vec<_>) =
            self.claims.calls(&self.settings.key_prefix, now).into_iter().unzip();
        calls.extend(further);
        self.in_flight = InFlight { sent: now, calls: sent, claims };
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
        for claim in std::mem::take(&mut self.in_flight.claims) {
            self.claims.settle(&claim, &Outcome::NotRun);
        }
        for (place, _) in std::mem::take(&mut self.in_flight.calls).into_iter().flatten() {
            if let Some(lease) = self.leases.get_mut(&place) {
                lease.lose_call();
            }
        }
    }

    fn settle(&mut self, outcomes: Vec<Outcome>, now: UnixMillis) {
        if self.client.health().failures > 0 {
            self.next_attempt = now.plus(RETRY_MS);
        }
        if self.name.is_none() {
            if let Some(Outcome::Ran(Reply::Integer(number))) = outcomes.first() {
                self.name = Some(format!("{number:x}.{}", self.born));
            }
            return;
        }
        let InFlight { sent, calls, claims } = std::mem::take(&mut self.in_flight);
        let mut alerts = Vec::new();
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
                if lease.settle((self.call, sent, &line), clock, reply, now, &mut alerts).is_err() {
                    lease.lose_call();
                }
                self.notices.extend(alerts.drain(..).map(|alert| Notice {
                    owner: lease.owner.clone(),
                    crossing: match alert {
                        Alert::Crossed(crossing) | Alert::Renewed(crossing) => crossing,
                    },
                    is_renewal: matches!(alert, Alert::Renewed(_)),
                }));
            }
        }
        for (claim, outcome) in claims.iter().zip(outcomes) {
            self.claims.settle(claim, &outcome);
        }
    }

    /// Reports what was used, gives back what is not needed, and forgets counters that are not in use.
    fn report(&mut self, now: UnixMillis) {
        self.leases.retain(|_, lease| !lease.is_settled(now));
        let due = self.leases.iter_mut().filter_map(|(place, lease)| lease.is_due(now).then_some(*place));
        self.due.extend(due);
    }

    /// Decides on a request whose patience is over: by what the store answered since it came, or without the store.
    fn end_wait(&mut self, since: UnixMillis, limits: &[u64], now: UnixMillis) -> ChargeResult {
        if self.client.health().last_answer > since {
            let mut leases = limits.iter().filter_map(|place| self.leases.get(place));
            if let Some(lease) = leases.find(|lease| lease.stock(now) == 0 && lease.has_refused(now)) {
                return Ok(lease.refusal(now));
            }
        }
        self.without_store(limits, now)
    }

    fn is_lost(&self, now: UnixMillis) -> bool {
        let health = self.client.health();
        health.failures > 1 && now.since(health.last_answer) > self.settings.patience_ms
    }
}

impl Claims for FleetCounters {
    fn claim(&mut self, message: &str, cause: Cause, now: UnixMillis) -> Poll<bool> {
        let is_lost = self.is_lost(now);
        self.claims.claim(message, cause, is_lost, now)
    }

    fn release(&mut self, message: &str, cause: Cause) {
        self.claims.release(message, cause);
    }

    fn take_answered(&mut self) -> bool {
        self.claims.take_answered()
    }
}

impl Counters for FleetCounters {
    fn charge(
        &mut self,
        host: &(impl SharedData + Callouts + Metrics),
        stream: StreamId,
        charge: &Charge<'_>,
        now: UnixMillis,
    ) -> Poll<ChargeResult> {
        if charge.lines.is_empty() {
            return Poll::Ready(Ok(Charged::default()));
        }
        let limits = match self.open(charge) {
            Ok(limits) => limits,
            Err(error) => return Poll::Ready(Err(error)),
        };
        if let Some(charged) = self.decide(&limits, now) {
            self.send_next(host, now);
            return Poll::Ready(Ok(charged));
        }
        if self.is_lost(now) {
            return Poll::Ready(self.without_store(&limits, now));
        }
        self.waiting.push(Waiting { stream, since: now, limits });
        self.serve_waiting(now);
        self.send_next(host, now);
        Poll::Pending
    }

    fn take_settled(&mut self) -> Vec<(StreamId, ChargeResult)> {
        std::mem::take(&mut self.settled)
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    fn on_tick(&mut self, host: &(impl SharedData + Callouts + Metrics), now: UnixMillis) {
        if now >= self.next_report {
            self.next_report = now.plus(TICK_MS - TICK_MS / 10);
            self.report(now);
        }
        self.serve_waiting(now);
        let late = |waiting: &Waiting| now.since(waiting.since) >= self.settings.patience_ms;
        let (late, waiting) = std::mem::take(&mut self.waiting).into_iter().partition::<Vec<_>, _>(late);
        self.waiting = waiting;
        for Waiting { stream, since, limits } in late {
            let charged = self.end_wait(since, &limits, now);
            self.settled.push((stream, charged));
        }
        self.send_next(host, now);
    }

    fn on_callout_reply(
        &mut self,
        host: &(impl SharedData + Callouts + Metrics),
        id: CalloutId,
        reply: &CalloutReply,
        now: UnixMillis,
    ) -> bool {
        let Some(outcomes) = self.client.on_reply(host, id, reply, now) else { return false };
        self.settle(outcomes, now);
        self.serve_waiting(now);
        self.send_next(host, now);
        true
    }

    fn send_due(&mut self, host: &(impl SharedData + Callouts + Metrics), now: UnixMillis) {
        self.send_next(host, now);
    }

    fn on_shutdown(&mut self, host: &(impl SharedData + Callouts + Metrics), now: UnixMillis) {
        self.due = self.leases.iter_mut().filter_map(|(place, lease)| lease.give_back().then_some(*place)).collect();
        self.send_next(host, now);
    }

    fn forget(&mut self, stream: StreamId) {
        self.waiting.retain(|waiting| waiting.stream != stream);
        self.settled.retain(|(settled, _)| *settled != stream);
    }

    fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// It ends the wait itself, at a tick.
    fn patience_ms(&self) -> u64 {
        self.settings.patience_ms.saturating_mul(2)
    }
}

/// The hash tag of counters that one call settles together: all of an organisation, of a key, or of an API.
#[derive(Clone, Copy, Debug)]
enum Tag<'c> {
    /// The page of an organisation or of an API.
    Page(&'c str),
    /// The number of a key's or an identity's quota.
    Key(u64),
}

impl<'c> Tag<'c> {
    fn of(line: &ChargeLine<'c>, charge: &Charge<'c>) -> Self {
        let own = if line.scope == LimitScope::KeyRate { rate_subject(line.subject) } else { line.subject };
        match line.home {
            Home::Org => charge.org_page.map_or(Tag::Key(own), Tag::Page),
            Home::Own(PageName::Kept(page)) | Home::OrgOr(PageName::Kept(page)) => Tag::Page(page),
            Home::Own(_) | Home::OrgOr(_) => Tag::Key(own),
        }
    }

    fn text(self) -> String {
        match self {
            Tag::Page(page) => page.trim_start_matches("tb1/").to_owned(),
            Tag::Key(subject) => format!("k/{subject:x}"),
        }
    }

    fn place(self, subject: u64) -> u64 {
        let mut hasher = FxHasher::default();
        match self {
            Tag::Page(page) => hasher.write(page.as_bytes()),
            Tag::Key(own) => hasher.write_u64(own),
        }
        hasher.write_u64(subject);
        hasher.finish()
    }
}
