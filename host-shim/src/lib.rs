//! A proxy-wasm host on wasmtime that behaves like Envoy.
//!
//! ```text
//! gateway (tests: closures, a clock) ─┐
//!                                     ├▶ worker ─▶ guest ─▶ router, traffic ─▶ config ─▶ state ─▶ base
//! server (sockets, the system's time) ┘  one per thread a running module
//! ```
//!
//! - [`gateway`] runs filters in a test. [`server`] serves them on real sockets. [`story`] runs tests that are written
//!   as data. [`fn@check`] checks a configuration. [`fn@probe`] tests whether a URL answers.
//! - [`config`] reads Envoy's YAML. It reports errors, and what the shim does not support, with their lines.
//! - [`command`] has the commands `run`, `check` and `replay`, for the binary of this crate and for other binaries.
//!
//! The modules below are called rooms. They are in the order of their imports: a room imports only from rooms that come
//! after it (`tests/it/rooms.rs`). A hostcall does not call a room above it. It records an effect, and the worker
//! carries out the effect when the callback has returned.
//!
//! # Fidelity
//!
//! README.md lists what is exact, what is approximate and what is missing. A test compares the shim with recordings of
//! a real Envoy.

// In the modules, `pub` means visible in the whole crate. This file decides what other crates see.
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
