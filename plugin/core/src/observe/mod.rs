//! Management events: an API, a key, a key request or a portal's user was created, changed or removed.
//!
//! ```text
//! request headers → Rules::watch ─▶ the bodies that are needed → body::Collector
//! end of exchange → Rules::occurrences ─▶ Occurrence ─▶ body
//! admin endpoint  → posted::posted     ─▶ Occurrence ─▶ body
//! ```
//! An event has two sources: observed traffic ([`rules`], with the [`presets`] for Tyk's gateway, its dashboard and its
//! Enterprise Developer Portal), and the application itself, which posts it ([`mod@posted`]). A payload leaves out what
//! an exchange does not carry; nothing is invented. [`fields`] lists the fields of each operation.
//!
//! Payloads are as in Tyk's documentation: "Portal events and notifications" for the dashboard, "Configure webhooks"
//! for the portal.

pub mod body;
pub mod exchange;
pub mod fields;
pub mod fit;
pub mod occurrence;
pub mod path;
pub mod posted;
pub mod presets;
pub mod rules;
mod secrets;
pub mod shapes;
pub mod upstream;
pub mod watching;

pub use body::BodyPool;
pub use fields::{Brings, TABLE};
pub use fit::fitted;
pub use path::Template;
pub use rules::{FreeRule, Payload, ValueSource};
pub use shapes::FieldType;
pub use upstream::{DEFAULT_FAILURES, UpstreamVerdict, Upstreams};
pub use watching::Watched;

pub use exchange::Exchange;
pub use occurrence::Occurrence;
pub use posted::mismatches;
pub use posted::{ShapeError, posted};
pub use presets::Preset;
pub use rules::Rules;
pub use secrets::{is_secret, leads_to_credential, leads_to_secret};

use litemap::LiteMap;

use crate::access::ApiIndex;

/// The observing rules, by API.
#[derive(Default)]
pub struct Observation(LiteMap<ApiIndex, Rules>);

impl Observation {
    /// Adds the rules of an API.
    pub fn insert(&mut self, api: ApiIndex, rules: Rules) {
        self.0.insert(api, rules);
    }

    /// The rules of an API.
    pub fn rules(&self, api: ApiIndex) -> Option<&Rules> {
        if self.0.is_empty() { None } else { self.0.get(&api) }
    }
}

#[cfg(test)]
mod tests;
