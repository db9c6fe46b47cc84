//! The one VM that sends: it holds the lease, follows the taken slots, and sees every attempt to its end.
//!
//! What this VM knows in memory is a cache of what is in shared data. A VM that takes over starts from the slots alone
//! and sends again what was in flight, with the same id.

use std::collections::HashMap;

use super::attempt::{Failure, Outcome};
use super::disabled::{self, ConfigId, Disabled};
use super::lease::{self, Candidate, Hold};
use super::outbox::{self, Slot};
use super::schedule::Schedule;
use super::{Delivery, DeliveryPolicy, Held};
use crate::config::Config;
use crate::cooldown;
use crate::digest::{self, Tally};
use crate::mail::verdict::{Answer, MAX_ANSWER_BYTES};
use crate::metrics::{Gauge, Metric};
use crate::ports::{CalloutId, CalloutReply, Host};
use crate::store::StoreError;
use crate::troubles::Troubles;
use crate::units::UnixMillis;

/// How long a taken slot may stay without a message: whoever reserved it died before filling it.
const ABANDONED_AFTER_MS: u64 = 10_000;

/// How long attempts that are under way may hold up the handing over of the lease. Who takes over sends again what has
/// not ended by then: such a message can arrive twice.
const HANDOVER_MS: u64 = 5000;

/// The VM that leads makes a digest first, if it can.
const LEADER_FIRST_MS: u64 = 1500;

// What can fail at every tick.
const LEASE: &str = "the dispatcher's lease";
const DISABLED: &str = "the disabled targets";
const HELD: &str = "held messages cannot be listed";
const WAKE_UPS: &str = "messages wait for the next tick";

/// The dispatching side of one VM.
#[derive(Debug)]
pub struct Dispatcher {
    vm: u64,
    policy: DeliveryPolicy,
    config: ConfigId,
    lease_until: UnixMillis,
    last_tick: UnixMillis,
    /// Since when the lease is wanted by a VM of the latest configuration.
    retiring: Option<UnixMillis>,
    schedule: Schedule,
    in_flight: HashMap<CalloutId, (Slot, Delivery)>,
    disabled: Disabled,
    troubles: Troubles,
}

