//! From a rendered message to a receiver: held in shared data, dispatched by one VM of the process, tried again.
//!
//! [`outbox`] holds the messages, [`succession`] says whose they are after an update, [`lease`] elects the VM, [`schedule`] says whose turn it is, [`dispatcher`] works,
//! [`signature`] signs, [`attempt`] judges what came back, [`disabled`] remembers who wants nothing more, [`lookups`] and
//! [`clusters`] whom the proxy cannot reach yet.

pub mod attempt;
pub mod clusters;
pub mod disabled;
pub mod dispatcher;
pub mod lease;
pub mod lookups;
pub mod outbox;
pub mod schedule;
pub mod signature;
pub mod succession;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cooldown::Claim;
use crate::digest::Tally;
use crate::handler::{HandlerRef, Target};
use crate::mail::{Account, Letter};
use crate::ports::Callout;
use crate::store::CorruptRecord;
use crate::units::{UnixMillis, fingerprint, set_right};
use schedule::Limits;
use signature::SigningKey;
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
    /// The handler that it is of.
    pub handler: HandlerRef,
    /// The configuration that it belongs to.
    pub origin: Origin,
    /// The cool-down claim that this message holds.
    pub claim: Option<Claim>,
    /// Where to.
    pub target: Target,
    /// What is sent.
    pub content: Content,
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

/// What a message sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// A request to a webhook's target.
    Webhook(WebhookRequest),
    /// An email, of which each attempt makes a request to the provider.
    Email(Box<Email>),
}

/// A webhook's request, without what its target says.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookRequest {
    /// GET, PUT, POST, PATCH or DELETE.
    pub method: String,
    /// Every header but the pseudo-headers, lower case.
    pub headers: Vec<(String, String)>,
    /// The body, which a GET leaves out.
    pub body: String,
    /// What it is signed with.
    pub keys: Vec<SigningKey>,
}

impl fmt::Debug for WebhookRequest {
    /// Without header values and the body, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookRequest").field("method", &self.method).finish_non_exhaustive()
    }
}

/// An email and the account that sends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Email {
    pub(crate) account: Account,
    pub(crate) letter: Letter,
}

const VERSION: u8 = 2;

impl Delivery {
    /// An id for the message that a handler makes of an event.
    pub fn id_of(event: &str, handler: &str) -> String {
        format!("{event}{:08x}", fingerprint(&[handler]) >> 32)
    }

    /// The request of an attempt that begins `now`.
    pub fn callout(&self, now: UnixMillis) -> Callout {
        let (headers, body) = match &self.content {
            Content::Webhook(WebhookRequest { method, headers, body, keys }) => {
                let body = if method == "GET" { "" } else { body };
                let signature = signature::headers(keys, &self.id, body, now);
                let headers = self.target.pseudo_headers(method).into_iter().chain(headers.iter().cloned());
                (headers.chain(signature).collect(), body.to_owned())
            }
            Content::Email(email) => {
                let request = email.account.request(&email.letter);
                let headers = request.request_headers();
                // A provider is no receiver of webhooks.
                let signature = email.account.sign(&headers, request.body.as_bytes(), now);
                (headers.into_iter().chain(signature).collect(), request.body)
            }
        };
        let (cluster, timeout_ms) = (self.target.cluster.clone(), self.timeout_ms.max(1));
        Callout { cluster, headers, body: body.into_bytes(), timeout_ms }
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
