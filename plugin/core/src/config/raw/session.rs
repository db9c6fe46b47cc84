//! Sessions, policies and organisations in Tyk's form.
//!
//! A configuration is first checked against the schema, which reports each unknown field. A fetched session is checked
//! against the lists of [`super::super::fields`], because an export of Tyk's has more fields than tollbell honours.

use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::manage::EventOption;
use super::{Named, SECONDS, Setting, UNIX_SECONDS};
use crate::access::UrlRule;
use crate::config::ConfigError;

settings! {
    /// The limits and rights of a key.
    #[derive(Clone, Debug)]
    pub struct Session {
        /// The organisation of the key.
        pub org_id: String,
        /// A name for people.
        pub alias: String,
        /// Requests per window; -1 or 0 means unlimited.
        #[schemars(range(min = -1))]
        pub quota_max: i64,
        /// The window in seconds, from the first request; -1 or 0 means that it never renews.
        #[schemars(range(min = -1, max = 3_153_600_000_i64), extend("x-hint" = SECONDS))]
        pub quota_renewal_rate: i64,
        /// Requests per period; -1 or 0 means unlimited.
        #[schemars(range(min = -1))]
        pub rate: f64,
        /// The period in seconds; -1 or 0 means no rate limit.
        #[schemars(range(min = -1, max = 3_153_600_000_i64), extend("x-hint" = SECONDS))]
        pub per: f64,
        /// When the key expires, in Unix seconds; -1 or 0 means never.
        #[schemars(range(min = -1, max = 253_402_300_799_i64), extend("x-hint" = UNIX_SECONDS))]
        pub expires: i64,
        /// True if the key is inactive.
        pub is_inactive: bool,
        /// The thresholds of this key.
        pub monitor: Triggers | null,
        /// The APIs that the key may call, by id; none means all.
        pub access_rights: Named<AccessRight> | null,
        /// The policies of the key, by id. A policy's values replace the session's, as in Tyk.
        pub apply_policies: Vec<String> | null,
        /// The policy of the key, if apply_policies is empty: Tyk's older form.
        pub apply_policy_id: String | null,
        /// Any data. Templates see it as Meta.MetaData.
        pub meta_data: Map<String, Value> | null,
        /// Labels for people. Templates see them as Meta.Tags.
        pub tags: Vec<String> | null,
        /// How a fleet counts the limits of the key: see store.counting. Empty means as the store says.
        #[schemars(extend("enum" = ["", "leased", "exact"]))]
        pub counting: String,
    }

    /// The right to call an API.
    #[derive(Clone, Debug)]
    pub struct AccessRight {
        /// The id of the API again, as in Tyk.
        pub api_id: String,
        /// The name of the API, as in Tyk.
        pub api_name: String,
        /// The versions of the API that may be called, if it has versions that are not APIs of their own.
        pub versions: Vec<String> | null,
        /// The paths and methods that may be called; none means all.
        pub allowed_urls: Vec<AllowedUrl> | null,
        /// Limits for this API instead of the session's. In a policy they count only with partitions.per_api.
        pub limit: Limit | null,
        /// Rights of a session with the same scope share a counter. By default each API's limit has its own counter. In
        /// a policy it has no effect.
        pub allowance_scope: String,
    }

    /// A path and the methods that may be called on it.
    #[derive(Clone, Debug)]
    #[schemars(extend("required" = ["url", "methods"]))]
    pub struct AllowedUrl {
        /// A regular expression that must match somewhere in the path, which includes the listen_path. Use ^ and $ to
        /// match the whole path. {id} means one segment and /* any number of segments, as in Tyk.
        pub url: String,
        /// The methods, in upper case.
        pub methods: Vec<String> | null,
    }

    /// The limits of a right.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct Limit {
        /// Requests per window; -1 or 0 means unlimited.
        #[schemars(range(min = -1))]
        pub quota_max: i64,
        /// The window in seconds, from the first request; -1 or 0 means that it never renews.
        #[schemars(range(min = -1, max = 3_153_600_000_i64), extend("x-hint" = SECONDS))]
        pub quota_renewal_rate: i64,
        /// Requests per period; -1 or 0 means unlimited.
        #[schemars(range(min = -1))]
        pub rate: f64,
        /// The period in seconds; -1 or 0 means no rate limit.
        #[schemars(range(min = -1, max = 3_153_600_000_i64), extend("x-hint" = SECONDS))]
        pub per: f64,
    }

    /// Limits and rights for the keys that name the policy.
    #[derive(Clone, Debug)]
    pub struct Policy {
        /// A name for people.
        pub name: String,
        /// The organisation of the policy, as in Tyk. Keys of another organisation cannot use it.
        pub org_id: String,
        /// Requests per window; -1 means unlimited; 0 means unlimited unless another policy of the key has a limit.
        #[schemars(range(min = -1))]
        pub quota_max: i64,
        /// The window in seconds, from the first request; -1 or 0 means that it never renews.
        #[schemars(range(min = -1, max = 3_153_600_000_i64), extend("x-hint" = SECONDS))]
        pub quota_renewal_rate: i64,
        /// Requests per period; -1 or 0 means unlimited.
        #[schemars(range(min = -1))]
        pub rate: f64,
        /// The period in seconds; -1 or 0 means no rate limit.
        #[schemars(range(min = -1, max = 3_153_600_000_i64), extend("x-hint" = SECONDS))]
        pub per: f64,
        /// True if its keys are inactive.
        pub is_inactive: bool,
        /// As in Tyk: the lifetime of a new key in seconds. Only Tyk uses it, when it creates a key.
        #[schemars(range(min = -1, max = 3_153_600_000_i64), extend("x-hint" = SECONDS))]
        pub key_expires_in: i64,
        /// The thresholds of its keys.
        pub monitor: Triggers,
        /// The APIs that its keys may call, by id.
        pub access_rights: Named<AccessRight>,
        /// The parts of a key that the policy sets; none means all.
        pub partitions: Partitions,
        /// Labels for people, added to those of its keys.
        pub tags: Vec<String>,
        /// Any data, added to that of its keys.
        pub meta_data: Map<String, Value>,
        /// How a fleet counts the limits of its keys: see store.counting. Empty means as the store says.
        #[schemars(extend("enum" = ["", "leased", "exact"]))]
        pub counting: String,
    }

    /// The parts of a key that a policy sets.
    #[derive(Clone, Copy, Debug)]
    pub struct Partitions {
        /// The quota.
        pub quota: bool,
        /// The rate.
        pub rate_limit: bool,
        /// The access rights.
        pub acl: bool,
        /// As in Tyk. It is ignored, because it limits GraphQL queries.
        pub complexity: bool,
        /// Each API's right has its own limits, or else the policy's.
        pub per_api: bool,
    }

    /// An organisation.
    #[derive(Clone, Debug)]
    pub struct Org {
        /// Requests per window of all its keys together; -1 or 0 means unlimited.
        #[schemars(range(min = -1))]
        pub quota_max: i64,
        /// The window in seconds, from the first request; -1 or 0 means that it never renews.
        #[schemars(range(min = -1, max = 3_153_600_000_i64), extend("x-hint" = SECONDS))]
        pub quota_renewal_rate: i64,
        /// Requests per period of all its keys together; -1 or 0 means unlimited.
        #[schemars(range(min = -1))]
        pub rate: f64,
        /// The period in seconds; -1 or 0 means no rate limit.
        #[schemars(range(min = -1, max = 3_153_600_000_i64), extend("x-hint" = SECONDS))]
        pub per: f64,
        /// True if the organisation is inactive. Its requests are refused.
        pub is_inactive: bool,
        /// The thresholds of this organisation.
        pub monitor: Triggers,
        /// Who is notified of its management events, by event: api_event, key_event, hashed_key_event,
        /// key_request_event, password_reset_event, portal_password_reset_event.
        pub event_options: Named<EventOption> | null,
        /// How a fleet counts the limits of the organisation: see store.counting. Empty means as the store says.
        #[schemars(extend("enum" = ["", "leased", "exact"]))]
        pub counting: String,
    }
}

