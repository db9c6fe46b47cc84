//! A wire between a gateway and a server, which a test can cut.

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Forwards connections to a port of 127.0.0.1. While it is cut, nothing goes through in either direction, and both
/// ends keep what they sent, as TCP does: it arrives late, when the wire is mended. Dropping it ends it.
pub struct Wire {
    /// The port that stands for the server.
    pub port: u16,
    is_cut: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Wire {
    /// Starts a wire to a port.
    ///
    /// # Errors
    /// No port is free.
    pub async fn to(server: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (is_cut, cut) = watch::channel(false);
        let task = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                tokio::spawn(carry(client, server, cut.clone()));
            }
        });
        Ok(Wire { port, is_cut, task })
    }

    /// Cuts the wire, or mends it.
    pub fn cut(&self, is_cut: bool) {
        self.is_cut.send_replace(is_cut);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(client: TcpStream, server: u16, cut: watch::Receiver<bool>) {
    let mut passes = cut.clone();
    if passes.wait_for(|is_cut| !is_cut).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::join!(half(from_client, to_server, cut.clone()), half(from_server, to_client, cut));
}

/// Carries bytes in one direction, up to their end.
async fn half(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut cut: watch::Receiver<bool>) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut bytes).await.unwrap_or_default();
        if cut.wait_for(|is_cut| !is_cut).await.is_err() {
            return;
        }
        if read == 0 || to.write_all(&bytes[..read]).await.is_err() {
            // The other end may be gone.
            let _ = to.shutdown().await;
            return;
        }
    }
}
