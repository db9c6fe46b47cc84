//! From a rendered message to a receiver: held in shared data, dispatched by one VM of the process, tried again.
//!
//! [`outbox`] holds the messages, [`lease`] elects the VM, [`schedule`] says whose turn it is, [`dispatcher`] works,
//! [`signature`] signs, [`attempt`] judges what came back, [`disabled`] remembers who wants nothing more.

pub mod attempt;
pub mod disabled;
pub mod dispatcher;
pub mod lease;
pub mod outbox;
pub mod schedule;
pub mod signature;

use serde::{Deserialize, Serialize};

use crate::cooldown::Claim;
use crate::digest::Tally;
use crate::mail::Carrier;
use crate::ports::Callout;
use crate::store::CorruptRecord;
use crate::units::{UnixMillis, fingerprint, set_right};
use disabled::ConfigId;
use schedule::Limits;
use signature::SigningKey;

/// How messages are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryPolicy {
    /// Attempts before a message is given up; at least 1.
    pub max_attempts: u32,
    /// The first back-off, doubled for each further one.
    pub base_delay_ms: u64,
    /// The longest back-off.
    pub max_delay_ms: u64,
    /// The time for one attempt; at least 1.
    pub timeout_ms: u64,
    /// Messages held at a time.
    pub capacity: u32,
    /// Attempts under way.
    pub limits: Limits,
}

/// What a target's URL stands for where URLs must not be shown: two are alike only if the URLs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointId(pub u64);

impl EndpointId {
    /// Of a URL's parts.
    pub fn new(scheme: &str, authority: &str, path_and_query: &str) -> Self {
        EndpointId(fingerprint(&[scheme, authority, path_and_query]))
    }
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
    /// The handler's name.
    pub handler: String,
    /// The configuration that it was made under.
    pub config: ConfigId,
    /// The cool-down claim that this message holds.
    pub claim: Option<Claim>,
    /// The cluster that carries it.
    pub cluster: String,
    /// Pseudo-headers and headers.
    pub headers: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: String,
    /// The time for one attempt.
    pub timeout_ms: u64,
    /// What it is signed with, should the configuration no longer know its handler.
    pub keys: Vec<SigningKey>,
    /// Of a letter: what signs it, and judges the answer.
    pub carrier: Option<Carrier>,
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

const VERSION: u8 = 1;

impl Delivery {
    /// An id for the message that a handler makes of an event.
    pub fn id_of(event: &str, handler: &str) -> String {
        format!("{event}{:08x}", fingerprint(&[handler]) >> 32)
    }

    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The receiving host, as in `:authority`.
    pub fn target(&self) -> &str {
        self.header(":authority")
    }

    /// The receiving URL.
    pub fn endpoint(&self) -> EndpointId {
        EndpointId::new(self.header(":scheme"), self.target(), self.header(":path"))
    }

    /// The request of an attempt that begins `now`.
    pub fn callout(&self, keys: &[SigningKey], now: UnixMillis) -> Callout {
        let own = match &self.carrier {
            // A provider is no receiver of webhooks.
            Some(carrier) => carrier.sign(&self.headers, self.body.as_bytes(), now),
            None => signature::headers(keys, &self.id, &self.body, now),
        };
        Callout {
            cluster: self.cluster.clone(),
            headers: self.headers.iter().cloned().chain(own).collect(),
            body: self.body.clone().into_bytes(),
            timeout_ms: self.timeout_ms.max(1),
        }
    }

    /// When the next attempt is due, by a clock that may have been set back since that was decided.
    pub fn due(&self, now: UnixMillis) -> UnixMillis {
        set_right(UnixMillis(self.due), UnixMillis(self.decided), now)
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
