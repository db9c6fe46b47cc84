//! Connections to upstreams, with or without TLS.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::config::model::{DnsFamily, HostAddress, HostPort};
use crate::server::wire::Upstream;

#[derive(Debug, thiserror::Error)]
#[error("the name is not known")]
pub struct NotResolved;

/// The connection and the handshake took too long.
#[derive(Debug, thiserror::Error)]
#[error("connection timeout")]
pub struct TimedOut;

/// The place of an endpoint.
#[derive(Clone)]
pub enum Addresses {
    One(HostAddress),
    Dns(HostPort, DnsFamily),
}

/// Connects to one endpoint, and ignores the URI.
#[derive(Clone)]
pub struct Connector {
    pub addresses: Addresses,
    /// The timeout for the connection and TLS together.
    pub timeout: Duration,
    pub tls: Option<(TlsConnector, ServerName<'static>)>,
    pub is_http2: bool,
}

type Boxed = Box<dyn std::error::Error + Send + Sync>;

impl Connector {
    /// Connects, and returns the connection and its other end.
    pub async fn connect(self) -> Result<(Box<dyn Duplex>, HostAddress), Boxed> {
        let addresses = match &self.addresses {
            Addresses::One(address) => vec![address.clone()],
            Addresses::Dns(host, family) => {
                resolve(host, *family).await.map_err(|_| NotResolved)?.into_iter().map(HostAddress::Ip).collect()
            }
        };
        let timeout = self.timeout;
        match tokio::time::timeout(timeout, self.connect_to(addresses)).await {
            Ok(connected) => connected,
            Err(_) => Err(TimedOut.into()),
        }
    }

    async fn connect_to(self, addresses: Vec<HostAddress>) -> Result<(Box<dyn Duplex>, HostAddress), Boxed> {
        let mut connected = Err(NotResolved.into());
        for peer in addresses {
            connected = socket(&peer).await.map(|stream| (stream, peer)).map_err(Boxed::from);
            if connected.is_ok() {
                break;
            }
        }
        let (plain, peer) = connected?;
        let Some((connector, name)) = self.tls else { return Ok((plain, peer)) };
        let stream = connector.connect(name, plain).await.map_err(|error| match error.downcast::<rustls::Error>() {
            Ok(error) => Box::new(error) as Boxed,
            Err(error) => Box::new(error),
        })?;
        Ok((Box::new(stream), peer))
    }
}

async fn socket(address: &HostAddress) -> std::io::Result<Box<dyn Duplex>> {
    match address {
        HostAddress::Ip(address) => {
            let tcp = TcpStream::connect(address).await?;
            tcp.set_nodelay(true)?;
            Ok(Box::new(tcp))
        }
        HostAddress::Pipe(path) => Ok(Box::new(UnixStream::connect(socket_path(path).as_ref()).await?)),
    }
}

/// In Envoy, a path that begins with `@` is a name of the abstract namespace. The system writes a NUL instead.
fn socket_path(path: &Path) -> std::borrow::Cow<'_, Path> {
    match path.to_str().and_then(|path| path.strip_prefix('@')) {
        Some(name) => Path::new(&format!("\0{name}")).to_path_buf().into(),
        None => path.into(),
    }
}

/// Resolves a name to the addresses of a family.
pub async fn resolve(host: &HostPort, family: DnsFamily) -> std::io::Result<Vec<SocketAddr>> {
    let mut found: Vec<_> = tokio::net::lookup_host((host.host.as_str(), host.port)).await?.collect();
    let has_v4 = found.iter().any(SocketAddr::is_ipv4);
    match family {
        DnsFamily::V4Only => found.retain(SocketAddr::is_ipv4),
        DnsFamily::V6Only => found.retain(SocketAddr::is_ipv6),
        DnsFamily::V4Preferred => found.retain(|address| address.is_ipv4() == has_v4),
        DnsFamily::All => found.sort_by_key(SocketAddr::is_ipv6),
    }
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
        let (connector, is_http2) = (self.clone(), self.is_http2);
        Box::pin(async move {
            let (stream, peer) = connector.connect().await?;
            Ok(Io { stream: TokioIo::new(Upstream::new(stream, is_http2)), peer, is_http2 })
        })
    }
}

/// A stream of bytes in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection for HTTP, with or without TLS.
pub struct Io {
    stream: TokioIo<Upstream<Box<dyn Duplex>>>,
    peer: HostAddress,
    is_http2: bool,
}

impl Connection for Io {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(Peer(self.peer.clone()));
        if self.is_http2 { connected.negotiated_h2() } else { connected }
    }
}

/// The address of the upstream, in the extensions of a response.
#[derive(Clone)]
pub struct Peer(pub HostAddress);

impl hyper::rt::Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
