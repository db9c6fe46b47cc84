//! Converts between the header maps of hyper and of the filters.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};

use crate::base::Headers;

/// Headers that belong to a connection and not to a message.
const HOP_BY_HOP: [&str; 7] =
    ["connection", "http2-settings", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te"];

/// Converts a client's request for the filters. Returns `None` if it has no host.
pub(super) fn request(parts: &http::request::Parts, scheme: &str) -> Option<Headers> {
    let mut headers = Headers::new();
    let authority = match parts.uri.authority() {
        Some(authority) => authority.as_str().as_bytes().to_vec(),
        None => joined(parts, http::header::HOST, b",")?,
    };
    headers.add(":authority", authority);
    headers.add(":path", parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str));
    headers.add(":method", parts.method.as_str());
    headers.add(":scheme", scheme);
    // The header `connection` names more headers that belong to the connection.
    let nominated = listed(parts, http::header::CONNECTION);
    for (name, value) in &parts.headers {
        let name = name.as_str();
        if HOP_BY_HOP.contains(&name) || nominated.iter().any(|other| name == other) {
            continue;
        }
        let value = value.as_bytes();
        match name {
            "host" => {}
            // The server has handled this header.
            "expect" if value.eq_ignore_ascii_case(b"100-continue") => {}
            // HTTP/2 sends each cookie in its own header.
            "cookie" if parts.version == Version::HTTP_2 => {
                if headers.get(name).is_none() {
                    headers.add(name, joined(parts, http::header::COOKIE, b"; ").unwrap_or_default());
                }
            }
            _ => headers.append(name.as_bytes(), value),
        }
    }
    if listed(parts, http::header::TE).iter().any(|coding| coding == "trailers") {
        headers.add("te", "trailers");
    }
    Some(headers)
}

/// Whether a request asks for an upgrade to another protocol. Like Envoy, it ignores requests for HTTP/2.
pub(super) fn upgrades(parts: &http::request::Parts) -> bool {
    let is_asked = listed(parts, http::header::CONNECTION).iter().any(|name| name == "upgrade");
    is_asked && parts.headers.get(http::header::UPGRADE).is_some_and(|protocol| protocol != "h2c")
}

/// Returns the items of a list header in lower case.
fn listed(parts: &http::request::Parts, name: HeaderName) -> Vec<String> {
    let values = parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|item| item.trim().to_ascii_lowercase()).collect()
}

fn joined(parts: &http::request::Parts, name: HeaderName, separator: &[u8]) -> Option<Vec<u8>> {
    let values: Vec<&[u8]> = parts.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    (!values.is_empty()).then(|| values.join(separator))
}

/// Converts a response for the filters.
pub(super) fn response(parts: &http::response::Parts) -> Headers {
    let mut headers = Headers::new();
    headers.add(":status", parts.status.as_str());
    for (name, value) in &parts.headers {
        // In Envoy, filters see that a response is chunked.
        if name == http::header::TRANSFER_ENCODING || !HOP_BY_HOP.contains(&name.as_str()) {
            headers.add(name.as_str(), value.as_bytes());
        }
    }
    headers
}

/// Converts trailers for the filters.
pub(super) fn trailers(map: &HeaderMap) -> Headers {
    map.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

/// A request that cannot be sent, because a pseudo-header is missing or not valid.
#[derive(Debug, thiserror::Error)]
#[error("missing required header: {0}")]
pub(super) struct Unsendable(pub(super) &'static str);

/// Makes the method, the URI and the headers of a request to an upstream. Headers that are not valid in HTTP are left
/// out.
///
/// # Errors
/// A pseudo-header is missing or not valid.
pub(super) fn to_request(headers: &Headers, scheme: &str, is_http2: bool) -> Result<http::request::Parts, Unsendable> {
    let method = headers.get(":method").ok_or(Unsendable(":method"))?;
    let method = Method::from_bytes(method).map_err(|_| Unsendable(":method"))?;
    let path = headers.get(":path").filter(|path| !path.is_empty()).ok_or(Unsendable(":path"))?;
    let given = headers.get(":authority");
    let authority = given.unwrap_or_default();
    // The cluster chooses the connection, but the URI must have a host. In HTTP/1 it is always the same, because hyper
    // would otherwise not use a connection again.
    let host = if authority.is_empty() || !is_http2 { b"upstream" } else { authority };
    let uri = Uri::builder().scheme(scheme).authority(host).path_and_query(path).build();
    let mut builder = http::Request::builder().method(method).uri(uri.map_err(|_| Unsendable(":path"))?);
    if is_http2 {
        builder = builder.version(Version::HTTP_2);
    }
    let (mut parts, ()) = builder.body(()).map_err(|_| Unsendable(":path"))?.into_parts();
    if let (false, Some(Ok(host))) = (is_http2, given.map(HeaderValue::from_bytes)) {
        parts.headers.insert(http::header::HOST, host);
    }
    append_to(&mut parts.headers, headers);
    Ok(parts)
}

/// Converts headers for hyper, without pseudo-headers.
pub(super) fn to_map(headers: &Headers) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(headers.len());
    append_to(&mut map, headers);
    map
}

/// Splits values with line breaks into lines. Envoy writes them as they are, so the client reads several headers.
pub(super) fn lines(headers: Headers) -> Headers {
    if !headers.iter().any(|(_, value)| value.contains(&b'\n')) {
        return headers;
    }
    let mut lines = Headers::new();
    for (name, value) in headers.iter() {
        let mut parts = value.split(|byte| *byte == b'\n').map(|part| part.strip_suffix(b"\r").unwrap_or(part));
        lines.add(name, parts.next().unwrap_or_default());
        for part in parts {
            let colon = part.iter().position(|byte| *byte == b':').unwrap_or(part.len());
            let (name, value) = part.split_at(colon);
            lines.add(name, value.get(1..).unwrap_or_default().trim_ascii());
        }
    }
    lines
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
