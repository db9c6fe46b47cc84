//! An upstream or provider whose answers depend on the request, and a client that keeps bodies as bytes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::handshake;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Sleep;

/// A body in parts, each of which comes some time after the one before.
pub(super) struct Parts {
    pieces: VecDeque<(Duration, Bytes)>,
    pause: Option<Pin<Box<Sleep>>>,
    is_chunked: bool,
}

impl Parts {
    /// A body with a content-length.
    pub(super) fn whole(body: impl Into<Bytes>) -> Self {
        Parts { is_chunked: false, ..Parts::chunked([(Duration::ZERO, body.into())]) }
    }

    /// A body without a content-length.
    pub(super) fn chunked(pieces: impl IntoIterator<Item = (Duration, Bytes)>) -> Self {
        Parts { pieces: pieces.into_iter().collect(), pause: None, is_chunked: true }
    }

    /// A chunked body in parts of `size` bytes.
    pub(super) fn in_pieces_of(size: usize, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let starts = (0..body.len()).step_by(size);
        Parts::chunked(starts.map(|start| (Duration::ZERO, body.slice(start..body.len().min(start + size)))))
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some((wait, _)) = self.pieces.front() else { return Poll::Ready(None) };
        let wait = *wait;
        if !wait.is_zero() {
            ready!(self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(wait))).as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(self.pieces.pop_front().map(|(_, piece)| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_chunked {
            return SizeHint::default();
        }
        SizeHint::with_exact(self.pieces.iter().map(|(_, piece)| piece.len() as u64).sum())
    }
}

/// A received request, or the response to one.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) target: String,
    /// For a response.
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    /// For a response: the time from the request's start to the first byte of the body, and to its end.
    pub(super) first: Duration,
    pub(super) last: Duration,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Parts,
}

impl Answer {
    pub(super) fn json(status: u16, body: impl ToString) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Answer { status, headers, body: Parts::whole(body.to_string()) }
    }
}

/// The server. Dropping it ends it.
pub(super) struct StandIn {
    pub(super) port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl StandIn {
    pub(super) async fn start(answer: impl Fn(&Seen) -> Answer + Clone + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (all, answer) = (Arc::clone(&all), answer.clone());
                let service = service_fn(move |request| {
                    let (all, answer) = (Arc::clone(&all), answer.clone());
                    async move {
                        let seen = read(request).await?;
                        let Answer { status, headers, body } = answer(&seen);
                        all.lock().expect("no panic").push(seen);
                        let mut response = Response::builder().status(status);
                        for (name, value) in headers {
                            response = response.header(name, value);
                        }
                        anyhow::Ok(response.body(body)?)
                    }
                });
                tokio::spawn(async move {
                    // A client may close the connection.
                    let served = hyper::server::conn::http1::Builder::new();
                    let _ = served.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(StandIn { port, seen, task })
    }

    /// All requests so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic").clone()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(request: Request<Incoming>) -> Result<Seen> {
    let (parts, body) = request.into_parts();
    Ok(Seen {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        status: 0,
        headers: text_headers(&parts.headers),
        body: body.collect().await?.to_bytes(),
        first: Duration::ZERO,
        last: Duration::ZERO,
    })
}

fn text_headers(headers: &hyper::HeaderMap) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect()
}

/// Sends one request on its own connection.
pub(super) async fn send(port: u16, method: &str, target: &str, headers: &[(&str, &str)], body: Parts) -> Result<Seen> {
    let started = Instant::now();
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(target).header("host", "gateway.test");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = sender.send_request(request.body(body)?).await.with_context(|| format!("{method} {target}"))?;
    let (parts, mut incoming) = response.into_parts();
    let (mut body, mut first) = (Vec::new(), None);
    while let Some(frame) = incoming.frame().await {
        first.get_or_insert_with(|| started.elapsed());
        body.extend(frame?.into_data().unwrap_or_default());
    }
    Ok(Seen {
        method: method.to_owned(),
        target: target.to_owned(),
        status: parts.status.as_u16(),
        headers: text_headers(&parts.headers),
        body: body.into(),
        first: first.unwrap_or_else(|| started.elapsed()),
        last: started.elapsed(),
    })
}
