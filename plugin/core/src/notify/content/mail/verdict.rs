//! Judges a provider's answer.
//!
//! A reason is one of a fixed set of texts, because a provider's own words can repeat keys and addresses.

use std::fmt;

use serde_json::Value;

use crate::base::UnixMillis;
use crate::delivery::{DeliveryOutcome, Failure, retry_after_ms};

/// The largest answer that is read. A larger one counts as empty.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// An answer from the provider itself, not from the proxy in its place.
pub struct ProviderAnswer<'a> {
    /// The status.
    pub status: u16,
    /// A header by its name in lower case.
    pub header: &'a dyn Fn(&str) -> Option<String>,
    /// The body; empty if it could not be read.
    pub body: &'a [u8],
}

/// The result for an email.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderVerdict {
    /// The provider has accepted it.
    Delivered,
    /// Another attempt would not change the result.
    Refused(Reason),
    /// Another attempt may succeed.
    Retry {
        reason: Reason,
        /// The delay that the provider asks for, in milliseconds.
        after_ms: Option<u64>,
    },
}

impl ProviderVerdict {
    /// The result in the form for the delivery policy, which retries and gives up as for any message.
    pub fn outcome(&self) -> DeliveryOutcome {
        match *self {
            ProviderVerdict::Delivered => DeliveryOutcome::Delivered,
            ProviderVerdict::Refused(reason) => DeliveryOutcome::Refused(reason.status),
            ProviderVerdict::Retry { reason: Reason { status, .. }, after_ms: retry_after_ms } => {
                DeliveryOutcome::Failed(Failure::Status { status, retry_after_ms })
            }
        }
    }

    /// The reason why the email is not delivered.
    pub fn reason(&self) -> Option<Reason> {
        match *self {
            ProviderVerdict::Delivered => None,
            ProviderVerdict::Refused(reason) | ProviderVerdict::Retry { reason, .. } => Some(reason),
        }
    }
}

/// A status and its meaning. It contains no key, no address and no text of the email.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The status.
    pub status: u16,
    /// The provider's name of the error, or a short text; empty if the status says enough.
    pub text: &'static str,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text {
            "" => write!(f, "status {}", self.status),
            text => write!(f, "status {}, {text}", self.status),
        }
    }
}

/// The consequence of a named error.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Final,
    Passing,
}

impl ProviderAnswer<'_> {
    pub(super) fn reason(&self, text: &'static str) -> Reason {
        Reason { status: self.status, text }
    }

    pub(super) fn refused(&self, text: &'static str) -> ProviderVerdict {
        ProviderVerdict::Refused(self.reason(text))
    }

    pub(super) fn retry(&self, text: &'static str, now: UnixMillis) -> ProviderVerdict {
        let after = (self.header)("retry-after").and_then(|value| retry_after_ms(&value, now));
        ProviderVerdict::Retry { reason: self.reason(text), after_ms: after }
    }

    pub(super) fn json(&self) -> Value {
        crate::base::json::parse(self.body).unwrap_or_default()
    }

    /// Judges by the status alone. As for webhooks, a 4xx is final except 408, 425 and 429. A 2xx that the provider
    /// does not document is retried: delivery is at least once, and duplicates are possible.
    pub(super) fn by_status(&self, now: UnixMillis) -> ProviderVerdict {
        match self.status {
            401 | 403 => self.refused("the key is not accepted, or may not send from this address"),
            413 => self.refused("the email is too large"),
            429 => self.retry("too many requests", now),
            408 | 425 => self.retry("", now),
            400..=499 => self.refused(""),
            200..=299 => self.retry("not the answer that the provider documents", now),
            300..=399 => self.retry("a redirect, which is not followed", now),
            _ => self.retry("", now),
        }
    }

    pub(super) fn by_name(&self, name: &'static str, kind: Kind, now: UnixMillis) -> ProviderVerdict {
        match kind {
            Kind::Final => self.refused(name),
            Kind::Passing => self.retry(name, now),
        }
    }
}

/// Finds a named error.
pub(super) fn find(known: &[(&'static str, Kind)], name: Option<&str>) -> Option<(&'static str, Kind)> {
    let name = name?.trim();
    known.iter().find(|(candidate, _)| *candidate == name).copied()
}

#[cfg(test)]
mod tests;
