//! Checks how messages are delivered.

use crate::config::error::Errors;
use crate::config::raw;
use crate::delivery::{DeliveryPolicy, InFlightLimits, Retries};

/// The policy. It is valid only if no error was added.
pub fn check(raw: &raw::Delivery, errors: &mut Errors) -> DeliveryPolicy {
    if raw.max_delay_ms < raw.base_delay_ms {
        errors.add(
            "delivery.max_delay_ms",
            format!("{} is less than base_delay_ms, {}", raw.max_delay_ms, raw.base_delay_ms),
        );
    }
    DeliveryPolicy {
        retries: Retries {
            max_attempts: raw.max_attempts,
            base_delay_ms: raw.base_delay_ms,
            max_delay_ms: raw.max_delay_ms,
        },
        timeout_ms: raw.timeout_ms,
        capacity: raw.capacity,
        limits: InFlightLimits { total: raw.max_in_flight as usize, per_target: raw.max_in_flight_per_target as usize },
    }
}
