//! What the dispatcher asks and tells the outbox of a fleet.

use std::collections::BTreeSet;
use std::task::Poll;

use crate::base::UnixMillis;
use crate::delivery::disabled;
use crate::delivery::{
    Author, Cause, Delivery, Dispatcher, EndpointId, FleetOutbox, Held, ReserveError, Share, Slot, Stage, Tag, Tally,
    outbox,
};
use crate::host::{Change, Host, Metric, Metrics, SharedData, StoreError, update};
use crate::store::{Ended, Offer, Part, PartVerdict, Verdict};

/// The name of this process among the members of its fleet.
const MEMBER_KEY: &str = "tb1/o";

/// How long a message waits at least for the store's answer.
const ASK_MS: u64 = 1;

/// How often the store gets the count of a tally that grows.
const COUNT_MS: u64 = 2000;

/// The period of a digest of messages that the fleet's cap held back.
const CAP_WINDOW_MS: u64 = 60_000;

/// How long members that do not have its handler pass a message on.
const STRAY_MS: u64 = 24 * 60 * 60 * 1000;

/// What happened since the fleet's outbox was told last.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Handlers and ids of messages that ended.
    pub ended: Vec<(String, String)>,
    /// The causes of those that failed.
    pub released: Vec<(String, Cause)>,
    /// Handlers and their targets that answered 410. Members have different ids of the same configuration.
    pub disabled: Vec<(String, EndpointId)>,
}

/// A tally of which the store knows.
#[derive(Debug)]
pub(super) struct SharedTally {
    id: String,
    /// What the store was told: the number of events and of crossings.
    told: (u64, usize),
    /// What it is being told, and whether that is the end of the tally.
    telling: (u64, usize, bool),
    /// When it is told next, at the latest when the fleet's digest is due.
    next: UnixMillis,
    /// When the fleet's digest is due.
    ends: UnixMillis,
}

/// The name of this process, which its first VM gives it.
fn member(host: &(impl SharedData + Metrics), born: &str) -> Result<String, StoreError> {
    update(host, MEMBER_KEY, |stored| {
        Ok(match stored.and_then(|bytes| String::from_utf8(bytes).ok()) {
            Some(name) => Change::Keep(name),
            None => Change::Write(born.as_bytes().to_vec(), born.to_owned()),
        })
    })
}

impl Dispatcher {
    /// Learns the name of this process.
    pub(super) fn join_fleet(&mut self, host: &impl Host, fleet: Option<&mut FleetOutbox>) {
        self.is_in_fleet = fleet.is_some();
        if let Some(fleet) = fleet.filter(|fleet| fleet.member().is_empty()) {
            match member(host, fleet.born()) {
                Ok(name) => fleet.set_member(name),
                Err(error) => log::error!("this VM has no name among the members of its fleet yet: {error}"),
            }
        }
    }

    /// Tells the fleet that this member lives, and applies what the store knows of it. `held` is the number of used
    /// slots, and `begins` means that this VM did not lead before.
    pub(super) fn lead_in_fleet(
        &mut self,
        host: &impl Host,
        author: &impl Author,
        fleet: &mut FleetOutbox,
        (begins, held): (bool, usize),
        now: UnixMillis,
    ) {
        let room = usize::try_from(author.table().capacity).unwrap_or(usize::MAX).saturating_sub(held);
        fleet.lead(begins, room, now);
        fleet.show_members(host);
        let listed = fleet.take_listed();
        if !listed.is_empty() {
            let held = held_ids(host);
            // A VM that led before has ended these, and may have died before the store heard of it.
            for (shard, id) in listed.into_iter().filter(|(_, id)| !held.contains(id)) {
                fleet.end(Ended { shard, id, released: None });
            }
        }
        for target in fleet.take_disabled() {
            self.disable_for_fleet(host, author, &target);
        }
    }

