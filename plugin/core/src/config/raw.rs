//! The configuration as written. The doc comments here are the descriptions in the JSON Schema.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// tollbell: API keys, quotas, monitors and event webhooks for Envoy. Names are Tyk's wherever Tyk has one.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The APIs behind this listener. An exact domain wins over none, then the longest listen_path.
    pub apis: Vec<Api>,
    /// Event handlers for every API.
    pub event_handlers: EventHandlers,
    /// Sessions by key: the raw key, or "sha256:" and the 64 hex digits of its SHA-256.
    #[schemars(extend("x-secret-names" = true))]
    pub keys: BTreeMap<String, Session>,
    /// Organisations by id.
    pub orgs: BTreeMap<String, Org>,
    /// Count and enforce the quotas of organisations.
    pub enforce_org_quotas: bool,
    /// Events show a key's fingerprint ("sha256:…") instead of the key. Logs and metrics never show the key.
    pub hash_keys: bool,
    /// The header whose first entry is the client's address, such as x-forwarded-for, if a trusted hop sets it. By
    /// default, the address that Envoy trusts.
    pub origin_header: String,
    /// Quota monitors.
    pub monitor: Monitor,
    /// Message templates by name. The ending of the name says what is written: .json, .xml, .html, .csv or text.
    pub templates: BTreeMap<String, String>,
    /// Which Envoy cluster carries a message.
    pub callouts: Callouts,
    /// How messages are delivered.
    pub delivery: Delivery,
}

/// An API.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["api_id"]))]
pub struct Api {
    /// Its id, which access_rights name.
    #[serde(default)]
    pub api_id: String,
    /// A name for people.
    #[serde(default)]
    pub name: String,
    /// The organisation that it belongs to, for requests whose key names none.
    #[serde(default)]
    pub org_id: String,
    /// The prefix of the paths that it serves.
    #[serde(default = "root_path")]
    pub listen_path: String,
    /// The host that it serves, without a port; empty for any.
    #[serde(default)]
    pub domain: String,
    /// No authentication and no key quota.
    #[serde(default)]
    pub use_keyless: bool,
    /// Where the key stands.
    #[serde(default)]
    pub auth: Auth,
    /// Take the key out of the request before it goes upstream.
    #[serde(default)]
    pub strip_authorization_data: bool,
    /// Event handlers for this API.
    #[serde(default)]
    pub event_handlers: EventHandlers,
}

fn root_path() -> String {
    "/".to_owned()
}

/// Where the key of a request stands.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// The header; a leading "Bearer " is dropped.
    pub auth_header_name: String,
    /// Look into the query parameter param_name, if the header has no key.
    pub use_param: bool,
    /// The query parameter.
    pub param_name: String,
    /// Look into the cookie cookie_name, if neither header nor parameter has a key.
    pub use_cookie: bool,
    /// The cookie.
    pub cookie_name: String,
    /// A request without a key is an AuthFailure too. Tyk fires no event then.
    pub fire_on_missing_key: bool,
}

impl Default for Auth {
    fn default() -> Self {
        Auth {
            auth_header_name: "Authorization".to_owned(),
            use_param: false,
            param_name: "api_key".to_owned(),
            use_cookie: false,
            cookie_name: String::new(),
            fire_on_missing_key: false,
        }
    }
}

/// Event handlers in Tyk's classic form.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventHandlers {
    /// Handlers by the event's name.
    pub events: BTreeMap<String, Vec<Handler>>,
}

/// An event handler.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["handler_name"]))]
pub struct Handler {
    /// eh_web_hook_handler or eh_log_handler.
    pub handler_name: String,
    /// Its settings.
    pub handler_meta: HandlerMeta,
}

/// The settings of a handler.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HandlerMeta {
    /// Switched off.
    pub disabled: bool,
    /// An id, for logs.
    pub id: String,
    /// A name, for logs.
    pub name: String,
    /// The request's method. GET sends no body.
    #[schemars(extend("enum" = ["GET", "PUT", "POST", "PATCH", "DELETE"]))]
    pub method: String,
    /// The absolute URL to send to.
    pub target_path: String,
    /// The name of an entry of templates, or of a built-in one; empty for the default.
    pub template_path: String,
    /// Headers of the request.
    pub header_map: BTreeMap<String, String>,
    /// The cool-down in seconds; 0 for none.
    #[schemars(range(min = 0, max = 315_360_000))]
    pub event_timeout: u64,
    /// Signs messages by Standard Webhooks: "whsec_" and base64, or a list of them while secrets rotate.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(schema_with = "one_or_many_schema")]
    pub secret: Vec<String>,
    /// When a cool-down ends that held messages back, one more message says how many.
    pub digest: bool,
    /// Messages that go out in any minute; what exceeds them is told in one digest. 0 for no limit.
    #[schemars(range(min = 0, max = 6000))]
    pub max_per_minute: u32,
    /// Of an eh_log_handler: stands before the line.
    pub prefix: String,
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

