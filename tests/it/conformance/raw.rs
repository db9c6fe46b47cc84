//! TCP servers that speak no HTTP. The first line that a client sends says what the server does.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinHandle;

use super::case::Seen;

/// The time between two parts of an answer, long enough for the host to see each separately.
const BETWEEN: Duration = Duration::from_millis(60);

/// Longer than the time-outs in the cases.
const LONG: Duration = Duration::from_millis(1500);

/// Servers with their ports. Dropping them ends them.
pub struct RawServers {
    /// Servers that answer with their role, `master` or `replica`, when they are asked for `INFO`.
    pub ports: [u16; 2],
    /// A server that closes each connection without reading.
    pub shut: u16,
    /// The path of a socket with the same server as the first port.
    pub pipe: PathBuf,
    /// The path of a socket that leads to the upstream.
    pub http_pipe: PathBuf,
    received: Received,
    tasks: Vec<JoinHandle<()>>,
}

type Received = Arc<Mutex<Vec<Seen>>>;

impl RawServers {
    /// Starts all servers.
    pub async fn start(upstream: u16) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let received = Received::default();
        let mut tasks = Vec::new();
        let mut ports = [0; 2];
        for (port, role) in ports.iter_mut().zip(["replica", "master"]) {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            *port = listener.local_addr()?.port();
            tasks.push(tokio::spawn(serve_tcp(listener, role, Arc::clone(&received))));
        }
        let shut = TcpListener::bind(("127.0.0.1", 0)).await?;
        let shut_port = shut.local_addr()?.port();
        tasks.push(tokio::spawn(close_all(shut)));
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            |name: &str| std::env::temp_dir().join(format!("conformance-{}-{number}-{name}.sock", std::process::id()));
        let (pipe, http_pipe) = (path("raw"), path("http"));
        tasks.push(tokio::spawn(serve_unix(listen(&pipe)?, Arc::clone(&received))));
        tasks.push(tokio::spawn(relay(listen(&http_pipe)?, upstream)));
        Ok(RawServers { ports, shut: shut_port, pipe, http_pipe, received, tasks })
    }

    /// Deletes what was received so far.
    pub fn reset(&self) {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The connections since the last reset that have ended, by the bytes that they sent.
    pub fn received(&self) -> Vec<Seen> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for RawServers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        for path in [&self.pipe, &self.http_pipe] {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn listen(path: &Path) -> Result<UnixListener> {
    let _ = std::fs::remove_file(path);
    Ok(UnixListener::bind(path)?)
}

async fn serve_tcp(listener: TcpListener, role: &'static str, received: Received) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let received = Arc::clone(&received);
        tokio::spawn(async move {
            let mut stream = stream;
            if serve(&mut stream, role, &received).await == Some(End::Reset) {
                let _ = stream.set_zero_linger();
            }
        });
    }
}

/// Closes each connection after the client has sent its bytes.
async fn close_all(listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(async move {
            tokio::time::sleep(BETWEEN * 2).await;
            drop(stream);
        });
    }
}

async fn serve_unix(listener: UnixListener, received: Received) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        let received = Arc::clone(&received);
        tokio::spawn(async move { serve(&mut stream, "pipe", &received).await });
    }
}

async fn relay(listener: UnixListener, port: u16) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        tokio::spawn(async move {
            if let Ok(mut tcp) = TcpStream::connect(("127.0.0.1", port)).await {
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut tcp).await;
            }
        });
    }
}

#[derive(PartialEq)]
enum End {
    Close,
    Reset,
}

/// Answers one connection, and notes what it sent. `None` if it was for a health check.
async fn serve(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), role: &str, received: &Received) -> Option<End> {
    let mut bytes = Vec::new();
    let mut ended = false;
    while !bytes.contains(&b'\n') && !ended {
        ended = stream.read_buf(&mut bytes).await.ok()? == 0;
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let manner = text.lines().next().unwrap_or_default().to_owned();
    if manner == "INFO" {
        return check(stream, role).await;
    }
    let early = manner.starts_with("early");
    if early {
        let _ = stream.write_all(b"early").await;
        if manner == "early-end" {
            let _ = stream.shutdown().await;
        }
    }
    if manner != "early-close" && manner != "early-reset" {
        ended = ended || read_all(stream, &mut bytes).await;
    }
    let body = String::from_utf8_lossy(&bytes).chars().take(200).collect();
    let seen = Seen { start: format!("TCP {role} {manner}"), body, cut: !ended, ..Seen::default() };
    received.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    answer(stream, &manner, &format!("{role} got {} bytes", bytes.len())).await;
    Some(if manner.contains("reset") { End::Reset } else { End::Close })
}

/// Answers health checks on the same connection.
async fn check(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), role: &str) -> Option<End> {
    loop {
        stream.write_all(format!("role:{role}\r\nstate=online\r\n").as_bytes()).await.ok()?;
        let mut bytes = Vec::new();
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// Answers after the client's bytes.
async fn answer(stream: &mut (impl AsyncWrite + Unpin), manner: &str, text: &str) {
    let write = match manner {
        "whole" | "early" | "never" => text.as_bytes(),
        "stall" | "reset-after" => b"part",
        "big" => &[b'x'; 3_000_000],
        "slow" => {
            tokio::time::sleep(LONG).await;
            text.as_bytes()
        }
        "parts" => {
            for part in ["one", "two"] {
                let _ = stream.write_all(part.as_bytes()).await;
                tokio::time::sleep(BETWEEN).await;
            }
            b"three"
        }
        // `empty`, `reset`, `early-…`
        _ => b"",
    };
    let _ = stream.write_all(write).await;
    match manner {
        "never" | "stall" => tokio::time::sleep(LONG).await,
        "reset-after" => tokio::time::sleep(BETWEEN).await,
        _ => {}
    }
}

/// Reads to the end. Returns whether it came properly.
async fn read_all(stream: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> bool {
    loop {
        match stream.read_buf(bytes).await {
            Ok(0) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}
