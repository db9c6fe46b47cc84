//! The command `test-connection`: a HEAD request to a named webhook's target, without its configured headers, by the cluster
//! that Envoy would take.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use http::Uri;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::model::{Cluster, Discovery, HostPort};
use crate::server::{server_name, split_authority};
use crate::tls;

/// What a test found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It answers, with this status, after this time.
    Reachable(u16, Duration),
    /// No address belongs to the name.
    NameUnknown,
    /// Nobody listens there.
    Refused,
    /// Connection and answer took longer than allowed.
    TimedOut,
    /// There is no TLS, or its certificate is not valid for the name.
    TlsFailed(String),
    /// Something else.
    Failed(String),
}

impl Finding {
    /// Whether it answers, whatever it says.
    pub fn is_reachable(&self) -> bool {
        matches!(self, Finding::Reachable(..))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Reachable(status, took) => {
                write!(f, "reachable: it answers {status} after {} ms", took.as_millis())
            }
            Finding::NameUnknown => f.write_str("not reachable: the name is unknown"),
            Finding::Refused => f.write_str("not reachable: the connection was refused"),
            Finding::TimedOut => f.write_str("not reachable: no answer in time"),
            Finding::TlsFailed(why) => write!(f, "not reachable: TLS failed: {why}"),
            Finding::Failed(why) => write!(f, "not reachable: {why}"),
        }
    }
}

/// A webhook's target as a configuration has it.
#[derive(Clone, Debug)]
pub struct Target {
    url: String,
    /// How Envoy reaches it.
    cluster: Cluster,
}

/// An entry of `webhooks`, and the `callouts` beside the list.
struct Webhook<'c> {
    name: String,
    url: String,
    callouts: Cow<'c, Value>,
}

/// The target of the webhook of that name in a configuration's filters, and its cluster.
///
/// # Errors
/// When there is none; the text names those that there are. When its cluster does not exist.
pub fn target(configuration: &Value, clusters: &[Cluster], webhook: &str) -> Result<Target> {
    let mut found = Vec::new();
    collect(configuration, &mut found);
    let Some(Webhook { url, callouts, .. }) = found.iter().find(|found| found.name == webhook) else {
        if found.is_empty() {
            bail!("the configuration names no webhooks");
        }
        let names: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
        bail!("no webhook has the name {webhook:?}; there are {}", names.join(", "))
    };
    let uri: Uri = url.parse().context("the webhook's target_url is not a URL")?;
    let of_host = |name: Option<&str>| callouts["clusters"][name?].as_str();
    let default = if is_tls(&uri) { ("https_cluster", "tollbell_https") } else { ("http_cluster", "tollbell_http") };
    let default = callouts[default.0].as_str().unwrap_or(default.1);
    let name = of_host(Some(authority(&uri))).or_else(|| of_host(uri.host())).unwrap_or(default);
    let cluster = clusters.iter().find(|cluster| cluster.name == name);
    let cluster = cluster.with_context(|| format!("its cluster {name:?} is not in the configuration"))?;
    Ok(Target { url: url.clone(), cluster: cluster.clone() })
}

/// Looks through a configuration, also through JSON in a text, as a `StringValue` has it.
fn collect<'c>(value: &'c Value, found: &mut Vec<Webhook<'c>>) {
    match value {
        Value::Object(fields) => {
            for webhook in fields.get("webhooks").and_then(Value::as_array).into_iter().flatten() {
                let text = |name| webhook.get(name).and_then(Value::as_str).map(str::to_owned);
                let callouts = Cow::Borrowed(fields.get("callouts").unwrap_or(&Value::Null));
                let named = text("name").zip(text("target_url"));
                found.extend(named.map(|(name, url)| Webhook { name, url, callouts }));
            }
            fields.values().for_each(|value| collect(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::String(text) if text.trim_start().starts_with('{') => {
            if let Ok(inner) = serde_json::from_str::<Value>(text) {
                let mut of_text = Vec::new();
                collect(&inner, &mut of_text);
                let owned = of_text.into_iter().map(|Webhook { name, url, callouts }| {
                    let callouts = Cow::Owned(callouts.into_owned());
                    Webhook { name, url, callouts }
                });
                found.extend(owned);
            }
        }
        _ => {}
    }
}

/// Sends the request.
///
/// # Errors
/// When the URL is none.
pub async fn test(target: &Target, within: Duration) -> Result<Finding> {
    let uri: Uri = target.url.parse().context("the webhook's target_url is not a URL")?;
    let started = Instant::now();
    match timeout(within, attempt(&uri, &target.cluster)).await {
        Err(_) => Ok(Finding::TimedOut),
        Ok(Ok(status)) => Ok(Finding::Reachable(status, started.elapsed())),
        Ok(Err(finding)) => Ok(finding),
    }
}

fn is_tls(uri: &Uri) -> bool {
    uri.scheme_str().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
}

/// Host and port, without a user.
fn authority(uri: &Uri) -> &str {
    uri.authority().map_or("", |authority| authority.as_str().rsplit('@').next().unwrap_or_default())
}

async fn attempt(uri: &Uri, cluster: &Cluster) -> Result<u16, Finding> {
    let failed = |error: &dyn fmt::Display| Finding::Failed(error.to_string());
    let authority = authority(uri);
    let addresses = match &cluster.discovery {
        Discovery::Static(addresses) => addresses.clone(),
        Discovery::StrictDns(hosts) => match hosts.first() {
            Some(HostPort { host, port }) => look_up(host, *port).await?,
            None => Vec::new(),
        },
        Discovery::LogicalDns(HostPort { host, port }) => look_up(host, *port).await?,
        Discovery::DynamicForwardProxy => {
            let HostPort { host, port } = split_authority(authority, if is_tls(uri) { 443 } else { 80 });
            look_up(&host, port).await?
        }
    };
    let mut tcp = Err(Finding::Failed(format!("the cluster {:?} has no host", cluster.name)));
    for address in addresses {
        tcp = TcpStream::connect(address).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::ConnectionRefused => Finding::Refused,
            _ => failed(&error),
        });
        if tcp.is_ok() {
            break;
        }
    }
    let tcp = tcp?;
    let Some(settings) = &cluster.tls else { return head(uri, tcp).await };
    let config = tls::client(settings, false).map_err(|error| failed(&error))?;
    let name = ServerName::try_from(server_name(settings, authority)).map_err(|error| failed(&error))?;
    let stream = TlsConnector::from(config).connect(name, tcp).await;
    head(uri, stream.map_err(|error| Finding::TlsFailed(error.to_string()))?).await
}