impl Dispatcher {
    /// For the VM of that number (see [`lease::register_vm`]).
    pub fn new(vm: u64, config: &Config) -> Self {
        Dispatcher {
            vm,
            policy: config.delivery,
            config: config.id,
            lease_until: UnixMillis(0),
            last_tick: UnixMillis(0),
            retiring: None,
            schedule: Schedule::default(),
            in_flight: HashMap::new(),
            disabled: Disabled::default(),
            troubles: Troubles::default(),
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
        self.look_at_disabled(host);
        self.hold_lease(host, now);
        if !self.leads(now) {
            // What is in flight stays known: should this VM lead again before the reply, it must not send it again.
            self.schedule.retain_idle(|_| false);
            return self.close_known_tallies(host, config, now);
        }
        if !held_before {
            log::debug!("VM {} dispatches from now on", self.vm);
            if let Err(error) = host.listen() {
                self.troubles.fails(WAKE_UPS, &error);
            }
        }
        self.drain_wakeups(host, now);
        let held = self.follow_taken(host, now);
        self.send_due(host, config, now);
        self.report(host, held, now);
    }

    /// Sends what it was woken for.
    pub fn on_wake(&mut self, host: &impl Host, config: &Config, now: UnixMillis) {
        if self.leads(now) {
            self.drain_wakeups(host, now);
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
        let Some((slot, delivery)) = self.in_flight.remove(&id) else { return };
        let outcome = outcome(host, &delivery, reply, now);
        self.settle(host, slot, delivery, &outcome, now);
        if self.leads(now) {
            self.send_due(host, config, now);
        }
    }

    /// Gives up the lease, as the configuration that this VM works for goes.
    pub fn on_shutdown(&mut self, host: &impl Host) {
        if let Err(error) = lease::give_up(host, self.vm) {
            log::warn!("the dispatcher's lease runs out by itself: {error}");
        }
        self.lease_until = UnixMillis(0);
        self.retiring = None;
    }

    fn hold_lease(&mut self, host: &impl Host, now: UnixMillis) {
        let who = Candidate { vm: self.vm, config: self.config, is_latest: self.disabled.is_latest(self.config) };
        match lease::hold(host, who, now) {
            Ok(Hold::Held) => {
                self.retiring = None;
                self.troubles.works(LEASE);
            }
            Ok(Hold::Wanted) => {
                let since = *self.retiring.get_or_insert(now);
                if self.in_flight.is_empty() || now.since(since) >= HANDOVER_MS {
                    return self.on_shutdown(host);
                }
            }
            Ok(Hold::Taken) => {
                self.lease_until = UnixMillis(0);
                return;
            }
            Err(error) => return self.troubles.fails(LEASE, &error),
        }
        self.lease_until = now.plus(lease::LEASE_MS);
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

    /// The VM that leads may not know every handler: the configuration of an older or another placement has its own.
    fn close_known_tallies(&mut self, host: &impl Host, config: &Config, now: UnixMillis) {
        for slot in outbox::tallies(host).unwrap_or_default() {
            if let Ok(Some(Held::Tally(tally))) = outbox::held(host, slot)
                && now.since(tally.due(now)) >= LEADER_FIRST_MS
                && tally.is_known_to(config)
                && let Err(error) = digest::close(host, config, slot, &tally, now)
            {
                log::error!("{} by {}: {error}", tally.id, tally.handler);
            }
        }
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
    }

    fn drain_wakeups(&mut self, host: &impl Host, now: UnixMillis) {
        loop {
            match host.take() {
                Ok(Some(message)) => {
                    if let Ok(number) = message.as_slice().try_into() {
                        self.follow(host, Slot(u32::from_le_bytes(number)), now);
                    }
                }
                Ok(None) => return self.troubles.works(WAKE_UPS),
                Err(error) => return self.troubles.fails(WAKE_UPS, &error),
            }
        }
    }

    /// Looks for what no wake-up told of; returns how many slots are taken.
    fn follow_taken(&mut self, host: &impl Host, now: UnixMillis) -> usize {
        let taken = match outbox::taken(host) {
            Ok(taken) => taken,
            Err(StoreError::Corrupt(corrupt)) => {
                log::error!("held messages cannot be listed: {corrupt}; the index is made anew");
                if let Err(error) = outbox::rebuild(host, self.policy.capacity) {
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
                self.follow(host, *slot, now);
            }
        }
        taken.len()
    }

    /// Learns what a taken slot holds.
    fn follow(&mut self, host: &impl Host, slot: Slot, now: UnixMillis) {
        if self.schedule.is_under_way(slot) {
            return;
        }
        match outbox::held(host, slot) {
            Ok(Some(held)) => self.wait(slot, &held, now),
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
        let (target, due, since) = match held {
            Held::Message(delivery) => (delivery.target(), delivery.due(now), delivery.since),
            Held::Tally(tally) => ("", tally.due(now), tally.first),
        };
        self.schedule.wait(slot, target, due, UnixMillis(since));
    }

    /// Whether a slot still holds what this VM has scheduled; if not, that is put right. Another VM may have made a
    /// digest of a tally, or used the slot anew.
    fn is_as_scheduled(&mut self, slot: Slot, held: &Held, now: UnixMillis) -> bool {
        let target = match held {
            Held::Message(delivery) => delivery.target(),
            Held::Tally(_) => "",
        };
        let due = match held {
            Held::Message(delivery) => delivery.due(now),
            Held::Tally(tally) => tally.due(now),
        };
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
        while let Some(slot) = self.schedule.next(self.policy.limits, now) {
            match outbox::held(host, slot) {
                Ok(Some(held)) if !self.is_as_scheduled(slot, &held, now) => {}
                Ok(Some(Held::Message(delivery))) => self.send(host, config, slot, delivery, now),
                Ok(Some(Held::Tally(tally))) => self.close_tally(host, config, slot, &tally, now),
                Ok(None) => self.schedule.forget(slot),
                Err(error) => {
                    // The next tick looks at it again, and frees it if it does not decode.
                    log::error!("slot {}: {error}", slot.0);
                    self.schedule.forget(slot);
                }
            }
        }
    }

    fn send(&mut self, host: &impl Host, config: &Config, slot: Slot, delivery: Delivery, now: UnixMillis) {
        if self.disabled.contains(delivery.config, delivery.endpoint()) {
            host.count(Metric::Disabled);
            return self.give_up(host, slot, &delivery, &Outcome::Gone);
        }
        match host.send(&delivery.callout(config.signing_keys(&delivery), now)) {
            Ok(id) => {
                self.schedule.start(slot);
                self.in_flight.insert(id, (slot, delivery));
            }
            Err(why) => self.settle(host, slot, delivery, &Outcome::Failed(Failure::NotStarted(why)), now),
        }
    }

    /// Makes the message that a count becomes when its time is over. Events that are counted meanwhile are in it, or
    /// find that it is gone.
    fn close_tally(&mut self, host: &impl Host, config: &Config, slot: Slot, tally: &Tally, now: UnixMillis) {
        self.schedule.forget(slot);
        let made = digest::close(host, config, slot, tally, now);
        match made {
            Ok(Some(delivery)) => self.wait(slot, &Held::Message(delivery), now),
            Ok(None) => {}
            Err(error) => log::error!("{} by {}: {error}", tally.id, tally.handler),
        }
    }

    fn settle(&mut self, host: &impl Host, slot: Slot, mut delivery: Delivery, outcome: &Outcome, now: UnixMillis) {
        host.count_attempt(delivery.target(), outcome.label());
        delivery.attempts = delivery.attempts.saturating_add(1);
        if delivery.attempts == 1 {
            delivery.first_attempt = now.0;
        }
        if *outcome != Outcome::Delivered && !self.leads(now) {
            // Whoever leads now sends it again, and judges that.
            return self.schedule.forget(slot);
        }
        let delay = match outcome {
            Outcome::Failed(failure) => self.policy.next_delay_ms(&delivery, failure, now),
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
        let (attempts, most) = (delivery.attempts, self.policy.max_attempts);
        log::info!("{}: attempt {attempts} of {most}: {outcome}; next in {delay} ms", name(&delivery));
        let held = Held::Message(delivery);
        self.schedule.forget(slot);
        match outbox::replace(host, slot, &held) {
            Ok(true) => self.wait(slot, &held, now),
            Ok(false) => {}
            Err(error) => log::error!("{}: slot {} stays as it is: {error}", held.id(), slot.0),
        }
    }

    fn give_up(&mut self, host: &impl Host, slot: Slot, delivery: &Delivery, outcome: &Outcome) {
        if !self.finish(host, slot, delivery) {
            return;
        }
        host.count(Metric::Failed);
        log::error!("{}: failed for good after {} attempts: {outcome}", name(delivery), delivery.attempts);
        if let Some(Err(error)) = delivery.claim.as_ref().map(|claim| cooldown::release(host, claim)) {
            log::warn!("{}: its cool-down lasts to its end: {error}", name(delivery));
        }
    }

    /// Frees a message's slot; `false` where another VM has done so, which then has counted it.
    fn finish(&mut self, host: &impl Host, slot: Slot, delivery: &Delivery) -> bool {
        self.schedule.forget(slot);
        outbox::finish(host, slot, &delivery.id).unwrap_or_else(|error| {
            log::error!("{}: slot {} stays as it is: {error}", name(delivery), slot.0);
            false
        })
    }

    fn disable_endpoint(&mut self, host: &impl Host, delivery: &Delivery) {
        log::error!(
            "{}: the target of {} answers 410 Gone: it gets nothing more until the configuration changes",
            delivery.target(),
            delivery.handler
        );
        if let Err(error) = disabled::disable(host, delivery.config, delivery.endpoint()) {
            log::error!("{}: it is asked again: {error}", delivery.target());
        }
        self.look_at_disabled(host);
    }
}

/// What a reply means: for a letter, its provider's body says so too.
fn outcome(host: &impl Host, delivery: &Delivery, reply: &CalloutReply, now: UnixMillis) -> Outcome {
    let outcome = Outcome::of_reply(reply, now);
    let is_proxys = matches!(outcome, Outcome::Failed(Failure::NoResponse | Failure::Unreachable | Failure::TimedOut));
    let (Some(carrier), Some(status), false) = (&delivery.carrier, reply.status, is_proxys) else { return outcome };
    let body = host.reply_body(MAX_ANSWER_BYTES).unwrap_or_default();
    let header = |name: &str| host.reply_header(name);
    let verdict = carrier.judge(&Answer { status, header: &header, body: &body }, now);
    if let Some(reason) = verdict.reason() {
        log::warn!("{}: {reason}", name(delivery));
    }
    verdict.outcome()
}

/// For logs: no path, query or header of the target, which may be secrets.
fn name(delivery: &Delivery) -> String {
    format!("{} {} by {} to {}", delivery.event, delivery.id, delivery.handler, delivery.target())
}
