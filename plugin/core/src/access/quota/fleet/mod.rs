//! Counters of a fleet in a store that all its members share.
//!
//! ```text
//! charge ─ all limits have stock ─▶ admitted at once
//!    └──── else: the request waits ─▶ one call for all that is due ─▶ reply ─▶ admitted | refused | asks again
//! tick ─▶ reports what was used, and gives back what is not needed
//! ```
//! [`lease`] is one counter with this VM's grant; `lease.lua` is the other side. [`calls`] sends and settles calls, and
//! [`loss`] decides without the store.

mod calls;
mod lease;
mod loss;
mod tag;

use std::collections::BTreeMap;
use std::task::Poll;

use rustc_hash::FxHashMap;

use super::ledger::{Charge, Charged, LimitScope, List, Usages};
use super::{ChargeResult, Counters, Notice, StoreView, Usage};
use crate::base::UnixMillis;
use crate::host::{
    CalloutId, CalloutReply, Callouts, Gauge, Metric, Metrics, SharedData, StoreError, StreamId, TICK_MS,
};
use crate::store::{Client, FleetOutbox, OutboxCall, Settings, shown_members};
use lease::{Lease, Sent};
pub use loss::OnLoss;
use tag::Tag;

/// The most counters that one call settles. Its reply must be short: see `fetch.lua`.
const MAX_LINES: usize = 256;

/// The most counters that a VM knows at a time.
const MAX_LEASES: usize = 200_000;

/// The parts of the outbox in a Redis Cluster, so that several nodes share its load.
const SHARDS: u64 = 8;

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
    outbox: FleetOutbox,
    waiting: Vec<Waiting>,
    settled: Vec<(StreamId, ChargeResult)>,
    notices: Vec<Notice>,
    next_attempt: UnixMillis,
    next_report: UnixMillis,
    times: Times,
    /// The part of the statistic of leases that this VM has added.
    shown_leases: usize,
}

/// How long answered calls took.
#[derive(Debug, Default)]
struct Times {
    calls: u64,
    total_ms: u64,
    longest_ms: u64,
    /// The part of the total that the statistic does not contain yet.
    rest_ms: u64,
}

#[derive(Debug, Default)]
struct InFlight {
    sent: UnixMillis,
    /// The counters of each script call, in the order of its lines.
    calls: Vec<Vec<(u64, Sent)>>,
    /// The calls about messages that follow them.
    about_messages: Vec<OutboxCall>,
}

/// A request that waits.
#[derive(Debug)]
struct Waiting {
    stream: StreamId,
    since: UnixMillis,
    limits: List<u64>,
    /// True if it waits only for what the store knows of the limits, and is not counted.
    only_looks: bool,
}

