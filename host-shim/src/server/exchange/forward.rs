//! Forwards a request to an upstream, and the answer to the filters.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;
use hyper::body::Body as _;

use super::ServerExchange;
use crate::base::Headers;
use crate::router::{self, Target};
use crate::server::body::{Sink, UpstreamBody};
use crate::server::convert;
use crate::server::upstream::{AnswerBody, Peer, Terminated};
use crate::traffic::{LocalReply, flags};
use crate::worker::Stream;

/// How often a full buffer is checked.
const FULL: Duration = Duration::from_millis(10);

/// Forwards a request to the upstream and the answer to the filters, within the route's timeout.
pub async fn forward(
    exchange: Rc<ServerExchange>,
    stream: Rc<RefCell<Stream>>,
    headers: Headers,
    target: Target,
    body: UpstreamBody,
) {
    let Some(_open) = exchange.network.begin(&target.cluster) else {
        let details = "upstream_reset_before_response_started{overflow}";
        let reply = router::reply(503, &router::reset_body("overflow"), details, flags::UPSTREAM_OVERFLOW);
        return fail(reply, &exchange, &stream);
    };
    let is_answered = Cell::new(false);
    let exchanged = async {
        match send(&exchange, &headers, &target, body).await {
            Ok(response) => {
                is_answered.set(true);
                deliver(response, &exchange, &stream).await;
            }
            Err(reply) => fail(reply, &exchange, &stream),
        }
    };
    tokio::select! {
        () = exchanged => {}
        () = exchange.timed_out(target.timeout) => {
            if is_answered.get() {
                stream.borrow_mut().reset();
            } else {
                let flags = flags::UPSTREAM_REQUEST_TIMEOUT;
                fail(router::reply(504, router::TIMEOUT_BODY, "response_timeout", flags), &exchange, &stream);
            }
        }
    }
}

/// Answers the request itself. The route's changes to a response apply to this answer too.
fn fail(mut reply: LocalReply, exchange: &Rc<ServerExchange>, stream: &Rc<RefCell<Stream>>) {
    let data = stream.borrow().data();
    exchange.site.change_response(&data.borrow(), &mut reply.headers);
    stream.borrow_mut().upstream_failed(reply);
    exchange.worker.drain();
}

/// Waits for the headers of the answer.
async fn send(
    exchange: &Rc<ServerExchange>,
    headers: &Headers,
    target: &Target,
    body: UpstreamBody,
) -> Result<Response<AnswerBody>, LocalReply> {
    let (network, stats) = (&exchange.network, &exchange.stats);
    stats.upstream_request(&target.cluster.name);
    let upstreams = Rc::clone(&network.upstreams);
    let response = upstreams.send(target.cluster.clone(), headers, target.auto_host_rewrite, body).await?;
    stats.upstream_response(&target.cluster.name, response.status().as_u16());
    Ok(response)
}

async fn deliver(response: Response<AnswerBody>, exchange: &Rc<ServerExchange>, stream: &Rc<RefCell<Stream>>) {
    exchange.touch();
    let (parts, body) = response.into_parts();
    let mut headers = convert::response(&parts);
    let tells = !exchange.site.listener.manager.suppress_envoy_headers;
    if let (true, Some(waited)) = (tells, exchange.waited()) {
        headers.set("x-envoy-upstream-service-time", waited.as_millis().to_string());
    }
    let data = stream.borrow().data();
    data.borrow_mut().info.upstream_address = parts.extensions.get::<Peer>().map(|peer| peer.0.clone());
    data.borrow_mut().info.details = Some("via_upstream".to_owned());
    exchange.site.change_response(&data.borrow(), &mut headers);
    let end = body.is_end_stream();
    stream.borrow_mut().response_headers(headers, end);
    exchange.worker.drain();
    if !end {
        pump(body, parts.version == http::Version::HTTP_2, exchange, stream).await;
    }
}

/// Sends the response's body to the filters, no faster than the client receives it.
///
/// In HTTP/1 the end comes separately, after the last data. In HTTP/2 the last data can carry it.
async fn pump(mut body: AnswerBody, is_http2: bool, exchange: &Rc<ServerExchange>, stream: &Rc<RefCell<Stream>>) {
    let worker = &exchange.worker;
    let takes_trailers = is_http2 || exchange.upstream_trailers();
    loop {
        exchange.client.room().await;
        while stream.borrow().response_is_full() {
            tokio::time::sleep(FULL).await;
        }
        let Some(frame) = body.frame().await else { break };
        exchange.touch();
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                broken_off(&*error, stream);
                return;
            }
        };
        match frame.into_data() {
            Ok(data) => {
                let end = is_http2 && body.is_end_stream();
                stream.borrow_mut().response_data(data.into(), end);
                worker.drain();
                if end {
                    return;
                }
            }
            // Envoy drops trailers of HTTP/1, unless `enable_trailers` is set.
            Err(_) if !takes_trailers => break,
            Err(frame) => {
                let trailers = frame.into_trailers().map(|map| convert::trailers(&map)).unwrap_or_default();
                stream.borrow_mut().response_trailers(trailers);
                worker.drain();
                return;
            }
        }
    }
    stream.borrow_mut().response_data(Vec::new(), true);
    worker.drain();
}

/// The upstream has ended its answer too early.
fn broken_off(error: &(dyn std::error::Error + Send + Sync + 'static), stream: &Rc<RefCell<Stream>>) {
    let (reason, flag) = match error.is::<Terminated>() {
        true => ("connection_termination", flags::UPSTREAM_CONNECTION_TERMINATION),
        false => ("protocol_error", flags::UPSTREAM_PROTOCOL_ERROR),
    };
    let data = stream.borrow().data();
    data.borrow_mut().info.details = Some(format!("upstream_reset_after_response_started{{{reason}}}"));
    data.borrow_mut().info.flags |= flag;
    stream.borrow_mut().reset();
}
