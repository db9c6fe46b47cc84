//! The one VM that sends: it holds the lease, follows the taken slots, and sees every attempt to its end.
//!
//! What this VM knows in memory is a cache of what is in shared data. A VM that takes over starts from the slots alone
//! and sends again what was in flight, with the same id.

use std::collections::{BTreeSet, HashMap};

use super::attempt::{Failure, Outcome};
use super::clusters::UnknownClusters;
use super::disabled::{self, ConfigId, Disabled};
use super::lease::{self, Candidate, Hold};
use super::lookups::{self, Lookups};
use super::outbox::{self, Slot};
use super::schedule::Schedule;
use super::succession::{self, Succession};
use super::{Content, Delivery, Held};
use crate::config::Config;
use crate::cooldown;
use crate::digest::{self, Tally};
use crate::engine::TICK_MS;
use crate::mail::verdict::{Answer, MAX_ANSWER_BYTES};
use crate::metrics::{Gauge, Metric};
use crate::ports::{CalloutId, CalloutRefused, CalloutReply, Host};
use crate::store::StoreError;
use crate::takeover::taken_over;
use crate::troubles::Troubles;
use crate::units::UnixMillis;

/// How long a taken slot may stay without a message: whoever reserved it died before filling it.
const ABANDONED_AFTER_MS: u64 = 10_000;

/// How long attempts that are under way may hold up the handing over of the lease. Who takes over sends again what has
/// not ended by then: such a message can arrive twice.
const HANDOVER_MS: u64 = 5000;

/// How long after an attempt's time is over its reply may come.
const REPLY_PATIENCE_MS: u64 = 5000;

/// The VM that leads makes a digest first, if it can.
const LEADER_FIRST_MS: u64 = 1500;

// What can fail at every tick.
const CLUSTERS: &str = "the clusters that are unknown";
const SUCCESSION: &str = "the configurations before this one";
const LEASE: &str = "the dispatcher's lease";
const DISABLED: &str = "the disabled targets";
const HELD: &str = "held messages cannot be listed";
const WAKE_UPS: &str = "messages wait for the next tick";

/// The dispatching side of one VM.
#[derive(Debug)]
pub struct Dispatcher {
    vm: u64,
    config: ConfigId,
    lease_until: UnixMillis,
    last_tick: UnixMillis,
    /// How many there were.
    ticks: u64,
    /// Since when the lease is wanted by a VM of the latest configuration.
    retiring: Option<UnixMillis>,
    schedule: Schedule,
    in_flight: HashMap<CalloutId, Attempt>,
    disabled: Disabled,
    troubles: Troubles,
    succession: Succession,
    lookups: Lookups,
    unknown: UnknownClusters,
    /// Handlers of which it was said that they are gone, or send elsewhere.
    said: BTreeSet<String>,
}

/// An attempt whose reply has not come.
#[derive(Debug)]
struct Attempt {
    slot: Slot,
    delivery: Delivery,
    /// The tick in which it began.
    began: u64,
}

/// Who has the lease, as a tick found it.
enum Leader {
    Own,
    /// A VM of this configuration.
    Other(ConfigId),
}

impl Dispatcher {
    /// For the VM of that number (see [`lease::register_vm`]).
    pub fn new(vm: u64, config: &Config) -> Self {
        Dispatcher {
            vm,
            config: config.id,
            lease_until: UnixMillis(0),
            last_tick: UnixMillis(0),
            ticks: 0,
            retiring: None,
            schedule: Schedule::default(),
            in_flight: HashMap::new(),
            disabled: Disabled::default(),
            troubles: Troubles::default(),
            succession: Succession::default(),
            lookups: Lookups::default(),
            unknown: UnknownClusters::default(),
            said: BTreeSet::new(),
        }
    }

