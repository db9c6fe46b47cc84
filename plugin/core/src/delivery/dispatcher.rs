//! The VM that sends: it holds the lease, follows the used slots, and finishes every attempt.
//!
//! Its memory is a cache of shared data. A VM that takes over starts from the slots alone. It sends messages that were
//! in flight again, with the same id.

mod follow;
mod settle;
mod sharing;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::base::{Troubles, UnixMillis};
use crate::delivery::disabled::Disabled;
use crate::delivery::lease::{Candidate, Hold};
use crate::delivery::lookups::Lookups;
use crate::delivery::schedule::Schedule;
use crate::delivery::{
    Author, ConfigId, Delivery, DeliveryOutcome, Failure, FleetOutbox, Held, LastTried, Slot, Stage, Succession, Tally,
    Tried, UnknownClusters, disabled, lease, lookups, outbox, succession,
};
use crate::host::{CalloutId, CalloutRefused, CalloutReply, Gauge, Host, Metric};
use sharing::{News, SharedTally};

/// How long a slot may be reserved without a message. After that, the VM that reserved it has died.
const ABANDONED_AFTER_MS: u64 = 10_000;

/// How long attempts in flight may delay a handover of the lease. The new holder sends messages again whose attempts
/// have not ended by then, so duplicates are possible.
const HANDOVER_MS: u64 = 5000;

/// How long a reply may be late after an attempt's time-out.
const REPLY_PATIENCE_MS: u64 = 5000;

/// How long other VMs wait until they make a digest that the leading VM has not made.
const LEADER_FIRST_MS: u64 = 1500;

// Operations that can fail at every tick.
const CLUSTERS: &str = "the clusters that are unknown";
const SUCCESSION: &str = "the configurations before this one";
const LEASE: &str = "the dispatcher's lease";
const DISABLED: &str = "the disabled targets";
const HELD: &str = "held messages cannot be listed";
const WAKE_UPS: &str = "messages wait for the next tick";

/// The dispatching part of one VM.
#[derive(Debug)]
pub struct Dispatcher {
    vm: u64,
    config: ConfigId,
    lease_until: UnixMillis,
    last_tick: UnixMillis,
    /// The number of ticks so far.
    ticks: u64,
    /// The time since which a VM of the latest configuration has wanted the lease.
    retiring: Option<UnixMillis>,
    schedule: Schedule,
    in_flight: HashMap<CalloutId, Attempt>,
    disabled: Disabled,
    troubles: Troubles,
    succession: Succession,
    lookups: Lookups,
    unknown: UnknownClusters,
    /// Handlers for which a removal or a new URL was logged.
    said: BTreeSet<String>,
    /// The attempts that ended since the last tick.
    last_tried: LastTried,
    is_in_fleet: bool,
    /// What happened since the fleet's outbox was told last.
    news: News,
    /// The tallies of which the store of a fleet knows.
    shared_tallies: BTreeMap<Slot, SharedTally>,
}

/// An attempt without a reply so far.
#[derive(Debug)]
struct Attempt {
    slot: Slot,
    delivery: Delivery,
    /// The tick in which it began.
    began: u64,
    started: UnixMillis,
}

/// The holder of the lease, as a tick found it.
enum Leader {
    Own,
    /// A VM of this configuration.
    Other(ConfigId),
}

impl Dispatcher {
    /// Made for the VM with this number (see [`lease::register_vm`]).
    pub fn new(vm: u64, config: ConfigId) -> Self {
        Dispatcher {
            vm,
            config,
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
            last_tried: LastTried::default(),
            is_in_fleet: false,
            news: News::default(),
            shared_tallies: BTreeMap::new(),
        }
    }

    /// Renews or takes the lease. The holder checks all slots and sends the messages that are due.
    pub fn on_tick(
        &mut self,
        host: &impl Host,
        author: &impl Author,
        mut fleet: Option<&mut FleetOutbox>,
        now: UnixMillis,
    ) {
        let held_before = self.leads(now);
        if now < self.last_tick {
            // The clock was set back, so the waiting slots are read again.
            self.schedule.retain_idle(|_| false);
        }
        self.last_tick = now;
        self.ticks = self.ticks.saturating_add(1);
        self.show_tried(host);
        self.look_at_disabled(host);
        self.look_at_succession(host, author);
        self.join_fleet(host, fleet.as_deref_mut());
        match self.unknown.refresh(host) {
            Ok(()) => self.troubles.works(CLUSTERS),
            Err(error) => self.troubles.fails(CLUSTERS, &error),
        }
        if let Leader::Other(leader) = self.hold_lease(host, now) {
            // Attempts in flight stay known. If this VM leads again before the reply, it must not repeat them.
            self.schedule.retain_idle(|_| false);
            self.mind_own(host, author, leader, now);
            return self.tell(fleet);
        }
        if !held_before {
            log::debug!("VM {} dispatches from now on", self.vm);
            // Another VM may have held the lease between two ticks of this one, and may have used slots again.
            self.schedule.forget_waiting();
            if let Err(error) = host.listen() {
                self.troubles.fails(WAKE_UPS, &error);
            }
        }
        self.end_overdue(host, author, now);
        self.drain_wakeups(host, author, now);
        let held = self.follow_taken(host, author, now);
        if let Some(fleet) = fleet.as_deref_mut() {
            self.lead_in_fleet(host, author, fleet, (!held_before, held), now);
            self.take_given(host, author, fleet, now);
        }
        self.send_due(host, author, fleet.as_deref_mut(), now);
        self.tell(fleet);
        self.report(host, held, now);
    }

