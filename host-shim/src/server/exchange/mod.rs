//! One request on a real connection, with the sides of the client and of the upstream.

mod forward;
mod head;
mod record;
mod tries;
mod upload;
mod watch;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use hyper::body::Incoming;
use tokio::sync::{Notify, oneshot};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;

use super::body::{ClientBody, ClientSink, Sink, UpstreamBody, UpstreamSink};
use super::convert;
use super::network::ServerNetwork;
use super::stats::ListenerStats;
use super::wire::{self, Wire};
use crate::base::Headers;
use crate::router::{self, Site, Target};
use crate::traffic::StreamData;
use crate::worker::{Exchange, Routed, Stream, Worker};
use record::Record;

/// The time after which hyper has written the headers.
const HEAD_FIRST: Duration = Duration::from_millis(20);

pub(super) type ClientResponse = Response<ClientBody>;

pub(super) struct ServerExchange {
    me: Weak<ServerExchange>,
    pub(super) worker: Rc<Worker>,
    pub(super) network: Rc<ServerNetwork>,
    pub(super) site: Arc<Site>,
    pub(super) stats: Rc<ListenerStats>,
    stream: RefCell<Weak<RefCell<Stream>>>,
    head: RefCell<Option<oneshot::Sender<ClientResponse>>>,
    pub(super) client: ClientSink,
    body: RefCell<Option<ClientBody>>,
    upstream: RefCell<Option<UpstreamSink>>,
    /// Whether the upstream supports trailers.
    upstream_is_http2: Cell<bool>,
    /// Whether trailers of its responses are kept, even in HTTP/1.
    upstream_trailers: Cell<bool>,
    /// The requests to upstreams. There are several if a filter has continued the request twice.
    forwards: RefCell<Vec<AbortHandle>>,
    /// Whether the upstream gets the beginning of a request that is cut off. As in Envoy, it does not if the request
    /// was cut off before there was a connection.
    lingers: Cell<bool>,
    /// The tasks that end with the exchange.
    tasks: RefCell<Vec<AbortHandle>>,
    /// The last time that something was sent or received.
    active_at: Cell<Instant>,
    /// Whether the complete request was received.
    is_received: Cell<bool>,
    /// The time at which the complete request had passed the filters.
    whole_at: Cell<Option<Instant>>,
    request_whole: Notify,
    /// The request's body, if there can be retries.
    record: RefCell<Option<Record>>,
    is_over: Cell<bool>,
    /// Whether the request's method is HEAD.
    is_head: Cell<bool>,
    /// The connection, if it uses HTTP/1.
    http1: Option<Rc<Wire>>,
}

impl ServerExchange {
    /// Makes an exchange, and the channel for the headers of the response.
    pub(super) fn new(
        worker: &Rc<Worker>,
        network: &Rc<ServerNetwork>,
        site: &Arc<Site>,
        stats: &Rc<ListenerStats>,
        http1: Option<Rc<Wire>>,
    ) -> (Rc<Self>, oneshot::Receiver<ClientResponse>) {
        let (client, body) = ClientSink::new();
        let (head, receiver) = oneshot::channel();
        stats.request();
        let exchange = Rc::new_cyclic(|me| ServerExchange {
            me: me.clone(),
            worker: Rc::clone(worker),
            network: Rc::clone(network),
            site: Arc::clone(site),
            stats: Rc::clone(stats),
            stream: RefCell::default(),
            head: RefCell::new(Some(head)),
            client,
            body: RefCell::new(Some(body)),
            upstream: RefCell::default(),
            upstream_is_http2: Cell::new(false),
            upstream_trailers: Cell::new(false),
            forwards: RefCell::default(),
            lingers: Cell::new(false),
            tasks: RefCell::default(),
            active_at: Cell::new(Instant::now()),
            is_received: Cell::new(false),
            whole_at: Cell::default(),
            request_whole: Notify::new(),
            record: RefCell::default(),
            is_over: Cell::new(false),
            is_head: Cell::new(false),
            http1,
        });
        (exchange, receiver)
    }

    pub(super) fn set_stream(&self, stream: &Rc<RefCell<Stream>>) {
        *self.stream.borrow_mut() = Rc::downgrade(stream);
    }

    /// Sends the request's body to the filters while it arrives.
    pub(super) fn receive(self: &Rc<Self>, body: Incoming, is_http2: bool, stream: &Rc<RefCell<Stream>>) {
        self.keep(&tokio::task::spawn_local(upload::send(body, is_http2, Rc::clone(stream), Rc::clone(self))));
    }

