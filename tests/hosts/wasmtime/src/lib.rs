//! wasmtime 48 under the number 49: see Cargo.toml.
pub use wasmtime_48::*;
