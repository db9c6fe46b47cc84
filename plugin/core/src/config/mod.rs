//! The configuration: from the host's bytes to JSON, to the raw structs, to checked types.
//!
//! ```text
//! bytes ─ decode ─▶ JSON ─ shape (against the schema) ─▶ raw ─ check ─▶ Config
//! ```
//! All errors are collected, each with its path. A configuration with an error is refused.

mod apis;
mod calls;
mod check;
mod error;
mod lints;
mod notifications;
pub mod raw;
mod read;
mod sessions;

pub use apis::is_version_name;
pub use error::{ConfigError, Errors};
pub use read::schema::{envoy_schema, schema};
pub use sessions::fields::{self, SessionField, Use};
pub use sessions::keys_from::KeysFrom;
pub use sessions::{SessionMaker, is_identity};

use litemap::LiteMap;

use crate::access::{Access, Api, Directory, FleetSettings};
use crate::admin::{Admin, OwnUsage};
use crate::base::fingerprint;
use crate::delivery::{ConfigId, Target};
use crate::notify::Notifications;
use crate::observe::Observation;

/// A checked configuration, in the parts that the engine passes on.
pub struct Config {
    /// The part that decides on requests.
    pub access: Access,
    /// Sessions and organisations.
    pub directory: Directory,
    /// The exchanges that are management events.
    pub observation: Observation,
    /// Who is notified, and how.
    pub notifications: Notifications,
    /// The source of fetched sessions.
    pub keys_from: Option<KeysFrom>,
    /// Makes sessions from fetched documents.
    pub session_maker: SessionMaker,
    /// The admin endpoints, and the API that stands for them in the AuthFailure of a wrong token.
    pub admin: Option<(Admin, Api)>,
    /// The endpoint at which the holder of a key sees its limits, and the API that stands for it in events.
    pub usage: Option<(OwnUsage, Api)>,
    /// The cluster that reaches any host without TLS.
    pub http_cluster: String,
    /// The targets of named webhooks.
    pub named: LiteMap<String, Target>,
    /// The store of a fleet; `None` if this process counts alone.
    pub fleet: Option<FleetSettings>,
}

/// The configuration as JSON, from the host's bytes: JSON text, or a serialized `google.protobuf.Struct`.
///
/// # Errors
/// The bytes are neither, or an object has a member twice.
pub fn document(bytes: &[u8]) -> Result<serde_json::Value, ConfigError> {
    read::decode::to_json(bytes)
}

impl Config {
    /// Reads the host's bytes: JSON text, or a serialized `google.protobuf.Struct`.
    ///
    /// Returns the configuration and its warnings.
    ///
    /// # Errors
    /// All errors of the configuration.
    pub fn load(bytes: &[u8]) -> Result<(Config, Vec<ConfigError>), Vec<ConfigError>> {
        Config::load_in(bytes, &|_| None)
    }

    /// As [`Config::load_in`], but logs errors and warnings. Returns `None` if there is an error.
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

    /// As [`Config::load`]. `has_cluster` says whether the proxy has a cluster, or `None` if the proxy does not tell.
    ///
    /// # Errors
    /// All errors of the configuration.
    pub fn load_in(
        bytes: &[u8],
        has_cluster: &dyn Fn(&str) -> Option<bool>,
    ) -> Result<(Config, Vec<ConfigError>), Vec<ConfigError>> {
        let mut errors = Errors::default();
        let raw = match read::read(bytes, &mut errors) {
            Ok(raw) => raw,
            Err(error) => {
                errors.add(error.path, error.message);
                return Err(errors.into_list());
            }
        };
        let (mut config, warnings) = check::check(raw, &mut errors);
        calls::clusters::check(&config.notifications.clusters, has_cluster, &mut errors);
        config.notifications.placement.id = ConfigId(fingerprint(&[&String::from_utf8_lossy(bytes)]));
        if errors.is_empty() { Ok((config, warnings.into_list())) } else { Err(errors.into_list()) }
    }
}

#[cfg(test)]
mod tests;
