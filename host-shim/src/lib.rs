//! A proxy-wasm host on wasmtime that behaves as Envoy does.
//!
//! ```text
//! gateway (tests: closures, a clock) ─┐
//!                                     ├▶ worker ─▶ guest ─▶ router, traffic ─▶ config ─▶ state ─▶ base
//! server (sockets, the system's time) ┘  one a thread  a module at work
//! ```
//!
//! - [`gateway`] runs filters in a test; [`server`] serves them; [`story`] has both told by data; [`fn@check`] looks a
//!   configuration over; [`fn@probe`] asks whether a URL answers.
//! - [`config`] reads Envoy's YAML, with lines, and says what is wrong with it and what the shim leaves out.
//! - [`command`] has the commands `run`, `check` and `replay`, for the binary of this crate and for others.
//!
//! The modules below are rooms, in the order of their imports: each imports only from rooms that stand below it
//! (`tests/it/rooms.rs`). A hostcall does not call upwards: what it asks for is an effect, which the worker carries out
//! when the callback has returned.
//!
//! # Fidelity
//!
//! README.md says what is exact, what is approximate and what is missing. A test holds the shim to what was recorded
//! from a real Envoy.

// Inside, `pub` means to the whole crate; this file says what others see.
#![allow(unreachable_pub)]

pub mod command;

pub mod story;

mod check;

mod probe;

pub mod server;

pub mod gateway;

mod worker;

mod guest;

mod router;

mod traffic;

pub mod config;

mod state;

mod base;

#[cfg(test)]
mod testing;

pub use base::{Headers, LogLevel, Status};
pub use check::{Finding, FindingKind, check};
pub use probe::{Reachability, probe};
pub use state::faults::{CalloutFault, Faults};
pub use state::logs::LogLine;
pub use state::quirks::Quirk;
pub use state::{Host, Limits};
pub use worker::Modules;
