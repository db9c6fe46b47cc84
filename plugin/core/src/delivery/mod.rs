//! Delivery: messages are held in shared data, sent by one VM of the process, and retried.
//!
//! [`outbox`] holds messages and tallies. [`succession`] decides which configuration they belong to after an update.
//! [`lease`] elects the VM that sends, [`schedule`] orders the attempts, [`dispatcher`] sends, and [`attempt`] judges
//! the replies. [`failed`] keeps messages that failed for good, and [`tried`] what became of attempts. [`disabled`] stores
//! targets that answered 410; [`lookups`] and [`clusters`] those that the proxy cannot reach yet.
//!
//! Delivery knows neither handlers nor the content of messages. It asks an [`Author`].

pub mod attempt;
mod author;
pub mod claim;
pub mod clusters;
pub mod disabled;
pub mod dispatcher;
pub mod failed;
pub mod handler_ref;
pub mod lease;
pub mod lookups;
pub mod outbox;
pub mod schedule;
pub mod succession;
pub mod tally;
pub mod target;
pub mod tried;

pub use attempt::{DeliveryOutcome, Failure, retry_after_ms};
pub use claim::{CauseDigest, Claim};
pub use clusters::{ClusterUse, Clusters, UnknownClusters};
pub use disabled::ConfigId;
pub use dispatcher::Dispatcher;
pub use handler_ref::{HandlerRef, ListPath};
pub use outbox::{ReserveError, Share, Slot, Table, Tag};
pub use schedule::InFlightLimits;
pub use succession::{Line, Placement, PluginScope, Succession};
pub use tally::{Link, Stage, Tally};
pub use target::{EndpointId, Scheme, Target, USER_AGENT};
pub use tried::{LastTried, Tried};

pub use crate::store::{Cause, FleetOutbox, MessageCap};
pub use author::Author;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::{UnixMillis, fingerprint, set_right};
use crate::host::CorruptRecord;
use succession::Origin;

/// How often a message is attempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retries {
    /// The maximum number of attempts; at least 1.
    pub max_attempts: u32,
    /// The first back-off. Each further one is twice as long.
    pub base_delay_ms: u64,
    /// The longest back-off.
    pub max_delay_ms: u64,
}

/// How messages are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryPolicy {
    /// Attempts, and the delays between them.
    pub retries: Retries,
    /// The time-out of one attempt; at least 1.
    pub timeout_ms: u64,
    /// The maximum number of held messages.
    pub capacity: u32,
    /// The maximum numbers of attempts in flight.
    pub limits: InFlightLimits,
}

/// The content of a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Held {
    Message(Delivery),
    /// A count of events that were held back. It becomes a message later.
    Tally(Tally),
}

/// A held message with all data that any VM needs to send it, whatever its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The message's id, which is the same in every attempt: the event's id, and a suffix that identifies the handler.
    pub id: String,
    pub event: String,
    /// The handler that made it.
    pub handler: HandlerRef,
    /// The configuration that it belongs to.
    pub origin: Origin,
    /// The cool-down claim that this message holds.
    pub claim: Option<Claim>,
    /// What the fleet decides on before the first attempt; `None` without a store.
    pub terms: Option<Box<FleetTerms>>,
    pub target: Target,
    pub content: EncodedContent,
    /// The time-out of one attempt.
    pub timeout_ms: u64,
    /// The number of attempts and their delays.
    pub retries: Retries,
    /// The number of attempts so far.
    pub attempts: u32,
    /// When the message was held, in Unix milliseconds.
    pub since: u64,
    /// When the first attempt ended, in Unix milliseconds; 0 before that.
    pub first_attempt: u64,
    /// When the next attempt is due, in Unix milliseconds.
    pub due: u64,
    /// When `due` was decided, in Unix milliseconds.
    pub decided: u64,
    /// The last attempts, the oldest first: see [`Tried::pack`].
    pub tried: Vec<(u64, u64)>,
}

/// What the fleet needs to hold a message back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetTerms {
    /// The cap of its handler and kind of event; `None` if there is none.
    pub cap: Option<MessageCap>,
    /// Counts the event if the message is held back; `None` if nothing counts it.
    pub tally: Option<Tally>,
    /// True if it is counted when a cool-down holds it back, not only when the cap does.
    pub counts_suppressed: bool,
}

/// The content of a message, as its [`Author`] has encoded it. It may contain secrets.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncodedContent(pub Vec<u8>);

impl fmt::Debug for EncodedContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

const VERSION: u8 = 5;

impl Delivery {
    /// The id of a handler's message for an event.
    pub fn id_of(event: &str, handler: &str) -> String {
        format!("{event}{:08x}", fingerprint(&[handler]) >> 32)
    }

    /// The message without its attempts: the first one is due now.
    #[must_use]
    pub fn afresh(self, now: UnixMillis) -> Self {
        let (due, decided) = (now.0, now.0);
        Delivery { attempts: 0, first_attempt: 0, due, decided, tried: Vec::new(), ..self }
    }

    /// When the next attempt is due. The clock may have been set back since that was decided.
    pub fn due(&self, now: UnixMillis) -> UnixMillis {
        set_right(UnixMillis(self.due), UnixMillis(self.decided), now)
    }
}

impl fmt::Display for Delivery {
    /// The form for log lines, without path, query and headers of the target, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} by {} to {}", self.event, self.id, self.handler.name, self.target.authority)
    }
}

impl Held {
    /// The id of the message, or of the message that the tally becomes.
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

    /// When the message was held, or the first event of the tally counted, in Unix milliseconds.
    pub fn since(&self) -> u64 {
        match self {
            Held::Message(delivery) => delivery.since,
            Held::Tally(tally) => tally.first,
        }
    }

    /// Encodes it as a version byte and postcard.
    pub fn encode(&self) -> Vec<u8> {
        // Serializing plain data into a growing vector cannot fail.
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }

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