async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, Finding> {
    Ok(lookup_host((host, port)).await.map_err(|_| Finding::NameUnknown)?.collect())
}

async fn head(uri: &Uri, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<u16, Finding> {
    let failed = |error: &dyn fmt::Display| Finding::Failed(error.to_string());
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    tokio::spawn(connection);
    let request = http::Request::builder()
        .method("HEAD")
        .uri(uri.path_and_query().map_or("/", |target| target.as_str()))
        .header("host", authority(uri))
        .header("user-agent", concat!("host-shim/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(&error))?;
    let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
    Ok(response.status().as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{TrustedRoots, UpstreamTls};
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn cluster(name: &str, discovery: Discovery, tls: Option<UpstreamTls>) -> Cluster {
        Cluster {
            name: name.to_owned(),
            discovery,
            connect_timeout: Duration::from_secs(5),
            tls,
            http2: false,
            trailers: false,
            max_requests: 1024,
            max_pending_requests: 1024,
            metadata: serde_json::Map::new(),
        }
    }

    fn any_host() -> [Cluster; 2] {
        let tls = UpstreamTls { sni: None, auto_sni: true, auto_san_validation: true, roots: TrustedRoots::System };
        [("tollbell_http", None), ("tollbell_https", Some(tls))]
            .map(|(name, tls)| cluster(name, Discovery::DynamicForwardProxy, tls))
    }

    #[test]
    fn webhooks_are_found_in_either_form_with_their_cluster() {
        let hooks = json!({
            "webhooks": [
                { "name": "crm", "target_url": "https://u:p@a.test:8443/in" }, { "name": "soc", "target_url": "http://b.test" },
                { "name": "lost", "target_url": "http://c.test" },
            ],
            "callouts": { "clusters": { "a.test": "of-a", "c.test": "none" } },
        });
        let clusters = [&any_host()[..], &[cluster("of-a", Discovery::Static(Vec::new()), None)]].concat();
        let as_text = json!({ "static_resources": [{ "value": hooks.to_string() }] });
        for configuration in [json!({ "x": [hooks] }), as_text] {
            let find = |name| target(&configuration, &clusters, name);
            let found = |name| find(name).map(|target| (target.url, target.cluster.name)).unwrap();
            assert_eq!(found("soc"), ("http://b.test".to_owned(), "tollbell_http".to_owned()));
            assert_eq!(found("crm").1, "of-a");
            let error = |name| find(name).unwrap_err().to_string();
            assert!(error("sock").contains("there are crm, soc, lost"), "{}", error("sock"));
            assert!(error("lost").contains("\"none\""), "{}", error("lost"));
        }
        assert!(target(&json!({}), &clusters, "crm").is_err());
    }

    #[tokio::test]
    async fn a_cluster_of_its_own_says_where_the_host_is() {
        let port = once(b"HTTP/1.1 204 No\r\n\r\n").await;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let cluster = cluster("crm", Discovery::Static(vec![address]), None);
        let target = Target { url: "http://no-such-host.invalid/in?x=1".to_owned(), cluster };
        assert!(matches!(test(&target, Duration::from_secs(5)).await.unwrap(), Finding::Reachable(204, _)));
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
    async fn each_finding_is_told_apart() {
        let at = |url: String| {
            let [http, https] = any_host();
            Target { cluster: if url.starts_with("https") { https } else { http }, url }
        };
        let found = async |url: String| test(&at(url), Duration::from_millis(500)).await.unwrap();
        let answers = once(b"HTTP/1.1 405 No\r\ncontent-length: 0\r\n\r\n").await;
        assert!(matches!(found(format!("http://127.0.0.1:{answers}/in?x=1")).await, Finding::Reachable(405, _)));
        let silent = once(b"").await;
        assert_eq!(found(format!("http://127.0.0.1:{silent}/in?x=1")).await, Finding::TimedOut);
        let plain = once(b"HTTP/1.1 400 Bad\r\n\r\n").await;
        assert!(matches!(found(format!("https://127.0.0.1:{plain}/")).await, Finding::TlsFailed(_)));
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        assert_eq!(found(format!("http://127.0.0.1:{free}/")).await, Finding::Refused);
        let unknown = at("http://no-such-host.invalid/".to_owned());
        assert_eq!(test(&unknown, Duration::from_secs(20)).await.unwrap(), Finding::NameUnknown);
    }
}
