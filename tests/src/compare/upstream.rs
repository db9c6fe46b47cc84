//! The server of a cluster. It records requests, and answers as the file of requests says.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::http1::{Framing, Message, PAUSE, Received};
use super::requests::{Answer, bytes};

/// A server. Dropping it ends it.
pub(super) struct Upstream {
    pub(super) port: u16,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    received: Vec<String>,
    answer: Answer,
}

impl Upstream {
    /// Listens on a free port.
    pub(super) async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                // A host that closes the connection is no error here.
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Ok(Upstream { port, state, task })
    }

    /// Sets the answer from now on.
    pub(super) fn set_answer(&self, answer: &Answer) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).answer = answer.clone();
    }

    /// The number of requests since the last [`Upstream::take`].
    pub(super) fn count(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).received.len()
    }

    /// The requests since the last call.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).received)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn record(state: &Mutex<State>, request: &Received) {
    state.lock().unwrap_or_else(PoisonError::into_inner).received.push(request.text());
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some(mut request) = Received::head(&mut stream).await? {
        let answer = state.lock().unwrap_or_else(PoisonError::into_inner).answer.clone();
        if answer.tunnel {
            record(&state, &request);
            send(&answer, &request, &mut stream).await?;
            return tunnel(&mut stream).await;
        }
        if answer.early {
            send(&answer, &request, &mut stream).await?;
        }
        // A host that gives up cuts the request short.
        request.cut |= request.body(&mut stream, false).await.is_err();
        record(&state, &request);
        tokio::time::sleep(Duration::from_millis(answer.delay_ms)).await;
        if !answer.early {
            send(&answer, &request, &mut stream).await?;
        }
        if answer.cut || answer.raw.is_some() || request.cut {
            break;
        }
    }
    Ok(())
}

/// Returns each piece of data, up to the end of the connection.
async fn tunnel(stream: &mut BufReader<TcpStream>) -> Result<()> {
    loop {
        let mut data = Vec::new();
        if stream.read_buf(&mut data).await? == 0 {
            return Ok(());
        }
        stream.write_all(&data).await?;
    }
}

async fn send(answer: &Answer, request: &Received, stream: &mut BufReader<TcpStream>) -> Result<()> {
    if let Some(raw) = &answer.raw {
        return Ok(stream.write_all(&bytes(raw)).await?);
    }
    let is_head = request.start.starts_with("HEAD ");
    let body = match &answer.body {
        Some(pieces) => pieces.iter().map(|piece| piece.repeat(answer.repeat).into_bytes()).collect(),
        None if request.body.is_empty() => vec![b"ok".to_vec()],
        None => vec![request.body.clone()],
    };
    let framing = match body.len() {
        _ if answer.tunnel || matches!(answer.status, 100..200 | 204 | 304) => Framing::None,
        _ if !answer.trailers.is_empty() => Framing::Chunks,
        0 | 1 => Framing::Length,
        _ => Framing::Chunks,
    };
    let mut head = vec![format!("HTTP/1.1 {} Whatever", answer.status)];
    head.extend(answer.headers.clone());
    let has_length = head.iter().any(|header| header.starts_with("content-length:"));
    if is_head && framing == Framing::Length && !has_length {
        let length: usize = body.iter().map(Vec::len).sum();
        head.push(format!("content-length: {length}"));
    }
    let (framing, body) =
        if is_head || framing == Framing::None { (Framing::None, Vec::new()) } else { (framing, body) };
    Message { head, body, trailers: &answer.trailers, framing, pause: PAUSE, cut: answer.cut }.send(stream).await
}
