//! One request on a real connection: the client's side, and the upstream's.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::body::{ClientBody, ClientSink, Sink, UpstreamSink};
use super::convert;
use super::network::ServerNetwork;
use super::stats::ListenerStats;
use super::upstream::Peer;
use crate::headers::Headers;
use crate::router::{self, Site, Target};
use crate::stream::data::{StreamData, flags};
use crate::stream::{Exchange, Routed, Stream};
use crate::vm::state::LocalReply;
use crate::worker::Worker;

/// A head is written by then.
const HEAD_FIRST: Duration = Duration::from_millis(20);

/// The exchange.
pub(super) struct ServerExchange {
    worker: Rc<Worker>,
    network: Rc<ServerNetwork>,
    pub(super) site: Arc<Site>,
    stats: Rc<ListenerStats>,
    stream: RefCell<Weak<RefCell<Stream>>>,
    head: RefCell<Option<oneshot::Sender<Response<ClientBody>>>>,
    client: ClientSink,
    body: RefCell<Option<ClientBody>>,
    upstream: RefCell<Option<UpstreamSink>>,
    upstream_task: RefCell<Option<AbortHandle>>,
    is_over: Cell<bool>,
    is_http1: bool,
}

impl ServerExchange {
    /// An exchange, and what the response's head comes through.
    pub(super) fn new(
        worker: &Rc<Worker>,
        network: &Rc<ServerNetwork>,
        site: &Arc<Site>,
        stats: &Rc<ListenerStats>,
        is_http1: bool,
    ) -> (Rc<Self>, oneshot::Receiver<Response<ClientBody>>) {
        let (client, body) = ClientSink::new();
        let (head, receiver) = oneshot::channel();
        let exchange = ServerExchange {
            worker: Rc::clone(worker),
            network: Rc::clone(network),
            site: Arc::clone(site),
            stats: Rc::clone(stats),
            stream: RefCell::default(),
            head: RefCell::new(Some(head)),
            client,
            body: RefCell::new(Some(body)),
            upstream: RefCell::default(),
            upstream_task: RefCell::default(),
            is_over: Cell::new(false),
            is_http1,
        };
        (Rc::new(exchange), receiver)
    }

    pub(super) fn set_stream(&self, stream: &Rc<RefCell<Stream>>) {
        *self.stream.borrow_mut() = Rc::downgrade(stream);
    }

    /// Whether the client has gone before the response was whole.
    pub(super) fn client_is_gone(&self) -> bool {
        !self.is_over.get()
            && (self.client.was_dropped() || self.head.borrow().as_ref().is_some_and(oneshot::Sender::is_closed))
    }

    /// Whether the response is whole, or cut off.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// Whether the connection manager has answered.
    pub(super) fn client_is_answered(&self) -> bool {
        self.head.borrow().is_none()
    }

    /// The client has gone: nothing more is asked of the upstream.
    pub(super) fn abandon(&self) {
        self.over();
    }

    /// Waits while the upstream takes nothing of the request's body.
    pub(super) async fn upstream_room(&self) {
        let sink = self.upstream.borrow().clone();
        if let Some(sink) = sink {
            sink.room().await;
        }
    }

    /// What the connection manager answers before any filter.
    pub(super) fn answer_at_once(&self, status: u16, location: Option<&[u8]>) {
        let mut headers: Headers = [(":status", status.to_string())].into_iter().collect();
        if let Some(location) = location {
            headers.add("location", location);
        }
        self.finish_response(&mut headers, false);
        headers.add("content-length", "0");
        self.response_headers(headers, true);
    }

    fn over(&self) {
        self.is_over.set(true);
        if let Some(task) = self.upstream_task.borrow_mut().take() {
            task.abort();
        }
    }

    fn start_upstream(&self, mut headers: Headers, target: Target, end: bool) {
        let (sink, body) = UpstreamSink::new();
        if headers.get("content-length").is_some() {
            sink.has_length();
        }
        if end {
            sink.end();
            // HTTP/1 says that there is no body, where one would be expected.
            let expects_body = !matches!(
                headers.get_str(":method"),
                Some("GET" | "HEAD" | "DELETE" | "OPTIONS" | "TRACE" | "CONNECT")
            );
            if expects_body && !target.cluster.http2 && headers.get("content-length").is_none() {
                headers.add("content-length", "0");
            }
        }
        *self.upstream.borrow_mut() = Some(sink);
        let Some(stream) = self.stream.borrow().upgrade() else { return };
        let open = self.network.begin(&target.cluster);
        let (upstreams, client) = (Rc::clone(&self.network.upstreams), self.client.clone());
        let (worker, site, stats) = (Rc::clone(&self.worker), Arc::clone(&self.site), Rc::clone(&self.stats));
        let task = tokio::task::spawn_local(async move {
            let fail = |reply: LocalReply| {
                stream.borrow_mut().upstream_failed(reply);
                worker.drain();
            };
            let Some(_open) = open else {
                let reply = router::reply(
                    503,
                    &router::reset_body("overflow"),
                    "upstream_reset_before_response_started{overflow}",
                    flags::UPSTREAM_OVERFLOW,
                );
                return fail(reply);
            };
            stats.upstream_request(&target.cluster.name);
            let started = worker.host().clock.now();
            let deadline = target.timeout.map(|timeout| tokio::time::Instant::now() + timeout);
            let sent = upstreams.send(Arc::clone(&target.cluster), &headers, body);
            let response = match within(deadline, sent).await {
                Some(Ok(response)) => response,
                Some(Err(reply)) => return fail(reply),
                None => {
                    return fail(router::reply(
                        504,
                        router::TIMEOUT_BODY,
                        "response_timeout",
                        flags::UPSTREAM_REQUEST_TIMEOUT,
                    ));
                }
            };
            let (parts, body) = response.into_parts();
            let is_http2 = parts.version == http::Version::HTTP_2;
            stats.upstream_response(&target.cluster.name, parts.status.as_u16());
            let mut headers = convert::response(&parts);
            let took = Duration::from_nanos(worker.host().clock.now().saturating_sub(started));
            headers.set("x-envoy-upstream-service-time", took.as_millis().to_string());
            let data = stream.borrow().data();
            data.borrow_mut().info.upstream_address = parts.extensions.get::<Peer>().map(|peer| peer.0);
            data.borrow_mut().info.details = Some("via_upstream".to_owned());
            site.change_response(&data.borrow(), &mut headers);
            let end = hyper::body::Body::is_end_stream(&body);
            stream.borrow_mut().response_headers(headers, end);
            worker.drain();
            if !end && within(deadline, pump(body, is_http2, &stream, &client, &worker)).await.is_none() {
                stream.borrow_mut().reset();
            }
        });
        *self.upstream_task.borrow_mut() = Some(task.abort_handle());
    }
}