    fn disable_for_fleet(&mut self, host: &impl Host, author: &impl Author, target: &str) {
        let config = author.placement().id;
        let Ok(endpoint) = u64::from_str_radix(target, 16).map(EndpointId) else { return };
        if self.disabled.contains(config, endpoint) {
            return;
        }
        log::error!("a target answered 410 Gone to another member of the fleet: nothing more is sent to it");
        if let Err(error) = disabled::disable(host, config, endpoint) {
            log::error!("it will get messages again: {error}");
        }
        self.look_at_disabled(host);
    }

    /// Holds the messages and digests that the store gives to this member.
    pub(super) fn take_given(
        &mut self,
        host: &impl Host,
        author: &impl Author,
        fleet: &mut FleetOutbox,
        now: UnixMillis,
    ) {
        let given = fleet.take_given();
        if given.is_empty() {
            return;
        }
        let held = held_ids(host);
        for given in given {
            let keeps = match author.restore(&given.id, &given.body, now) {
                _ if held.contains(&given.id) => true,
                Ok(restored) if self.hold_given(host, author, &restored, now) => true,
                // The store gives it again.
                Ok(_) => continue,
                Err(since) if since.is_some_and(|since| now.since(since) > STRAY_MS) => {
                    host.count(Metric::Failed);
                    log::error!("{}: no member of the fleet has its handler; it is dropped after a day", given.id);
                    fleet.end(Ended { shard: given.shard, id: given.id.clone(), released: None });
                    true
                }
                Err(_) => {
                    if self.said.insert(given.id.clone()) {
                        log::warn!("{}: this member does not have its handler; another one gets it", given.id);
                    }
                    false
                }
            };
            fleet.confirm(given.shard, given.id, keeps);
        }
    }

    /// `false` if it cannot be held now.
    fn hold_given(&mut self, host: &impl Host, author: &impl Author, held: &Held, now: UnixMillis) -> bool {
        let tag = match held {
            Held::Message(delivery) => delivery.target.tag,
            Held::Tally(_) => Tag::TALLY,
        };
        match outbox::hold(host, author.table(), tag, Share::All, held) {
            Ok(slot) => {
                log::info!("{}: taken over from another member of the fleet", held.id());
                self.wait(slot, held, now);
                true
            }
            Err(ReserveError::Full) => false,
            Err(ReserveError::Store(error)) => {
                log::error!("{}: a message of another member is not held yet: {error}", held.id());
                false
            }
        }
    }

    /// Whether a message may go out now. The store of a fleet is asked before each attempt.
    pub(super) fn may_send(
        &mut self,
        host: &impl Host,
        author: &impl Author,
        fleet: Option<&mut FleetOutbox>,
        (slot, delivery): (Slot, &Delivery),
        now: UnixMillis,
    ) -> bool {
        let (Some(fleet), Some(terms)) = (fleet, &delivery.terms) else { return true };
        let verdict = fleet.offer(&delivery.id, now, |fleet| Offer {
            shard: fleet.shard(&delivery.handler.name),
            body: author.share(delivery),
            is_first: delivery.attempts == 0,
            cause: delivery.claim.map(|claim| claim.shared_cause()),
            cap: terms.cap,
        });
        match verdict {
            Poll::Ready(Verdict::Send) => true,
            Poll::Pending => {
                let target = &delivery.target.authority;
                self.schedule.wait(slot, target, now.plus(ASK_MS), UnixMillis(delivery.since));
                false
            }
            Poll::Ready(Verdict::Elsewhere) => {
                self.schedule.forget(slot);
                match outbox::finish(host, slot, &delivery.id) {
                    Ok(_) => log::debug!("{delivery}: another member of the fleet sends it"),
                    Err(error) => log::error!("{delivery}: slot {} stays as it is: {error}", slot.0),
                }
                false
            }
            Poll::Ready(Verdict::CoolsDown(ms)) => {
                self.hold_back(host, author, (slot, delivery), Some(now.plus(ms)), now);
                false
            }
            Poll::Ready(Verdict::Capped) => {
                self.hold_back(host, author, (slot, delivery), None, now);
                false
            }
        }
    }

