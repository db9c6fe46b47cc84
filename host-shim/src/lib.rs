//! A proxy-wasm host on wasmtime that behaves as Envoy does.

mod abi;
mod check;
pub mod config;
pub mod demo;
pub mod gateway;
mod headers;
mod host;
mod network;
mod paths;
mod plugin;
mod program;
mod properties;
mod protobuf;
mod router;
pub mod server;
mod state;
pub mod story;
mod stream;
mod topology;
mod vm;
mod worker;

pub use abi::types::LogLevel;
pub use check::{Finding, FindingKind, check};
pub use headers::Headers;
pub use host::{Host, Limits};
pub use state::faults::{CalloutFault, Faults};
pub use state::logs::LogLine;