    /// Sends the messages that wake-ups announced.
    pub fn on_wake(
        &mut self,
        host: &impl Host,
        author: &impl Author,
        mut fleet: Option<&mut FleetOutbox>,
        now: UnixMillis,
    ) {
        if self.leads(now) {
            self.drain_wakeups(host, author, now);
            if let Some(fleet) = fleet.as_deref_mut() {
                self.take_given(host, author, fleet, now);
            }
            self.send_due(host, author, fleet.as_deref_mut(), now);
            self.tell(fleet);
        }
    }

    /// Judges an attempt, unless the callout is another component's.
    pub fn on_reply(
        &mut self,
        host: &impl Host,
        author: &impl Author,
        mut fleet: Option<&mut FleetOutbox>,
        (id, reply): (CalloutId, &CalloutReply),
        now: UnixMillis,
    ) {
        let Some(Attempt { slot, delivery, started, .. }) = self.in_flight.remove(&id) else { return };
        let outcome = author.outcome(host, &delivery, reply, now);
        let tried = Tried::new(&outcome, reply.status, Some(now.since(started)), now);
        self.settle(host, author, (slot, delivery), (&outcome, tried), now);
        if self.leads(now) {
            self.send_due(host, author, fleet.as_deref_mut(), now);
        }
        self.tell(fleet);
    }

    /// Gives up the lease when this VM's configuration ends.
    pub fn on_shutdown(&mut self, host: &impl Host, author: &impl Author) {
        self.give_up_lease(host);
        if let Err(error) = succession::end(host, author.placement().scope, author.placement().id) {
            log::warn!("its held messages are not taken over: {error}");
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

    fn look_at_succession(&mut self, host: &impl Host, author: &impl Author) {
        match succession::tick(host, author.placement().scope, author.placement().id) {
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

    fn send_due(
        &mut self,
        host: &impl Host,
        author: &impl Author,
        mut fleet: Option<&mut FleetOutbox>,
        now: UnixMillis,
    ) {
        if self.retiring.is_some() {
            return;
        }
        let mut is_fresh = false;
        while let Some(slot) = self.schedule.next(author.limits(), now) {
            // An update may have started since the last tick.
            if !is_fresh {
                self.look_at_succession(host, author);
                is_fresh = true;
            }
            let held = match outbox::held(host, slot) {
                Ok(Some(held)) => self.taken_over(host, author, slot, held, now),
                Ok(None) => {
                    self.schedule.forget(slot);
                    continue;
                }
                Err(error) => {
                    // The next tick reads the slot again, and frees it if it does not decode.
                    log::error!("slot {}: {error}", slot.0);
                    self.schedule.forget(slot);
                    continue;
                }
            };
            if let Some(held) = held.as_ref().filter(|held| self.is_due_to_another(author, held, now)) {
                self.schedule.wait(slot, "", now.plus(LEADER_FIRST_MS), UnixMillis(held.since()));
                continue;
            }
            match held {
                Some(held) if !self.is_as_scheduled(slot, &held, now) => {}
                Some(Held::Message(delivery))
                    if self.may_send(host, author, fleet.as_deref_mut(), (slot, &delivery), now) =>
                {
                    self.send(host, author, slot, delivery, now);
                }
                Some(Held::Message(_)) | None => {}
                Some(Held::Tally(tally)) => self.end_tally(host, author, fleet.as_deref_mut(), (slot, tally), now),
            }
        }
    }

    fn send(&mut self, host: &impl Host, author: &impl Author, slot: Slot, delivery: Delivery, now: UnixMillis) {
        if self.disabled.contains(delivery.origin.config, delivery.target.endpoint) {
            host.count(Metric::Disabled);
            return self.give_up(host, author, (slot, delivery), &DeliveryOutcome::Gone, now);
        }
        let Some(callout) = author.callout(&delivery, now) else {
            host.count(Metric::CorruptRecords);
            log::error!("{}: its content does not decode; its slot is freed", delivery);
            return self.discard(host, slot);
        };
        let target = &delivery.target;
        match host.send(&callout) {
            Ok(id) => {
                self.lookups.started(target);
                self.unknown.found(host, &target.cluster);
                self.schedule.start(slot);
                self.in_flight.insert(id, Attempt { slot, delivery, began: self.ticks, started: now });
            }
            Err(CalloutRefused::Immediately) if self.lookups.refused(target, now) => {
                log::debug!("{}: its name may still be looked up", delivery);
                let again = now.plus(lookups::AGAIN_MS);
                self.schedule.wait(slot, &target.authority, again, UnixMillis(delivery.since));
                self.schedule.put_off(&target.authority, again);
            }
            Err(why) => {
                if why == CalloutRefused::UnknownCluster {
                    self.unknown.refused(host, author.use_of(&target.cluster), target);
                }
                self.settle_unanswered(host, author, (slot, delivery), Failure::NotStarted(why), now);
            }
        }
    }

    /// Makes the message of a tally whose time is over. An event that is counted meanwhile is included, or finds that
    /// the tally no longer exists.
    pub(super) fn close_tally(
        &mut self,
        host: &impl Host,
        author: &impl Author,
        slot: Slot,
        tally: &Tally,
        now: UnixMillis,
    ) {
        self.schedule.forget(slot);
        let made = author.close(host, &self.succession, (slot, tally), now);
        match made {
            Ok(Some(delivery)) => self.wait(slot, &Held::Message(delivery), now),
            Ok(None) => {
                if tally.stage == Stage::Merged && matches!(outbox::held(host, slot), Ok(None)) {
                    self.news.ended.push((tally.handler.name.clone(), tally.id.clone()));
                }
            }
            Err(error) => log::error!("{} by {}: {error}", tally.id, tally.handler.name),
        }
    }
}