async fn within<T>(deadline: Option<tokio::time::Instant>, future: impl Future<Output = T>) -> Option<T> {
    match deadline {
        None => Some(future.await),
        Some(deadline) => tokio::time::timeout_at(deadline, future).await.ok(),
    }
}

/// The response's body on its way to the filters, no faster than the client takes it.
///
/// In HTTP/1 the end comes by itself, behind the last data; in HTTP/2 the last data can carry it.
async fn pump(
    mut body: Incoming,
    is_http2: bool,
    stream: &Rc<RefCell<Stream>>,
    client: &ClientSink,
    worker: &Rc<Worker>,
) {
    loop {
        client.room().await;
        let Some(frame) = body.frame().await else { break };
        let Ok(frame) = frame else {
            let data = stream.borrow().data();
            data.borrow_mut().info.details = Some("upstream_reset_after_response_started{protocol_error}".to_owned());
            data.borrow_mut().info.flags |= flags::UPSTREAM_PROTOCOL_ERROR;
            stream.borrow_mut().reset();
            return;
        };
        match frame.into_data() {
            Ok(data) => {
                let end = is_http2 && hyper::body::Body::is_end_stream(&body);
                stream.borrow_mut().response_data(data.into(), end);
                worker.drain();
                if end {
                    return;
                }
            }
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

impl Exchange for ServerExchange {
    fn request_headers(&self, stream: &Rc<RefCell<StreamData>>, end: bool) -> Routed {
        let mut data = stream.borrow_mut();
        let target = match self.site.route(&mut data, |name| self.network.cluster(name)) {
            Ok(target) => target,
            Err(reply) => return Routed::Answered(reply),
        };
        data.info.request_sent = Some(self.worker.host().clock.now());
        let headers = data.request_headers.clone();
        drop(data);
        self.start_upstream(headers, target, end);
        Routed::Forwarded
    }

    fn request_data(&self, data: Vec<u8>, end: bool) {
        if let Some(sink) = self.upstream.borrow().as_ref() {
            sink.data(data);
            if end {
                sink.end();
            }
        }
    }

    fn request_trailers(&self, trailers: Headers) {
        if let Some(sink) = self.upstream.borrow().as_ref() {
            sink.trailers(convert::to_map(&trailers));
        }
    }

    fn response_headers(&self, headers: Headers, end: bool) {
        let (Some(head), Some(body)) = (self.head.borrow_mut().take(), self.body.borrow_mut().take()) else { return };
        let (status, headers) = match convert::status(&headers) {
            Some(status) => (status, convert::to_map(&headers)),
            // The codec of Envoy refuses a response without a status.
            None => (http::StatusCode::BAD_GATEWAY, http::HeaderMap::new()),
        };
        if headers.contains_key(http::header::CONTENT_LENGTH) {
            self.client.has_length();
        }
        if end {
            self.client.end();
            self.over();
        }
        self.stats.response(status.as_u16());
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        // The client may have gone.
        let _ = head.send(response);
    }

    fn response_data(&self, data: Vec<u8>, end: bool) {
        self.client.data(data);
        if end {
            self.client.end();
            self.over();
        }
    }

    fn response_trailers(&self, trailers: Headers) {
        self.client.trailers(convert::to_map(&trailers));
        self.over();
    }

    fn reset(&self) {
        if self.head.borrow_mut().take().is_some() {
            self.client.cut();
        } else {
            // hyper must have written the head before it learns that the body breaks off.
            let client = self.client.clone();
            tokio::task::spawn_local(async move {
                tokio::time::sleep(HEAD_FIRST).await;
                client.cut();
            });
        }
        self.over();
    }

    fn finish_response(&self, headers: &mut Headers, closes: bool) {
        if headers.get("date").is_none() {
            headers.add("date", self.worker.host().clock.http_date());
        }
        headers.set_in_place("server", &self.site.listener.manager.server_name);
        if closes && self.is_http1 {
            headers.set("connection", "close");
        }
    }
}
