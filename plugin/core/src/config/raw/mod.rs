//! The configuration as written. The doc comments here become the descriptions in the JSON Schema.

#[macro_use]
mod setting;

mod handler;
mod mail;
mod manage;
mod session;
mod store;
mod versioning;
#[cfg(feature = "serialize")]
mod written;

use schemars::JsonSchema;
use serde_json::Value;

use crate::config::ConfigError;
use crate::observe::DEFAULT_FAILURES;

pub use handler::{
    ClassicHandlers, EventHandlers, Handler, HandlerMeta, NamedWebhook, OasHandler, OasServer, ReceiverSettings, When,
};
pub use mail::{EmailBackend, EmailTemplate};
pub use manage::{EventOption, Observe, ObserveRule, ObserveSource};
pub use session::{AccessRight, AllowedUrl, Limit, Org, Partitions, Policy, Session, TriggerLimit, Triggers};
pub use setting::{Named, Setting, read};
pub use store::{RedisStore, Store};
pub use versioning::{Version, Versioning};
#[cfg(feature = "serialize")]
pub use written::{AsWritten, Written};

/// The addition to an error about a number's range.
const SECONDS: &str = "the unit is seconds";
const UNIX_SECONDS: &str = "the unit is Unix seconds, not milliseconds";

settings! {
    /// tollbell: API keys, quotas, monitors and event webhooks for Envoy. The names are Tyk's if Tyk has the setting.
    #[derive(Debug)]
    pub struct Config {
        /// The APIs behind this listener. An exact domain wins over none, then the longest listen_path wins. Paths are
        /// compared decoded. If a path or host can be read in several ways, the strictest reading holds.
        pub apis: Vec<Api>,
        /// What happens to requests that belong to no API: pass sends them to the upstream unchecked, refuse answers
        /// 404 as Tyk does.
        #[schemars(extend("enum" = ["pass", "refuse"]))]
        pub unmatched: String = "pass".to_owned(),
        /// What happens to requests that are to be refused. enforce refuses them. observe admits them, and counts,
        /// notifies and shows everything else as if they were refused.
        #[schemars(extend("enum" = ["enforce", "observe"]))]
        pub enforcement: String = "enforce".to_owned(),
        /// Sets the properties tollbell.key (a fingerprint), tollbell.org, tollbell.api and tollbell.outcome of each
        /// request, for the access log: %FILTER_STATE(wasm.tollbell.key:PLAIN)%.
        pub access_log: bool,
        /// Event handlers for all APIs.
        pub event_handlers: EventHandlers,
        /// Sessions by key: the raw key, or "sha256:" and the 64 hex digits of its SHA-256. The session of another
        /// identity has its source and name, such as "header:partner" or "metadata:alice"; no key finds it.
        #[schemars(extend("x-secret-names" = true))]
        pub keys: Named<Session>,
        /// Sessions that are fetched, in addition to keys.
        pub keys_from: KeysFrom,
        /// Limits and rights that keys share, by the policy's id. Keys name their policies.
        pub policies: Named<Policy>,
        /// The policy of identities without a session of their own; empty means that they have no limits.
        pub default_policy: String,
        /// The table that counts identities without a session.
        pub identities: Identities,
        /// Organisations by id.
        pub orgs: Named<Org>,
        /// Counts and enforces the quotas and rates of organisations.
        pub enforce_org_quotas: bool,
        /// The headers that show a client its limits. legacy: X-RateLimit-* of the tighter quota (without a quota -1, 0
        /// and 0, as in Tyk). legacy_rates: X-RateLimit-* of the tighter rate. ietf: RateLimit and RateLimit-Policy.
        /// both: legacy and ietf. none: neither.
        #[schemars(extend("enum" = ["legacy", "legacy_rates", "ietf", "both", "none"]))]
        pub rate_limit_headers: String = "legacy".to_owned(),
        /// Events show a key's fingerprint ("sha256:…") instead of the key. Logs and metrics never show the key.
        pub hash_keys: bool,
        /// The header whose first entry is the client's address, such as x-forwarded-for, if a trusted hop sets it. In
        /// a list, the first header that has an address counts. By default, it is the address that Envoy trusts.
        #[schemars(schema_with = "handler::one_or_many_schema")]
        pub origin_header: Vec<String> | String,
        /// The forms of Tyk's names for keys, which are tried for a key that is otherwise unknown.
        pub tyk_tokens: TykTokens,
        /// Quota monitors.
        pub monitor: Monitor,
        /// Message templates by name. The ending of the name decides the format: .json, .xml, .html, .csv, or otherwise
        /// text.
        pub templates: Named<String>,
        /// Links in the messages of built-in templates for receivers, by their names. A URL is a template whose values
        /// are percent-encoded, such as `https://grafana.example.com/d/keys?var-key={{Meta.Fingerprint}}`.
        #[schemars(extend("maxProperties" = 5))]
        pub links: Named<String>,
        /// Targets with names, which handlers can use.
        pub webhooks: Vec<NamedWebhook>,
        /// The account with an e-mail provider.
        pub email_backend: EmailBackend,
        /// Email templates by event name, instead of the built-in ones.
        pub email_templates: Named<EmailTemplate>,
        /// The Envoy clusters that send messages.
        pub callouts: Callouts,
        /// How messages are delivered.
        pub delivery: Delivery,
        /// Endpoints that the filter answers itself.
        pub admin: Admin,
        /// The endpoint at which the holder of a key sees its limits.
        pub usage: Usage,
        /// The store in which the Envoys of a fleet count together. Without it, each Envoy counts alone.
        pub store: Store,
    }

    /// If Tyk made a key with a custom id, a client may send the id alone. Tyk makes the key's name from the id and the
    /// organisation of the API.
    #[derive(Debug)]
    pub struct TykTokens {
        /// The forms of Tyk's names, in the order in which they are tried: legacy for the organisation and the id;
        /// murmur32, murmur64, murmur128 or sha256 for a token with that hash_key_function. By default none.
        #[schemars(extend("items" = {
            "type": "string", "enum": ["legacy", "murmur32", "murmur64", "murmur128", "sha256"]
        }))]
        pub forms: Vec<String>,
        /// Shorter keys are not looked up under other names.
        #[schemars(range(min = 1, max = 1024))]
        pub min_token_length: u64 = 3,
    }

    /// Endpoints that the filter answers itself, on every host: GET status, POST webhooks/{name}/test, POST
    /// messages/{id}/resend, POST events, and a page that shows the status. They are off unless there is a token.
    #[derive(Debug)]
    pub struct Admin {
        /// The prefix of their paths.
        pub path_prefix: String = "/.tollbell".to_owned(),
        /// The SHA-256 of the bearer token: 64 hex digits, with or without "sha256:" in front.
        pub token_sha256: String,
        /// Whether the prefix itself is a page that shows the status in a browser. The page has no data and needs no
        /// token: it asks for the token.
        pub page: bool = true,
    }

    /// The endpoint at which the holder of a key sees its limits, their use and their ends. It counts on none of them.
    /// It is off unless it has a path.
    #[derive(Debug)]
    pub struct Usage {
        /// The path, such as /.tollbell/usage. It is the same on every host.
        pub path: String,
        /// The requests per period that a key may send to the endpoint; -1 or 0 means any number. Each Envoy counts
        /// alone.
        #[schemars(range(min = -1))]
        pub rate: f64 = 5.0,
        /// The period in seconds.
        #[schemars(range(min = -1, max = 3_153_600_000_i64), extend("x-hint" = SECONDS))]
        pub per: f64 = 1.0,
    }

    /// An API.
    #[derive(Debug)]
    #[schemars(extend("required" = ["api_id"]))]
    pub struct Api {
        /// The id, which access_rights name.
        pub api_id: String,
        /// A name for people.
        pub name: String,
        /// The organisation of the API, for requests whose key names none.
        pub org_id: String,
        /// The prefix of the paths that it serves, percent-encoded or not. Case counts.
        pub listen_path: String = "/".to_owned(),
        /// With this, /orders/ does not serve /orders, and /orders does not serve /orders2. By default they do, so that an
        /// upstream which treats both alike cannot be reached around the filter. The proxy's routes must not serve these
        /// paths either.
        pub strict_listen_path: bool,
        /// The host that it serves, without a port; empty for any host. A name with characters outside ASCII is written
        /// in the form that begins with xn--.
        pub domain: String,
        /// Makes the API reachable only as a version of other APIs. Its domain and listen_path are ignored.
        pub internal: bool,
        /// The versions of the API.
        pub versioning: Versioning,
        /// The API needs no key and counts no key quota.
        pub use_keyless: bool,
        /// The sources of identities. The first that answers decides who is calling. By default, the filter's own keys.
        pub identity: Vec<IdentitySource>,
        /// The places where a key may be.
        pub auth: Auth,
        /// Removes the key from the request before it goes upstream.
        pub strip_authorization_data: bool,
        /// The rate of all callers together.
        pub global_rate_limit: GlobalRateLimit,
        /// The same as enforcement of the whole configuration, for this API. Empty means as there.
        #[schemars(extend("enum" = ["", "enforce", "observe"]))]
        pub enforcement: String,
        /// Fires events for refusals by other filters and by the upstream: AuthFailure for 401 and 403,
        /// RatelimitExceeded for 429.
        pub observe_failures: bool,
        /// Fires events for Envoy's verdicts on the upstream: HostDown, HostUp, BreakerTripped, BreakerReset and
        /// BreakerTriggered.
        pub observe_upstream: ObserveUpstream,
        /// The exchanges with the upstream that are management events.
        pub observe: Observe,
        /// Event handlers for this API.
        pub event_handlers: EventHandlers,
        /// Event handlers for this API, in the form of a Tyk OAS definition.
        pub server: OasServer,
    }
}

