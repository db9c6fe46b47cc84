//! The command `test-connection`: a HEAD request to a named webhook's target, without its configured headers.

use std::fmt;
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

use crate::config::model::{TrustedRoots, UpstreamTls};
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

/// The URL of the webhook of that name in a configuration's filters: `webhooks[].target_url`.
///
/// # Errors
/// When there is none; the text names those that there are.
pub fn target(configuration: &Value, webhook: &str) -> Result<String> {
    let mut found = Vec::new();
    collect(configuration, &mut found);
    match found.iter().find(|(name, _)| name == webhook) {
        Some((_, url)) => Ok(url.clone()),
        None if found.is_empty() => bail!("the configuration names no webhooks"),
        None => {
            let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
            bail!("no webhook has the name {webhook:?}; there are {}", names.join(", "))
        }
    }
}

/// Looks through a configuration, also through JSON in a text, as a `StringValue` has it.
fn collect(value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for webhook in fields.get("webhooks").and_then(Value::as_array).into_iter().flatten() {
                let text = |name| webhook.get(name).and_then(Value::as_str).map(str::to_owned);
                found.extend(text("name").zip(text("target_url")));
            }
            fields.values().for_each(|value| collect(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::String(text) if text.trim_start().starts_with('{') => {
            if let Ok(inner) = serde_json::from_str(text) {
                collect(&inner, found);
            }
        }
        _ => {}
    }
}

/// Sends the request.
///
/// # Errors
/// When the URL is none.
pub async fn test(url: &str, within: Duration) -> Result<Finding> {
    let uri: Uri = url.parse().context("the webhook's target_url is not a URL")?;
    let started = Instant::now();
    match timeout(within, attempt(&uri)).await {
        Err(_) => Ok(Finding::TimedOut),
        Ok(Ok(status)) => Ok(Finding::Reachable(status, started.elapsed())),
        Ok(Err(finding)) => Ok(finding),
    }
}

async fn attempt(uri: &Uri) -> Result<u16, Finding> {
    let failed = |error: &dyn fmt::Display| Finding::Failed(error.to_string());
    let host = uri.host().ok_or_else(|| Finding::Failed("the URL has no host".to_owned()))?;
    let is_tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<_> = lookup_host((plain, port)).await.map_err(|_| Finding::NameUnknown)?.collect();
    let mut tcp = Err(Finding::NameUnknown);
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
    if !is_tls {
        return head(uri, tcp).await;
    }
    let settings = UpstreamTls { sni: None, auto_sni: true, auto_san_validation: true, roots: TrustedRoots::System };
    let config = tls::client(&settings, false).map_err(|error| failed(&error))?;
    let name = ServerName::try_from(plain.to_owned()).map_err(|error| failed(&error))?;
    let stream = TlsConnector::from(config).connect(name, tcp).await;
    head(uri, stream.map_err(|error| Finding::TlsFailed(error.to_string()))?).await
}

async fn head(uri: &Uri, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<u16, Finding> {
    let failed = |error: &dyn fmt::Display| Finding::Failed(error.to_string());
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    tokio::spawn(connection);
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let request = http::Request::builder()
        .method("HEAD")
        .uri(uri.path_and_query().map_or("/", |target| target.as_str()))
        .header("host", authority.rsplit('@').next().unwrap_or_default())
        .header("user-agent", concat!("host-shim/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(&error))?;
    let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
    Ok(response.status().as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[test]
    fn webhooks_are_found_in_either_form() {
        let hooks = json!({ "webhooks": [{ "name": "crm", "target_url": "http://a" }, { "name": "soc", "target_url": "http://b" }] });
        let as_text = json!({ "static_resources": [{ "value": hooks.to_string() }] });
        for configuration in [json!({ "x": [hooks] }), as_text] {
            assert_eq!(target(&configuration, "soc").unwrap(), "http://b");
            let error = target(&configuration, "sock").unwrap_err().to_string();
            assert!(error.contains("there are crm, soc"), "{error}");
        }
        assert!(target(&json!({}), "crm").is_err());
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
        let found = async |url: String| test(&url, Duration::from_millis(500)).await.unwrap();
        let answers = once(b"HTTP/1.1 405 No\r\ncontent-length: 0\r\n\r\n").await;
        assert!(matches!(found(format!("http://127.0.0.1:{answers}/in?x=1")).await, Finding::Reachable(405, _)));
        let silent = once(b"").await;
        assert_eq!(found(format!("http://127.0.0.1:{silent}/in?x=1")).await, Finding::TimedOut);
        let plain = once(b"HTTP/1.1 400 Bad\r\n\r\n").await;
        assert!(matches!(found(format!("https://127.0.0.1:{plain}/")).await, Finding::TlsFailed(_)));
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        assert_eq!(found(format!("http://127.0.0.1:{free}/")).await, Finding::Refused);
        let unknown = test("http://no-such-host.invalid/", Duration::from_secs(20)).await.unwrap();
        assert!(!unknown.is_reachable());
    }
}
