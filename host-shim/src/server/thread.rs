//! A thread that serves: its worker, its listeners, its connections.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;

use super::body::ClientBody;
use super::convert;
use super::exchange::ServerExchange;
use super::network::ServerNetwork;
use super::stats::ListenerStats;
use super::upstream::Load;
use crate::abi::types::LogLevel;
use crate::headers::Headers;
use crate::host::{Host, QueueReady};
use crate::network::Network;
use crate::paths::{self, Prepared};
use crate::program::Program;
use crate::stream::data::{Info, StreamData};
use crate::stream::{Exchange, Stream};
use crate::worker::Worker;

/// What a thread is told.
pub(super) enum Message {
    /// A queue has a message for one of its VMs.
    Queue(QueueReady),
    /// There is another configuration.
    Configure(Arc<Program>, Arc<Load>, oneshot::Sender<Result<()>>),
}

/// A thread's worker with its network.
pub(super) struct ServerThread {
    pub(super) worker: Rc<Worker>,
    pub(super) network: Rc<ServerNetwork>,
}

impl ServerThread {
    pub(super) fn new(host: &Arc<Host>, number: usize, program: &Arc<Program>, load: &Arc<Load>) -> Rc<Self> {
        let network = ServerNetwork::new(program, load);
        let worker = Worker::new(host, number, Rc::clone(&network) as Rc<dyn Network>);
        network.set_worker(&worker);
        Rc::new(ServerThread { worker, network })
    }

    /// Handles messages and ticks until all senders are gone.
    pub(super) async fn run(self: Rc<Self>, mut messages: mpsc::UnboundedReceiver<Message>) {
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    None => return,
                    Some(Message::Queue(ready)) => self.worker.queue_ready(&ready),
                    Some(Message::Configure(program, load, told)) => {
                        let before = self.network.program();
                        self.network.set_program(&program, &load);
                        let configured = self.worker.configure(&program.plugins);
                        if configured.is_err() {
                            self.network.set_program(&before, &load);
                        }
                        // Whoever asked may have given up.
                        let _ = told.send(configured);
                    }
                },
                () = self.next_tick() => self.worker.fire_ticks(),
            }
        }
    }

    /// Waits until a tick is due.
    async fn next_tick(&self) {
        loop {
            let rung = self.network.tick_set.notified();
            match self.worker.next_tick() {
                None => rung.await,
                Some(due) => {
                    let wait = Duration::from_nanos(due.saturating_sub(self.worker.host().clock.now()));
                    tokio::select! {
                        () = tokio::time::sleep(wait) => return,
                        () = rung => {}
                    }
                }
            }
        }
    }

    /// Accepts a listener's connections, for ever.
    pub(super) async fn listen(self: Rc<Self>, listener: usize, socket: TcpListener, tls: Option<TlsAcceptor>) {
        let program = self.network.program();
        let Some(site) = program.listeners.get(listener) else { return };
        let stats = Rc::new(ListenerStats::new(self.worker.host(), &site.listener.manager.stat_prefix));
        loop {
            let (tcp, peer) = match socket.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    let text = format!("cannot accept a connection: {error}");
                    self.worker.host().log(self.worker.thread(), LogLevel::Warn, text);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            // Small answers must not wait for an acknowledgement.
            let _ = tcp.set_nodelay(true);
            let local = tcp.local_addr().unwrap_or(site.listener.address);
            let connection = Rc::new(Connection {
                thread: Rc::clone(&self),
                listener,
                peer,
                local,
                tls: tls.is_some(),
                stats: Rc::clone(&stats),
            });
            let acceptor = tls.clone();
            tokio::task::spawn_local(async move {
                connection.stats.connections.add(1);
                connection.stats.active_connections.add(1);
                match acceptor {
                    None => connection.serve(tcp).await,
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(tcp).await {
                            connection.serve(stream).await;
                        }
                    }
                }
                connection.stats.active_connections.sub(1);
            });
        }
    }
}

