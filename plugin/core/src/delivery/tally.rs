//! A count of events that were held back, which takes a slot until it becomes a message.

use serde::{Deserialize, Serialize};

use super::claim::CauseDigest;
use super::handler_ref::HandlerRef;
use super::outbox::Slot;
use super::succession::{Origin, Placement, Succession};
use crate::base::{Address, UnixMillis, set_right};
use crate::event::Crossed;

/// Where events are counted, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The tally's slot.
    pub slot: Slot,
    /// When it becomes a message; with the cause, it tells this tally from a later one in the same slot.
    pub until: UnixMillis,
}

/// A count of events that were held back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// The id of the message that it becomes.
    pub id: String,
    /// The events' type.
    pub event: String,
    /// The handler that it is of.
    pub handler: HandlerRef,
    /// The configuration that it belongs to.
    pub origin: Origin,
    /// Of letters: whose they are.
    pub to: Option<Address>,
    /// Why they were held back.
    pub cause: CauseDigest,
    /// What the first of them said: a stored [`Meta`], which is read only when the message is written.
    pub meta: Vec<u8>,
    /// Of crossed thresholds: each of them, as many as a digest names.
    pub crossings: Vec<Crossed>,
    /// How many there are.
    pub suppressed: u64,
    /// When the first happened, in Unix milliseconds.
    pub first: u64,
    /// When the last happened, in Unix milliseconds.
    pub last: u64,
    /// When it becomes a message, in Unix milliseconds.
    pub until: u64,
}

impl Tally {
    /// When it becomes a message.
    pub fn until(&self) -> UnixMillis {
        UnixMillis(self.until)
    }

    /// When it becomes a message, by a clock that may have been set back since it began.
    pub fn due(&self, now: UnixMillis) -> UnixMillis {
        set_right(self.until(), UnixMillis(self.first), now)
    }

    /// Whether it is for this configuration to write its message.
    pub fn belongs_to(&self, placement: &Placement, succession: &Succession) -> bool {
        self.origin == placement.origin() || succession.takes_over(placement.id, self.origin, UnixMillis(self.first))
    }
}
