//! From a written message to a receiver: held in shared data, dispatched by one VM of the process, tried again.
//!
//! [`outbox`] holds messages and tallies, [`succession`] says which configuration they belong to after an update, [`lease`]
//! elects the VM that sends, [`schedule`] decides whose turn it is, [`dispatcher`] sends, [`attempt`] judges the reply,
//! [`disabled`] remembers targets that answered 410, [`lookups`] and [`clusters`] those that the proxy cannot reach yet.
//!
//! Delivery knows neither handlers nor what a message says: it asks an [`Author`].

pub mod attempt;
mod author;
pub mod claim;
pub mod clusters;
pub mod disabled;
pub mod dispatcher;
pub mod handler_ref;
pub mod lease;
pub mod lookups;
pub mod outbox;
pub mod schedule;
pub mod succession;
pub mod tally;
pub mod target;

pub use attempt::{DeliveryOutcome, Failure, retry_after_ms};
pub use claim::{CauseDigest, Claim};
pub use clusters::{ClusterUse, Clusters, UnknownClusters};
pub use disabled::ConfigId;
pub use dispatcher::Dispatcher;
pub use handler_ref::{HandlerRef, ListPath};
pub use outbox::{ReserveError, Share, Slot, Table, Tag};
pub use schedule::InFlightLimits;
pub use succession::{Line, Placement, PluginScope, Succession};
pub use tally::{Link, Tally};
pub use target::{EndpointId, Scheme, Target, USER_AGENT};

pub use author::Author;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::{UnixMillis, fingerprint, set_right};
use crate::host::CorruptRecord;
use succession::Origin;

/// How often a message is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retries {
    /// Attempts before a message is given up; at least 1.
    pub max_attempts: u32,
    /// The first back-off, doubled for each further one.
    pub base_delay_ms: u64,
    /// The longest back-off.
    pub max_delay_ms: u64,
}

/// How messages are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryPolicy {
    /// Attempts, and the time between them.
    pub retries: Retries,
    /// The time for one attempt; at least 1.
    pub timeout_ms: u64,
    /// Messages held at a time.
    pub capacity: u32,
    /// Attempts under way.
    pub limits: InFlightLimits,
}

/// What a slot holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Held {
    /// A message.
    Message(Delivery),
    /// A count of events that became no message; it becomes one in time.
    Tally(Tally),
}

/// A message on its way: enough to be sent by any VM, whatever its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The message's id, the same in every attempt: the event's, and what tells one of its handlers from the others.
    pub id: String,
    /// The event's type.
    pub event: String,
    /// The handler that it is of.
    pub handler: HandlerRef,
    /// The configuration that it belongs to.
    pub origin: Origin,
    /// The cool-down claim that this message holds.
    pub claim: Option<Claim>,
    /// Where to.
    pub target: Target,
    /// What is sent.
    pub content: EncodedContent,
    /// The time for one attempt.
    pub timeout_ms: u64,
    /// How often it is tried.
    pub retries: Retries,
    /// Attempts made.
    pub attempts: u32,
    /// When it was handed over, in Unix milliseconds.
    pub since: u64,
    /// When the first attempt ended, in Unix milliseconds; 0 before.
    pub first_attempt: u64,
    /// When the next attempt is due, in Unix milliseconds.
    pub due: u64,
    /// When that was decided, in Unix milliseconds.
    pub decided: u64,
}

/// What a message sends, as its [`Author`] has encoded it. It may hold secrets.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncodedContent(pub Vec<u8>);

impl fmt::Debug for EncodedContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

const VERSION: u8 = 2;

impl Delivery {
    /// An id for the message that a handler makes of an event.
    pub fn id_of(event: &str, handler: &str) -> String {
        format!("{event}{:08x}", fingerprint(&[handler]) >> 32)
    }

    /// When the next attempt is due, by a clock that may have been set back since that was decided.
    pub fn due(&self, now: UnixMillis) -> UnixMillis {
        set_right(UnixMillis(self.due), UnixMillis(self.decided), now)
    }
}

impl fmt::Display for Delivery {
    /// For logs: no path, query or header of the target, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} by {} to {}", self.event, self.id, self.handler.name, self.target.authority)
    }
}

impl Held {
    /// The id of the message that it is or becomes.
    pub fn id(&self) -> &str {
        match self {
            Held::Message(delivery) => &delivery.id,
            Held::Tally(tally) => &tally.id,
        }
    }

    /// The configuration that it belongs to.
    pub fn origin(&self) -> Origin {
        match self {
            Held::Message(delivery) => delivery.origin,
            Held::Tally(tally) => tally.origin,
        }
    }

    /// When it was handed over, in Unix milliseconds; of a tally, its first event.
    pub fn since(&self) -> u64 {
        match self {
            Held::Message(delivery) => delivery.since,
            Held::Tally(tally) => tally.first,
        }
    }

    /// The bytes to store: a version byte, then postcard.
    pub fn encode(&self) -> Vec<u8> {
        // Serializing plain data into a growing vector has no way to fail.
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }

    /// From stored bytes.
    ///
    /// # Errors
    /// When they are not whole.
    pub fn decode(bytes: &[u8]) -> Result<Self, CorruptRecord> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => postcard::from_bytes(rest).ok(),
            _ => None,
        }
        .ok_or(CorruptRecord { record: "held message", len: bytes.len() })
    }
}

#[cfg(test)]
mod tests;
