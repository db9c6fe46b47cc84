//! A count of events that were held back. It uses a slot until it becomes a message.

use serde::{Deserialize, Serialize};

use super::claim::CauseDigest;
use super::handler_ref::HandlerRef;
use super::outbox::Slot;
use super::succession::{Origin, Placement, Succession};
use crate::base::{Address, UnixMillis, set_right};
use crate::event::Crossed;

/// The tally that counts further events, and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The tally's slot.
    pub slot: Slot,
    /// When it becomes a message. With the cause, this distinguishes the tally from a later one in the same slot.
    pub until: UnixMillis,
}

/// What happens to a tally at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// It counts events. At its end it becomes a message, or the store of a fleet gets its count.
    #[default]
    Counting,
    /// It is one event that the fleet held back. The store gets it at once.
    Closed,
    /// It contains the counts of all members of a fleet. It becomes a message at once.
    Merged,
}

/// A count of events that were held back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// The id of the message that it becomes.
    pub id: String,
    pub event: String,
    /// The handler of the message.
    pub handler: HandlerRef,
    /// The configuration that it belongs to.
    pub origin: Origin,
    /// For emails: the recipient.
    pub to: Option<Address>,
    /// The cause that held the events back.
    pub cause: CauseDigest,
    /// The same, as all members of a fleet know it; `None` without a store.
    pub shared: Option<[u8; 16]>,
    pub stage: Stage,
    /// The first event's [`Meta`](crate::event::Meta) in stored form. It is read only when the message is made.
    pub meta: Vec<u8>,
    /// For crossed thresholds: the crossings that a digest lists, up to its limit.
    pub crossings: Vec<Crossed>,
    /// The number of events.
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

    /// When it becomes a message. The clock may have been set back since it began.
    pub fn due(&self, now: UnixMillis) -> UnixMillis {
        if self.stage != Stage::Counting {
            return UnixMillis(self.last);
        }
        set_right(self.until(), UnixMillis(self.first), now)
    }

    /// True if this configuration makes its message.
    pub fn belongs_to(&self, placement: &Placement, succession: &Succession) -> bool {
        self.origin == placement.origin() || succession.takes_over(placement.id, self.origin, UnixMillis(self.first))
    }
}
