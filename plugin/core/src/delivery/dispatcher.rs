//! The one VM that sends: it holds the lease, follows the taken slots, and sees every attempt to its end.
//!
//! What this VM knows in memory is a cache of what is in shared data. A VM that takes over starts from the slots alone
//! and sends again what was in flight, with the same id.

use std::collections::{BTreeMap, HashMap};

use super::attempt::{Failure, Outcome};
use super::outbox::{self, Slot};
use super::{Delivery, DeliveryPolicy, lease};
use crate::cooldown;
use crate::metrics::Metric;
use crate::ports::{CalloutId, CalloutReply, Host};
use crate::store::StoreError;
use crate::units::UnixMillis;

/// How long a taken slot may stay without a delivery: whoever reserved it died before filling it.
const ABANDONED_AFTER_MS: u64 = 10_000;

/// The dispatching side of one VM.
#[derive(Debug)]
pub struct Dispatcher {
    vm: u64,
    policy: DeliveryPolicy,
    lease_until: UnixMillis,
    followed: BTreeMap<Slot, Followed>,
    in_flight: HashMap<CalloutId, (Slot, Delivery)>,
}

#[derive(Debug)]
enum Followed {
    /// Taken without a delivery since then.
    Empty { since: UnixMillis },
    /// To be sent.
    Waiting { due: UnixMillis, target: String },
    /// Being sent.
    InFlight,
}

impl Dispatcher {
    /// For the VM of that number (see [`lease::register_vm`]).
    pub fn new(vm: u64, policy: DeliveryPolicy) -> Self {
        Dispatcher { vm, policy, lease_until: UnixMillis(0), followed: BTreeMap::new(), in_flight: HashMap::new() }
    }

    /// Renews or takes the lease; its holder looks through all slots and sends what is due.
    pub fn on_tick(&mut self, host: &impl Host, now: UnixMillis) {
        let held_before = self.leads(now);
        match lease::hold(host, self.vm, now) {
            Ok(true) => self.lease_until = now.plus(lease::LEASE_MS),
            Ok(false) => self.lease_until = UnixMillis(0),
            Err(error) => log::error!("the dispatcher's lease: {error}"),
        }
        if !self.leads(now) {
            // What is in flight stays known: should this VM lead again before the reply, it must not send it again.
            self.followed.retain(|_, state| matches!(state, Followed::InFlight));
            return;
        }
        if !held_before {
            log::debug!("VM {} dispatches from now on", self.vm);
            if let Err(error) = host.listen() {
                log::error!("messages wait for the next tick: {error}");
            }
        }
        self.drain_wakeups(host, now);
        self.follow_taken(host, now);
        self.send_due(host, now);
    }

    /// Sends what it was woken for.
    pub fn on_wake(&mut self, host: &impl Host, now: UnixMillis) {
        if self.leads(now) {
            self.drain_wakeups(host, now);
            self.send_due(host, now);
        }
    }

    /// Judges an attempt. `None` where the callout is not one of this dispatcher's.
    pub fn on_reply(&mut self, host: &impl Host, id: CalloutId, reply: &CalloutReply, now: UnixMillis) {
        let Some((slot, delivery)) = self.in_flight.remove(&id) else { return };
        self.settle(host, slot, delivery, &Outcome::of_reply(reply), now);
        if self.leads(now) {
            self.send_due(host, now);
        }
    }

    /// Gives up the lease, as the configuration that this VM works for goes.
    pub fn on_shutdown(&mut self, host: &impl Host) {
        if let Err(error) = lease::give_up(host, self.vm) {
            log::warn!("the dispatcher's lease runs out by itself: {error}");
        }
        self.lease_until = UnixMillis(0);
    }

    fn leads(&self, now: UnixMillis) -> bool {
        now < self.lease_until
    }