    /// Whether the client has disconnected before the response was complete.
    pub(super) fn client_is_gone(&self) -> bool {
        let is_gone = self.http1.as_ref().is_some_and(|wire| wire.is_gone());
        !self.is_over.get()
            && (is_gone
                || self.client.was_dropped()
                || self.head.borrow().as_ref().is_some_and(oneshot::Sender::is_closed))
    }

    /// Whether the response is complete or cut off.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// The client has disconnected. The upstream gets nothing more.
    pub(super) fn abandon(&self) {
        self.over();
    }

    /// Waits while the upstream does not receive the request's body.
    pub(super) async fn upstream_room(&self) {
        let sink = self.upstream.borrow().clone();
        if let Some(sink) = sink {
            sink.room().await;
        }
    }

    pub(super) fn keep(&self, task: &JoinHandle<()>) {
        if self.is_over.get() {
            task.abort();
        } else {
            self.tasks.borrow_mut().push(task.abort_handle());
        }
    }

    /// Ends all requests to upstreams but one, which has been answered.
    pub(super) fn is_answered_by(&self, number: usize) {
        let forwards = self.forwards.borrow();
        forwards.iter().enumerate().filter(|(other, _)| *other != number).for_each(|(_, task)| task.abort());
    }

    /// Notes that the complete request was received.
    pub(super) fn received(&self) {
        self.is_received.set(true);
    }

    /// Notes that a part of the request came later than its headers.
    pub(super) fn linger(&self) {
        self.lingers.set(true);
    }

    /// Whether trailers of an HTTP/1 response are kept.
    pub(super) fn upstream_trailers(&self) -> bool {
        self.upstream_trailers.get()
    }

    /// Returns the time since the complete request went to the upstream.
    pub(super) fn waited(&self) -> Option<Duration> {
        self.whole_at.get().map(|whole_at| whole_at.elapsed())
    }

    pub(super) fn touch(&self) {
        self.active_at.set(Instant::now());
    }

    /// Begins the time-outs of the connection manager.
    pub(super) fn watch(self: &Rc<Self>, stream: &Rc<RefCell<Stream>>) {
        watch::watch(self, stream);
    }

    /// Waits until the request has been complete for the timeout. Without a timeout, it never returns.
    pub(super) async fn timed_out(&self, timeout: Option<Duration>) {
        let Some(timeout) = timeout else { return std::future::pending().await };
        self.until_whole().await;
        tokio::time::sleep(timeout).await;
    }

    /// Waits until the complete request has passed the filters.
    pub(super) async fn until_whole(&self) {
        while self.whole_at.get().is_none() {
            self.request_whole.notified().await;
        }
    }

    /// Makes the request's body again for a retry, if the request is complete and was recorded.
    pub(super) fn again(&self, headers: &Headers) -> Option<UpstreamBody> {
        self.whole_at.get()?;
        let has_length = headers.get("content-length").is_some();
        let (sink, body) = self.record.borrow().as_ref()?.again(has_length)?;
        *self.upstream.borrow_mut() = Some(sink);
        Some(body)
    }

    fn over(&self) {
        if self.is_over.replace(true) {
            return;
        }
        self.stats.over();
        self.tasks.take().iter().for_each(AbortHandle::abort);
        let (forwards, sink) = (self.forwards.take(), self.upstream.take());
        if !self.lingers.get() || forwards.iter().all(AbortHandle::is_finished) {
            forwards.iter().for_each(AbortHandle::abort);
            if let Some(sink) = sink {
                sink.give_up();
            }
            return;
        }
        // The upstream still gets what was sent before.
        tokio::task::spawn_local(async move {
            tokio::time::sleep(HEAD_FIRST).await;
            forwards.iter().for_each(AbortHandle::abort);
            if let Some(sink) = sink {
                sink.give_up();
            }
        });
    }

    fn request_is_whole(&self) {
        self.whole_at.set(Some(Instant::now()));
        self.request_whole.notify_waiters();
    }

