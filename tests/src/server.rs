//! An HTTP server on a free port that records requests and answers as configured. It is an upstream or a webhook
//! receiver.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use host_shim::story::form_fields;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A recorded request.
#[derive(Clone, Debug)]
pub struct Received {
    /// The method.
    pub method: String,
    /// The path and query.
    pub target: String,
    /// Header names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The status of the answer; 0 for a connection that was cut off.
    pub answered: u16,
}

impl Received {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON. A form becomes an object of its fields.
    ///
    /// # Errors
    /// The body is neither. The error contains it.
    pub fn json(&self) -> Result<Value> {
        let text = String::from_utf8_lossy(&self.body);
        form_fields(self.header("content-type").unwrap_or_default(), &text)
            .map_or_else(|| serde_json::from_slice(&self.body), Ok)
            .with_context(|| format!("not JSON: {text}"))
    }
}

/// The way a server answers.
#[derive(Clone, Debug)]
pub struct Manner {
    /// The status.
    pub status: u16,
    /// The delay before the answer.
    pub delay: Duration,
    /// A header of the answer.
    pub header: Option<(&'static str, &'static str)>,
    /// The body.
    pub body: String,
    /// True if the connection is cut off instead.
    pub resets: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Manner { status: 200, delay: Duration::ZERO, header: None, body: "ok\n".to_owned(), resets: false }
    }
}

#[derive(Default)]
struct State {
    received: Vec<Received>,
    manner: Manner,
}

/// The server. Dropping it ends it.
pub struct Server {
    /// The port on which it listens.
    pub port: u16,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens on a free port.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start() -> Result<Self> {
        Server::start_on(0, |_| {}).await
    }

    /// Listens on `port`, or on a free one for 0, and passes each request to `watch`.
    ///
    /// # Errors
    /// The port is in use.
    pub async fn start_on(port: u16, watch: impl Fn(&Received) + Clone + Send + Sync + 'static) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(Mutex::new(State::default()));
        let task = tokio::spawn(accept(listener, Arc::clone(&state), watch));
        Ok(Server { port, state, task })
    }

    /// Changes the way it answers from now on.
    pub fn set_manner(&self, manner: Manner) {
        lock(&self.state).manner = manner;
    }

    /// All requests so far.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.state).received.clone()
    }

    /// The number of requests so far.
    pub fn count(&self) -> usize {
        lock(&self.state).received.len()
    }

    /// Waits for `count` requests, then a little longer for an unexpected one, and returns all of them.
    ///
    /// # Errors
    /// They do not come in time, or more come.
    pub async fn expect(&self, count: usize, within: Duration) -> Result<Vec<Received>> {
        let deadline = Instant::now() + within;
        while self.count() < count {
            if Instant::now() > deadline {
                bail!("expected {count} requests within {within:?}, got {:#?}", self.received());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let received = self.received();
        if received.len() != count {
            bail!("expected {count} requests, got {:#?}", received);
        }
        Ok(received)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(
    listener: TcpListener,
    state: Arc<Mutex<State>>,
    watch: impl Fn(&Received) + Clone + Send + Sync + 'static,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (state, watch) = (Arc::clone(&state), watch.clone());
        let service = service_fn(move |request| answer(request, Arc::clone(&state), watch.clone()));
        tokio::spawn(async move {
            // A client may close the connection.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
    watch: impl Fn(&Received),
) -> std::io::Result<Response<Full<Bytes>>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let manner = lock(&state).manner.clone();
    let received = Received {
        method: parts.method.to_string(),
        target: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: parts.headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect(),
        body,
        answered: if manner.resets { 0 } else { manner.status },
    };
    watch(&received);
    lock(&state).received.push(received);
    // With tokio's clock even a delay of zero would take a millisecond.
    if !manner.delay.is_zero() {
        tokio::time::sleep(manner.delay).await;
    }
    if manner.resets {
        return Err(std::io::ErrorKind::ConnectionReset.into());
    }
    let mut response = Response::new(Full::from(manner.body));
    *response.status_mut() = StatusCode::from_u16(manner.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some((name, value)) = manner.header {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}