    fn drain_wakeups(&mut self, host: &impl Host, now: UnixMillis) {
        loop {
            match host.take() {
                Ok(Some(message)) => {
                    if let Ok(number) = message.as_slice().try_into() {
                        self.follow(host, Slot(u32::from_le_bytes(number)), now);
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    log::error!("messages wait for the next tick: {error}");
                    return;
                }
            }
        }
    }

    fn follow_taken(&mut self, host: &impl Host, now: UnixMillis) {
        let taken = match outbox::taken(host) {
            Ok(taken) => taken,
            Err(error) => {
                log::error!("held messages cannot be listed: {error}");
                return;
            }
        };
        let in_flight = |state: &Followed| matches!(state, Followed::InFlight);
        self.followed.retain(|slot, state| in_flight(state) || taken.binary_search(slot).is_ok());
        for slot in taken {
            if !matches!(self.followed.get(&slot), Some(Followed::Waiting { .. } | Followed::InFlight)) {
                self.follow(host, slot, now);
            }
        }
    }

    /// Learns what a taken slot holds.
    fn follow(&mut self, host: &impl Host, slot: Slot, now: UnixMillis) {
        if matches!(self.followed.get(&slot), Some(Followed::InFlight)) {
            return;
        }
        match outbox::delivery(host, slot) {
            Ok(Some(delivery)) => {
                self.followed.insert(slot, waiting(&delivery));
            }
            Ok(None) => {
                let since = match self.followed.get(&slot) {
                    Some(Followed::Empty { since }) => *since,
                    _ => now,
                };
                self.followed.insert(slot, Followed::Empty { since });
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

    fn discard(&mut self, host: &impl Host, slot: Slot) {
        self.followed.remove(&slot);
        host.count(Metric::Failed);
        if let Err(error) = outbox::free(host, slot) {
            log::error!("slot {} stays taken: {error}", slot.0);
        }
    }

    fn send_due(&mut self, host: &impl Host, now: UnixMillis) {
        for slot in self.sendable(now) {
            self.send(host, slot, now);
        }
    }

    /// The slots whose turn it is: due, the longest first, as many as the limits leave room for.
    fn sendable(&self, now: UnixMillis) -> Vec<Slot> {
        let room = self.policy.max_in_flight.saturating_sub(self.in_flight.len());
        if room == 0 {
            return Vec::new();
        }
        let mut per_target: HashMap<&str, usize> = HashMap::new();
        let mut has_room = |target| {
            let under_way = per_target.entry(target).or_default();
            *under_way = under_way.saturating_add(1);
            *under_way <= self.policy.max_in_flight_per_target
        };
        for (_, delivery) in self.in_flight.values() {
            has_room(delivery.target());
        }
        let mut due: Vec<(UnixMillis, Slot, &str)> = Vec::new();
        for (slot, state) in &self.followed {
            if let Followed::Waiting { due: at, target } = state
                && *at <= now
            {
                due.push((*at, *slot, target));
            }
        }
        due.sort_unstable();
        due.into_iter().filter(|(_, _, target)| has_room(target)).map(|(_, slot, _)| slot).take(room).collect()
    }

    fn send(&mut self, host: &impl Host, slot: Slot, now: UnixMillis) {
        let delivery = match outbox::delivery(host, slot) {
            Ok(Some(delivery)) => delivery,
            Ok(None) => {
                self.followed.remove(&slot);
                return;
            }
            Err(error) => {
                log::error!("slot {}: {error}", slot.0);
                self.followed.remove(&slot);
                return;
            }
        };
        match host.send(&delivery.callout()) {
            Ok(id) => {
                self.followed.insert(slot, Followed::InFlight);
                self.in_flight.insert(id, (slot, delivery));
            }
            Err(why) => self.settle(host, slot, delivery, &Outcome::Failed(Failure::NotStarted(why)), now),
        }
    }

    fn settle(&mut self, host: &impl Host, slot: Slot, mut delivery: Delivery, outcome: &Outcome, now: UnixMillis) {
        self.followed.remove(&slot);
        delivery.attempts = delivery.attempts.saturating_add(1);
        let delay = match outcome {
            Outcome::Delivered | Outcome::Refused(_) => None,
            Outcome::Failed(failure) => self.policy.next_delay_ms(&delivery, failure),
        };
        let stored = match delay {
            Some(delay) => {
                host.count(Metric::Retried);
                delivery.due = now.plus(delay).0;
                log::info!(
                    "{}: attempt {} of {}: {outcome}; next in {delay} ms",
                    name(&delivery),
                    delivery.attempts,
                    self.policy.max_attempts
                );
                outbox::replace(host, slot, &delivery)
            }
            None if *outcome == Outcome::Delivered => {
                host.count(Metric::Delivered);
                outbox::finish(host, slot, &delivery)
            }
            None => {
                host.count(Metric::Failed);
                log::error!("{}: failed for good after {} attempts: {outcome}", name(&delivery), delivery.attempts);
                if let Some(Err(error)) = delivery.claim.as_ref().map(|claim| cooldown::release(host, claim)) {
                    log::warn!("{}: its cool-down lasts to its end: {error}", name(&delivery));
                }
                outbox::finish(host, slot, &delivery)
            }
        };
        match stored {
            Ok(true) if delay.is_some() && self.leads(now) => {
                self.followed.insert(slot, waiting(&delivery));
            }
            Ok(_) => {}
            Err(error) => log::error!("{}: slot {} stays as it is: {error}", name(&delivery), slot.0),
        }
    }
}

fn waiting(delivery: &Delivery) -> Followed {
    Followed::Waiting { due: delivery.due(), target: delivery.target().to_owned() }
}

/// For logs: no path, query or header of the target, which may be secrets.
fn name(delivery: &Delivery) -> String {
    format!("{} {} by {} to {}", delivery.event, delivery.id, delivery.handler, delivery.target())
}