    /// Renews or takes the lease; its holder looks through all slots and sends what is due.
    pub fn on_tick(&mut self, host: &impl Host, config: &Config, now: UnixMillis) {
        let held_before = self.leads(now);
        if now < self.last_tick {
            // The clock has been set back: what waits is looked at anew.
            self.schedule.retain_idle(|_| false);
        }
        self.last_tick = now;
        self.ticks = self.ticks.saturating_add(1);
        self.look_at_disabled(host);
        self.look_at_succession(host, config);
        match self.unknown.refresh(host) {
            Ok(()) => self.troubles.works(CLUSTERS),
            Err(error) => self.troubles.fails(CLUSTERS, &error),
        }
        if let Leader::Other(leader) = self.hold_lease(host, now) {
            // What is in flight stays known: should this VM lead again before the reply, it must not send it again.
            self.schedule.retain_idle(|_| false);
            return self.mind_own(host, config, leader, now);
        }
        if !held_before {
            log::debug!("VM {} dispatches from now on", self.vm);
            // Another VM may have had the lease between two ticks of this one, and used slots anew.
            self.schedule.forget_waiting();
            if let Err(error) = host.listen() {
                self.troubles.fails(WAKE_UPS, &error);
            }
        }
        self.end_overdue(host, now);
        self.drain_wakeups(host, config, now);
        let held = self.follow_taken(host, config, now);
        self.send_due(host, config, now);
        self.report(host, held, now);
    }

    /// Sends what it was woken for.
    pub fn on_wake(&mut self, host: &impl Host, config: &Config, now: UnixMillis) {
        if self.leads(now) {
            self.drain_wakeups(host, config, now);
            self.send_due(host, config, now);
        }
    }

    /// Judges an attempt, unless the callout is not one of this dispatcher's.
    pub fn on_reply(
        &mut self,
        host: &impl Host,
        config: &Config,
        id: CalloutId,
        reply: &CalloutReply,
        now: UnixMillis,
    ) {
        let Some(Attempt { slot, delivery, .. }) = self.in_flight.remove(&id) else { return };
        let outcome = outcome(host, &delivery, reply, now);
        self.settle(host, slot, delivery, &outcome, now);
        if self.leads(now) {
            self.send_due(host, config, now);
        }
    }

    /// Gives up the lease, as the configuration that this VM works for goes.
    pub fn on_shutdown(&mut self, host: &impl Host, config: &Config) {
        self.give_up_lease(host);
        if let Err(error) = succession::end(host, config.scope, config.id) {
            log::warn!("what it still holds is not taken over: {error}");
        }
    }

    /// Ends the attempts whose replies the host owes for too long: they would hold up their target for ever.
    fn end_overdue(&mut self, host: &impl Host, now: UnixMillis) {
        // By ticks: a clock that is set forward must not end what is under way.
        let is_overdue = |attempt: &Attempt| {
            let lasted_ms = self.ticks.saturating_sub(attempt.began).saturating_mul(TICK_MS);
            lasted_ms > attempt.delivery.timeout_ms.saturating_add(REPLY_PATIENCE_MS)
        };
        let overdue: Vec<CalloutId> =
            self.in_flight.iter().filter(|(_, attempt)| is_overdue(attempt)).map(|(id, _)| *id).collect();
        for id in overdue {
            let Some(Attempt { slot, delivery, .. }) = self.in_flight.remove(&id) else { continue };
            log::error!("{}: the proxy never said what became of an attempt", name(&delivery));
            self.settle(host, slot, delivery, &Outcome::Failed(Failure::NoResponse), now);
        }
    }

    fn give_up_lease(&mut self, host: &impl Host) {
        if let Err(error) = lease::give_up(host, self.vm) {
            log::warn!("the dispatcher's lease runs out by itself: {error}");
        }
        self.lease_until = UnixMillis(0);
        self.retiring = None;
    }

    fn hold_lease(&mut self, host: &impl Host, now: UnixMillis) -> Leader {
        let who = Candidate { vm: self.vm, config: self.config, is_latest: self.disabled.is_latest(self.config) };
        match lease::hold(host, who, now) {
            Ok(Hold::Held) => {
                self.retiring = None;
                self.troubles.works(LEASE);
            }
            Ok(Hold::Wanted) => {
                let since = *self.retiring.get_or_insert(now);
                if self.in_flight.is_empty() || now.since(since) >= HANDOVER_MS {
                    self.give_up_lease(host);
                    return Leader::Other(self.config);
                }
            }
            Ok(Hold::Taken(leader)) => {
                self.lease_until = UnixMillis(0);
                return Leader::Other(leader);
            }
            Err(error) => {
                self.troubles.fails(LEASE, &error);
                return if self.leads(now) { Leader::Own } else { Leader::Other(self.config) };
            }
        }
        self.lease_until = now.plus(lease::LEASE_MS);
        Leader::Own
    }

    fn look_at_succession(&mut self, host: &impl Host, config: &Config) {
        match succession::tick(host, config.scope, config.id) {
            Ok(succession) => {
                self.succession = succession;
                self.troubles.works(SUCCESSION);
            }
            Err(error) => self.troubles.fails(SUCCESSION, &error),
        }
    }