/// Whether Envoy's verdicts on the upstream are events, and when the upstream is down.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum ObserveUpstream {
    /// true: on, with the defaults.
    Switch(bool),
    /// On, with these settings.
    Settings(ObserveUpstreamSettings),
}

impl Default for ObserveUpstream {
    fn default() -> Self {
        ObserveUpstream::Switch(false)
    }
}

impl Setting for ObserveUpstream {
    fn read(&mut self, value: Value) -> Result<(), ConfigError> {
        *self = match value {
            Value::Bool(is_on) => ObserveUpstream::Switch(is_on),
            settings => ObserveUpstream::Settings(read(settings)?),
        };
        Ok(())
    }
}

impl ObserveUpstream {
    /// The failed connections in a row that cause HostDown; `None` if the upstream is not observed.
    pub fn failures(&self) -> Option<u32> {
        match self {
            ObserveUpstream::Switch(is_on) => is_on.then_some(DEFAULT_FAILURES),
            ObserveUpstream::Settings(settings) => Some(settings.failures),
        }
    }
}

settings! {
    /// When an upstream is down.
    #[derive(Debug)]
    pub struct ObserveUpstreamSettings {
        /// The number of connections that must fail in a row before the upstream is down (HostDown). Without a healthy
        /// host it is down at once.
        #[schemars(range(min = 1, max = 1_000_000))]
        pub failures: u32 = DEFAULT_FAILURES,
    }
}

