//! The configuration: bytes from the host, to JSON, to the raw structs, to checked types.
//!
//! ```text
//! bytes ─ decode ─▶ JSON ─ shape (against the schema) ─▶ raw ─ check ─▶ Config
//! ```
//! Every error is collected, with its path; a configuration with any is refused.

mod check;
mod clusters;
mod decode;
mod duplicates;
mod effects;
mod error;
pub mod fields;
mod handlers;
mod header;
mod mail;
mod manage;
mod numbers;
mod places;
mod policies;
pub mod raw;
mod schema;
mod sessions;
mod shape;
mod target;
mod url;
mod versioning;

pub use clusters::{Clusters, Needed};
pub use error::{ConfigError, Errors};
pub(crate) use error::{hint, item, member};
pub use schema::{envoy_schema, schema};
pub use sessions::{SessionMaker, is_identity};

use std::io::Read;

use flate2::read::DeflateDecoder;
use litemap::LiteMap;

use crate::admin::Admin;
use crate::delivery::DeliveryPolicy;
use crate::delivery::disabled::ConfigId;
use crate::delivery::succession::{Line, Origin, Scope};
use crate::event::{Event, EventKind};
use crate::handler::{HandlerIndex, Handlers, Target, Webhook};
use crate::json;
use crate::keys::KeysFrom;
use crate::limit_headers::LimitHeaders;
use crate::mail::Mail;
use crate::route::{Api, Routes};
use crate::session::{Directory, Session};
use crate::template::Templates;
use crate::tyk_tokens::TykTokens;
use crate::units::fingerprint;

/// A checked configuration.
pub struct Config {
    /// The APIs.
    pub routes: Routes,
    /// Sessions and organisations.
    pub directory: Directory,
    /// What makes sessions of those that are fetched.
    pub session_maker: SessionMaker,
    /// The session of identities that have none of their own; `None`: they may do anything.
    pub default_session: Option<Session>,
    /// The pages of the table that counts such identities; at least 1.
    pub identity_pages: u32,
    /// The pages of the table that counts fetched sessions; at least 1.
    pub fetched_pages: u32,
    /// Which headers tell a client of its limits.
    pub limit_headers: LimitHeaders,
    /// Where sessions are fetched.
    pub keys_from: Option<KeysFrom>,
    /// The admin endpoints, and the place where a wrong token is an AuthFailure.
    pub admin: Option<(Admin, Api)>,
    /// The cluster that reaches any host without TLS.
    pub http_cluster: String,
    /// The clusters that it needs.
    pub clusters: Clusters,
    /// The targets of named webhooks.
    pub named: LiteMap<String, Target>,
    /// Whether every session is known that there is: those that are fetched have come, or none is.
    pub keys_are_loaded: bool,
    /// What tells it from another configuration.
    pub id: ConfigId,
    /// What the proxy calls the plugin.
    pub scope: Scope,
    /// The configurations before and after it: see [`crate::delivery::succession`].
    pub line: Line,
    /// Who hears of an organisation's dashboard events, by its id.
    pub org_handlers: LiteMap<String, [Vec<HandlerIndex>; EventKind::COUNT]>,
    /// Every event handler, the monitor's included.
    pub handlers: Handlers,
    /// Every template.
    pub templates: Templates,
    /// How letters are written and sent; `None`: none are.
    pub mail: Option<Mail>,
    /// How messages are delivered.
    pub delivery: DeliveryPolicy,
    /// Events show a key's fingerprint instead of the key.
    pub hash_keys: bool,
    /// The headers that name the client's address, lower case, where any is trusted.
    pub origin_headers: Vec<String>,
    /// Tyk's names for keys.
    pub tyk_tokens: TykTokens,
}

impl Config {
    /// From what the host hands over: JSON text, or a serialized `google.protobuf.Struct`.
    ///
    /// Returns the configuration and what is odd about it but allowed.
    ///
    /// # Errors
    /// All of them.
    pub fn load(bytes: &[u8]) -> Result<(Config, Vec<ConfigError>), Vec<ConfigError>> {
        Config::load_in(bytes, &|_| None)
    }

    /// The same for a proxy that may tell whether it has a cluster: `None` where it does not.
    ///
    /// # Errors
    /// All of them.
    pub fn load_in(
        bytes: &[u8],
        has_cluster: &dyn Fn(&str) -> Option<bool>,
    ) -> Result<(Config, Vec<ConfigError>), Vec<ConfigError>> {
        let mut errors = Errors::default();
        let mut value = decode::to_json(bytes).map_err(|error| vec![error])?;
        shape::conform(&embedded_schema(&mut errors), &mut value, &mut errors);
        let raw: raw::Config = match raw::read(value) {
            Ok(raw) => raw,
            Err(fault) => {
                // What conforms can be read. Were the schema wrong, a path below `keys` could name a raw key.
                let field = fault.path.split(['.', '[']).next().unwrap_or_default();
                errors.add(field, fault.message);
                return Err(errors.into_list());
            }
        };
        let (mut config, warnings) = check::check(raw, &mut errors);
        clusters::check(&config.clusters, has_cluster, &mut errors);
        config.id = ConfigId(fingerprint(&[&String::from_utf8_lossy(bytes)]));
        if errors.is_empty() { Ok((config, warnings.into_list())) } else { Err(errors.into_list()) }
    }

    /// The webhook of the handler of that name.
    pub fn webhook(&self, handler: &str) -> Option<&Webhook> {
        self.handlers.webhook(handler)
    }

    /// What its messages belong to.
    pub fn origin(&self) -> Origin {
        Origin { config: self.id, line: self.line }
    }

    /// Whose slots of the outbox its messages take, and how many there are.
    pub fn table(&self) -> (Line, u32) {
        (self.line, self.delivery.capacity)
    }

    /// What an event's caps, claims and digests are of, apart from those of other configurations.
    pub fn group(&self, event: &Event) -> u64 {
        event.group() ^ self.line.0.rotate_left(17)
    }
}

/// What [`Config::load`] checks first: [`schema()`] as it was when `make schema` ran last, without descriptions. Building
/// it takes much more code than reading it.
fn embedded_schema(errors: &mut Errors) -> serde_json::Value {
    let mut text = Vec::new();
    let mut compressed = DeflateDecoder::new(&include_bytes!(concat!(env!("OUT_DIR"), "/schema.deflate"))[..]);
    // What cannot be decompressed is not JSON either.
    let _ = compressed.read_to_end(&mut text);
    json::parse(&text).unwrap_or_else(|error| {
        errors.add("", format!("the schema in the module: {error}"));
        serde_json::Value::Null
    })
}

#[cfg(test)]
mod tests;
