//! Connections to clusters, pooled for a thread.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Result;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::body::UpstreamBody;
use super::convert::{self, Unsendable};
use super::tls;
use crate::config::model::{Cluster, Discovery, HostPort};
use crate::headers::Headers;
use crate::router;
use crate::stream::data::flags;
use crate::vm::state::LocalReply;

/// The clusters' open requests, for all threads.
#[derive(Default)]
pub(super) struct Load(HashMap<String, AtomicU32>);

impl Load {
    pub(super) fn of<'c>(clusters: impl Iterator<Item = &'c str>) -> Arc<Self> {
        Arc::new(Load(clusters.map(|name| (name.to_owned(), AtomicU32::new(0))).collect()))
    }

    /// Counts a request, unless the cluster has as many as it may.
    pub(super) fn begin(self: &Arc<Self>, cluster: &Cluster) -> Option<Open> {
        let open = self.0.get(&cluster.name)?;
        if open.fetch_add(1, Ordering::Relaxed) >= cluster.max_requests {
            open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Open { load: Arc::clone(self), cluster: cluster.name.clone() })
    }
}

/// A counted request; it ends when dropped.
pub(super) struct Open {
    load: Arc<Load>,
    cluster: String,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(open) = self.load.0.get(&self.cluster) {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

type EndpointClient = Client<Connector, UpstreamBody>;

/// A thread's connections.
#[derive(Default)]
pub(super) struct Upstreams {
    clients: RefCell<HashMap<(String, String), EndpointClient>>,
    next: Cell<usize>,
}

/// Where a request can go.
struct Endpoint {
    /// Names the connections that can carry it.
    name: String,
    addresses: Addresses,
    /// The name for TLS, where the cluster's is that of the request's host.
    host: String,
}

#[derive(Clone)]
enum Addresses {
    One(SocketAddr),
    Dns(HostPort),
}

impl Upstreams {
    /// Lets the idle connections go.
    pub(super) fn forget(&self) {
        self.clients.borrow_mut().clear();
    }

    /// Sends a request's headers; the body follows through its sink. The address is where it went.
    ///
    /// # Errors
    /// Envoy's reply for what went wrong.
    pub(super) async fn send(
        self: Rc<Self>,
        cluster: Arc<Cluster>,
        headers: &Headers,
        body: UpstreamBody,
    ) -> Result<Response<Incoming>, LocalReply> {
        let scheme = if cluster.tls.is_some() { "https" } else { "http" };
        let parts = convert::to_request(headers, scheme, cluster.http2).map_err(|Unsendable(what)| {
            router::reply(
                503,
                &format!("missing required header: {what}"),
                "filter_removed_required_request_headers",
                0,
            )
        })?;
        let client = self.client(&cluster, headers).await?;
        client.request(Request::from_parts(parts, body)).await.map_err(|error| failure(&error))
    }

    async fn client(&self, cluster: &Arc<Cluster>, headers: &Headers) -> Result<EndpointClient, LocalReply> {
        let none = || router::reply(503, router::NO_HOST_BODY, "no_healthy_upstream", flags::NO_HEALTHY_UPSTREAM);
        let endpoint = self.endpoint(cluster, headers).await.ok_or_else(none)?;
        let key = (cluster.name.clone(), endpoint.name.clone());
        if let Some(client) = self.clients.borrow().get(&key) {
            return Ok(client.clone());
        }
        let tls = match &cluster.tls {
            None => None,
            Some(tls) => {
                let config =
                    tls::client(tls, cluster.http2).map_err(|error| router::tls_failure(&format!("{error:#}")))?;
                let name = tls.sni.clone().unwrap_or_else(|| endpoint.host.clone());
                let name = ServerName::try_from(name).map_err(|_| router::tls_failure("the host has no valid name"))?;
                Some((TlsConnector::from(config), name))
            }
        };
        let connector =
            Connector { addresses: endpoint.addresses, timeout: cluster.connect_timeout, tls, is_http2: cluster.http2 };
        let client = Client::builder(TokioExecutor::new())
            .http2_only(cluster.http2)
            .pool_timer(TokioTimer::new())
            .set_host(false)
            .build(connector);
        self.clients.borrow_mut().insert(key, client.clone());
        Ok(client)
    }

    async fn endpoint(&self, cluster: &Cluster, headers: &Headers) -> Option<Endpoint> {
        let authority = headers.get_str(":authority").unwrap_or_default();
        let asked = split_authority(authority, if cluster.tls.is_some() { 443 } else { 80 });
        let host = asked.host.clone();
        let turn = self.next.replace(self.next.get().wrapping_add(1));
        let take_turn = |addresses: &[SocketAddr]| addresses.get(turn.checked_rem(addresses.len())?).copied();
        let at = |address: SocketAddr, host: String| Endpoint {
            name: address.to_string(),
            addresses: Addresses::One(address),
            host,
        };
        match &cluster.discovery {
            Discovery::Static(addresses) => Some(at(take_turn(addresses)?, host)),
            Discovery::StrictDns(hosts) => {
                let mut found = Vec::new();
                for host in hosts {
                    found.extend(resolve(host).await.unwrap_or_default());
                }
                Some(at(take_turn(&found)?, host))
            }
            Discovery::LogicalDns(name) => {
                let address = resolve(name).await.ok()?.first().copied()?;
                Some(at(address, host))
            }
            Discovery::DynamicForwardProxy => {
                Some(Endpoint { name: authority.to_owned(), addresses: Addresses::Dns(asked), host })
            }
        }
    }
}

async fn resolve(host: &HostPort) -> std::io::Result<Vec<SocketAddr>> {
    let mut found: Vec<_> = tokio::net::lookup_host((host.host.as_str(), host.port)).await?.collect();
    // IPv4 first, as V4_PREFERRED and AUTO do where a machine has no IPv6.
    found.sort_by_key(SocketAddr::is_ipv6);
    Ok(found)
}

fn split_authority(authority: &str, default_port: u16) -> HostPort {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !host.is_empty() => {
            (host, port.parse().unwrap_or(default_port))
        }
        _ => (authority, default_port),
    };
    HostPort { host: host.trim_start_matches('[').trim_end_matches(']').to_owned(), port }
}

/// Envoy's reply for a request that failed before its answer.
fn failure(error: &hyper_util::client::legacy::Error) -> LocalReply {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut deepest = String::new();
    let mut unresolved = false;
    let mut is_protocol = false;
    let mut is_tls = false;
    while let Some(current) = cause {
        deepest = current.to_string();
        unresolved |= current.is::<NotResolved>();
        is_tls |= current.is::<rustls::Error>();
        is_protocol |= current.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse);
        cause = current.source();
    }
    if unresolved {
        return router::reply(503, router::NO_HOST_BODY, "dns_resolution_failure", flags::NO_HEALTHY_UPSTREAM);
    }
    if is_tls {
        return router::tls_failure(&deepest);
    }
    if error.is_connect() {
        return router::connect_failure(&deepest);
    }
    if is_protocol {
        return router::reply(
            502,
            &router::reset_body("protocol error"),
            "upstream_reset_before_response_started{protocol_error}",
            flags::UPSTREAM_PROTOCOL_ERROR,
        );
    }
    let body = router::reset_body("connection termination");
    router::reply(
        503,
        &body,
        "upstream_reset_before_response_started{connection_termination}",
        flags::UPSTREAM_CONNECTION_TERMINATION,
    )
}

