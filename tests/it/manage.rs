//! Management events in a real Envoy: posted, observed, and sent by webhook and email; the admin endpoints.

/// Test Connection.
mod connection;
/// Events that applications post, and the token.
mod events;
/// Emails, and the answers of providers.
mod mail;
/// Exchanges that are observed.
mod observed;
/// A server that answers by a script, and a client.
mod stand_in;
/// Large bodies and slow ones.
mod streams;

use anyhow::Result;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::World;

pub const TOKEN: &str = "let-me-in";
pub const BEARER: &str = "Bearer let-me-in";

/// The SHA-256 of some data, in hex.
fn sha256(data: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(data))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The admin endpoints of a configuration.
pub fn admin() -> Value {
    json!({ "token_sha256": sha256(TOKEN) })
}

async fn world(config: &Value) -> Result<World> {
    World::with_config(config.clone()).await
}