/// Runs hyper's tasks on this thread.
#[derive(Clone)]
struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// The exchange was cut off: hyper closes the connection.
#[derive(Debug, thiserror::Error)]
#[error("the stream was reset")]
struct Reset;

/// A client's connection.
struct Connection {
    thread: Rc<ServerThread>,
    listener: usize,
    peer: SocketAddr,
    local: SocketAddr,
    tls: bool,
    stats: Rc<ListenerStats>,
}

impl Connection {
    async fn serve(self: &Rc<Self>, io: impl AsyncRead + AsyncWrite + Unpin + 'static) {
        let service = service_fn(|request| {
            let connection = Rc::clone(self);
            async move { connection.handle(request).await }
        });
        // The client may close at any time; there is nothing to tell it.
        let _ = auto::Builder::new(Local).serve_connection(TokioIo::new(io), service).await;
    }

    async fn handle(self: Rc<Self>, request: Request<Incoming>) -> Result<Response<ClientBody>, Reset> {
        self.stats.request();
        let (worker, network) = (&self.thread.worker, &self.thread.network);
        let program = network.program();
        let Some(site) = program.listeners.get(self.listener) else { return Err(Reset) };
        let (parts, body) = request.into_parts();
        let is_http1 = parts.version != http::Version::HTTP_2;
        let (exchange, head) = ServerExchange::new(worker, network, site, &self.stats, is_http1);
        let scheme = if self.tls { "https" } else { "http" };
        let Some(mut headers) = convert::request(&parts, scheme) else {
            exchange.answer_at_once(400, None);
            return head.await.map_err(|_| Reset);
        };
        let path = headers.get(":path").unwrap_or_default().to_vec();
        match paths::prepare(&site.listener.manager, &path) {
            Prepared::Path(path) => headers.set_in_place(":path", path),
            Prepared::Rejected => exchange.answer_at_once(400, None),
            Prepared::Redirect(path) => exchange.answer_at_once(307, Some(&path)),
        }
        if !exchange.client_is_answered() {
            let end = body.is_end_stream();
            let stream = self.begin(&parts, headers, &exchange);
            stream.borrow_mut().request_headers(end);
            worker.drain();
            if !end {
                tokio::task::spawn_local(send_body(
                    body,
                    parts.version == http::Version::HTTP_2,
                    Rc::clone(&stream),
                    Rc::clone(&exchange),
                    Rc::clone(worker),
                ));
            }
            // When the client goes, hyper drops this future or the response's body.
            let watch = ClientWatch { stream, exchange };
            let response = head.await.map_err(|_| Reset);
            if !watch.exchange.is_over() {
                tokio::task::spawn_local(watch.until_gone());
            }
            return response;
        }
        head.await.map_err(|_| Reset)
    }

    fn begin(
        &self,
        parts: &http::request::Parts,
        mut headers: Headers,
        exchange: &Rc<ServerExchange>,
    ) -> Rc<RefCell<Stream>> {
        let worker = &self.thread.worker;
        let manager = &exchange.site.listener.manager;
        let source = forwarded(&mut headers, manager, self.peer);
        if headers.get("x-forwarded-proto").is_none() {
            headers.add("x-forwarded-proto", if self.tls { "https" } else { "http" });
        }
        if headers.get("x-request-id").is_none() {
            headers.add("x-request-id", request_id());
        }
        let mut info = Info::new(Arc::clone(&exchange.site.listener), &worker.host().clock, source);
        info.peer = self.peer;
        info.destination = self.local;
        info.protocol = if parts.version == http::Version::HTTP_2 { "HTTP/2" } else { "HTTP/1.1" };
        let mut data = StreamData::new(headers, info);
        exchange.site.choose(&mut data);
        let stream = worker.begin(self.listener, data, Rc::clone(exchange) as Rc<dyn Exchange>);
        exchange.set_stream(&stream);
        stream
    }
}

