//! Sessions, policies and organisations as Tyk writes them.
//!
//! A configuration is held against the schema first, which names each unknown field; a session that is fetched, against
//! the lists of [`super::super::fields`], since an export of Tyk's has more fields than are honoured here.

use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::manage::EventOption;
use super::{Named, SECONDS, Setting, UNIX_SECONDS};
use crate::access::UrlRule;
use crate::config::ConfigError;

settings! {
    /// What a key may do.
    #[derive(Clone, Debug)]
    pub struct Session {
        /// The organisation that the key belongs to.
        pub org_id: String,
        /// A name for people.
        pub alias: String,
        /// Requests per window; -1 or 0: unlimited.
        #[schemars(range(min = -1))]
        pub quota_max: i64,
        /// The window in seconds, from the first request; -1 or 0: never renews.
        #[schemars(range(min = -1, max = 3_153_600_000_i64), extend("x-hint" = SECONDS))]
        pub quota_renewal_rate: i64,
        /// Requests per period; -1 or 0: unlimited.
        #[schemars(range(min = -1))]
        pub rate: f64,
        /// The period in seconds; -1 or 0: no rate limit.
        #[schemars(range(min = -1, max = 3_153_600_000_i64), extend("x-hint" = SECONDS))]
        pub per: f64,
        /// When the key expires, in Unix seconds; -1 or 0: never.
        #[schemars(range(min = -1, max = 253_402_300_799_i64), extend("x-hint" = UNIX_SECONDS))]
        pub expires: i64,
        /// Switched off.
        pub is_inactive: bool,
        /// Thresholds of this key's own.
        pub monitor: Triggers | null,
        /// The APIs that the key may call, by id; none: every one.
        pub access_rights: Named<AccessRight> | null,
        /// The policies that say what the key may do, by id. What they say replaces what stands here, as in Tyk.
        pub apply_policies: Vec<String> | null,
        /// One policy, by id, where apply_policies is empty: Tyk's older form.
        pub apply_policy_id: String | null,
        /// Anything; of use to templates as Meta.MetaData.
        pub meta_data: Map<String, Value> | null,
        /// Words for people; of use to templates as Meta.Tags.
        pub tags: Vec<String> | null,
    }

    /// The right to call an API.
    #[derive(Clone, Debug)]
    pub struct AccessRight {
        /// The API's id again, as Tyk writes it.
        pub api_id: String,
        /// The API's name, as Tyk writes it.
        pub api_name: String,
        /// The API's versions that may be called, where it has versions that are not APIs of their own.
        pub versions: Vec<String> | null,
        /// The paths and methods that may be called; none: all.
        pub allowed_urls: Vec<AllowedUrl> | null,
        /// Limits for this API instead of the session's; in a policy only with partitions.per_api.
        pub limit: Limit | null,
        /// Rights of a session with the same scope are counted together; by default each API's limit is counted by itself. In
        /// a policy it has no effect.
        pub allowance_scope: String,
    }

    /// A path and the methods that may be called on it.
    #[derive(Clone, Debug)]
    #[schemars(extend("required" = ["url", "methods"]))]
    pub struct AllowedUrl {
        /// A regular expression that is found in the path, the listen_path included. {id} stands for one segment and /* for
        /// any number of them, as in Tyk. Without ^ and $ it may be found anywhere.
        pub url: String,
        /// The methods, in upper case.
        pub methods: Vec<String> | null,
    }

    /// The limits of a right.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct Limit {
        /// Requests per window; -1 or 0: unlimited.
        #[schemars(range(min = -1))]
        pub quota_max: i64,
        /// The window in seconds, from the first request; -1 or 0: never renews.
        #[schemars(range(min = -1, max = 3_153_600_000_i64), extend("x-hint" = SECONDS))]
        pub quota_renewal_rate: i64,
        /// Requests per period; -1 or 0: unlimited.
        #[schemars(range(min = -1))]
        pub rate: f64,
        /// The period in seconds; -1 or 0: no rate limit.
        #[schemars(range(min = -1, max = 3_153_600_000_i64), extend("x-hint" = SECONDS))]
        pub per: f64,
    }

    /// What the keys that name it may do.
    #[derive(Clone, Debug)]
    pub struct Policy {
        /// A name for people.
        pub name: String,
        /// The organisation that it belongs to, as Tyk writes it; keys of another one cannot have it.
        pub org_id: String,
        /// Requests per window; 0: unlimited, unless another policy of the key says more; -1: unlimited.
        #[schemars(range(min = -1))]
        pub quota_max: i64,
        /// The window in seconds, from the first request; -1 or 0: never renews.
        #[schemars(range(min = -1, max = 3_153_600_000_i64), extend("x-hint" = SECONDS))]
        pub quota_renewal_rate: i64,
        /// Requests per period; -1 or 0: unlimited.
        #[schemars(range(min = -1))]
        pub rate: f64,
        /// The period in seconds; -1 or 0: no rate limit.
        #[schemars(range(min = -1, max = 3_153_600_000_i64), extend("x-hint" = SECONDS))]
        pub per: f64,
        /// Its keys are switched off.
        pub is_inactive: bool,
        /// As Tyk writes it: the time that a new key lives, in seconds. Used only when Tyk creates a key.
        #[schemars(range(min = -1, max = 3_153_600_000_i64), extend("x-hint" = SECONDS))]
        pub key_expires_in: i64,
        /// Thresholds of its keys.
        pub monitor: Triggers,
        /// The APIs that its keys may call, by id.
        pub access_rights: Named<AccessRight>,
        /// Which part of a key it says; none: all.
        pub partitions: Partitions,
        /// Words for people, added to its keys'.
        pub tags: Vec<String>,
        /// Anything, added to its keys'.
        pub meta_data: Map<String, Value>,
    }

    /// Which part of a key a policy says.
    #[derive(Clone, Copy, Debug)]
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
    #[derive(Clone, Debug)]
    pub struct Org {
        /// Requests per window of all its keys together; -1 or 0: unlimited.
        #[schemars(range(min = -1))]
        pub quota_max: i64,
        /// The window in seconds, from the first request; -1 or 0: never renews.
        #[schemars(range(min = -1, max = 3_153_600_000_i64), extend("x-hint" = SECONDS))]
        pub quota_renewal_rate: i64,
        /// Requests per period of all its keys together; -1 or 0: unlimited.
        #[schemars(range(min = -1))]
        pub rate: f64,
        /// The period in seconds; -1 or 0: no rate limit.
        #[schemars(range(min = -1, max = 3_153_600_000_i64), extend("x-hint" = SECONDS))]
        pub per: f64,
        /// Switched off: its requests are refused.
        pub is_inactive: bool,
        /// Thresholds of this organisation's own.
        pub monitor: Triggers,
        /// Who is notified of its management events, by event: api_event, key_event, hashed_key_event, key_request_event,
        /// password_reset_event, portal_password_reset_event.
        pub event_options: Named<EventOption> | null,
    }
}

impl AccessRight {
    /// Its `allowed_urls`.
    pub fn urls(&self) -> Vec<UrlRule> {
        let rule = |rule: &AllowedUrl| UrlRule { url: rule.url.clone(), methods: rule.methods.clone() };
        self.allowed_urls.iter().map(rule).collect()
    }
}

impl Session {
    /// Its policies, by id.
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
            /// Its own limits.
            pub fn limit(&self) -> Limit {
                let Self { quota_max, quota_renewal_rate, rate, per, .. } = *self;
                Limit { quota_max, quota_renewal_rate, rate, per }
            }
        }
    )* };
}

own_limit!(Session, Policy, Org);

settings! {
    /// Thresholds beside the global one.
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
