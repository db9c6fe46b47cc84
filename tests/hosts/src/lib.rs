//! tollbell on the independent crate `proxy-wasm-host`, which has its own answers to questions that the specification
//! leaves open. The crate runs the module. [`Peer`] does the work of a proxy around it.

mod exchange;
mod peer;
mod services;

pub use exchange::Spelling;
pub use peer::{Compiled, Peer};