/// The client's address, and the headers that tell it: Envoy's `use_remote_address`.
fn forwarded(headers: &mut Headers, manager: &crate::config::model::ConnectionManager, peer: SocketAddr) -> SocketAddr {
    let list = headers.get_str("x-forwarded-for").unwrap_or_default().to_owned();
    let hops: Vec<&str> = list.split(',').map(str::trim).filter(|hop| !hop.is_empty()).collect();
    let trusted = usize::try_from(manager.xff_num_trusted_hops).unwrap_or(usize::MAX);
    let from_end =
        |hop: usize| hops.len().checked_sub(hop).and_then(|at| hops.get(at)).and_then(|hop| hop.parse().ok());
    if !manager.use_remote_address {
        return from_end(trusted + 1).map_or(peer, |ip| SocketAddr::new(ip, 0));
    }
    let source = if trusted > 0 { from_end(trusted).map_or(peer, |ip| SocketAddr::new(ip, 0)) } else { peer };
    let list = if list.is_empty() { peer.ip().to_string() } else { format!("{list},{}", peer.ip()) };
    headers.set("x-forwarded-for", list);
    let is_internal = match source.ip() {
        std::net::IpAddr::V4(ip) => ip.is_private() || ip.is_loopback(),
        std::net::IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
    };
    if is_internal && hops.is_empty() {
        headers.set("x-envoy-internal", "true");
    } else {
        headers.set("x-envoy-external-address", source.ip().to_string());
    }
    source
}

/// A random UUID.
fn request_id() -> String {
    let mut bytes = [0; 16];
    // Without randomness, all ids are alike: requests go on.
    let _ = getrandom::fill(&mut bytes);
    let mut number = u128::from_be_bytes(bytes);
    number = number & !(0xf << 76) | (4 << 76);
    number = number & !(3 << 62) | (2 << 62);
    let hex = format!("{number:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// The request's body on its way to the filters, no faster than the upstream takes it.
async fn send_body(
    mut body: Incoming,
    is_http2: bool,
    stream: Rc<RefCell<Stream>>,
    exchange: Rc<ServerExchange>,
    worker: Rc<Worker>,
) {
    loop {
        exchange.upstream_room().await;
        while stream.borrow().request_is_full() && !stream.borrow().ignores_request() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if stream.borrow().ignores_request() {
            return;
        }
        match body.frame().await {
            None => break,
            Some(Err(_)) => {
                stream.borrow_mut().client_gone();
                return;
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let length = u64::try_from(data.len()).unwrap_or_default();
                    let data_of_stream = stream.borrow().data();
                    data_of_stream.borrow_mut().info.request_bytes += length;
                    if !stream.borrow().ignores_request() {
                        let end = is_http2 && body.is_end_stream();
                        stream.borrow_mut().request_data(data.into(), end);
                        worker.drain();
                        if end {
                            return;
                        }
                    }
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().map(|map| convert::trailers(&map)).unwrap_or_default();
                    if !stream.borrow().ignores_request() {
                        stream.borrow_mut().request_trailers(trailers);
                        worker.drain();
                    }
                    return;
                }
            },
        }
    }
    if !stream.borrow().ignores_request() {
        stream.borrow_mut().request_data(Vec::new(), true);
        worker.drain();
    }
}

/// Ends the stream when the client goes before the response is whole.
struct ClientWatch {
    stream: Rc<RefCell<Stream>>,
    exchange: Rc<ServerExchange>,
}

impl ClientWatch {
    async fn until_gone(self) {
        while !self.exchange.is_over() && !self.exchange.client_is_gone() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for ClientWatch {
    fn drop(&mut self) {
        if let (true, Ok(mut stream)) = (self.exchange.client_is_gone(), self.stream.try_borrow_mut()) {
            self.exchange.abandon();
            stream.client_gone();
        }
    }
}
