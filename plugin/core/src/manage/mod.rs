//! Management events: an API, a key, a key request or a portal's user was created, changed or removed.
//!
//! ```text
//! request headers → Rules::watch ─▶ the bodies that are needed → body::Collector
//! end of exchange → Rules::occurrences ─▶ Occurrence ─▶ body
//! admin endpoint  → posted::posted     ─▶ Occurrence ─▶ body
//! ```
//! An event has two sources: traffic that is observed ([`rules`], with the [`presets`] for Tyk's gateway, its dashboard
//! and its Enterprise Developer Portal), and the application itself, which posts it ([`mod@posted`]). What an exchange
//! does not carry is left out of a payload, never invented; [`fields`] says what each carries.
//!
//! Payloads are those of Tyk's documentation: "Portal events and notifications" for the dashboard, "Configure webhooks"
//! for the portal.

pub mod body;
pub mod exchange;
pub mod fields;
pub mod fit;
pub mod kind;
pub mod occurrence;
pub mod options;
pub mod path;
pub mod posted;
pub mod presets;
pub mod rules;
mod secrets;
pub mod shapes;

pub use exchange::{BodyView, Exchange};
pub use kind::{Action, Kind};
pub use occurrence::{Occurrence, OrgId};
pub use options::EventOption;
pub(crate) use posted::mismatches;
pub use posted::{ShapeError, posted};
pub use presets::Preset;
pub use rules::{Rules, Watch};
pub(crate) use secrets::{is_secret, leads_to_credential, leads_to_secret};

#[cfg(test)]
mod tests;
