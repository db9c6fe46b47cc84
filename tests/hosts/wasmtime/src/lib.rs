//! wasmtime 48 with the version number 49: see Cargo.toml.
pub use wasmtime_48::*;
