//! Tests whether a URL answers, through the cluster that a callout would use.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::Uri;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::model::{Cluster, Discovery, HostAddress, HostPort};
use crate::config::tls;
use crate::server::{server_name, split_authority};

/// The result of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reachability {
    /// The target answered with this status after this time.
    Reachable(u16, Duration),
    /// The name has no address.
    NameUnknown,
    /// The connection was refused.
    Refused,
    /// The connection or the answer took too long.
    TimedOut,
    /// The TLS handshake failed, for example because the certificate is not valid for the name.
    TlsFailed(String),
    /// Another error.
    Failed(String),
}

impl Reachability {
    /// Whether the target answered, with any status.
    pub fn is_reachable(&self) -> bool {
        matches!(self, Reachability::Reachable(..))
    }
}

impl fmt::Display for Reachability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reachability::Reachable(status, took) => {
                write!(f, "reachable: it answers {status} after {} ms", took.as_millis())
            }
            Reachability::NameUnknown => f.write_str("not reachable: the name is unknown"),
            Reachability::Refused => f.write_str("not reachable: the connection was refused"),
            Reachability::TimedOut => f.write_str("not reachable: no answer in time"),
            Reachability::TlsFailed(why) => write!(f, "not reachable: TLS failed: {why}"),
            Reachability::Failed(why) => write!(f, "not reachable: {why}"),
        }
    }
}

/// Sends a HEAD request to a URL through the cluster that a callout would use, and waits for the answer.
pub async fn probe(url: &Uri, cluster: &Cluster, user_agent: &str, within: Duration) -> Reachability {
    let started = Instant::now();
    match timeout(within, attempt(url, cluster, user_agent)).await {
        Err(_) => Reachability::TimedOut,
        Ok(Ok(status)) => Reachability::Reachable(status, started.elapsed()),
        Ok(Err(found)) => found,
    }
}

fn is_tls(uri: &Uri) -> bool {
    uri.scheme_str().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
}

/// Returns the host and the port, without user information.
fn authority(uri: &Uri) -> &str {
    uri.authority().map_or("", |authority| authority.as_str().rsplit('@').next().unwrap_or_default())
}

async fn attempt(uri: &Uri, cluster: &Cluster, user_agent: &str) -> Result<u16, Reachability> {
    let failed = |error: &dyn fmt::Display| Reachability::Failed(error.to_string());
    let authority = authority(uri);
    let addresses = match &cluster.discovery {
        Discovery::Static(addresses) => addresses.iter().filter_map(HostAddress::ip).collect(),
        Discovery::StrictDns(hosts) => match hosts.first() {
            Some(HostPort { host, port }) => look_up(host, *port).await?,
            None => Vec::new(),
        },
        Discovery::LogicalDns(HostPort { host, port }) => look_up(host, *port).await?,
        Discovery::DynamicForwardProxy | Discovery::OriginalDestination { .. } => {
            let HostPort { host, port } = split_authority(authority, if is_tls(uri) { 443 } else { 80 });
            look_up(&host, port).await?
        }
    };
    let mut tcp = Err(Reachability::Failed(format!("the cluster {:?} has no host", cluster.name)));
    for address in addresses {
        tcp = TcpStream::connect(address).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::ConnectionRefused => Reachability::Refused,
            _ => failed(&error),
        });
        if tcp.is_ok() {
            break;
        }
    }
    let tcp = tcp?;
    let Some(settings) = &cluster.tls else { return head(uri, user_agent, tcp).await };
    let config = tls::client(settings, "http/1.1").map_err(|error| failed(&error))?;
    let name = ServerName::try_from(server_name(settings, authority)).map_err(|error| failed(&error))?;
    let stream = TlsConnector::from(config).connect(name, tcp).await;
    head(uri, user_agent, stream.map_err(|error| Reachability::TlsFailed(error.to_string()))?).await
}

async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, Reachability> {
    Ok(lookup_host((host, port)).await.map_err(|_| Reachability::NameUnknown)?.collect())
}

async fn head(
    uri: &Uri,
    user_agent: &str,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<u16, Reachability> {
    let failed = |error: &dyn fmt::Display| Reachability::Failed(error.to_string());
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    tokio::spawn(connection);
    let request = http::Request::builder()
        .method("HEAD")
        .uri(uri.path_and_query().map_or("/", |target| target.as_str()))
        .header("host", authority(uri))
        .header("user-agent", user_agent)
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(&error))?;
    let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
    Ok(response.status().as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{TrustedRoots, UpstreamTls};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn cluster(name: &str, discovery: Discovery, tls: Option<UpstreamTls>) -> Cluster {
        Cluster { discovery, tls, ..crate::config::defaults::cluster(name) }
    }

    fn any_host() -> [Cluster; 2] {
        let tls = UpstreamTls { sni: None, auto_sni: true, auto_san_validation: true, roots: TrustedRoots::System };
        [("any_http", None), ("any_https", Some(tls))]
            .map(|(name, tls)| cluster(name, Discovery::DynamicForwardProxy, tls))
    }

    async fn found(url: &str, cluster: &Cluster, within: Duration) -> Reachability {
        probe(&url.parse().unwrap(), cluster, "probe", within).await
    }

    #[tokio::test]
    async fn a_cluster_for_one_host_decides_the_address() {
        let port = once(b"HTTP/1.1 204 No\r\n\r\n").await;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let cluster = cluster("crm", Discovery::Static(vec![HostAddress::Ip(address)]), None);
        let reached = found("http://no-such-host.invalid/in?x=1", &cluster, Duration::from_secs(5)).await;
        assert!(matches!(reached, Reachability::Reachable(204, _)));
    }

    async fn once(answer: &'static [u8]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(!request[..read].starts_with(b"HEAD") || request[..read].starts_with(b"HEAD /in?x=1 HTTP/1.1"));
            stream.write_all(answer).await.unwrap();
            tokio::time::sleep(Duration::from_secs(5)).await;
        });
        port
    }

    #[tokio::test]
    async fn each_failure_has_its_own_result() {
        let [http, https] = any_host();
        let found = async |url: String| {
            let cluster = if url.starts_with("https") { &https } else { &http };
            self::found(&url, cluster, Duration::from_millis(500)).await
        };
        let answers = once(b"HTTP/1.1 405 No\r\ncontent-length: 0\r\n\r\n").await;
        assert!(matches!(found(format!("http://127.0.0.1:{answers}/in?x=1")).await, Reachability::Reachable(405, _)));
        let silent = once(b"").await;
        assert_eq!(found(format!("http://127.0.0.1:{silent}/in?x=1")).await, Reachability::TimedOut);
        let plain = once(b"HTTP/1.1 400 Bad\r\n\r\n").await;
        assert!(matches!(found(format!("https://127.0.0.1:{plain}/")).await, Reachability::TlsFailed(_)));
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        assert_eq!(found(format!("http://127.0.0.1:{free}/")).await, Reachability::Refused);
        let unknown = self::found("http://no-such-host.invalid/", &http, Duration::from_secs(20)).await;
        assert_eq!(unknown, Reachability::NameUnknown);
    }
}
