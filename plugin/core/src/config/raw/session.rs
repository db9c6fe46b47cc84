//! Sessions, policies and organisations as Tyk writes them.
//!
//! Read leniently, since an export of Tyk's has more fields than are of use here; a configuration is held against the
//! schema first, which names each unknown field.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::manage::EventOption;

/// What a key may do.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Session {
    /// The organisation that the key belongs to.
    pub org_id: String,
    /// A name for people.
    pub alias: String,
    /// Requests per window; 0 or less: unlimited.
    pub quota_max: i64,
    /// The window in seconds, from the first request; 0 or less: never renews.
    pub quota_renewal_rate: i64,
    /// Requests per period; 0 or less: unlimited.
    pub rate: f64,
    /// The period in seconds; 0 or less: no rate limit.
    pub per: f64,
    /// When the key expires, in Unix seconds; 0 or less: never.
    pub expires: i64,
    /// Switched off.
    pub is_inactive: bool,
    /// Thresholds of this key's own.
    #[serde(deserialize_with = "null_as_default")]
    pub monitor: Triggers,
    /// The APIs that the key may call, by id; none: every one.
    #[serde(deserialize_with = "null_as_default")]
    pub access_rights: BTreeMap<String, AccessRight>,
    /// The policies that say what the key may do, by id. What they say replaces what stands here, as in Tyk.
    #[serde(deserialize_with = "null_as_default")]
    pub apply_policies: Vec<String>,
    /// Anything; of use to templates as Meta.MetaData.
    #[serde(deserialize_with = "null_as_default")]
    pub meta_data: Map<String, Value>,
    /// Words for people; of use to templates as Meta.Tags.
    #[serde(deserialize_with = "null_as_default")]
    pub tags: Vec<String>,
}

/// The right to call an API.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct AccessRight {
    /// The API's id again, as Tyk writes it.
    pub api_id: String,
    /// The API's name, as Tyk writes it.
    pub api_name: String,
    /// The API's versions, as Tyk writes them. Not looked at.
    #[serde(deserialize_with = "null_as_default")]
    pub versions: Vec<String>,
    /// Limits for this API instead of the session's.
    #[serde(deserialize_with = "null_as_default")]
    pub limit: Limit,
    /// Rights with the same scope are counted together; by default each API's limit is counted by itself.
    pub allowance_scope: String,
}

/// The limits of a right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Limit {
    /// Requests per window; 0 or less: unlimited.
    pub quota_max: i64,
    /// The window in seconds, from the first request; 0 or less: never renews.
    pub quota_renewal_rate: i64,
    /// Requests per period; 0 or less: unlimited.
    pub rate: f64,
    /// The period in seconds; 0 or less: no rate limit.
    pub per: f64,
}

/// What the keys that name it may do.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Policy {
    /// A name for people.
    pub name: String,
    /// The organisation that it belongs to, as Tyk writes it; keys of another one cannot have it.
    pub org_id: String,
    /// Requests per window; 0: unlimited, unless another policy of the key says more; -1: unlimited.
    pub quota_max: i64,
    /// The window in seconds, from the first request; 0 or less: never renews.
    pub quota_renewal_rate: i64,
    /// Requests per period; 0 or less: unlimited.
    pub rate: f64,
    /// The period in seconds; 0 or less: no rate limit.
    pub per: f64,
    /// Its keys are switched off.
    pub is_inactive: bool,
    /// As Tyk writes it: the time that a new key lives, in seconds. Of use where keys are made, and not looked at here.
    pub key_expires_in: i64,
    /// Thresholds of its keys.
    pub monitor: Triggers,
    /// The APIs that its keys may call, by id.
    pub access_rights: BTreeMap<String, AccessRight>,
    /// Which part of a key it says; none: all.
    pub partitions: Partitions,
    /// Words for people, added to its keys'.
    pub tags: Vec<String>,
    /// Anything, added to its keys'.
    pub meta_data: Map<String, Value>,
}

/// Which part of a key a policy says.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Partitions {
    /// The quota.
    pub quota: bool,
    /// The rate.
    pub rate_limit: bool,
    /// The access rights.
    pub acl: bool,
    /// As Tyk writes it. Not looked at: it limits GraphQL queries.
    pub complexity: bool,
    /// Each API's right has its own limits, or the policy's.
    pub per_api: bool,
}

/// An organisation.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Org {
    /// Requests per window of all its keys together; 0 or less: unlimited.
    pub quota_max: i64,
    /// The window in seconds, from the first request; 0 or less: never renews.
    pub quota_renewal_rate: i64,
    /// Requests per period of all its keys together; 0 or less: unlimited.
    pub rate: f64,
    /// The period in seconds; 0 or less: no rate limit.
    pub per: f64,
    /// Switched off: its requests are refused.
    pub is_inactive: bool,
    /// Thresholds of this organisation's own.
    pub monitor: Triggers,
    /// Who hears of its management events, by event: api_event, key_event, hashed_key_event, key_request_event,
    /// password_reset_event, portal_password_reset_event.
    #[serde(deserialize_with = "null_as_default")]
    pub event_options: BTreeMap<String, EventOption>,
}

/// Thresholds beside the global one.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Triggers {
    /// Percentages of the quota, in any order.
    #[serde(deserialize_with = "null_as_default")]
    pub trigger_limits: Vec<TriggerLimit>,
}

/// A percentage over 0, up to 100.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[schemars(extend("exclusiveMinimum" = 0, "maximum" = 100))]
pub struct TriggerLimit(pub f64);

/// Tyk writes `null` for what is empty.
fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