    fn start_upstream(&self, mut headers: Headers, target: Target, end: bool) {
        let (sink, body) = UpstreamSink::new();
        if !end && headers.get("content-length").is_some() {
            sink.has_length();
        }
        if end {
            sink.end();
            self.request_is_whole();
            if !target.cluster.http2 && router::needs_length(&headers) {
                headers.add("content-length", "0");
            }
        }
        if !target.plan.retries.conditions.is_empty() {
            let limit = self.site.listener.buffer_limit;
            let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
            *self.record.borrow_mut() = Some(Record::new(limit));
        }
        self.upstream_is_http2.set(target.cluster.http2);
        self.upstream_trailers.set(target.cluster.trailers);
        *self.upstream.borrow_mut() = Some(sink);
        let (Some(me), Some(stream)) = (self.me.upgrade(), self.stream.borrow().upgrade()) else { return };
        let number = self.forwards.borrow().len();
        let task = tokio::task::spawn_local(forward::forward(me, stream, headers, target, body, number));
        self.forwards.borrow_mut().push(task.abort_handle());
    }
}

impl Drop for ServerExchange {
    fn drop(&mut self) {
        self.over();
    }
}

impl Exchange for ServerExchange {
    fn request_headers(&self, stream: &Rc<RefCell<StreamData>>, end: bool) -> Routed {
        let mut data = stream.borrow_mut();
        let target = match self.site.route(&mut data, |name| self.network.cluster(name)) {
            Ok(target) => target,
            Err(reply) => return Routed::Answered(reply),
        };
        data.info.attempts = 1;
        data.info.request_sent = Some(self.worker.host().clock.now());
        let headers = data.request_headers.clone();
        drop(data);
        self.start_upstream(headers, target, end);
        Routed::Forwarded
    }

    fn request_data(&self, data: Vec<u8>, end: bool) {
        if let Some(sink) = self.upstream.borrow().as_ref() {
            if let Some(record) = self.record.borrow_mut().as_mut() {
                record.data(&data);
            }
            sink.data(data);
            if end {
                sink.end();
                self.request_is_whole();
            }
        }
    }

    fn request_trailers(&self, trailers: Headers) {
        if let Some(sink) = self.upstream.borrow().as_ref() {
            let trailers = match (self.upstream_is_http2.get(), self.upstream_trailers.get()) {
                (true, _) => Some(convert::to_map(&trailers)),
                (false, true) => Some(wire::trailers(&trailers)),
                (false, false) => None,
            };
            if let (Some(record), Some(trailers)) = (self.record.borrow_mut().as_mut(), &trailers) {
                record.trailers(trailers.clone());
            }
            match trailers {
                Some(trailers) => sink.trailers(trailers),
                None => sink.end(),
            }
            self.request_is_whole();
        }
    }

    fn response_headers(&self, headers: Headers, end: bool) {
        let (Some(head), Some(body)) = (self.head.borrow_mut().take(), self.body.borrow_mut().take()) else { return };
        let (status, plain) = match &self.http1 {
            Some(_) => head::http1(&headers, end, self.is_head.get()),
            None => head::http2(&headers),
        };
        if headers.get("content-length").is_some() || (self.http1.is_some() && !end) {
            self.client.has_length();
        }
        if end {
            self.client.end();
            self.over();
        }
        self.stats.response(status);
        let mut response = Response::new(body);
        (*response.status_mut(), *response.headers_mut()) = plain;
        // The client can have disconnected.
        let _ = head.send(response);
    }

    fn response_data(&self, data: Vec<u8>, end: bool) {
        self.touch();
        self.client.data(data);
        if end {
            self.client.end();
            self.over();
        }
    }

    fn response_trailers(&self, trailers: Headers) {
        if let Some(wire) = &self.http1 {
            if self.site.listener.manager.trailers {
                let mut lines = Vec::new();
                wire::push_lines(&mut lines, &trailers);
                wire.set_trailers(lines);
            }
            self.client.end();
        } else {
            self.client.trailers(convert::to_map(&trailers));
        }
        self.over();
    }

    fn reset(&self) {
        if self.head.borrow_mut().take().is_some() {
            self.client.cut();
        } else {
            // hyper must write the headers before it gets the error of the body.
            let client = self.client.clone();
            tokio::task::spawn_local(async move {
                tokio::time::sleep(HEAD_FIRST).await;
                client.cut();
            });
        }
        self.over();
    }

    fn finish_response(&self, headers: &mut Headers, request: &Headers, closes: bool) {
        if headers.get("date").is_none() {
            headers.add("date", self.worker.host().clock.http_date());
        }
        self.site.finish_response(headers, request);
        self.is_head.set(request.get_str(":method") == Some("HEAD"));
        let closes = closes || !self.is_received.get() || self.http1.as_ref().is_some_and(|wire| wire.closes());
        if self.http1.is_some() && closes {
            headers.set("connection", "close");
        }
    }
}
