//! Admission: decides whether a message may go out, by its cool-down, its handler's cap, and the room in the outbox.
//!
//! An admitted message gets a [`Permit`]: a slot of the outbox, a turn of the cap and a claim of the cool-down. A
//! permit that is dropped unused gives all three back. A tally counts the events that a cool-down or a cap holds back
//! ([`digest`]).

pub mod cap;
pub mod cooldown;
pub mod digest;
mod excess;
mod fleet;
mod repeats;

pub use repeats::{HeldBack, Repeats};

use crate::base::UnixMillis;
use crate::delivery::{CauseDigest, Claim, Delivery, Held, ReserveError, Share, Slot, disabled, outbox};
use crate::event::{Event, Family, Subject};
use crate::host::{Host, Metric};
use crate::notify::handler::Handler;
use crate::notify::{Channel, MessageOutcome, Notifications};
use cap::{Budget, Turn};
use cooldown::LiveClaim;

/// The maximum number of attempts to claim. Each repetition means that another VM was faster.
const MAX_TRIES: usize = 16;

/// A message that asks for admission.
pub struct Admission<'m, H: Host> {
    host: &'m H,
    notifications: &'m Notifications,
    handler: &'m Handler,
    channel: &'m Channel,
    event: &'m Event,
    cause: CauseDigest,
    checksum: [u8; 16],
    budget: Budget,
    now: UnixMillis,
}

impl<'m, H: Host> Admission<'m, H> {
    /// Made for the message whose request has this checksum.
    pub fn new(
        host: &'m H,
        notifications: &'m Notifications,
        (handler, channel): (&'m Handler, &'m Channel),
        event: &'m Event,
        checksum: [u8; 16],
        now: UnixMillis,
    ) -> Self {
        let group = notifications.group(event);
        let cause = CauseDigest::new(&handler.name, group, checksum);
        let budget = channel.cap.budget(event, group);
        Admission { host, notifications, handler, channel, event, cause, checksum, budget, now }
    }

    /// The reason to hold the message back, if reading alone shows one. Nothing is claimed.
    pub fn refused_at_sight(&self) -> Option<MessageOutcome> {
        let Admission { host, notifications, channel, now, .. } = *self;
        if channel.event_timeout_ms > 0
            && let Ok(Some(live)) = cooldown::peek(host, self.cause, now)
        {
            return Some(self.suppressed(&live));
        }
        let (id, endpoint) = (notifications.placement.id, channel.target.endpoint);
        if disabled::disabled(host).is_ok_and(|disabled| disabled.contains(id, endpoint)) {
            host.count(Metric::Disabled);
            return Some(MessageOutcome::Disabled);
        }
        match self.budget.peek(host, now) {
            Ok(Turn::Capped(seen)) => Some(self.capped(seen)),
            _ => None,
        }
    }