    fn look_at_disabled(&mut self, host: &impl Host) {
        match disabled::disabled(host) {
            Ok(disabled) => {
                self.disabled = disabled;
                self.troubles.works(DISABLED);
            }
            Err(error) => self.troubles.fails(DISABLED, &error),
        }
    }

    /// The VM that leads may be of another configuration: then it cannot write this one's digests, nor take over what
    /// this one's predecessor has made.
    fn mind_own(&mut self, host: &impl Host, config: &Config, leader: ConfigId, now: UnixMillis) {
        let takes_over = leader != config.id && self.succession.has_predecessor(config.id);
        for (slot, is_tally) in outbox::taken_by(host, config.line).unwrap_or_default() {
            match (is_tally || takes_over).then(|| outbox::held(host, slot)) {
                Some(Ok(Some(Held::Tally(tally))))
                    if now.since(tally.due(now)) >= LEADER_FIRST_MS && tally.belongs_to(config, &self.succession) =>
                {
                    if let Err(error) = digest::close(host, config, &self.succession, (slot, &tally), now) {
                        log::error!("{} by {}: {error}", tally.id, tally.handler.name);
                    }
                }
                Some(Ok(Some(held @ Held::Message(_)))) if takes_over => {
                    self.taken_over(host, config, slot, held, now);
                }
                _ => {}
            }
        }
    }

    fn is_due_to_another(&self, config: &Config, held: &Held, now: UnixMillis) -> bool {
        self.succession.is_due_to_another(config.id, held.origin(), UnixMillis(held.since()), now)
    }

    /// What a slot holds after this configuration has taken over a message of its predecessor; `None`: nothing that can be
    /// sent now.
    fn taken_over(
        &mut self,
        host: &impl Host,
        config: &Config,
        slot: Slot,
        held: Held,
        now: UnixMillis,
    ) -> Option<Held> {
        let is_due = |delivery: &Delivery, succession: &Succession| {
            succession.takes_over(config.id, delivery.origin, UnixMillis(delivery.since))
        };
        let before = match held {
            Held::Message(delivery) if is_due(&delivery, &self.succession) => delivery,
            held => return Some(held),
        };
        let (handler, url) = (before.handler.name.clone(), before.target.endpoint);
        let Some(after) = taken_over(config, before.clone(), now) else {
            if self.said.insert(handler) {
                log::warn!(
                    "{}: the configuration no longer has it: what it still held is not sent",
                    before.handler.name
                );
            }
            if self.end(host, slot, &before) {
                host.count(Metric::Withdrawn);
            }
            return None;
        };
        // Attempts may have ended meanwhile.
        let changed = outbox::change(host, slot, |held| match held {
            Held::Message(held) if held.id == before.id => taken_over(config, held, now).map(Held::Message),
            _ => None,
        });
        match changed {
            Ok(true) if after.target.endpoint != url => {
                host.count(Metric::Readdressed);
                if self.said.insert(handler) {
                    let name = &after.handler.name;
                    log::info!("{name}: what it still held goes to its new URL, at {}", after.target.authority);
                }
            }
            Ok(true) => {}
            // Another VM has ended it: the next tick looks at the slot again.
            Ok(false) => {
                self.schedule.forget(slot);
                return None;
            }
            Err(error) => {
                log::error!("{}: slot {} stays as it is: {error}", name(&before), slot.0);
                self.schedule.forget(slot);
                return None;
            }
        }
        Some(Held::Message(after))
    }

    fn leads(&self, now: UnixMillis) -> bool {
        now < self.lease_until
    }

    fn report(&self, host: &impl Host, held: usize, now: UnixMillis) {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        host.set(Gauge::Held, number(held));
        host.set(Gauge::InFlight, number(self.schedule.under_way()));
        host.set(Gauge::OldestAge, self.schedule.oldest().map_or(0, |since| now.since(since)) / 1000);
        host.set(Gauge::DisabledTargets, number(self.disabled.len()));
        host.set(Gauge::UnknownClusters, number(self.unknown.len()));
    }

    fn drain_wakeups(&mut self, host: &impl Host, config: &Config, now: UnixMillis) {
        loop {
            match host.take() {
                Ok(Some(message)) => {
                    if let Ok(number) = message.as_slice().try_into() {
                        self.follow(host, config, Slot(u32::from_le_bytes(number)), now);
                    }
                }
                Ok(None) => return self.troubles.works(WAKE_UPS),
                Err(error) => return self.troubles.fails(WAKE_UPS, &error),
            }
        }
    }