impl AccessRight {
    /// The rules in `allowed_urls`.
    pub fn urls(&self) -> Vec<UrlRule> {
        let rule = |rule: &AllowedUrl| UrlRule { url: rule.url.clone(), methods: rule.methods.clone() };
        self.allowed_urls.iter().map(rule).collect()
    }
}

impl Session {
    /// The policies, by id.
    pub fn policies(&self) -> &[String] {
        match self.apply_policies.is_empty() && !self.apply_policy_id.is_empty() {
            true => std::slice::from_ref(&self.apply_policy_id),
            false => &self.apply_policies,
        }
    }
}

macro_rules! own_limit {
    ($($owner:ty),*) => { $(
        impl $owner {
            /// The session's own limits.
            pub fn limit(&self) -> Limit {
                let Self { quota_max, quota_renewal_rate, rate, per, .. } = *self;
                Limit { quota_max, quota_renewal_rate, rate, per }
            }
        }
    )* };
}

own_limit!(Session, Policy, Org);

settings! {
    /// Thresholds in addition to the global one.
    #[derive(Clone, Debug)]
    pub struct Triggers {
        /// Percentages of the quota, in any order.
        pub trigger_limits: Vec<TriggerLimit> | null,
    }
}

/// A percentage over 0, up to 100.
#[derive(Clone, Copy, Debug, Default, JsonSchema)]
#[schemars(extend("exclusiveMinimum" = 0, "maximum" = 100))]
pub struct TriggerLimit(pub f64);

impl Setting for TriggerLimit {
    fn read(&mut self, value: Value) -> Result<(), ConfigError> {
        self.0.read(value)
    }
}
