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
mod event_options;
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

pub use fields::{SessionField, Use};

pub use error::{ConfigError, Errors};
pub use schema::{envoy_schema, schema};
pub use sessions::{SessionMaker, is_identity};

use std::io::Read;

use flate2::read::DeflateDecoder;
use litemap::LiteMap;

use crate::access::{Access, Api, Directory};
use crate::admin::Admin;
use crate::base::{fingerprint, json};
use crate::delivery::{ConfigId, Target};
use crate::notify::Notifications;
use crate::observe::Observation;

/// A checked configuration, in the parts that the engine hands on.
pub struct Config {
    /// What decides on a request.
    pub access: Access,
    /// Sessions and organisations.
    pub directory: Directory,
    /// Which exchanges are management events.
    pub observation: Observation,
    /// Who is notified, and how.
    pub notifications: Notifications,
    /// Where sessions are fetched.
    pub keys_from: Option<KeysFrom>,
    /// What makes sessions of those that are fetched.
    pub session_maker: SessionMaker,
    /// The admin endpoints, and the place where a wrong token is an AuthFailure.
    pub admin: Option<(Admin, Api)>,
    /// The cluster that reaches any host without TLS.
    pub http_cluster: String,
    /// The targets of named webhooks.
    pub named: LiteMap<String, Target>,
}

/// Where sessions are fetched, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysFrom {
    /// The URL.
    pub target: Target,
    /// Headers of the request, lower case.
    pub headers: Vec<(String, String)>,
    /// From one look to the next.
    pub interval_ms: u64,
    /// The largest answer that is read.
    pub max_bytes: usize,
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

    /// The same, with errors and warnings in the log; `None` where there is an error.
    pub fn load_and_log(bytes: &[u8], has_cluster: &dyn Fn(&str) -> Option<bool>) -> Option<Config> {
        match Config::load_in(bytes, has_cluster) {
            Ok((config, warnings)) => {
                for warning in warnings {
                    log::warn!("configuration: {warning}");
                }
                Some(config)
            }
            Err(errors) => {
                for error in &errors {
                    log::error!("configuration: {error}");
                }
                let word = if errors.len() == 1 { "error" } else { "errors" };
                log::error!("configuration: refused, {} {word}", errors.len());
                None
            }
        }
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
        clusters::check(&config.notifications.clusters, has_cluster, &mut errors);
        config.notifications.placement.id = ConfigId(fingerprint(&[&String::from_utf8_lossy(bytes)]));
        if errors.is_empty() { Ok((config, warnings.into_list())) } else { Err(errors.into_list()) }
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