    /// Looks for what no wake-up told of; returns how many slots are taken.
    fn follow_taken(&mut self, host: &impl Host, config: &Config, now: UnixMillis) -> usize {
        let taken = match outbox::taken(host) {
            Ok(taken) => taken,
            Err(StoreError::Corrupt(corrupt)) => {
                log::error!("held messages cannot be listed: {corrupt}; the index is made anew");
                if let Err(error) = outbox::rebuild(host) {
                    log::error!("it cannot be made anew: {error}");
                }
                outbox::taken(host).unwrap_or_default()
            }
            Err(error) => {
                self.troubles.fails(HELD, &error);
                return 0;
            }
        };
        self.troubles.works(HELD);
        self.schedule.retain_idle(|slot| taken.binary_search(&slot).is_ok());
        for slot in &taken {
            if !self.schedule.knows(*slot) {
                self.follow(host, config, *slot, now);
            }
        }
        taken.len()
    }

    /// Learns what a taken slot holds.
    fn follow(&mut self, host: &impl Host, config: &Config, slot: Slot, now: UnixMillis) {
        if self.schedule.is_under_way(slot) {
            return;
        }
        match outbox::held(host, slot) {
            Ok(Some(held)) => {
                if let Some(held) = self.taken_over(host, config, slot, held, now) {
                    self.wait(slot, &held, now);
                }
            }
            Ok(None) => {
                let since = self.schedule.empty(slot, now);
                if now.since(since) >= ABANDONED_AFTER_MS {
                    log::error!("slot {}: reserved, never filled; its message is lost", slot.0);
                    self.discard(host, slot);
                }
            }
            Err(StoreError::Corrupt(corrupt)) => {
                host.count(Metric::CorruptRecords);
                log::error!("slot {}: {corrupt}; it is freed", slot.0);
                self.discard(host, slot);
            }
            Err(error) => log::error!("slot {}: {error}", slot.0),
        }
    }

    fn wait(&mut self, slot: Slot, held: &Held, now: UnixMillis) {
        let (target, due) = turn(held, now);
        self.schedule.wait(slot, target, due, UnixMillis(held.since()));
    }

    /// Whether a slot still holds what this VM has scheduled; if not, that is put right. Another VM may have made a
    /// digest of a tally, or used the slot anew.
    fn is_as_scheduled(&mut self, slot: Slot, held: &Held, now: UnixMillis) -> bool {
        let (target, due) = turn(held, now);
        let is_as_scheduled = due <= now && self.schedule.is_waiting_for(slot, target);
        if !is_as_scheduled {
            self.wait(slot, held, now);
        }
        is_as_scheduled
    }

    fn discard(&mut self, host: &impl Host, slot: Slot) {
        self.schedule.forget(slot);
        host.count(Metric::Failed);
        if let Err(error) = outbox::free(host, slot) {
            log::error!("slot {} stays taken: {error}", slot.0);
        }
    }

    fn send_due(&mut self, host: &impl Host, config: &Config, now: UnixMillis) {
        if self.retiring.is_some() {
            return;
        }
        let mut is_fresh = false;
        while let Some(slot) = self.schedule.next(config.delivery.limits, now) {
            // An update may have begun since the last tick.
            if !is_fresh {
                self.look_at_succession(host, config);
                is_fresh = true;
            }
            let held = match outbox::held(host, slot) {
                Ok(Some(held)) => self.taken_over(host, config, slot, held, now),
                Ok(None) => {
                    self.schedule.forget(slot);
                    continue;
                }
                Err(error) => {
                    // The next tick looks at it again, and frees it if it does not decode.
                    log::error!("slot {}: {error}", slot.0);
                    self.schedule.forget(slot);
                    continue;
                }
            };
            if let Some(held) = held.as_ref().filter(|held| self.is_due_to_another(config, held, now)) {
                self.schedule.wait(slot, "", now.plus(LEADER_FIRST_MS), UnixMillis(held.since()));
                continue;
            }
            match held {
                Some(held) if !self.is_as_scheduled(slot, &held, now) => {}
                Some(Held::Message(delivery)) => self.send(host, config, slot, delivery, now),
                Some(Held::Tally(tally)) => self.close_tally(host, config, slot, &tally, now),
                None => {}
            }
        }
    }

