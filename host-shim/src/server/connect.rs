//! Connections to upstreams, with or without TLS.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::wire::Upstream;
use crate::config::model::HostPort;

#[derive(Debug, thiserror::Error)]
#[error("the name is not known")]
pub(super) struct NotResolved;

/// The connection and the handshake took too long.
#[derive(Debug, thiserror::Error)]
#[error("connection timeout")]
pub(super) struct TimedOut;

/// The place of an endpoint.
#[derive(Clone)]
pub(super) enum Addresses {
    One(SocketAddr),
    Dns(HostPort),
}

/// Connects to one endpoint, and ignores the URI.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) addresses: Addresses,
    /// The timeout for the connection and TLS together.
    pub(super) timeout: Duration,
    pub(super) tls: Option<(TlsConnector, ServerName<'static>)>,
    pub(super) is_http2: bool,
}

type Boxed = Box<dyn std::error::Error + Send + Sync>;

impl Connector {
    async fn connect(self) -> Result<Io, Boxed> {
        let addresses = match &self.addresses {
            Addresses::One(address) => vec![*address],
            Addresses::Dns(host) => resolve(host).await.map_err(|_| NotResolved)?,
        };
        let timeout = self.timeout;
        match tokio::time::timeout(timeout, self.connect_to(addresses)).await {
            Ok(connected) => connected,
            Err(_) => Err(TimedOut.into()),
        }
    }

    async fn connect_to(self, addresses: Vec<SocketAddr>) -> Result<Io, Boxed> {
        let mut tcp = Err(NotResolved.into());
        for address in addresses {
            tcp = TcpStream::connect(address).await.map_err(Boxed::from);
            if tcp.is_ok() {
                break;
            }
        }
        let tcp = tcp?;
        tcp.set_nodelay(true)?;
        let Some((connector, name)) = self.tls else {
            let wire = Upstream::new(tcp, self.is_http2);
            return Ok(Io::Plain(TokioIo::new(wire), self.is_http2));
        };
        let stream = connector.connect(name, tcp).await.map_err(|error| match error.downcast::<rustls::Error>() {
            Ok(error) => Box::new(error) as Boxed,
            Err(error) => Box::new(error),
        })?;
        Ok(Io::Tls(Box::new(TokioIo::new(Upstream::new(stream, self.is_http2))), self.is_http2))
    }
}

/// Resolves a name, with IPv4 addresses first. This is like V4_PREFERRED, and like AUTO on a machine without IPv6.
pub(super) async fn resolve(host: &HostPort) -> std::io::Result<Vec<SocketAddr>> {
    let mut found: Vec<_> = tokio::net::lookup_host((host.host.as_str(), host.port)).await?.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    Ok(found)
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
pub(super) enum Io {
    Plain(TokioIo<Upstream<TcpStream>>, bool),
    Tls(Box<TokioIo<Upstream<tokio_rustls::client::TlsStream<TcpStream>>>>, bool),
}

impl Connection for Io {
    fn connected(&self) -> Connected {
        let (tcp, is_http2) = match self {
            Io::Plain(io, is_http2) => (io.inner().io(), *is_http2),
            Io::Tls(io, is_http2) => (io.inner().io().get_ref().0, *is_http2),
        };
        let connected = match tcp.peer_addr() {
            Ok(address) => Connected::new().extra(Peer(address)),
            Err(_) => Connected::new(),
        };
        if is_http2 { connected.negotiated_h2() } else { connected }
    }
}

/// The address of the upstream, in the extensions of a response.
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
