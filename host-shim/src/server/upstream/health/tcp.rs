//! TCP health checks.

use anyhow::{Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{MAX_ANSWER, matches};
use crate::server::upstream::connect::Duplex;

/// Sends the bytes, and waits for those that are expected. Returns the connection if it can be used again.
///
/// # Errors
/// The host closes the connection, or answers something else.
pub async fn check(
    send: &[u8],
    receive: &[Vec<u8>],
    mut connection: Box<dyn Duplex>,
) -> Result<Option<Box<dyn Duplex>>> {
    if receive.is_empty() {
        return Ok(None);
    }
    connection.write_all(send).await?;
    connection.flush().await?;
    let mut answer = Vec::new();
    while !matches(&answer, receive) {
        ensure!(answer.len() < MAX_ANSWER, "the answer is too long");
        if connection.read_buf(&mut answer).await? == 0 {
            bail!("the connection was closed");
        }
    }
    Ok(Some(connection))
}