    fn send(&mut self, host: &impl Host, config: &Config, slot: Slot, delivery: Delivery, now: UnixMillis) {
        if self.disabled.contains(delivery.origin.config, delivery.target.endpoint) {
            host.count(Metric::Disabled);
            return self.give_up(host, slot, &delivery, &Outcome::Gone);
        }
        let target = &delivery.target;
        match host.send(&delivery.callout(now)) {
            Ok(id) => {
                self.lookups.started(target);
                self.unknown.found(host, &target.cluster);
                self.schedule.start(slot);
                self.in_flight.insert(id, Attempt { slot, delivery, began: self.ticks });
            }
            Err(CalloutRefused::Immediately) if self.lookups.refused(target, now) => {
                log::debug!("{}: its name may still be looked up", name(&delivery));
                let again = now.plus(lookups::AGAIN_MS);
                self.schedule.wait(slot, &target.authority, again, UnixMillis(delivery.since));
                self.schedule.put_off(&target.authority, again);
            }
            Err(CalloutRefused::UnknownCluster) => {
                self.unknown.refused(host, config.clusters.get(&target.cluster), target);
                let why = Failure::NotStarted(CalloutRefused::UnknownCluster);
                self.settle(host, slot, delivery, &Outcome::Failed(why), now);
            }
            Err(why) => self.settle(host, slot, delivery, &Outcome::Failed(Failure::NotStarted(why)), now),
        }
    }

    /// Makes the message that a count becomes when its time is over. Events that are counted meanwhile are in it, or
    /// find that it is gone.
    fn close_tally(&mut self, host: &impl Host, config: &Config, slot: Slot, tally: &Tally, now: UnixMillis) {
        self.schedule.forget(slot);
        let made = digest::close(host, config, &self.succession, (slot, tally), now);
        match made {
            Ok(Some(delivery)) => self.wait(slot, &Held::Message(delivery), now),
            Ok(None) => {}
            Err(error) => log::error!("{} by {}: {error}", tally.id, tally.handler.name),
        }
    }

    fn settle(&mut self, host: &impl Host, slot: Slot, mut delivery: Delivery, outcome: &Outcome, now: UnixMillis) {
        host.count_attempt(&delivery.target.authority, outcome.label());
        delivery.attempts = delivery.attempts.saturating_add(1);
        if delivery.attempts == 1 {
            delivery.first_attempt = now.0;
        }
        if *outcome != Outcome::Delivered && !self.leads(now) {
            // Whoever leads now sends it again, and judges that.
            return self.schedule.forget(slot);
        }
        let delay = match outcome {
            Outcome::Failed(failure) => delivery.retries.next_delay_ms(&delivery, failure, now),
            Outcome::Delivered | Outcome::Refused(_) | Outcome::Gone => None,
        };
        match delay {
            Some(delay) => self.retry(host, slot, delivery, outcome, delay, now),
            None if *outcome == Outcome::Delivered => {
                if self.finish(host, slot, &delivery) {
                    host.count(Metric::Delivered);
                }
            }
            None => {
                if *outcome == Outcome::Gone {
                    self.disable_endpoint(host, &delivery);
                }
                self.give_up(host, slot, &delivery, outcome);
            }
        }
    }

    fn retry(
        &mut self,
        host: &impl Host,
        slot: Slot,
        mut delivery: Delivery,
        outcome: &Outcome,
        delay: u64,
        now: UnixMillis,
    ) {
        host.count(Metric::Retried);
        (delivery.due, delivery.decided) = (now.plus(delay).0, now.0);
        let (attempts, most) = (delivery.attempts, delivery.retries.max_attempts);
        // An unknown cluster has a line of its own.
        let is_said = *outcome == Outcome::Failed(Failure::NotStarted(CalloutRefused::UnknownCluster));
        let level = if is_said { log::Level::Debug } else { log::Level::Info };
        log::log!(level, "{}: attempt {attempts} of {most}: {outcome}; next in {delay} ms", name(&delivery));
        self.schedule.forget(slot);
        // An update may have taken it over since the attempt began.
        let mut kept = None;
        let replaced = outbox::change(host, slot, |held| match held {
            Held::Message(held) if held.id == delivery.id => {
                let held = if held.target.endpoint == delivery.target.endpoint {
                    let Delivery { attempts, first_attempt, due, decided, .. } = delivery;
                    Delivery { attempts, first_attempt, due, decided, ..held }
                } else {
                    held
                };
                kept = Some(Held::Message(held.clone()));
                Some(Held::Message(held))
            }
            _ => None,
        });
        match (replaced, kept) {
            (Ok(_), Some(held)) => self.wait(slot, &held, now),
            (Ok(_), None) => {}
            (Err(error), _) => log::error!("{}: slot {} stays as it is: {error}", name(&delivery), slot.0),
        }
    }