/// A source of identities.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum IdentitySource {
    /// The filter's own keys.
    Key(KeyWord),
    /// A name that another filter, a trusted hop or the connection established.
    From(IdentityFrom),
}

/// The word key.
#[derive(Debug, JsonSchema)]
#[schemars(extend("enum" = ["key"]))]
pub struct KeyWord(pub String);

impl Default for IdentitySource {
    fn default() -> Self {
        IdentitySource::From(IdentityFrom::default())
    }
}

impl Setting for IdentitySource {
    fn read(&mut self, value: Value) -> Result<(), ConfigError> {
        *self = match value {
            Value::String(word) => IdentitySource::Key(KeyWord(word)),
            from => IdentitySource::From(read(from)?),
        };
        Ok(())
    }
}

settings! {
    /// A source of identities other than keys. Exactly one field is set; metadata can have org, too.
    #[derive(Debug)]
    pub struct IdentityFrom {
        /// Dynamic metadata: the namespace of the filter, then the names of the path to a string, as in
        /// envoy.filters.http.jwt_authn, jwt_payload, sub.
        pub metadata: Vec<String>,
        /// Dynamic metadata with the id of the organisation.
        pub org: Vec<String>,
        /// A header that a trusted hop sets and a client cannot set.
        pub header: String,
        /// A property of the client's certificate: uri_san, dns_san, subject or sha256.
        #[schemars(extend("enum" = ["", "uri_san", "dns_san", "subject", "sha256"]))]
        pub peer_certificate: String,
        /// The client's address, as Envoy trusts it.
        pub source_address: bool,
    }

    /// The rate of an API.
    #[derive(Clone, Copy, Debug)]
    pub struct GlobalRateLimit {
        /// True if the limit is inactive.
        pub disabled: bool,
        /// Requests per period; -1 or 0 means unlimited.
        #[schemars(range(min = -1))]
        pub rate: f64,
        /// The period in seconds; -1 or 0 means no rate limit.
        #[schemars(range(min = -1, max = 3_153_600_000_i64), extend("x-hint" = SECONDS))]
        pub per: f64,
    }

    /// Where sessions are fetched: a JSON object of sessions by key.
    #[derive(Debug)]
    pub struct KeysFrom {
        /// The absolute URL of the document; empty for none.
        pub url: String,
        /// The Envoy cluster; by default the same as for messages, see callouts.
        pub cluster: String,
        /// Seconds between two fetches.
        #[schemars(range(min = 1, max = 86_400))]
        pub interval_s: u64 = 30,
        /// Headers of the request, such as Authorization.
        pub headers: Named<String>,
        /// The largest answer that is read, in bytes.
        #[schemars(range(min = 1024, max = 268_435_456))]
        pub max_bytes: u64 = 32 * 1024 * 1024,
    }

    /// The table that counts identities without a session. Clients can choose any number of these identities.
    #[derive(Debug)]
    pub struct Identities {
        /// The number of counters. An identity has one for its quota and one for its rate. If the table is full, the
        /// least recently used counter is evicted.
        #[schemars(range(min = 32, max = 1_048_576))]
        pub capacity: u32 = 16_384,
    }

    /// The places where a request's key may be. If several places have a key, the cookie wins over the parameter, and
    /// the parameter over the header. A place with two different keys has no valid key.
    #[derive(Debug)]
    pub struct Auth {
        /// The header. Here and in the other places, a leading "Bearer " is dropped.
        pub auth_header_name: String = "Authorization".to_owned(),
        /// Reads the key from the query parameter param_name, too.
        pub use_param: bool,
        /// The name of the query parameter.
        pub param_name: String = "api_key".to_owned(),
        /// Reads the key from the cookie cookie_name, too.
        pub use_cookie: bool,
        /// The name of the cookie.
        pub cookie_name: String,
        /// Fires AuthFailure for a request without a key. Tyk fires no event for it.
        pub fire_on_missing_key: bool,
        /// Passes a browser's preflight (OPTIONS with Origin and Access-Control-Request-Method) to the upstream without
        /// a key. It counts on no limit. This is for an upstream that handles CORS itself.
        pub allow_preflight: bool,
    }

    /// Quota monitors: a message when the use of a quota crosses a threshold.
    #[derive(Debug)]
    pub struct Monitor {
        /// Switches the monitors on.
        pub enable_trigger_monitors: bool,
        /// The webhook that is notified.
        pub configuration: HandlerMeta,
        /// The threshold for every monitored quota, in percent; 0 for none.
        #[schemars(range(min = 0, max = 100))]
        pub global_trigger_limit: f64,
        /// Monitors the quotas of keys.
        pub monitor_user_keys: bool,
        /// Monitors the quotas of organisations.
        pub monitor_org_keys: bool,
        /// Foretells when a monitored quota will be used up before its window ends (QuotaForecast).
        pub forecast: Forecast,
    }

    /// When the end of a quota is foretold: at most once in a window, by the rate of the window so far.
    #[derive(Debug)]
    pub struct Forecast {
        /// The longest time before the end of the quota, in seconds; 0 for no forecasts.
        #[schemars(range(min = 0, max = 3_153_600_000_i64), extend("x-hint" = SECONDS))]
        pub within: u64,
        /// The smallest use of the quota, in percent. Before that the rate is not known well.
        #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 100))]
        pub min_used: f64 = 20.0,
    }

    /// The Envoy clusters that send messages.
    #[derive(Debug)]
    pub struct Callouts {
        /// The cluster for http targets. A dynamic_forward_proxy cluster reaches any host.
        pub http_cluster: String = "tollbell_http".to_owned(),
        /// The cluster for https targets: the same with TLS.
        pub https_cluster: String = "tollbell_https".to_owned(),
        /// Clusters by "host" or "host:port". They come before the two above.
        pub clusters: Named<String>,
    }

    /// How messages are delivered.
    #[derive(Debug)]
    pub struct Delivery {
        /// The number of attempts before a message fails for good.
        #[schemars(range(min = 1, max = 100))]
        pub max_attempts: u32 = 8,
        /// The first back-off in milliseconds. Each further one is twice as long, with full jitter.
        #[schemars(range(min = 1, max = 3_600_000))]
        pub base_delay_ms: u64 = 1000,
        /// The longest back-off in milliseconds.
        #[schemars(range(min = 1, max = 86_400_000))]
        pub max_delay_ms: u64 = 600_000,
        /// The time-out of one attempt in milliseconds.
        #[schemars(range(min = 1, max = 600_000))]
        pub timeout_ms: u64 = 30_000,
        /// The maximum number of held messages: waiting, in flight, or backing off. A full table refuses the newest
        /// message.
        #[schemars(range(min = 1, max = 65_536))]
        pub capacity: u32 = 1024,
        /// The maximum number of attempts in flight.
        #[schemars(range(min = 1, max = 4096))]
        pub max_in_flight: u32 = 64,
        /// The maximum number of attempts in flight to one target.
        #[schemars(range(min = 1, max = 4096))]
        pub max_in_flight_per_target: u32 = 8,
    }
}