    /// Another member sent a message with this cause, whose cool-down lasts until `until`, or the members together have
    /// reached the cap. A tally of the event takes the message's place, if a digest reports it.
    fn hold_back(
        &mut self,
        host: &impl Host,
        author: &impl Author,
        (slot, delivery): (Slot, &Delivery),
        until: Option<UnixMillis>,
        now: UnixMillis,
    ) {
        host.count(if until.is_some() { Metric::Suppressed } else { Metric::Capped });
        if let Some(claim) = &delivery.claim {
            let moved = match until {
                Some(until) => author.move_end(host, claim, until),
                None => author.release(host, claim),
            };
            if let Err(error) = moved {
                log::warn!("{delivery}: its cool-down differs from the fleet's: {error}");
            }
        }
        let terms = delivery.terms.as_ref().filter(|terms| until.is_none() || terms.counts_suppressed);
        let tally = terms.and_then(|terms| terms.tally.clone()).map(|tally| {
            let of_claim = delivery.claim.filter(|_| until.is_some()).map(|claim| claim.shared);
            let ends = until.unwrap_or_else(|| now.plus(CAP_WINDOW_MS));
            Held::Tally(Tally { shared: of_claim.or(tally.shared), until: ends.0, ..tally })
        });
        self.schedule.forget(slot);
        let is_this = |held: &Held| matches!(held, Held::Message(held) if held.id == delivery.id);
        let changed = match &tally {
            Some(tally) => outbox::change(host, slot, |held| is_this(&held).then(|| tally.clone())),
            None => outbox::finish_if(host, slot, is_this),
        };
        match (changed, tally) {
            (Ok(true), Some(tally)) => self.wait(slot, &tally, now),
            (Ok(_), _) => {}
            (Err(error), _) => log::error!("{delivery}: slot {} stays as it is: {error}", slot.0),
        }
    }

    /// A tally ends, or the store is told its count.
    pub(super) fn end_tally(
        &mut self,
        host: &impl Host,
        author: &impl Author,
        fleet: Option<&mut FleetOutbox>,
        (slot, tally): (Slot, Tally),
        now: UnixMillis,
    ) {
        let (Some(fleet), Some(cause), Stage::Counting | Stage::Closed) = (fleet, tally.shared, tally.stage) else {
            return self.close_tally(host, author, slot, &tally, now);
        };
        let total = (tally.suppressed, tally.crossings.len());
        let fresh = || SharedTally {
            id: tally.id.clone(),
            told: (0, 0),
            telling: (0, 0, false),
            next: now,
            ends: tally.until(),
        };
        let known = self.shared_tallies.entry(slot).or_insert_with(fresh);
        if known.id != tally.id {
            *known = fresh();
        }
        let is_last = tally.stage == Stage::Closed || now >= tally.due(now).min(known.ends);
        if !is_last && known.told.0 == tally.suppressed {
            known.next = now.plus(COUNT_MS);
            return self.wait(slot, &Held::Tally(tally), now);
        }
        let verdict = fleet.count(&tally.id, now, |fleet| {
            known.telling = (total.0, total.1, is_last);
            Part {
                shard: fleet.shard(&tally.handler.name),
                cause,
                events: tally.suppressed,
                body: author.share_tally(&tally),
                until: tally.until(),
            }
        });
        let (events, crossings, was_last) = known.telling;
        match verdict {
            Poll::Pending => self.schedule.wait(slot, "", now.plus(ASK_MS), UnixMillis(tally.first)),
            Poll::Ready(PartVerdict::Counted(ms)) => {
                known.told = (events, crossings);
                (known.ends, known.next) = (now.plus(ms), now.plus(COUNT_MS));
                if was_last {
                    return self.leave_tally(host, slot, &tally, events, now);
                }
                self.wait(slot, &Held::Tally(tally), now);
            }
            Poll::Ready(PartVerdict::Reported) => {
                let told = known.told;
                if tally.stage == Stage::Closed || told.0 >= tally.suppressed {
                    return self.leave_tally(host, slot, &tally, tally.suppressed, now);
                }
                self.begin_again(host, (slot, tally), told, now);
            }
            Poll::Ready(PartVerdict::Lost) if now >= tally.until() => {
                self.shared_tallies.remove(&slot);
                self.close_tally(host, author, slot, &tally, now);
            }
            Poll::Ready(PartVerdict::Lost) => {
                known.next = now.plus(COUNT_MS);
                self.schedule.wait(slot, "", now.plus(COUNT_MS).min(tally.until()), UnixMillis(tally.first));
            }
        }
    }

