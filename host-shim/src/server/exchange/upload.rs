//! Sends a request's body to the filters.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};

use super::ServerExchange;
use crate::base::MapKind;
use crate::router;
use crate::server::convert;
use crate::traffic::flags;
use crate::worker::{Exchange as _, Stream};

/// How often a full buffer is checked.
const FULL: Duration = Duration::from_millis(10);

/// Sends the body to the filters, no faster than the upstream receives it.
pub async fn send(mut body: Incoming, is_http2: bool, stream: Rc<RefCell<Stream>>, exchange: Rc<ServerExchange>) {
    let worker = Rc::clone(&exchange.worker);
    let takes_trailers = is_http2 || exchange.site.listener.manager.http1.trailers;
    let mut is_first = true;
    if exchange.is_for_tunnel() && !stream.borrow().ignores_request() {
        // Envoy's codec passes on what follows the head, even if it is nothing.
        stream.borrow_mut().request_data(Vec::new(), false);
        worker.drain();
    }
    loop {
        exchange.upstream_room().await;
        while stream.borrow().request_is_full() && !stream.borrow().ignores_request() {
            tokio::time::sleep(FULL).await;
        }
        if stream.borrow().ignores_request() {
            return;
        }
        let frame = body.frame().await;
        exchange.touch();
        if stream.borrow().ignores_request() {
            return;
        }
        if !std::mem::take(&mut is_first) {
            exchange.linger();
        }
        match frame {
            None => break,
            Some(Err(error)) => {
                broken_off(&error, &stream, &exchange);
                worker.drain();
                return;
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let length = u64::try_from(data.len()).unwrap_or_default();
                    stream.borrow().data().borrow_mut().info.request_bytes += length;
                    let end = is_http2 && body.is_end_stream();
                    if end {
                        exchange.received();
                    }
                    stream.borrow_mut().request_data(data.into(), end);
                    worker.drain();
                    if end {
                        return;
                    }
                }
                // Envoy drops trailers of HTTP/1, unless `enable_trailers` is set.
                Err(_) if !takes_trailers => break,
                Err(frame) => {
                    exchange.received();
                    let trailers = frame
                        .into_trailers()
                        .map(|map| convert::trailers(MapKind::RequestTrailers, &map))
                        .unwrap_or_default();
                    stream.borrow_mut().request_trailers(trailers);
                    worker.drain();
                    return;
                }
            },
        }
    }
    exchange.received();
    stream.borrow_mut().request_data(Vec::new(), true);
    worker.drain();
}

/// The client has disconnected, or sends something that is not HTTP.
fn broken_off(error: &hyper::Error, stream: &Rc<RefCell<Stream>>, exchange: &Rc<ServerExchange>) {
    if is_malformed(error) {
        exchange.linger();
        let mut reply = router::reply(400, "Bad Request", "http1.codec_error", flags::DOWNSTREAM_PROTOCOL_ERROR);
        let data = stream.borrow().data();
        exchange.site.change_response(&data.borrow(), &mut reply.headers);
        stream.borrow_mut().upstream_failed(reply);
    } else {
        stream.borrow_mut().client_gone();
        exchange.reset();
    }
}

/// Whether the error is an invalid chunk header.
fn is_malformed(error: &hyper::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput};
    std::error::Error::source(error)
        .and_then(|cause| cause.downcast_ref::<std::io::Error>())
        .is_some_and(|cause| matches!(cause.kind(), InvalidData | InvalidInput))
}
