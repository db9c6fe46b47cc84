//! One request on a real connection, with the sides of the client and of the upstream.

mod forward;
mod head;
mod output;
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
use super::network::ServerNetwork;
use super::stats::ListenerStats;
use super::wire::Wire;
use crate::base::Headers;
use crate::router::{self, Site, Target, Tunnel};
use crate::traffic::StreamData;
use crate::worker::{Stream, Worker};
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
    /// The tunnel that the request asks for.
    tunnel: Cell<Option<Tunnel>>,
    /// Whether the upstream has opened the tunnel.
    is_open: Cell<bool>,
    /// The connection, if it uses HTTP/1.
    pub(super) http1: Option<Rc<Wire>>,
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
            tunnel: Cell::default(),
            is_open: Cell::default(),
            http1,
        });
        (exchange, receiver)
    }

    pub(super) fn set_stream(&self, stream: &Rc<RefCell<Stream>>) {
        *self.stream.borrow_mut() = Rc::downgrade(stream);
    }

    /// Notes the tunnel that a request asks for. Returns false if it is not allowed.
    pub(super) fn begin_tunnel(&self, data: &StreamData) -> bool {
        let Some(tunnel) = Tunnel::wanted(&data.request_headers).filter(|_| self.http1.is_some()) else { return true };
        // Without a route, the router refuses a CONNECT request.
        if tunnel == Tunnel::Connect && data.info.route.is_none() {
            return true;
        }
        self.tunnel.set(Some(tunnel));
        self.site.allows(tunnel, data)
    }

    /// Whether the request asks for a tunnel.
    pub(super) fn is_for_tunnel(&self) -> bool {
        self.tunnel.get().is_some()
    }

    /// Notes the status of the upstream's answer. Returns whether it has opened a tunnel.
    pub(super) fn opens(&self, status: u16) -> bool {
        let opens = self.tunnel.get().is_some_and(|tunnel| tunnel.is_opened_by(status));
        self.is_open.set(opens);
        opens
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

    /// Begins the longest duration of another route.
    fn watch_longest(&self) {
        if let (Some(me), Some(stream)) = (self.me.upgrade(), self.stream.borrow().upgrade()) {
            watch::watch_longest(&me, &stream);
        }
    }

    /// Waits until the request has been complete for the timeout. Without a timeout, and if the upstream has opened a
    /// tunnel, it never returns.
    pub(super) async fn timed_out(&self, timeout: Option<Duration>) {
        let Some(timeout) = timeout else { return std::future::pending().await };
        self.until_whole().await;
        tokio::time::sleep(timeout).await;
        if self.is_open.get() {
            std::future::pending().await
        }
    }

    /// Waits until the complete request has passed the filters. A request for a tunnel has no end.
    pub(super) async fn until_whole(&self) {
        if self.tunnel.get().is_some() {
            return;
        }
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
        if !end && self.tunnel.get().is_none() && headers.get("content-length").is_some() {
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
