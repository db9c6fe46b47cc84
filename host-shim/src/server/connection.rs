//! A client's connection, and the requests on it.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Request;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::admission::{self, Admitted, ClientPeer};
use super::exchange::{ClientResponse, ServerExchange};
use super::stats::ListenerStats;
use super::thread::ServerThread;
use super::wire::{Tap, Wire};
use crate::base::Headers;
use crate::traffic::{Info, StreamData};
use crate::worker::{Exchange, Stream};

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

/// The exchange was cut off. hyper closes the connection.
#[derive(Debug, thiserror::Error)]
#[error("the stream was reset")]
struct Reset;

pub(super) struct Connection {
    thread: Rc<ServerThread>,
    listener: usize,
    id: u64,
    peer: SocketAddr,
    local: SocketAddr,
    stats: Rc<ListenerStats>,
}

impl Connection {
    pub(super) fn new(
        thread: &Rc<ServerThread>,
        listener: usize,
        peer: SocketAddr,
        local: SocketAddr,
        stats: &Rc<ListenerStats>,
    ) -> Self {
        static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
        let id = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        Connection { thread: Rc::clone(thread), listener, id, peer, local, stats: Rc::clone(stats) }
    }

    pub(super) async fn run(self, tcp: TcpStream, acceptor: Option<TlsAcceptor>) {
        let stats = Rc::clone(&self.stats);
        stats.connections.add(1);
        stats.active_connections.add(1);
        let watched = watched(&tcp);
        match acceptor {
            None => self.serve(tcp, watched, false).await,
            Some(acceptor) => {
                if let Ok(stream) = acceptor.accept(tcp).await {
                    self.serve(stream, watched, true).await;
                }
            }
        }
        stats.active_connections.sub(1);
    }

    async fn serve(self, io: impl AsyncRead + AsyncWrite + Unpin + 'static, watched: Option<TcpStream>, is_tls: bool) {
        let me = Rc::new(self);
        let program = me.thread.network.program();
        let site = program.listeners.get(me.listener);
        let (io, wire) = Tap::new(io, site.is_some_and(|site| site.listener.manager.http1.accepts_http10));
        let service = service_fn(|request| {
            let (connection, wire) = (Rc::clone(&me), Rc::clone(&wire));
            async move { connection.handle(request, wire, is_tls).await }
        });
        let gone = async {
            until_closed(watched).await;
            wire.set_gone();
            std::future::pending::<()>().await
        };
        let builder = auto::Builder::new(Local);
        // The client can close the connection at any time.
        tokio::select! {
            _ = builder.serve_connection(TokioIo::new(io), service) => {}
            () = gone => {}
        }
    }

    async fn handle(
        self: Rc<Self>,
        request: Request<Incoming>,
        wire: Rc<Wire>,
        is_tls: bool,
    ) -> Result<ClientResponse, Reset> {
        let program = self.thread.network.program();
        let Some(site) = program.listeners.get(self.listener) else { return Err(Reset) };
        let (parts, body) = request.into_parts();
        let is_http1 = parts.version != http::Version::HTTP_2;
        let http1 = is_http1.then(|| Rc::clone(&wire));
        let (exchange, head) = ServerExchange::new(&self.thread.worker, &self.thread.network, site, &self.stats, http1);
        // A CONNECT request has no end.
        let end = body.is_end_stream() && parts.method != http::Method::CONNECT;
        if end {
            exchange.received();
        }
        let manager = &site.listener.manager;
        let peer = ClientPeer { address: self.peer, is_tls };
        let admitted = if is_http1 {
            wire.next_head().and_then(|head| admission::http1(&head, manager, peer))
        } else {
            admission::http2(&parts, manager, peer)
        };
        let stream = match admitted {
            Ok(Admitted { headers, source }) => self.stream(headers, source, is_http1, &exchange),
            Err(refusal) => {
                let stream = self.stream(refusal.headers, self.peer, is_http1, &exchange);
                stream.borrow_mut().refuse(*refusal.reply, refusal.closes);
                self.thread.worker.drain();
                return head.await.map_err(|_| Reset);
            }
        };
        if !exchange.begin_tunnel(&stream.borrow().data().borrow()) {
            stream.borrow_mut().refuse(Admitted::upgrade_failed(), true);
            return head.await.map_err(|_| Reset);
        }
        exchange.watch(&stream);
        stream.borrow_mut().request_headers(end);
        self.thread.worker.drain();
        if !end {
            exchange.receive(body, !is_http1, &stream);
        }
        // If the client disconnects, hyper drops this future or the response's body.
        let watch = ClientWatch { stream, exchange };
        let response = tokio::select! {
            response = head => response.map_err(|_| Reset),
            () = wire.gone(), if is_http1 => Err(Reset),
        };
        if !watch.exchange.is_over() {
            tokio::task::spawn_local(watch.until_gone());
        }
        response
    }

    fn stream(
        &self,
        headers: Headers,
        source: SocketAddr,
        is_http1: bool,
        exchange: &Rc<ServerExchange>,
    ) -> Rc<RefCell<Stream>> {
        let worker = &self.thread.worker;
        let mut info = Info::new(Arc::clone(&exchange.site.listener), &worker.host().clock, source);
        info.connection_id = self.id;
        info.peer = self.peer;
        info.destination = self.local;
        info.protocol = match (&exchange.http1, is_http1) {
            (Some(wire), _) if wire.is_http10() => "HTTP/1.0",
            (_, true) => "HTTP/1.1",
            (_, false) => "HTTP/2",
        };
        let mut data = StreamData::new(headers, info);
        exchange.site.choose(&mut data);
        let stream = worker.begin(self.listener, data, Rc::clone(exchange) as Rc<dyn Exchange>);
        exchange.set_stream(&stream);
        stream
    }
}

/// Makes another handle of a connection. hyper does not read from a connection while a filter holds a body.
fn watched(tcp: &TcpStream) -> Option<TcpStream> {
    let handle = tcp.as_fd().try_clone_to_owned().ok()?;
    TcpStream::from_std(handle.into()).ok()
}

/// Waits until the client closes the connection. Without a handle, it never returns.
async fn until_closed(watched: Option<TcpStream>) {
    if let Some(watched) = watched {
        while let Ok(ready) = watched.ready(Interest::READABLE).await {
            if ready.is_read_closed() {
                return;
            }
            // Waits for the next event, because nothing is read here.
            let _ = watched.try_io(Interest::READABLE, || Err::<(), _>(ErrorKind::WouldBlock.into()));
        }
    }
    std::future::pending().await
}

/// Ends the stream if the client disconnects before the response is complete.
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
