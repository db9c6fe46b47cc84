//! The configuration as written. The doc comments here are the descriptions in the JSON Schema.

#[macro_use]
mod setting;

mod handler;
mod mail;
mod manage;
mod session;
mod versioning;
#[cfg(feature = "serialize")]
mod written;

use schemars::JsonSchema;
use serde_json::Value;

use crate::config::ConfigError;
use crate::observe::DEFAULT_FAILURES;

pub use handler::{ClassicHandlers, EventHandlers, Handler, HandlerMeta, NamedWebhook, OasHandler, OasServer};
pub use mail::{EmailBackend, EmailTemplate};
pub use manage::{EventOption, Observe, ObserveRule, ObserveSource};
pub use session::{AccessRight, AllowedUrl, Limit, Org, Partitions, Policy, Session, TriggerLimit, Triggers};
pub use setting::{Named, Setting, read};
pub use versioning::{Version, Versioning};
#[cfg(feature = "serialize")]
pub use written::{AsWritten, Written};

/// What an error about a number's range adds.
const SECONDS: &str = "the unit is seconds";
const UNIX_SECONDS: &str = "the unit is Unix seconds, not milliseconds";

settings! {
    /// tollbell: API keys, quotas, monitors and event webhooks for Envoy. Names are Tyk's wherever Tyk has one.
    #[derive(Debug)]
    pub struct Config {
        /// The APIs behind this listener. An exact domain wins over none, then the longest listen_path. Paths are compared
        /// decoded; where a path or host can be read in several ways, the strictest holds.
        pub apis: Vec<Api>,
        /// What happens to requests that belong to no API: pass for unchecked to the upstream, refuse for 404 as Tyk answers.
        #[schemars(extend("enum" = ["pass", "refuse"]))]
        pub unmatched: String = "pass".to_owned(),
        /// Event handlers for every API.
        pub event_handlers: EventHandlers,
        /// Sessions by key: the raw key, or "sha256:" and the 64 hex digits of its SHA-256. Of another identity: its source
        /// and name, such as "header:partner" or "metadata:alice", which no key finds.
        #[schemars(extend("x-secret-names" = true))]
        pub keys: Named<Session>,
        /// Sessions that are fetched, beside those of keys.
        pub keys_from: KeysFrom,
        /// What the keys that name them may do, by id.
        pub policies: Named<Policy>,
        /// The policy of identities that have no session of their own; empty: they have no limits.
        pub default_policy: String,
        /// The table that counts identities without a session.
        pub identities: Identities,
        /// Organisations by id.
        pub orgs: Named<Org>,
        /// Count and enforce the quotas and rates of organisations.
        pub enforce_org_quotas: bool,
        /// The headers that tell a client of its limits: legacy for X-RateLimit-* of the tighter quota (-1, 0 and 0 without
        /// one, as in Tyk), legacy_rates for those of the tighter rate, ietf for RateLimit and RateLimit-Policy, both for
        /// legacy and ietf.
        #[schemars(extend("enum" = ["legacy", "legacy_rates", "ietf", "both", "none"]))]
        pub rate_limit_headers: String = "legacy".to_owned(),
        /// Events show a key's fingerprint ("sha256:…") instead of the key. Logs and metrics never show the key.
        pub hash_keys: bool,
        /// The header whose first entry is the client's address, such as x-forwarded-for, if a trusted hop sets it; or a list
        /// of them, of which the first that has an address counts. By default, the address that Envoy trusts.
        #[schemars(schema_with = "handler::one_or_many_schema")]
        pub origin_header: Vec<String> | String,
        /// Tyk's names for keys, under which a key is looked up that is none itself.
        pub tyk_tokens: TykTokens,
        /// Quota monitors.
        pub monitor: Monitor,
        /// Message templates by name. The ending of the name says what is written: .json, .xml, .html, .csv or text.
        pub templates: Named<String>,
        /// Targets with names, for handlers to send to.
        pub webhooks: Vec<NamedWebhook>,
        /// The account with an e-mail provider.
        pub email_backend: EmailBackend,
        /// Email templates by event name, instead of the built-in ones.
        pub email_templates: Named<EmailTemplate>,
        /// Which Envoy cluster carries a message.
        pub callouts: Callouts,
        /// How messages are delivered.
        pub delivery: Delivery,
        /// Endpoints that the filter answers itself.
        pub admin: Admin,
    }

    /// Of a key that Tyk made with an id of one's own, a client may send the id alone: Tyk makes the key's name of it and the
    /// organisation of the API.
    #[derive(Debug)]
    pub struct TykTokens {
        /// How Tyk makes names, in the order in which they are tried: legacy for the organisation and the id, murmur32,
        /// murmur64, murmur128 or sha256 for a token with that hash_key_function. By default none.
        #[schemars(extend("items" = {
            "type": "string", "enum": ["legacy", "murmur32", "murmur64", "murmur128", "sha256"]
        }))]
        pub forms: Vec<String>,
        /// Shorter keys are not looked up so.
        #[schemars(range(min = 1, max = 1024))]
        pub min_token_length: u64 = 3,
    }

    /// Endpoints that the filter answers itself, on every host: GET status, POST webhooks/{name}/test, POST events. Off unless
    /// there is a token.
    #[derive(Debug)]
    pub struct Admin {
        /// What their paths begin with.
        pub path_prefix: String = "/.tollbell".to_owned(),
        /// The SHA-256 of the bearer token: 64 hex digits, perhaps behind "sha256:".
        pub token_sha256: String,
    }

    /// An API.
    #[derive(Debug)]
    #[schemars(extend("required" = ["api_id"]))]
    pub struct Api {
        /// Its id, which access_rights name.
        pub api_id: String,
        /// A name for people.
        pub name: String,
        /// The organisation that it belongs to, for requests whose key names none.
        pub org_id: String,
        /// The beginning of the paths that it serves, percent-encoded or not; letter case counts.
        pub listen_path: String = "/".to_owned(),
        /// /orders/ does not serve /orders, and /orders not /orders2. By default they do, so that an upstream which takes both
        /// for the same cannot be reached around the filter. The proxy's routes must not serve them either.
        pub strict_listen_path: bool,
        /// The host that it serves, without a port; empty for any. Of a name with other letters than ASCII's, the form that
        /// begins with xn--.
        pub domain: String,
        /// Only versions of other APIs lead to it: its domain and listen_path are not looked at.
        pub internal: bool,
        /// Its versions.
        pub versioning: Versioning,
        /// No authentication and no key quota.
        pub use_keyless: bool,
        /// Who is calling: the first source that answers. By default, the filter's own keys.
        pub identity: Vec<IdentitySource>,
        /// Where the key stands.
        pub auth: Auth,
        /// Take the key out of the request before it goes upstream.
        pub strip_authorization_data: bool,
        /// Requests per period of all callers together.
        pub global_rate_limit: GlobalRateLimit,
        /// A 401 or 403 of another filter or of the upstream is an AuthFailure, a 429 a RatelimitExceeded.
        pub observe_failures: bool,
        /// Envoy's verdicts on the upstream are HostDown, HostUp, BreakerTripped, BreakerReset and BreakerTriggered.
        pub observe_upstream: ObserveUpstream,
        /// Which exchanges with the upstream are management events.
        pub observe: Observe,
        /// Event handlers for this API.
        pub event_handlers: EventHandlers,
        /// Event handlers for this API, as a Tyk OAS definition has them.
        pub server: OasServer,
    }
}

