//! HTTP health checks.

use std::ops::Range;

use bytes::Bytes;
use http::header::HOST;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{Failed, MAX_ANSWER, matches};
use crate::config::model::HttpProbe;
use crate::server::upstream::connect::Duplex;

/// A connection to the host.
pub enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    /// # Errors
    /// The host does not speak the protocol.
    pub async fn new(stream: Box<dyn Duplex>, is_http2: bool) -> Result<Self, Failed> {
        let io = TokioIo::new(stream);
        if is_http2 {
            let (sender, connection) =
                http2::handshake(TokioExecutor::new(), io).await.map_err(|_| Failed::NoAnswer)?;
            // The sender sees the end of the connection.
            tokio::task::spawn_local(async { drop(connection.await) });
            return Ok(Sender::Http2(sender));
        }
        let (sender, connection) = http1::handshake(io).await.map_err(|_| Failed::NoAnswer)?;
        tokio::task::spawn_local(async { drop(connection.await) });
        Ok(Sender::Http1(sender))
    }

    pub fn is_closed(&self) -> bool {
        match self {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failed> {
        let answer = match self {
            Sender::Http1(sender) => sender.send_request(request).await,
            Sender::Http2(sender) => sender.send_request(request).await,
        };
        answer.map_err(|_| Failed::NoAnswer)
    }

    /// Waits until the answer has ended. Returns whether the connection can be used again.
    async fn is_ready(&mut self) -> bool {
        match self {
            Sender::Http1(sender) => sender.ready().await.is_ok(),
            Sender::Http2(sender) => sender.ready().await.is_ok(),
        }
    }
}

/// Sends the request, and checks the answer. Returns the connection if it can be used again.
///
/// # Errors
/// The host does not answer, or its answer is not the expected one.
pub async fn check(probe: &HttpProbe, mut sender: Sender) -> Result<Option<Sender>, Failed> {
    let request = request(probe).map_err(|_| Failed::NoAnswer)?;
    let response = sender.send(request).await?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|_| Failed::NoAnswer)?;
    let is_in = |ranges: &[Range<u16>]| ranges.iter().any(|range| range.contains(&status));
    if !is_in(&probe.expected) {
        return Err(if is_in(&probe.retriable) { Failed::NoAnswer } else { Failed::Refused });
    }
    let body = body.to_bytes();
    if !matches(body.get(..probe.searched).unwrap_or(&body), &probe.receive) {
        return Err(Failed::Refused);
    }
    Ok(sender.is_ready().await.then_some(sender))
}

fn request(probe: &HttpProbe) -> http::Result<Request<Full<Bytes>>> {
    let mut request = Request::builder().method(probe.method.clone());
    request = if probe.http2 {
        request.version(Version::HTTP_2).uri(format!("http://{}{}", probe.host, probe.path))
    } else {
        request.uri(&probe.path).header(HOST, &probe.host)
    };
    for (name, value) in &probe.headers {
        request = request.header(name, value);
    }
    request.body(Full::new(Bytes::from(probe.body.clone())))
}
