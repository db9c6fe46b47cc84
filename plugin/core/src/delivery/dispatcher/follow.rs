//! How the dispatcher follows the content of slots.

use crate::base::UnixMillis;
use crate::delivery::dispatcher::{ABANDONED_AFTER_MS, HELD, LEADER_FIRST_MS, WAKE_UPS};
use crate::delivery::{Author, ConfigId, Delivery, Dispatcher, Held, Slot, Stage, Succession, outbox};
use crate::host::{Host, Metric, StoreError};

impl Dispatcher {
    /// Does the work for this VM's own configuration. The leading VM may have another configuration; then it can
    /// neither make this one's digests nor take over messages of this one's predecessor.
    pub(super) fn mind_own(&mut self, host: &impl Host, author: &impl Author, leader: ConfigId, now: UnixMillis) {
        let takes_over = leader != author.placement().id && self.succession.has_predecessor(author.placement().id);
        for (slot, is_tally) in outbox::taken_by(host, author.placement().line).unwrap_or_default() {
            match (is_tally || takes_over).then(|| outbox::held(host, slot)) {
                // A leading VM in the fleet waits for the store.
                Some(Ok(Some(Held::Tally(tally))))
                    if tally.shared.is_some() && leader == author.placement().id && tally.stage != Stage::Merged => {}
                Some(Ok(Some(Held::Tally(tally))))
                    if now.since(tally.due(now)) >= LEADER_FIRST_MS
                        && tally.belongs_to(author.placement(), &self.succession) =>
                {
                    if let Err(error) = author.close(host, &self.succession, (slot, &tally), now) {
                        log::error!("{} by {}: {error}", tally.id, tally.handler.name);
                    }
                }
                Some(Ok(Some(held @ Held::Message(_)))) if takes_over => {
                    self.taken_over(host, author, slot, held, now);
                }
                _ => {}
            }
        }
    }

    pub(super) fn is_due_to_another(&self, author: &impl Author, held: &Held, now: UnixMillis) -> bool {
        self.succession.is_due_to_another(author.placement().id, held.origin(), UnixMillis(held.since()), now)
    }

    /// The content of a slot after this configuration has taken over its predecessor's message; `None` if nothing can
    /// be sent now.
    pub(super) fn taken_over(
        &mut self,
        host: &impl Host,
        author: &impl Author,
        slot: Slot,
        held: Held,
        now: UnixMillis,
    ) -> Option<Held> {
        let is_due = |delivery: &Delivery, succession: &Succession| {
            succession.takes_over(author.placement().id, delivery.origin, UnixMillis(delivery.since))
        };
        let before = match held {
            Held::Message(delivery) if is_due(&delivery, &self.succession) => delivery,
            held => return Some(held),
        };
        let (handler, url) = (before.handler.name.clone(), before.target.endpoint);
        let Some(after) = author.adopt(before.clone(), now) else {
            if self.said.insert(handler) {
                log::warn!("{}: an update removed this handler: its held messages are not sent", before.handler.name);
            }
            if self.end(host, author, slot, &before) {
                host.count(Metric::Withdrawn);
            }
            return None;
        };
        // Attempts may have ended meanwhile.
        let changed = outbox::change(host, slot, |held| match held {
            Held::Message(held) if held.id == before.id => author.adopt(held, now).map(Held::Message),
            _ => None,
        });
        match changed {
            Ok(true) if after.target.endpoint != url => {
                host.count(Metric::Readdressed);
                if self.said.insert(handler) {
                    let name = &after.handler.name;
                    log::info!("{name}: its held messages go to its new URL, at {}", after.target.authority);
                }
            }
            Ok(true) => {}
            // Another VM has finished it. The next tick reads the slot again.
            Ok(false) => {
                self.schedule.forget(slot);
                return None;
            }
            Err(error) => {
                log::error!("{}: slot {} stays as it is: {error}", before, slot.0);
                self.schedule.forget(slot);
                return None;
            }
        }
        Some(Held::Message(after))
    }

    pub(super) fn drain_wakeups(&mut self, host: &impl Host, author: &impl Author, now: UnixMillis) {
        loop {
            match host.take() {
                Ok(Some(message)) => {
                    if let Ok(number) = message.as_slice().try_into() {
                        self.follow(host, author, Slot(u32::from_le_bytes(number)), now);
                    }
                }
                Ok(None) => return self.troubles.works(WAKE_UPS),
                Err(error) => return self.troubles.fails(WAKE_UPS, &error),
            }
        }
    }

    /// Finds slots that no wake-up announced. Returns the number of used slots.
    pub(super) fn follow_taken(&mut self, host: &impl Host, author: &impl Author, now: UnixMillis) -> usize {
        let taken = match outbox::taken(host) {
            Ok(taken) => taken,
            Err(StoreError::Corrupt(corrupt)) => {
                log::error!("held messages cannot be listed: {corrupt}; the index is rebuilt");
                if let Err(error) = outbox::rebuild(host) {
                    log::error!("the index cannot be rebuilt: {error}");
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
                self.follow(host, author, *slot, now);
            }
        }
        taken.len()
    }

    /// Reads the content of a used slot.
    pub(super) fn follow(&mut self, host: &impl Host, author: &impl Author, slot: Slot, now: UnixMillis) {
        if self.schedule.is_under_way(slot) {
            return;
        }
        match outbox::held(host, slot) {
            Ok(Some(held)) => {
                if let Some(held) = self.taken_over(host, author, slot, held, now) {
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

    pub(super) fn wait(&mut self, slot: Slot, held: &Held, now: UnixMillis) {
        let (target, due) = self.turn(slot, held, now);
        self.schedule.wait(slot, target, due, UnixMillis(held.since()));
    }

    /// True if a slot still holds what this VM has scheduled. If not, the schedule is corrected: another VM may have
    /// made a digest of a tally, or may have used the slot again.
    pub(super) fn is_as_scheduled(&mut self, slot: Slot, held: &Held, now: UnixMillis) -> bool {
        let (target, due) = self.turn(slot, held, now);
        let is_as_scheduled = due <= now && self.schedule.is_waiting_for(slot, target);
        if !is_as_scheduled {
            self.wait(slot, held, now);
        }
        is_as_scheduled
    }

    pub(super) fn discard(&mut self, host: &impl Host, slot: Slot) {
        self.schedule.forget(slot);
        host.count(Metric::Failed);
        if let Err(error) = outbox::free(host, slot) {
            log::error!("slot {} stays taken: {error}", slot.0);
        }
    }

    /// The target and the time of a slot's content; a tally has no target.
    fn turn<'h>(&self, slot: Slot, held: &'h Held, now: UnixMillis) -> (&'h str, UnixMillis) {
        match held {
            Held::Message(delivery) => (delivery.target.authority.as_str(), delivery.due(now)),
            Held::Tally(tally) => ("", self.tally_due(slot, tally, now)),
        }
    }
}