impl FleetCounters {
    /// `born` distinguishes this VM from those that got the same number from a store that was lost since.
    pub fn new(settings: FleetSettings, born: String) -> Self {
        let shards = if settings.store.seeds.is_empty() { 1 } else { SHARDS };
        FleetCounters {
            client: Client::new(settings.store.clone()),
            settings,
            name: None,
            call: 0,
            leases: FxHashMap::default(),
            due: Vec::new(),
            in_flight: InFlight::default(),
            outbox: FleetOutbox::new(shards, born.clone()),
            born,
            waiting: Vec::new(),
            settled: Vec::new(),
            notices: Vec::new(),
            next_attempt: UnixMillis(0),
            next_report: UnixMillis(0),
            times: Times::default(),
            shown_leases: 0,
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
            if waiting.only_looks {
                let is_known = |place: &u64| self.leases.get(place).is_none_or(|lease| lease.is_known(waiting.since));
                match waiting.limits.iter().all(is_known) {
                    true => self.settled.push((waiting.stream, Ok(Charged::default()))),
                    false => self.waiting.push(waiting),
                }
                continue;
            }
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

    /// Reports what was used, gives back what is not needed, and forgets counters that are not in use.
    fn report(&mut self, now: UnixMillis) {
        self.leases.retain(|_, lease| !lease.is_settled(now));
        let due = self.leases.iter_mut().filter_map(|(place, lease)| lease.is_due(now).then_some(*place));
        self.due.extend(due);
    }

    /// Decides on a request whose patience is over: by what the store answered since it came, or without the store.
    fn end_wait(&mut self, host: &impl Metrics, since: UnixMillis, limits: &[u64], now: UnixMillis) -> ChargeResult {
        if self.client.health().last_answer > since {
            let mut leases = limits.iter().filter_map(|place| self.leases.get(place));
            if let Some(lease) = leases.find(|lease| lease.stock(now) == 0 && lease.has_refused(now)) {
                return Ok(lease.refusal(now));
            }
        }
        self.without_store(host, limits, now)
    }

    /// Counts how long an answered call took.
    fn time_call(&mut self, host: &impl Metrics, now: UnixMillis) {
        if self.client.health().last_answer != now {
            return;
        }
        let took_ms = now.since(self.in_flight.sent);
        let times = &mut self.times;
        times.calls = times.calls.saturating_add(1);
        times.total_ms = times.total_ms.saturating_add(took_ms);
        times.longest_ms = times.longest_ms.max(took_ms);
        times.rest_ms = times.rest_ms.saturating_add(took_ms);
        host.add(Metric::StoreSeconds, times.rest_ms / 1000);
        times.rest_ms %= 1000;
    }

    fn show_leases(&mut self, host: &impl Metrics, leases: usize) {
        let [now, before] = [leases, self.shown_leases].map(|count| i64::try_from(count).unwrap_or_default());
        let by = now.saturating_sub(before);
        if by != 0 {
            host.change(Gauge::Leases, by);
            self.shown_leases = leases;
        }
    }

    fn is_lost(&self, now: UnixMillis) -> bool {
        let health = self.client.health();
        health.failures > 1 && now.since(health.last_answer) > self.settings.patience_ms
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
            return Poll::Ready(self.without_store(host, &limits, now));
        }
        self.waiting.push(Waiting { stream, since: now, limits, only_looks: false });
        self.serve_waiting(now);
        self.send_next(host, now);
        Poll::Pending
    }

    fn look(
        &mut self,
        host: &(impl SharedData + Callouts + Metrics),
        stream: StreamId,
        charges: &[Charge<'_>],
        now: UnixMillis,
    ) -> Poll<Result<(), StoreError>> {
        let mut limits = List::new();
        for charge in charges {
            match self.open(charge) {
                Ok(opened) => limits.extend(opened),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        if limits.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if self.is_lost(now) {
            return Poll::Ready(Err(StoreError::Late));
        }
        self.due.extend(&limits);
        self.waiting.push(Waiting { stream, since: now, limits, only_looks: true });
        self.send_next(host, now);
        Poll::Pending
    }

    /// What this VM knows. A limit that it has not counted on is left out.
    fn usages(&self, _host: &impl SharedData, charge: &Charge<'_>, now: UnixMillis) -> Vec<(LimitScope, Usage)> {
        let places = charge.lines.iter().map(|line| (line.scope, Tag::of(line, charge).place(line.subject)));
        places.filter_map(|(scope, place)| Some((scope, self.leases.get(&place)?.usage(now)))).collect()
    }

    fn store(&self, host: &impl SharedData, now: UnixMillis) -> Option<StoreView> {
        let Times { calls, total_ms, longest_ms, .. } = self.times;
        let health = self.client.health();
        Some(StoreView {
            cluster: self.settings.store.cluster.clone(),
            last_answer: health.last_answer,
            failures: health.failures,
            trouble: health.trouble.clone(),
            members: shown_members(host),
            calls,
            mean_ms: total_ms.checked_div(calls).unwrap_or_default(),
            longest_ms,
            leases: self.leases.len(),
            stock: self.leases.values().fold(0, |sum, lease| sum.saturating_add(lease.stock(now))),
            waiting: self.waiting.len(),
        })
    }

    fn outbox(&mut self, now: UnixMillis) -> Option<&mut FleetOutbox> {
        self.outbox.set_lost(self.is_lost(now));
        Some(&mut self.outbox)
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
        for Waiting { stream, since, limits, only_looks } in late {
            let charged = match only_looks {
                true => Err(StoreError::Late),
                false => self.end_wait(host, since, &limits, now),
            };
            self.settled.push((stream, charged));
        }
        self.show_leases(host, self.leases.len());
        self.send_next(host, now);
    }

    fn on_callout_reply(
        &mut self,
        host: &(impl SharedData + Callouts + Metrics),
        id: CalloutId,
        reply: &CalloutReply,
        now: UnixMillis,
    ) -> bool {
        if !self.client.awaits(id) {
            return false;
        }
        // A call to several nodes ends with the last reply.
        let Some(outcomes) = self.client.on_reply(host, id, reply, now) else { return true };
        self.time_call(host, now);
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
        self.show_leases(host, 0);
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
