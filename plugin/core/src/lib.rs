//! tollbell's decisions, without a host.
//!
//! ```text
//! request headers  → route → identity → session → quota → monitor ──┐
//!                                                                    └→ event → handlers → admission → content → outbox
//! tick / queue     → outbox → dispatch → callout
//! callout reply    → classify → delivered | retry → outbox
//! ```
//!
//! [`engine`] is this picture as code: one method for each callback of the host. The host comes in through
//! [`host::ports`]: nothing here reads a clock, draws a random number, or names a hostcall, and nothing panics.
//!
//! The modules below are rooms, in the order of their imports: each imports only from rooms that stand below it
//! (`tests/it/rooms.rs`).
#![forbid(unsafe_code)]
// Inside, `pub` means to the whole crate; lib.rs says what others see.
#![allow(unreachable_pub)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

pub mod engine;

pub mod config;

mod admin;

mod notify;

mod delivery;

mod observe;

mod access;

mod store;

mod event;

pub mod host;

mod base;

pub use access::{AllowedUrls, KeyHash, UrlRule};
pub use base::UnixMillis;
pub use engine::{owners, preview};
pub use event::EventKind;
pub use observe::{BodyPool, Brings, Preset, TABLE, fields};

#[cfg(feature = "fuzzing")]
pub mod fuzzing;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
