//! The result of an attempt, and the time of the next one.

use std::fmt;

use strum::{EnumCount, FromRepr, IntoStaticStr};

use super::{Delivery, Retries};
use crate::base::{UnixMillis, datetime, fingerprint};
use crate::host::{CalloutRefused, CalloutReply};

/// The outcome of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// 2xx.
    Delivered,
    /// The attempt failed, and another one may succeed.
    Failed(Failure),
    /// A status that another attempt would not change: 4xx except 408, 425 and 429.
    Refused(u16),
    /// 410: the receiver wants no more messages.
    Gone,
}

/// Why an attempt failed that is repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The proxy did not start it.
    NotStarted(CalloutRefused),
    /// No response headers came: the connection was reset, or the cluster was removed.
    NoResponse,
    /// The proxy answered 503 instead of the target, because it could make no connection.
    Unreachable,
    /// The proxy answered 504 instead of the target, because the time-out passed.
    TimedOut,
    /// Any other status: 408, 425, 429, 5xx, or a redirect, which is not followed.
    Status {
        /// The status.
        status: u16,
        /// The delay that `Retry-After` asks for, in milliseconds.
        retry_after_ms: Option<u64>,
    },
}

impl DeliveryOutcome {
    /// Judges a reply that came at `now`.
    pub fn of_reply(reply: &CalloutReply, now: UnixMillis) -> Self {
        match (reply.status, reply.by_proxy) {
            (None, _) => DeliveryOutcome::Failed(Failure::NoResponse),
            (Some(200..=299), _) => DeliveryOutcome::Delivered,
            (Some(410), _) => DeliveryOutcome::Gone,
            (Some(503), true) => DeliveryOutcome::Failed(Failure::Unreachable),
            (Some(504), true) => DeliveryOutcome::Failed(Failure::TimedOut),
            (Some(status), _) if (400..=499).contains(&status) && !matches!(status, 408 | 425 | 429) => {
                DeliveryOutcome::Refused(status)
            }
            (Some(status), _) => {
                let retry_after_ms = reply.retry_after.as_deref().and_then(|value| retry_after_ms(value, now));
                DeliveryOutcome::Failed(Failure::Status { status, retry_after_ms })
            }
        }
    }

    /// True if the target answered, not the proxy.
    pub fn is_by_target(&self) -> bool {
        match self {
            DeliveryOutcome::Delivered | DeliveryOutcome::Refused(_) | DeliveryOutcome::Gone => true,
            DeliveryOutcome::Failed(failure) => matches!(failure, Failure::Status { .. }),
        }
    }

    /// Its kind in statistics.
    pub fn kind(&self) -> OutcomeKind {
        match self {
            DeliveryOutcome::Delivered => OutcomeKind::Delivered,
            DeliveryOutcome::Refused(_) => OutcomeKind::Refused,
            DeliveryOutcome::Gone => OutcomeKind::Gone,
            DeliveryOutcome::Failed(Failure::NotStarted(_)) => OutcomeKind::NotStarted,
            DeliveryOutcome::Failed(Failure::NoResponse) => OutcomeKind::NoResponse,
            DeliveryOutcome::Failed(Failure::Unreachable) => OutcomeKind::Unreachable,
            DeliveryOutcome::Failed(Failure::TimedOut) => OutcomeKind::TimedOut,
            DeliveryOutcome::Failed(Failure::Status { status: 300..=399, .. }) => OutcomeKind::Redirected,
            DeliveryOutcome::Failed(Failure::Status { status: 408 | 425 | 429, .. }) => OutcomeKind::Throttled,
            DeliveryOutcome::Failed(Failure::Status { .. }) => OutcomeKind::ServerError,
        }
    }

    /// The label in statistics.
    pub fn label(&self) -> &'static str {
        self.kind().into()
    }
}

/// A kind of outcome, with its label in statistics. The order is that of stored records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, FromRepr, IntoStaticStr)]
#[repr(u8)]
#[strum(serialize_all = "snake_case")]
pub enum OutcomeKind {
    Delivered,
    Refused,
    Gone,
    NotStarted,
    NoResponse,
    Unreachable,
    TimedOut,
    Redirected,
    Throttled,
    ServerError,
}

impl fmt::Display for DeliveryOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeliveryOutcome::Delivered => f.write_str("delivered"),
            DeliveryOutcome::Failed(Failure::NotStarted(why)) => why.fmt(f),
            DeliveryOutcome::Failed(Failure::NoResponse) => f.write_str("no response"),
            DeliveryOutcome::Failed(Failure::Unreachable) => f.write_str("no connection (503 by the proxy)"),
            DeliveryOutcome::Failed(Failure::TimedOut) => f.write_str("no answer in time (504 by the proxy)"),
            DeliveryOutcome::Failed(Failure::Status { status: status @ 300..=399, .. }) => {
                write!(f, "status {status}, a redirect, which is not followed")
            }
            DeliveryOutcome::Failed(Failure::Status { status, .. }) | DeliveryOutcome::Refused(status) => {
                write!(f, "status {status}")
            }
            DeliveryOutcome::Gone => f.write_str("status 410"),
        }
    }
}

/// Parses seconds, or a date in a form of RFC 9110.
pub fn retry_after_ms(value: &str, now: UnixMillis) -> Option<u64> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(seconds.saturating_mul(1000));
    }
    Some(UnixMillis(datetime::parse_http_date(value)?).since(now))
}

impl Retries {
    /// Milliseconds until the next attempt after `delivery.attempts` failed ones; `None` if these were the last.
    ///
    /// The back-off doubles from `base_delay_ms` to `max_delay_ms`, with full jitter. Several short delays must not use
    /// up all attempts while a receiver restarts: attempt n + 2 comes no sooner than the sum of the maximum of the
    /// first n back-offs. A receiver's `Retry-After` is a lower bound, up to `max_delay_ms`.
    pub fn next_delay_ms(&self, delivery: &Delivery, failure: &Failure, now: UnixMillis) -> Option<u64> {
        if delivery.attempts >= self.max_attempts {
            return None;
        }
        let ceiling = self.back_off_ms(delivery.attempts);
        let planned = (1..delivery.attempts).fold(0_u64, |sum, attempt| sum.saturating_add(self.back_off_ms(attempt)));
        let elapsed = now.since(UnixMillis(delivery.first_attempt));
        let least = planned.saturating_sub(elapsed).min(ceiling);
        let asked_for = match failure {
            Failure::Status { retry_after_ms: Some(ms), .. } => (*ms).min(self.max_delay_ms),
            _ => 0,
        };
        let jittered = least.saturating_add(jitter(delivery, ceiling.saturating_sub(least)));
        Some(jittered.max(asked_for))
    }

    /// The longest back-off after this number of attempts.
    fn back_off_ms(&self, attempts: u32) -> u64 {
        let doublings = attempts.saturating_sub(1).min(63);
        self.base_delay_ms.saturating_mul(1_u64.wrapping_shl(doublings)).min(self.max_delay_ms)
    }
}

/// A delay in 0..=`ceiling`. It is the same for one attempt of one message, and spread over all of them. The core has
/// no source of randomness and needs none.
fn jitter(delivery: &Delivery, ceiling: u64) -> u64 {
    let random = fingerprint(&[&delivery.id, &delivery.attempts.to_string()]);
    let scaled = u128::from(random).saturating_mul(u128::from(ceiling).saturating_add(1)) >> 64;
    u64::try_from(scaled).unwrap_or(ceiling)
}
