//! An HTTP/1.1 client: single requests, many over many connections, and raw bytes; and one request over HTTP/2.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::client::conn::http2;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A response.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Header names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
    /// The time from the request's start to the end of the body.
    pub took: Duration,
}

impl Reply {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// One kept-alive connection to 127.0.0.1.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// No server listens on the port.
    pub async fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.with_context(|| format!("connect to {port}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Connection { sender })
    }

    /// GETs `target` with the given headers.
    ///
    /// # Errors
    /// The connection fails.
    pub async fn get(&mut self, target: &str, headers: &[(&str, &str)]) -> Result<Reply> {
        self.send("GET", target, headers, Vec::new()).await
    }

    /// Sends a request with a body; the body may be empty.
    ///
    /// # Errors
    /// The connection fails.
    pub async fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<Reply> {
        let started = Instant::now();
        let mut request = Request::builder().method(method).uri(target);
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request = request.header("host", "gateway.test");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.sender.ready().await?;
        let response = self.sender.send_request(request.body(Full::from(body))?).await?;
        reply(response, started).await
    }
}

async fn reply(response: Response<Incoming>, started: Instant) -> Result<Reply> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Reply {
        status: parts.status.as_u16(),
        headers: parts.headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect(),
        body: text(&body),
        took: started.elapsed(),
    })
}

/// Sends one request over HTTP/2 with prior knowledge, on its own connection.
///
/// # Errors
/// The request fails.
pub async fn send_http2(
    port: u16,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Result<Reply> {
    let started = Instant::now();
    let stream = TcpStream::connect(("127.0.0.1", port)).await.with_context(|| format!("connect to {port}"))?;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(format!("http://gateway.test{target}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    reply(sender.send_request(request.body(Full::<Bytes>::from(body))?).await?, started).await
}

/// Sends one GET on its own connection.
///
/// # Errors
/// The request fails.
pub async fn get(port: u16, target: &str, headers: &[(&str, &str)]) -> Result<Reply> {
    Connection::open(port).await?.get(target, headers).await
}

/// Sends one request of any kind on its own connection.
///
/// # Errors
/// The request fails.
pub async fn send(port: u16, method: &str, target: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<Reply> {
    Connection::open(port).await?.send(method, target, headers, body).await
}

/// Sends one GET with an API key.
///
/// # Errors
/// The request fails.
pub async fn get_with_key(port: u16, target: &str, key: &str) -> Result<Reply> {
    get(port, target, &[("authorization", key)]).await
}

/// Sends `count` GETs over `connections` concurrent connections. `request(n)` is the target and the key of the n-th.
///
/// # Errors
/// A request fails.
pub async fn load(
    port: u16,
    connections: usize,
    count: usize,
    request: impl Fn(usize) -> (String, String) + Clone + Send + 'static,
) -> Result<Vec<Reply>> {
    let mut tasks = Vec::new();
    for first in 0..connections {
        let request = request.clone();
        let mut connection = Connection::open(port).await?;
        tasks.push(tokio::spawn(async move {
            let mut replies = Vec::new();
            for n in (first..count).step_by(connections) {
                let (target, key) = request(n);
                replies.push(connection.get(&target, &[("authorization", &key)]).await?);
            }
            anyhow::Ok(replies)
        }));
    }
    let mut replies = Vec::new();
    for task in tasks {
        replies.extend(task.await??);
    }
    Ok(replies)
}

/// Sends bytes unchanged, and returns the answer up to the end of the connection.
///
/// # Errors
/// The connection fails.
pub async fn raw(port: u16, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(bytes).await?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await?;
    Ok(reply)
}

/// The time within which all but one percent of the replies came.
pub fn p99(replies: &[Reply]) -> Duration {
    let mut times: Vec<Duration> = replies.iter().map(|reply| reply.took).collect();
    times.sort();
    times.get(times.len() * 99 / 100).copied().unwrap_or_default()
}

/// The number of replies with a status.
pub fn count_status(replies: &[Reply], status: u16) -> usize {
    replies.iter().filter(|reply| reply.status == status).count()
}
