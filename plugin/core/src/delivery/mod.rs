//! From a rendered message to a receiver: held in shared data, dispatched by one VM of the process, tried again.
//!
//! [`outbox`] holds the messages, [`lease`] elects the VM, [`dispatcher`] works, [`attempt`] judges what came back.

pub mod attempt;
pub mod dispatcher;
pub mod lease;
pub mod outbox;

use serde::{Deserialize, Serialize};

use crate::cooldown::Claim;
use crate::ports::Callout;
use crate::store::CorruptRecord;
use crate::units::UnixMillis;

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
    /// Attempts under way at a time.
    pub max_in_flight: usize,
    /// Attempts under way to one host at a time.
    pub max_in_flight_per_target: usize,
}

/// A message on its way: enough to be sent by any VM, whatever its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The event's id, the same in every attempt.
    pub id: String,
    /// The event's type.
    pub event: String,
    /// The handler's name.
    pub handler: String,
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
    /// Attempts made.
    pub attempts: u32,
    /// When the next attempt is due, in Unix milliseconds.
    pub due: u64,
}

const VERSION: u8 = 1;

impl Delivery {
    /// The receiving host, as in `:authority`.
    pub fn target(&self) -> &str {
        self.headers.iter().find(|(name, _)| name == ":authority").map_or("", |(_, value)| value)
    }

    /// The request to send.
    pub fn callout(&self) -> Callout {
        Callout {
            cluster: self.cluster.clone(),
            headers: self.headers.clone(),
            body: self.body.clone().into_bytes(),
            timeout_ms: self.timeout_ms.max(1),
        }
    }

    /// When the next attempt is due.
    pub fn due(&self) -> UnixMillis {
        UnixMillis(self.due)
    }

    /// The bytes to store: a version byte, then postcard.
    pub fn encode(&self) -> Vec<u8> {
        // Serializing plain data into a growing vector has no way to fail.
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }

    /// From stored bytes.
    ///
    /// # Errors
    /// When they are not a whole delivery.
    pub fn decode(bytes: &[u8]) -> Result<Self, CorruptRecord> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => postcard::from_bytes(rest).ok(),
            _ => None,
        }
        .ok_or(CorruptRecord { record: "delivery", len: bytes.len() })
    }
}

#[cfg(test)]
mod tests;
