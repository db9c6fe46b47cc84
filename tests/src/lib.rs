//! The common parts of the end-to-end tests, the demo and the benchmark: an Envoy process, a Redis, a recording
//! receiver, an upstream, a client, and a wire that can be cut.

pub mod client;
pub mod compare;
pub mod envoy;
pub mod lease_model;
pub mod redis;
pub mod reference;
pub mod sentinel;
pub mod server;
pub mod shim;
pub mod shim_fields;
pub mod wire;

use std::path::PathBuf;

/// The project's folder.
pub fn project_root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or(manifest.clone(), PathBuf::from)
}