fn one_or_many_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
}

impl Default for HandlerMeta {
    fn default() -> Self {
        HandlerMeta {
            disabled: false,
            id: String::new(),
            name: String::new(),
            method: "POST".to_owned(),
            target_path: String::new(),
            template_path: String::new(),
            header_map: BTreeMap::new(),
            event_timeout: 0,
            secret: Vec::new(),
            digest: false,
            max_per_minute: 120,
            prefix: String::new(),
        }
    }
}

/// What a key may do.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Session {
    /// The organisation that the key belongs to.
    pub org_id: String,
    /// A name for people.
    pub alias: String,
    /// Requests per window; 0 or less: unlimited.
    pub quota_max: i64,
    /// The window in seconds, from the first request; 0 or less: never renews.
    pub quota_renewal_rate: i64,
    /// When the key expires, in Unix seconds; 0 or less: never.
    pub expires: i64,
    /// Switched off.
    pub is_inactive: bool,
    /// Thresholds of this key's own.
    pub monitor: Triggers,
    /// The APIs that the key may call, by id; none: every one.
    pub access_rights: BTreeMap<String, AccessRight>,
}

/// The right to call an API.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccessRight {
    /// The API's id again, as Tyk writes it.
    pub api_id: String,
    /// The API's name, as Tyk writes it.
    pub api_name: String,
    /// The API's versions, as Tyk writes them. Not looked at.
    pub versions: Vec<String>,
}

/// An organisation.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Org {
    /// Requests per window of all its keys together; 0 or less: unlimited.
    pub quota_max: i64,
    /// The window in seconds, from the first request; 0 or less: never renews.
    pub quota_renewal_rate: i64,
    /// Thresholds of this organisation's own.
    pub monitor: Triggers,
}

/// Thresholds beside the global one.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Triggers {
    /// Percentages of the quota, in any order.
    pub trigger_limits: Vec<TriggerLimit>,
}

/// A percentage over 0, up to 100.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[schemars(extend("exclusiveMinimum" = 0, "maximum" = 100))]
pub struct TriggerLimit(pub f64);

/// Quota monitors: a message when the use of a quota crosses a threshold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Monitor {
    /// Switches the monitors on.
    pub enable_trigger_monitors: bool,
    /// The webhook to tell.
    pub configuration: HandlerMeta,
    /// The threshold for every quota that is monitored, in percent; 0 for none.
    #[schemars(range(min = 0, max = 100))]
    pub global_trigger_limit: f64,
    /// Monitor the quotas of keys.
    pub monitor_user_keys: bool,
    /// Monitor the quotas of organisations.
    pub monitor_org_keys: bool,
}

/// Envoy clusters for messages.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Callouts {
    /// For http targets: a dynamic_forward_proxy cluster reaches any.
    pub http_cluster: String,
    /// For https targets: the same with TLS.
    pub https_cluster: String,
    /// Named clusters by "host" or "host:port", before the two above.
    pub clusters: BTreeMap<String, String>,
}

impl Default for Callouts {
    fn default() -> Self {
        Callouts {
            http_cluster: "tollbell_http".to_owned(),
            https_cluster: "tollbell_https".to_owned(),
            clusters: BTreeMap::new(),
        }
    }
}

/// How messages are delivered.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Delivery {
    /// Attempts before a message is given up.
    #[schemars(range(min = 1, max = 100))]
    pub max_attempts: u32,
    /// The first back-off, doubled for each further one, with full jitter.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub base_delay_ms: u64,
    /// The longest back-off.
    #[schemars(range(min = 1, max = 86_400_000))]
    pub max_delay_ms: u64,
    /// The time for one attempt.
    #[schemars(range(min = 1, max = 600_000))]
    pub timeout_ms: u64,
    /// Messages held: waiting, in flight, backing off. A full table refuses the newest.
    #[schemars(range(min = 1, max = 65_536))]
    pub capacity: u32,
    /// Attempts under way at a time.
    #[schemars(range(min = 1, max = 4096))]
    pub max_in_flight: u32,
    /// Attempts under way to one target at a time.
    #[schemars(range(min = 1, max = 4096))]
    pub max_in_flight_per_target: u32,
}

impl Default for Delivery {
    fn default() -> Self {
        Delivery {
            max_attempts: 8,
            base_delay_ms: 1000,
            max_delay_ms: 600_000,
            timeout_ms: 30_000,
            capacity: 1024,
            max_in_flight: 64,
            max_in_flight_per_target: 8,
        }
    }
}
