//! The store of a fleet.

use std::net::SocketAddr;

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
    let seeds = seeds(redis, errors, warnings);
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
            seeds,
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

/// The first nodes of a Redis Cluster; empty for a single node.
fn seeds(redis: &raw::RedisStore, errors: &mut Errors, warnings: &mut Errors) -> Vec<SocketAddr> {
    if redis.mode != "cluster" {
        if !redis.seeds.is_empty() {
            warnings.add("store.redis.seeds", "has no effect: only the mode cluster uses it");
        }
        return Vec::new();
    }
    if redis.protocol == "upstash" {
        errors.add("store.redis.mode", "the protocol upstash has no mode cluster: its one address serves all keys");
    }
    if redis.database > 0 {
        errors.add("store.redis.database", "must be 0: a Redis Cluster has no other databases; use key_prefix");
    }
    if redis.seeds.is_empty() {
        errors.add("store.redis.seeds", "required for the mode cluster: name one or more nodes, such as 10.0.0.1:6379");
    }
    let mut seeds = Vec::new();
    for (index, seed) in redis.seeds.iter().enumerate() {
        match seed.parse::<SocketAddr>() {
            Ok(seed) if seed.port() > 0 => seeds.push(seed),
            _ => errors.add(
                format!("store.redis.seeds[{index}]"),
                "must be an IP address and a port, such as 10.0.0.1:6379: Envoy resolves no names in an ORIGINAL_DST \
                 cluster",
            ),
        }
    }
    seeds
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use crate::config::Config;

    /// The errors, or else the warnings, about a Redis.
    fn findings(redis: Value) -> Vec<String> {
        let config = json!({ "apis": [{ "api_id": "a" }], "store": { "redis": redis } });
        let findings =
            Config::load(config.to_string().as_bytes()).map_or_else(|errors| errors, |(_, warnings)| warnings);
        findings.iter().map(ToString::to_string).filter(|text| text.contains("store.")).collect()
    }

    #[test]
    fn a_redis_cluster_needs_the_addresses_of_nodes() {
        let cases = [
            (json!({ "mode": "cluster", "seeds": ["10.0.0.1:6379", "[::1]:6379"] }), None),
            (json!({ "mode": "cluster" }), Some("store.redis.seeds: required for the mode cluster")),
            (
                json!({ "mode": "cluster", "seeds": ["redis:6379"] }),
                Some("store.redis.seeds[0]: must be an IP address"),
            ),
            (json!({ "mode": "cluster", "seeds": ["10.0.0.1"] }), Some("store.redis.seeds[0]: must be an IP address")),
            (
                json!({ "mode": "cluster", "seeds": ["10.0.0.1:0"] }),
                Some("store.redis.seeds[0]: must be an IP address"),
            ),
            (
                json!({ "mode": "cluster", "seeds": ["10.0.0.1:1"], "database": 1 }),
                Some("store.redis.database: must be 0"),
            ),
            (json!({ "seeds": ["10.0.0.1:1"] }), Some("store.redis.seeds: has no effect")),
            (
                json!({ "mode": "cluster", "seeds": ["10.0.0.1:1"], "protocol": "upstash", "authority": "a", "token": "t" }),
                Some("store.redis.mode: the protocol upstash has no mode cluster"),
            ),
        ];
        for (redis, wanted) in cases {
            let found = findings(redis.clone());
            let is_so = match wanted {
                None => found.is_empty(),
                Some(text) => found.len() == 1 && found[0].starts_with(text),
            };
            assert!(is_so, "{redis}: {found:?}");
        }
    }
}
