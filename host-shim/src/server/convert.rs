//! Converts between the header maps of hyper and of the filters.

use http::header::{CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};

use super::wire::{self, Head, Length};
use crate::base::{Headers, MapKind};
use crate::router;

/// Headers that belong to a connection and not to a message.
const HOP_BY_HOP: [&str; 7] =
    ["connection", "http2-settings", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te"];

/// Adds the lines of an HTTP/1 request for the filters, without those about the connection.
pub(super) fn client_lines(head: &Head, headers: &mut Headers) {
    // The header `connection` names more headers that belong to the connection.
    let nominated = head.items("connection");
    let upgrades = head.upgrades();
    let mut takes_trailers = head.items("te").iter().any(|coding| coding == "trailers");
    for (name, value) in &head.lines {
        match name.as_str() {
            "te" if std::mem::take(&mut takes_trailers) => {
                headers.add("te", "trailers");
                continue;
            }
            "connection" | "upgrade" if upgrades => {}
            "host" => continue,
            name if HOP_BY_HOP.contains(&name) => continue,
            name if !upgrades && nominated.iter().any(|other| name == other) => continue,
            "content-length" if head.method == "CONNECT" => continue,
            // The connection has handled this header.
            "expect" if value.eq_ignore_ascii_case(b"100-continue") => continue,
            _ => {}
        }
        headers.append(MapKind::Request, name.as_bytes(), value);
    }
}

/// Converts an HTTP/2 request for the filters. Returns `None` if it has no host.
pub(super) fn request(parts: &http::request::Parts) -> Option<Headers> {
    let mut headers = Headers::new();
    let authority = match parts.uri.authority() {
        Some(authority) => authority.as_str().as_bytes().to_vec(),
        None => joined(parts, http::header::HOST, b",")?,
    };
    // The order of most clients, because the library does not keep the client's own.
    headers.add(":method", parts.method.as_str());
    if let Some(scheme) = parts.uri.scheme_str() {
        headers.add(":scheme", scheme);
    }
    headers.add(":authority", authority);
    headers.add(":path", parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str));
    for (name, value) in &parts.headers {
        let name = name.as_str();
        match name {
            "host" => {}
            "te" if value != "trailers" => {}
            "cookie" => {}
            _ => headers.append(MapKind::Request, name.as_bytes(), value.as_bytes()),
        }
    }
    // HTTP/2 sends each cookie in its own header. Like Envoy, this joins them at the end.
    if let Some(cookies) = joined(parts, http::header::COOKIE, b"; ") {
        headers.add("cookie", cookies);
    }
    Some(headers)
}

fn joined(parts: &http::request::Parts, name: HeaderName, separator: &[u8]) -> Option<Vec<u8>> {
    let values: Vec<&[u8]> = parts.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    (!values.is_empty()).then(|| values.join(separator))
}

/// Converts a response for the filters.
pub(super) fn response(parts: &http::response::Parts) -> Headers {
    let mut headers = Headers::new();
    if let Some((status, lines)) = wire::response(&parts.headers) {
        headers.add(":status", status.to_string());
        for (name, value) in lines.iter().filter(|(name, _)| name != "keep-alive") {
            headers.append(MapKind::Response, name.as_bytes(), value);
        }
        return headers;
    }
    headers.add(":status", parts.status.as_str());
    for (name, value) in &parts.headers {
        // In Envoy, filters see the other headers of the connection.
        if name != "keep-alive" {
            headers.append(MapKind::Response, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    headers
}

/// Converts trailers for the filters.
pub(super) fn trailers(kind: MapKind, map: &HeaderMap) -> Headers {
    let mut trailers = Headers::new();
    for (name, value) in map {
        trailers.append(kind, name.as_str().as_bytes(), value.as_bytes());
    }
    trailers
}

/// A request that cannot be sent, because a pseudo-header is missing or not valid.
#[derive(Debug, thiserror::Error)]
#[error("missing required header: {0}")]
pub(super) struct Unsendable(pub(super) &'static str);

/// Makes the plain head of an HTTP/1 request to an upstream, which has the real head in it.
pub(super) fn to_http1(headers: &Headers, has_body: bool) -> http::request::Parts {
    let text = |name: &str| String::from_utf8_lossy(headers.get(name).unwrap_or_default()).into_owned();
    let method = text(":method");
    let target = if method == "CONNECT" { text(":authority") } else { text(":path") };
    let host = headers.get(":authority").map(|authority| (b"host".as_slice(), authority));
    let others = headers.iter().filter(|(name, _)| name.first() != Some(&b':') && *name != b"transfer-encoding");
    let lines: Headers = host.into_iter().chain(others).collect();
    let is_tunnel = has_body && router::Tunnel::wanted(headers).is_some();
    let given = headers.get_str("content-length").and_then(|length| length.parse::<u64>().ok());
    let (length, last) = match given {
        _ if is_tunnel => (Length::UntilClose, ""),
        Some(length) => (Length::Bytes(length), ""),
        None if has_body => (Length::Chunked, "transfer-encoding: chunked\r\n"),
        None => (Length::Bytes(0), ""),
    };
    let (mut parts, ()) = http::Request::new(()).into_parts();
    // hyper uses a connection again if the host is the same. The cluster chooses the connection.
    parts.uri = Uri::from_static("http://upstream/");
    if has_body {
        parts.method = Method::POST;
    }
    match length {
        Length::Bytes(0) if !has_body => {}
        Length::Bytes(length) => drop(parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length))),
        Length::UntilClose => {
            parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        Length::Chunked => {
            parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            parts.headers.insert(TRAILER, HeaderValue::from_static(wire::TRAILERS));
        }
    }
    if let Some(head) = wire::value(length, &format!("{method} {target} HTTP/1.1"), &lines, last) {
        parts.headers.insert(wire::NAME, head);
    }
    parts
}

/// Makes the method, the URI and the headers of an HTTP/2 request to an upstream.
///
/// # Errors
/// A pseudo-header is missing or not valid.
pub(super) fn to_http2(headers: &Headers, scheme: &str) -> Result<http::request::Parts, Unsendable> {
    let method = headers.get(":method").ok_or(Unsendable(":method"))?;
    let method = Method::from_bytes(method).map_err(|_| Unsendable(":method"))?;
    let path = headers.get(":path").filter(|path| !path.is_empty()).ok_or(Unsendable(":path"))?;
    // The cluster chooses the connection, but the URI must have a host.
    let authority = headers.get(":authority").filter(|authority| !authority.is_empty()).unwrap_or(b"upstream");
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
    let builder = http::Request::builder().method(method).uri(uri.map_err(|_| Unsendable(":path"))?);
    let builder = builder.version(Version::HTTP_2);
    let (mut parts, ()) = builder.body(()).map_err(|_| Unsendable(":path"))?.into_parts();
    append_to(&mut parts.headers, headers);
    Ok(parts)
}

/// Converts headers for hyper, without pseudo-headers.
pub(super) fn to_map(headers: &Headers) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(headers.len());
    append_to(&mut map, headers);
    map
}

fn append_to(map: &mut HeaderMap, headers: &Headers) {
    for (name, value) in headers.iter() {
        if name.first() == Some(&b':') || name == b"transfer-encoding" {
            continue;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
}

/// Returns the status of a response if it is valid.
pub(super) fn status(headers: &Headers) -> Option<StatusCode> {
    StatusCode::from_bytes(headers.get(":status")?).ok()
}
