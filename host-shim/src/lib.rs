//! A proxy-wasm host on wasmtime that behaves as Envoy does.
//!
//! ```text
//!                 config ─▶ program ─▶ topology: canary, then
//!                                         │
//!   gateway (tests: closures, a clock) ─┐ ▼
//!                                       ├▶ worker ─▶ stream ─▶ vm ─▶ abi ─▶ state
//!   server (sockets, the system's time) ┘  one a thread      the guest      shared by all
//! ```
//!
//! - [`config`] reads Envoy's YAML, with lines, and says what is wrong with it and what the shim leaves out.
//! - [`gateway`] runs filters in a test; [`server`] serves them; [`story`] has both told by data; [`fn@check`] looks a
//!   configuration over; [`fn@probe`] asks whether a URL answers.
//! - [`command`] has the commands `run`, `check` and `replay`, for the binary of this crate and for others.
//! - `state` is what all VMs of a process share. It knows neither wasmtime nor HTTP, and its tests are Envoy's rules.
//! - `abi` translates hostcalls, one file a family; `vm` is a module's instance with its contexts.
//! - `worker` and `stream` are a thread and a request: they neither sleep nor read a socket, so that a test can.
//!
//! # Fidelity
//!
//! README.md says what is exact, what is approximate and what is missing. A test holds the shim to what was recorded
//! from a real Envoy.

mod abi;
mod check;
pub mod command;
pub mod config;
pub mod gateway;
mod headers;
mod host;
mod network;
mod paths;
mod plugin;
mod probe;
mod program;
mod properties;
mod protobuf;
mod router;
pub mod server;
mod state;
pub mod story;
mod stream;
#[cfg(test)]
mod testing;
mod tls;
mod topology;
mod vm;
mod worker;

pub use abi::types::{LogLevel, Status};
pub use check::{Finding, FindingKind, check};
pub use headers::Headers;
pub use host::{Host, Limits};
pub use probe::{Reachability, probe};
pub use program::Modules;
pub use state::faults::{CalloutFault, Faults};
pub use state::logs::LogLine;
pub use state::quirks::Quirk;
