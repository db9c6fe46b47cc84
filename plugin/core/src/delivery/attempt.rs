//! What an attempt came to, and when to try again.

use std::fmt;

use md5::{Digest, Md5};

use super::{Delivery, DeliveryPolicy};
use crate::ports::{CalloutRefused, CalloutReply};

/// How one attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 2xx.
    Delivered,
    /// Worth another attempt.
    Failed(Failure),
    /// A status that another attempt would not change.
    Refused(u16),
}

/// Why an attempt failed that is worth another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The proxy did not start it.
    NotStarted(CalloutRefused),
    /// No response headers came: the connection was reset, or the cluster went away.
    NoResponse,
    /// 408, 425, 429 or 5xx; Envoy itself answers 503 for a refused connection and 504 after the time-out.
    Status {
        /// The status.
        status: u16,
        /// The seconds that `Retry-After` asks for.
        retry_after_s: Option<u64>,
    },
}

impl Outcome {
    /// Of a reply.
    pub fn of_reply(reply: &CalloutReply) -> Self {
        match reply.status {
            None => Outcome::Failed(Failure::NoResponse),
            Some(200..=299) => Outcome::Delivered,
            Some(status @ (408 | 425 | 429 | 500..=599)) => Outcome::Failed(Failure::Status {
                status,
                retry_after_s: reply.retry_after.as_deref().and_then(|value| value.trim().parse().ok()),
            }),
            Some(status) => Outcome::Refused(status),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Delivered => f.write_str("delivered"),
            Outcome::Failed(Failure::NotStarted(why)) => why.fmt(f),
            Outcome::Failed(Failure::NoResponse) => f.write_str("no response"),
            Outcome::Failed(Failure::Status { status, .. }) | Outcome::Refused(status) => write!(f, "status {status}"),
        }
    }
}

impl DeliveryPolicy {
    /// Milliseconds until the attempt after `delivery.attempts` failed ones; `None` when they were the last.
    ///
    /// The back-off doubles from `base_delay_ms` up to `max_delay_ms`, with full jitter; a receiver's `Retry-After`
    /// is a lower bound, up to `max_delay_ms`.
    pub fn next_delay_ms(&self, delivery: &Delivery, failure: &Failure) -> Option<u64> {
        if delivery.attempts >= self.max_attempts {
            return None;
        }
        let doublings = delivery.attempts.saturating_sub(1).min(63);
        let ceiling = self.base_delay_ms.saturating_mul(1_u64.wrapping_shl(doublings)).min(self.max_delay_ms);
        let asked_for = match failure {
            Failure::Status { retry_after_s: Some(seconds), .. } => seconds.saturating_mul(1000).min(self.max_delay_ms),
            _ => 0,
        };
        Some(jitter(delivery, ceiling).max(asked_for))
    }
}

/// A delay in 0..=`ceiling` that is the same for one attempt of one delivery, and spread over all of them: the core
/// has no source of randomness, and needs none.
fn jitter(delivery: &Delivery, ceiling: u64) -> u64 {
    let digest = Md5::new()
        .chain_update(&delivery.id)
        .chain_update(&delivery.handler)
        .chain_update(delivery.attempts.to_le_bytes());
    let digest: [u8; 16] = digest.finalize().into();
    let random = u64::from_le_bytes(digest.first_chunk().copied().unwrap_or_default());
    let scaled = u128::from(random).saturating_mul(u128::from(ceiling).saturating_add(1)) >> 64;
    u64::try_from(scaled).unwrap_or(ceiling)
}
