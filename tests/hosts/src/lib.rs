//! tollbell on the crate `proxy-wasm-host`, which others have written: what the specification leaves open, it decides
//! in its own way. The crate runs the module; what a proxy does around it is [`Peer`].

mod exchange;
mod peer;
mod services;

pub use exchange::Spelling;
pub use peer::{Compiled, Peer};