    /// Frees the slot of a tally of which the store counts `events`. If it has counted more since, it stays.
    fn leave_tally(&mut self, host: &impl Host, slot: Slot, tally: &Tally, events: u64, now: UnixMillis) {
        self.schedule.forget(slot);
        let is_told =
            |held: &Held| matches!(held, Held::Tally(held) if held.id == tally.id && held.suppressed <= events);
        match outbox::finish_if(host, slot, is_told) {
            Ok(true) => drop(self.shared_tallies.remove(&slot)),
            Ok(false) => {
                if let Ok(Some(held)) = outbox::held(host, slot) {
                    self.wait(slot, &held, now);
                }
            }
            Err(error) => log::error!("{} by {}: {error}", tally.id, tally.handler.name),
        }
    }

    /// A digest has reported what the store was told of a tally. The events since become part of the next one.
    fn begin_again(&mut self, host: &impl Host, (slot, tally): (Slot, Tally), told: (u64, usize), now: UnixMillis) {
        self.shared_tallies.remove(&slot);
        let rest = outbox::change(host, slot, |held| match held {
            Held::Tally(mut held) if held.id == tally.id => {
                held.suppressed = held.suppressed.saturating_sub(told.0);
                held.crossings.drain(..told.1.min(held.crossings.len()));
                held.id.push('r');
                Some(Held::Tally(held))
            }
            _ => None,
        });
        self.schedule.forget(slot);
        match (rest, outbox::held(host, slot)) {
            (Ok(true), Ok(Some(held))) => self.wait(slot, &held, now),
            (Err(error), _) | (_, Err(error)) => log::error!("{} by {}: {error}", tally.id, tally.handler.name),
            _ => {}
        }
    }

    /// When a tally needs the dispatcher next.
    pub(super) fn tally_due(&self, slot: Slot, tally: &Tally, now: UnixMillis) -> UnixMillis {
        let due = tally.due(now);
        if !self.is_in_fleet || tally.shared.is_none() || tally.stage != Stage::Counting {
            return due;
        }
        match self.shared_tallies.get(&slot).filter(|known| known.id == tally.id) {
            Some(known) => due.min(known.next).min(known.ends),
            None => UnixMillis(tally.first),
        }
    }

    /// Tells the fleet's outbox what happened.
    pub(super) fn tell(&mut self, fleet: Option<&mut FleetOutbox>) {
        let News { ended, released, disabled } = std::mem::take(&mut self.news);
        let Some(fleet) = fleet else { return };
        for (handler, id) in ended {
            let released = released.iter().find(|(of, _)| *of == id).map(|(_, cause)| *cause);
            fleet.end(Ended { shard: fleet.shard(&handler), id, released });
        }
        for (handler, endpoint) in disabled {
            fleet.disable(&handler, format!("{:x}", endpoint.0));
        }
    }
}

/// The ids of all held messages and tallies.
fn held_ids(host: &impl Host) -> BTreeSet<String> {
    outbox::all(host).map(|held| held.id().to_owned()).collect()
}