/// Whether Envoy's verdicts on the upstream are events, and when it is down.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum ObserveUpstream {
    /// true: with the defaults.
    Switch(bool),
    /// With these settings.
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
    /// Failed connections in a row that are HostDown; `None`: it is not observed.
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
        /// Connections to the upstream that fail in a row before it is down (HostDown). No healthy host is HostDown at once.
        #[schemars(range(min = 1, max = 1_000_000))]
        pub failures: u32 = DEFAULT_FAILURES,
    }
}

/// Who is calling.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum IdentitySource {
    /// The filter's own keys.
    Key(KeyWord),
    /// Something that another filter, a trusted hop or the connection established.
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
    /// What established who is calling. One of its fields, and for metadata perhaps org.
    #[derive(Debug)]
    pub struct IdentityFrom {
        /// Dynamic metadata: the filter's namespace, then names on the way to a string, such as
        /// envoy.filters.http.jwt_authn, jwt_payload, sub.
        pub metadata: Vec<String>,
        /// Dynamic metadata that names the organisation.
        pub org: Vec<String>,
        /// A header that a trusted hop sets, and that a client cannot.
        pub header: String,
        /// Of the client's certificate: uri_san, dns_san, subject or sha256.
        #[schemars(extend("enum" = ["", "uri_san", "dns_san", "subject", "sha256"]))]
        pub peer_certificate: String,
        /// The client's address, as Envoy trusts it.
        pub source_address: bool,
    }

    /// A limit on an API.
    #[derive(Clone, Copy, Debug)]
    pub struct GlobalRateLimit {
        /// Switched off.
        pub disabled: bool,
        /// Requests per period; -1 or 0: unlimited.
        #[schemars(range(min = -1))]
        pub rate: f64,
        /// The period in seconds; -1 or 0: no rate limit.
        #[schemars(range(min = -1, max = 3_153_600_000_i64), extend("x-hint" = SECONDS))]
        pub per: f64,
    }

    /// Where sessions are fetched: a JSON object of sessions by key.
    #[derive(Debug)]
    pub struct KeysFrom {
        /// The absolute URL to get; empty for none.
        pub url: String,
        /// The Envoy cluster; by default as for messages, see callouts.
        pub cluster: String,
        /// Seconds between two fetches.
        #[schemars(range(min = 1, max = 86_400))]
        pub interval_s: u64 = 30,
        /// Headers of the request, such as Authorization.
        pub headers: Named<String>,
        /// The largest answer that is read.
        #[schemars(range(min = 1024, max = 268_435_456))]
        pub max_bytes: u64 = 32 * 1024 * 1024,
    }

    /// The table that counts identities without a session, which traffic can invent.
    #[derive(Debug)]
    pub struct Identities {
        /// Counters that it holds; an identity has one for its quota and one for its rate. In a full table the one that was
        /// used longest ago makes room.
        #[schemars(range(min = 32, max = 1_048_576))]
        pub capacity: u32 = 16_384,
    }

    /// Where the key of a request stands. Of several places with a key the cookie wins over the parameter, and the parameter
    /// over the header. A place with two different keys holds no valid one.
    #[derive(Debug)]
    pub struct Auth {
        /// The header. Here and in the other places, a leading "Bearer " is dropped.
        pub auth_header_name: String = "Authorization".to_owned(),
        /// Look into the query parameter param_name.
        pub use_param: bool,
        /// The query parameter.
        pub param_name: String = "api_key".to_owned(),
        /// Look into the cookie cookie_name.
        pub use_cookie: bool,
        /// The cookie.
        pub cookie_name: String,
        /// A request without a key is an AuthFailure too. Tyk fires no event then.
        pub fire_on_missing_key: bool,
        /// Let a browser's preflight (OPTIONS with Origin and Access-Control-Request-Method) pass to the upstream without a
        /// key. It counts on nothing. For an upstream that does CORS itself.
        pub allow_preflight: bool,
    }

    /// Quota monitors: a message when the use of a quota crosses a threshold.
    #[derive(Debug)]
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
    #[derive(Debug)]
    pub struct Callouts {
        /// For http targets: a dynamic_forward_proxy cluster reaches any.
        pub http_cluster: String = "tollbell_http".to_owned(),
        /// For https targets: the same with TLS.
        pub https_cluster: String = "tollbell_https".to_owned(),
        /// Named clusters by "host" or "host:port", before the two above.
        pub clusters: Named<String>,
    }

    /// How messages are delivered.
    #[derive(Debug)]
    pub struct Delivery {
        /// Attempts before a message is given up.
        #[schemars(range(min = 1, max = 100))]
        pub max_attempts: u32 = 8,
        /// The first back-off, doubled for each further one, with full jitter.
        #[schemars(range(min = 1, max = 3_600_000))]
        pub base_delay_ms: u64 = 1000,
        /// The longest back-off.
        #[schemars(range(min = 1, max = 86_400_000))]
        pub max_delay_ms: u64 = 600_000,
        /// The time for one attempt.
        #[schemars(range(min = 1, max = 600_000))]
        pub timeout_ms: u64 = 30_000,
        /// Messages held: waiting, in flight, backing off. A full table refuses the newest.
        #[schemars(range(min = 1, max = 65_536))]
        pub capacity: u32 = 1024,
        /// Attempts under way at a time.
        #[schemars(range(min = 1, max = 4096))]
        pub max_in_flight: u32 = 64,
        /// Attempts under way to one target at a time.
        #[schemars(range(min = 1, max = 4096))]
        pub max_in_flight_per_target: u32 = 8,
    }
}