/// The host has no address.
#[derive(Debug, thiserror::Error)]
#[error("the name is not known")]
struct NotResolved;

/// Connects to one endpoint, whatever the URI says.
#[derive(Clone)]
struct Connector {
    addresses: Addresses,
    timeout: Duration,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    is_http2: bool,
}

type Boxed = Box<dyn std::error::Error + Send + Sync>;

impl Connector {
    async fn connect(self) -> Result<Io, Boxed> {
        let tcp = self.connect_tcp().await?;
        tcp.set_nodelay(true)?;
        let Some((connector, name)) = self.tls else { return Ok(Io::Plain(TokioIo::new(tcp), self.is_http2)) };
        let stream = connector.connect(name, tcp).await.map_err(|error| match error.downcast::<rustls::Error>() {
            Ok(error) => Box::new(error) as Boxed,
            Err(error) => Box::new(error),
        })?;
        Ok(Io::Tls(Box::new(TokioIo::new(stream)), self.is_http2))
    }

    async fn connect_tcp(&self) -> Result<TcpStream, Boxed> {
        let addresses = match &self.addresses {
            Addresses::One(address) => vec![*address],
            Addresses::Dns(host) => resolve(host).await.map_err(|_| NotResolved)?,
        };
        let mut last: Boxed = NotResolved.into();
        for address in addresses {
            match tokio::time::timeout(self.timeout, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error.into(),
                Err(_) => last = std::io::Error::new(std::io::ErrorKind::TimedOut, "connection timeout").into(),
            }
        }
        Err(last)
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = Io;
    type Error = Boxed;
    type Future = Pin<Box<dyn Future<Output = Result<Io, Boxed>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Boxed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

/// A connection, with or without TLS.
enum Io {
    Plain(TokioIo<TcpStream>, bool),
    Tls(Box<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>>, bool),
}

impl Connection for Io {
    fn connected(&self) -> Connected {
        let (tcp, is_http2) = match self {
            Io::Plain(io, is_http2) => (io.inner(), *is_http2),
            Io::Tls(io, is_http2) => (io.inner().get_ref().0, *is_http2),
        };
        let connected = match tcp.peer_addr() {
            Ok(address) => Connected::new().extra(Peer(address)),
            Err(_) => Connected::new(),
        };
        if is_http2 { connected.negotiated_h2() } else { connected }
    }
}

/// The address that a response came from, among its extensions.
#[derive(Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

impl hyper::rt::Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Io::Plain(io, _) => Pin::new(io).poll_read(context, buffer),
            Io::Tls(io, _) => Pin::new(io).poll_read(context, buffer),
        }
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Io::Plain(io, _) => Pin::new(io).poll_write(context, bytes),
            Io::Tls(io, _) => Pin::new(io).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Io::Plain(io, _) => Pin::new(io).poll_flush(context),
            Io::Tls(io, _) => Pin::new(io).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Io::Plain(io, _) => Pin::new(io).poll_shutdown(context),
            Io::Tls(io, _) => Pin::new(io).poll_shutdown(context),
        }
    }
}
