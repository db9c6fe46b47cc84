//! The proxy that hosts the core, as the core sees it: [`ports`], and what is built directly on them.

pub mod cas;
pub mod guess;
pub mod headers;
pub mod metrics;
pub mod ports;
pub mod store;
pub mod stream;
