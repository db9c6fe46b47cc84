//! Forwards a request to an upstream, and the answer to the filters.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use http_body_util::{BodyExt, Either};
use hyper::body::Body as _;

use super::ServerExchange;
use super::tries::{self, Answered};
use crate::base::{Headers, MapKind};
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
    number: usize,
) {
    let Some(_open) = exchange.network.begin(&target.cluster) else {
        let details = "upstream_reset_before_response_started{overflow}";
        let reply = router::reply(503, &router::reset_body("overflow"), details, flags::UPSTREAM_OVERFLOW);
        return fail(reply, &exchange, &stream);
    };
    let is_answered = Cell::new(false);
    let exchanged = async {
        match tries::send(&exchange, &stream, headers, &target, body).await {
            Ok(answer) => {
                exchange.is_answered_by(number);
                is_answered.set(true);
                deliver(answer, &exchange, &stream).await;
            }
            Err(reply) => fail(reply, &exchange, &stream),
        }
    };
    let ended = |reply: LocalReply| {
        if is_answered.get() {
            cut_off(&reply, &stream);
        } else {
            fail(reply, &exchange, &stream);
        }
    };
    tokio::select! {
        () = exchanged => {}
        () = exchange.timed_out(target.plan.timeout) => ended(target.plan.timed_out()),
        () = after(target.plan.stream_timeout) => ended(router::reply(
            504,
            "upstream max stream duration reached",
            "upstream_max_stream_duration_reached",
            flags::UPSTREAM_MAX_STREAM_DURATION_REACHED,
        )),
    }
}

async fn after(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// Breaks off an answer that has begun.
fn cut_off(reply: &LocalReply, stream: &Rc<RefCell<Stream>>) {
    let data = stream.borrow().data();
    data.borrow_mut().info.details = Some(reply.details.clone());
    data.borrow_mut().info.flags |= reply.flags;
    stream.borrow_mut().reset();
}

/// Answers the request itself. The route's changes to a response apply to this answer too.
fn fail(mut reply: LocalReply, exchange: &Rc<ServerExchange>, stream: &Rc<RefCell<Stream>>) {
    let data = stream.borrow().data();
    exchange.site.change_response(&data.borrow(), &mut reply.headers);
    stream.borrow_mut().upstream_failed(reply);
    exchange.worker.drain();
}

async fn deliver((response, mut headers): Answered, exchange: &Rc<ServerExchange>, stream: &Rc<RefCell<Stream>>) {
    exchange.touch();
    let (parts, body) = response.into_parts();
    let tells = !exchange.site.listener.manager.suppress_envoy_headers;
    if let (true, Some(waited)) = (tells, exchange.waited()) {
        headers.set_in_place("x-envoy-upstream-service-time", waited.as_millis().to_string());
    }
    let data = stream.borrow().data();
    let status = headers.get_str(":status").and_then(|status| status.parse().ok()).unwrap_or_default();
    let opens = exchange.opens(status);
    let failure = match exchange.is_for_tunnel() {
        true => router::websocket_failure(&data.borrow().request_headers, &headers, status),
        false => None,
    };
    if let Some(failure) = failure {
        return fail(failure, exchange, stream);
    }
    data.borrow_mut().info.upstream_address = parts.extensions.get::<Peer>().map(|peer| peer.0.clone());
    data.borrow_mut().info.details = Some("via_upstream".to_owned());
    exchange.site.change_response(&data.borrow(), &mut headers);
    let end = body.is_end_stream();
    stream.borrow_mut().response_headers(headers, end);
    exchange.worker.drain();
    if !end {
        let is_http2 = parts.version == http::Version::HTTP_2;
        // A tunnel through HTTP has no end of its own.
        let has_end = !opens || matches!(body, Either::Right(_));
        pump(body, is_http2, has_end, exchange, stream).await;
    }
}

/// Sends the response's body to the filters, no faster than the client receives it.
///
/// In HTTP/1 the end comes separately, after the last data. In HTTP/2 the last data can carry it.
async fn pump(
    mut body: AnswerBody,
    is_http2: bool,
    has_end: bool,
    exchange: &Rc<ServerExchange>,
    stream: &Rc<RefCell<Stream>>,
) {
    let worker = &exchange.worker;
    let takes_trailers = is_http2 || exchange.upstream_trailers();
    let nothing = || {
        stream.borrow_mut().response_data(Vec::new(), false);
        worker.drain();
    };
    if !has_end {
        // Envoy's codec passes on what follows the head, even if it is nothing.
        nothing();
    }
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
                let trailers = frame
                    .into_trailers()
                    .map(|map| convert::trailers(MapKind::ResponseTrailers, &map))
                    .unwrap_or_default();
                stream.borrow_mut().response_trailers(trailers);
                worker.drain();
                return;
            }
        }
    }
    if !has_end {
        nothing();
        return broken_off(&Terminated, stream);
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
