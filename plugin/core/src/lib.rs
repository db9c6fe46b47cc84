//! tollbell's decisions, without a host.
//!
//! ```text
//! request headers  → route → identity → session → quota → monitor ──┐
//!                                                                    └→ event → handlers → template → cool-down → outbox
//! tick / queue     → outbox → dispatch → callout
//! callout reply    → classify → delivered | retry → outbox
//! ```
//!
//! [`engine`] is this picture as code. The host comes in through [`ports`]: nothing here reads a clock, draws a random
//! number, or names a hostcall, and nothing panics.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

pub mod engine;

pub mod admin;
pub mod allowed_urls;
pub mod answer;
pub mod caller;
pub mod cap;
pub mod cas;
pub mod challenge;
pub mod config;
pub mod connection_test;
pub mod cooldown;
pub mod datetime;
pub mod delivery;
pub mod digest;
pub mod event;
pub mod guess;
pub mod handler;
pub mod hosts;
pub mod identity;
pub mod json;
pub mod key_location;
pub mod keys;
pub mod limit_headers;
pub mod mail;
pub mod manage;
pub mod message;
pub mod metrics;
pub mod notify;
pub mod origin;
pub mod pass;
pub mod paths;
pub mod ports;
pub mod preflight;
pub mod preview;
pub mod quota;
pub mod repeats;
pub mod request;
pub mod route;
pub mod session;
pub mod store;
pub mod takeover;
pub mod template;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod troubles;
pub mod tyk_tokens;
pub mod units;
pub mod upstream;
pub mod versioning;
pub mod watching;