    /// Ends a message that has failed for good, unless an update has given it another URL since the attempt began.
    fn give_up(&mut self, host: &impl Host, slot: Slot, delivery: &Delivery, outcome: &Outcome) {
        let endpoint = delivery.target.endpoint;
        let is_meant = |held: &Held| matches!(held, Held::Message(held) if held.id == delivery.id && held.target.endpoint == endpoint);
        if !matches!(outbox::held(host, slot), Ok(Some(held)) if is_meant(&held)) {
            return self.schedule.forget(slot);
        }
        // Before it is ended: should the VM die in between, it is reported again rather than never.
        host.count(Metric::Failed);
        log::error!("{}: failed for good after {} attempts: {outcome}", name(delivery), delivery.attempts);
        if self.finish_if(host, slot, delivery, is_meant) {
            self.release(host, delivery);
        }
    }

    /// Ends a message that is not to be sent; `false` where another VM has done so.
    fn end(&mut self, host: &impl Host, slot: Slot, delivery: &Delivery) -> bool {
        let is_held = self.finish(host, slot, delivery);
        if is_held {
            self.release(host, delivery);
        }
        is_held
    }

    fn release(&self, host: &impl Host, delivery: &Delivery) {
        if let Some(Err(error)) = delivery.claim.as_ref().map(|claim| cooldown::release(host, claim)) {
            log::warn!("{}: its cool-down lasts to its end: {error}", name(delivery));
        }
    }

    /// Frees a message's slot; `false` where another VM has done so, which then has counted it.
    fn finish(&mut self, host: &impl Host, slot: Slot, delivery: &Delivery) -> bool {
        self.finish_if(host, slot, delivery, |held| held.id() == delivery.id)
    }

    fn finish_if(
        &mut self,
        host: &impl Host,
        slot: Slot,
        delivery: &Delivery,
        is_meant: impl Fn(&Held) -> bool,
    ) -> bool {
        self.schedule.forget(slot);
        outbox::finish_if(host, slot, is_meant).unwrap_or_else(|error| {
            log::error!("{}: slot {} stays as it is: {error}", name(delivery), slot.0);
            false
        })
    }

    fn disable_endpoint(&mut self, host: &impl Host, delivery: &Delivery) {
        log::error!(
            "{}: the target of {} answers 410 Gone: it gets nothing more until the configuration changes",
            delivery.target.authority,
            delivery.handler.name
        );
        if let Err(error) = disabled::disable(host, delivery.origin.config, delivery.target.endpoint) {
            log::error!("{}: it is asked again: {error}", delivery.target.authority);
        }
        self.look_at_disabled(host);
    }
}

/// Whose turn it is to get what is held, and when; a tally has no target.
fn turn(held: &Held, now: UnixMillis) -> (&str, UnixMillis) {
    match held {
        Held::Message(delivery) => (delivery.target.authority.as_str(), delivery.due(now)),
        Held::Tally(tally) => ("", tally.due(now)),
    }
}

/// What a reply means: for a letter, its provider's body says so too.
fn outcome(host: &impl Host, delivery: &Delivery, reply: &CalloutReply, now: UnixMillis) -> Outcome {
    let outcome = Outcome::of_reply(reply, now);
    let is_proxys = matches!(outcome, Outcome::Failed(Failure::NoResponse | Failure::Unreachable | Failure::TimedOut));
    let (Content::Email(email), Some(status), false) = (&delivery.content, reply.status, is_proxys) else {
        return outcome;
    };
    let body = host.reply_body(MAX_ANSWER_BYTES).unwrap_or_default();
    let header = |name: &str| host.reply_header(name);
    let verdict = email.account.judge(&Answer { status, header: &header, body: &body }, now);
    if let Some(reason) = verdict.reason() {
        log::warn!("{}: {reason}", name(delivery));
    }
    verdict.outcome()
}

/// For logs: no path, query or header of the target, which may be secrets.
fn name(delivery: &Delivery) -> String {
    format!("{} {} by {} to {}", delivery.event, delivery.id, delivery.handler.name, delivery.target.authority)
}
