//! A proxy-wasm host on wasmtime that behaves like Envoy.
//!
//! ```text
//! gateway (tests: closures, a clock) ─┐
//!                                     ├▶ worker ─▶ guest ─▶ router, traffic ─▶ config ─▶ state ─▶ base
//! server (sockets, the system's time) ┘  one per thread a running module
//! ```
//!
//! # Testing a filter
//!
//! The threads, VMs and callbacks are those of Envoy. The clock moves only on request, and upstreams are closures.
//!
//! ```
//! use std::time::Duration;
//!
//! use host_shim::gateway::{Gateway, Request, Response};
//!
//! # fn main() -> anyhow::Result<()> {
//! let gateway = Gateway::builder(std::fs::read("../dist/test/guest-rust.wasm")?)
//!     .config("the plugin's configuration")
//!     .upstream("upstream", |request| Response::ok(format!("hello {}", request.path())).into())
//!     .upstream("callout", |_| Response::new(404).into())
//!     .start()?;
//!
//! let response = gateway.request(Request::get("/a").header("x-do", "call response-hold"))?;
//! assert_eq!((response.status(), response.text().as_str()), (200, "HELLO /A"));
//! assert_eq!(response.headers.get_str("x-guest"), Some("rust"));
//! assert_eq!(gateway.callouts()[0].path(), "/call");
//! assert_eq!(gateway.upstream_requests()[0].headers.get_str("x-call"), Some("404"));
//!
//! gateway.advance(Duration::from_secs(1))?;
//! assert!(gateway.logs().iter().any(|line| line.text.contains("ticked")));
//! assert_eq!(gateway.metric("wasmcustom.guest_requests"), Some(1));
//! assert!(gateway.host().failures().is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! # The parts
//!
//! - [`feed`] runs many requests in a row, on the caller's clock. [`gateway`] runs filters in a test. [`server`] serves them on real sockets. [`story`] runs tests that are written
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

pub mod feed;

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
