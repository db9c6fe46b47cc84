//! Management events in a real Envoy: posted, observed, and told by webhook and by mail; the admin endpoints.

/// Test Connection.
mod connection;
/// What applications post, and who may.
mod events;
/// Emails, and what providers answer.
mod mail;
/// Exchanges that are watched on their way.
mod observed;
/// A server that answers as a script says, and a client beside it.
mod stand_in;
/// Large bodies and slow ones.
mod streams;

use anyhow::Result;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::World;

const TOKEN: &str = "let-me-in";
const BEARER: &str = "Bearer let-me-in";

/// The SHA-256 of something, in hex.
fn sha256(data: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(data))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The admin endpoints of a configuration.
fn admin() -> Value {
    json!({ "token_sha256": sha256(TOKEN) })
}

async fn world(config: &Value) -> Result<World> {
    World::with_config(config.clone()).await
}
