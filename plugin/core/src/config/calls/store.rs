//! The store of a fleet.

use crate::access::{FleetSettings, OnLoss};
use crate::config::error::Errors;
use crate::config::raw;
use crate::store::{Protocol, Settings};

/// Checks the store. `None` if there is none.
pub fn check(raw: &raw::Store, errors: &mut Errors, warnings: &mut Errors) -> Option<FleetSettings> {
    let Some(redis) = &raw.redis else {
        if *raw != raw::Store::default() {
            errors.add("store.redis", "is missing: the other settings of store have no effect without it");
        }
        return None;
    };
    if redis.cluster.is_empty() {
        errors.add("store.redis.cluster", "is empty: name the Envoy cluster that reaches the store");
    }
    let protocol = if redis.protocol == "upstash" { Protocol::Upstash } else { Protocol::Resp };
    let wrong = |name: &str| format!("store.redis.{name}");
    for (name, value) in [("authority", &redis.authority), ("token", &redis.token)] {
        match protocol {
            Protocol::Upstash if value.is_empty() => errors.add(wrong(name), "required for the protocol upstash"),
            Protocol::Resp if !value.is_empty() => {
                warnings.add(wrong(name), "has no effect: only the protocol upstash uses it");
            }
            _ => {}
        }
    }
    if protocol == Protocol::Upstash && (!redis.password.is_empty() || !redis.username.is_empty() || redis.database > 0)
    {
        warnings.add("store.redis", "username, password and database have no effect: the protocol upstash has a token");
    }
    if redis.password.is_empty() && !redis.username.is_empty() {
        errors.add(wrong("username"), "needs a password");
    }
    if redis.key_prefix.contains(['{', '}']) {
        errors.add(wrong("key_prefix"), "must not contain { or }, which mark the part of a key that Redis hashes");
    }
    if redis.timeout_ms > raw.patience_ms.saturating_mul(10) {
        warnings
            .add(wrong("timeout_ms"), "is more than ten times patience_ms: after one lost call, requests wait in vain");
    }
    Some(FleetSettings {
        store: Settings {
            cluster: redis.cluster.clone(),
            protocol,
            authority: redis.authority.clone(),
            token: redis.token.clone(),
            username: redis.username.clone(),
            password: redis.password.clone(),
            database: u32::try_from(redis.database).unwrap_or_default(),
            timeout_ms: redis.timeout_ms,
        },
        key_prefix: redis.key_prefix.clone(),
        reads_ahead: raw.counting != "exact",
        patience_ms: raw.patience_ms,
        on_loss: match raw.on_loss.as_str() {
            "refuse" => OnLoss::Refuse,
            "admit" => OnLoss::Admit,
            _ => OnLoss::Share,
        },
    })
}