    /// Takes everything that the message needs to go out.
    ///
    /// # Errors
    /// The reason to hold the message back.
    pub fn admit(&self) -> Result<Permit<'_, H>, MessageOutcome> {
        let Admission { host, notifications, channel, now, .. } = *self;
        let slot = outbox::reserve(host, notifications.table(), channel.target.tag, share_of(self.event));
        let slot = slot.map_err(|error| self.drop(&error))?;
        let mut permit = Permit { admission: self, slot: Some(slot), has_turn: false, claim: None };
        // The turn is taken before the claim. An unused turn can be given back, but a released claim could have held an
        // event back without need.
        match self.budget.take(host, now) {
            Ok(Turn::Free) => permit.has_turn = true,
            Ok(Turn::Capped(seen)) => {
                drop(permit);
                return Err(self.capped(seen));
            }
            Err(error) => self.log(log::Level::Error, &format!("goes out without a cap: {error}")),
        }
        match self.claim() {
            Ok(claim) => permit.claim = claim,
            Err(live) => {
                drop(permit);
                return Err(self.suppressed(&live));
            }
        }
        Ok(permit)
    }

    /// Claims the cause, if the channel has a cool-down.
    ///
    /// # Errors
    /// The claim of another message.
    fn claim(&self) -> Result<Option<Claim>, LiveClaim> {
        let Admission { host, channel, cause, now, .. } = *self;
        if channel.event_timeout_ms == 0 {
            return Ok(None);
        }
        for _ in 0..MAX_TRIES {
            match cooldown::claim(host, cause, channel.event_timeout_ms, now) {
                Ok(Some(claim)) => {
                    return Ok(Some(Claim { shared: self.shared_cause(), ..claim }));
                }
                // Another VM has the claim, and may release it before this VM reads it.
                Ok(None) => {
                    if let Ok(Some(live)) = cooldown::peek(host, cause, now) {
                        return Err(live);
                    }
                }
                Err(error) => {
                    self.log(log::Level::Error, &format!("goes out without a cool-down: {error}"));
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    fn drop(&self, error: &ReserveError) -> MessageOutcome {
        self.host.count(Metric::Dropped);
        if *error != ReserveError::Full || share_of(self.event) != Share::Common {
            self.log(log::Level::Error, &format!("is dropped: {error}"));
        }
        MessageOutcome::Dropped
    }

    fn log(&self, level: log::Level, what: &str) {
        log::log!(level, "{}: {} {} {what}", self.handler.name, self.event.kind.name(), self.event.id);
    }
}

/// The permission for one message to go out.
pub struct Permit<'a, H: Host> {
    admission: &'a Admission<'a, H>,
    /// `None` after a message has filled it.
    slot: Option<Slot>,
    has_turn: bool,
    claim: Option<Claim>,
}

impl<H: Host> Permit<'_, H> {
    /// The claim of the message's cool-down.
    pub fn claim(&self) -> Option<Claim> {
        self.claim
    }

    /// Puts the message into the outbox.
    pub fn hold(mut self, message: Delivery) -> MessageOutcome {
        let Admission { host, .. } = *self.admission;
        let Some(slot) = self.slot else { return MessageOutcome::Dropped };
        if let Err(error) = outbox::fill(host, slot, &Held::Message(message)) {
            return self.admission.drop(&error.into());
        }
        self.slot = None;
        if let Err(error) = host.wake(&slot.0.to_le_bytes()) {
            self.admission.log(log::Level::Debug, &format!("waits for the dispatcher's next tick: {error}"));
        }
        MessageOutcome::Taken
    }
}

impl<H: Host> Drop for Permit<'_, H> {
    /// If the host refuses one write, it may refuse these, too. Then the dispatcher frees the slot, and the claim ends
    /// with its period.
    fn drop(&mut self) {
        let Some(slot) = self.slot else { return };
        let Admission { host, now, budget, .. } = self.admission;
        if let Err(error) = outbox::free(*host, slot) {
            log::error!("slot {} is not freed yet: {error}", slot.0);
        }
        if self.has_turn
            && let Err(error) = budget.give_back(*host, *now)
        {
            self.admission.log(log::Level::Warn, &format!("keeps its place in the cap: {error}"));
        }
        if let Some(Err(error)) = self.claim.map(|claim| cooldown::release(*host, &claim)) {
            self.admission
                .log(log::Level::Warn, &format!("did not go out, and its cool-down is not released: {error}"));
        }
    }
}

/// True if no other caller has asked for this cause within `period_ms`.
pub fn is_first(host: &impl Host, cause: &str, period_ms: u64, now: UnixMillis) -> bool {
    let cause = CauseDigest::new(cause, 0, [0; 16]);
    matches!(cooldown::claim(host, cause, period_ms, now), Ok(Some(_)))
}

/// The part of the outbox that messages of an event may use.
fn share_of(event: &Event) -> Share {
    match event.kind.family() {
        Family::Threshold if event.crossed.as_ref().is_some_and(|crossed| crossed.subject == Subject::Identity) => {
            Share::Common
        }
        Family::Threshold | Family::Upstream => Share::All,
        Family::Dashboard | Family::Portal => Share::Management,
        Family::Request => Share::Common,
    }
}

#[cfg(test)]
mod tests;
