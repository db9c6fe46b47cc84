//! Between hyper's header maps and the filters'.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};

use crate::headers::Headers;

/// Headers that belong to a connection, not to a message.
const HOP_BY_HOP: [&str; 6] = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te"];

/// A client's request as filters see it; None where it has no host.
pub(super) fn request(parts: &http::request::Parts, scheme: &str) -> Option<Headers> {
    let mut headers = Headers::new();
    let authority = match parts.uri.authority() {
        Some(authority) => authority.as_str().as_bytes().to_vec(),
        None => parts.headers.get(http::header::HOST)?.as_bytes().to_vec(),
    };
    headers.add(":authority", authority);
    headers.add(":path", parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str));
    headers.add(":method", parts.method.as_str());
    headers.add(":scheme", scheme);
    // A connection's header names others that belong to it.
    let connection = parts.headers.get_all(http::header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let nominated: Vec<String> =
        connection.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect();
    for (name, value) in &parts.headers {
        if nominated.iter().any(|other| other == name.as_str()) {
            continue;
        }
        let is_grpc_te = name == "te" && value == "trailers";
        if name != http::header::HOST && (is_grpc_te || !HOP_BY_HOP.contains(&name.as_str())) {
            headers.add(name.as_str(), value.as_bytes());
        }
    }
    Some(headers)
}

/// A response as filters see it.
pub(super) fn response(parts: &http::response::Parts) -> Headers {
    let mut headers = Headers::new();
    headers.add(":status", parts.status.as_str());
    for (name, value) in &parts.headers {
        // Filters see in Envoy that a response is chunked.
        if name == http::header::TRANSFER_ENCODING || !HOP_BY_HOP.contains(&name.as_str()) {
            headers.add(name.as_str(), value.as_bytes());
        }
    }
    headers
}

/// Trailers as filters see them.
pub(super) fn trailers(map: &HeaderMap) -> Headers {
    map.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

/// What cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("missing required header: {0}")]
pub(super) struct Unsendable(pub(super) &'static str);

/// The method, URI and headers of a request to an upstream. Headers that are none by HTTP's rules are left out.
///
/// # Errors
/// When a pseudo-header is missing or is none.
pub(super) fn to_request(headers: &Headers, scheme: &str, is_http2: bool) -> Result<http::request::Parts, Unsendable> {
    let method = headers.get(":method").ok_or(Unsendable(":method"))?;
    let method = Method::from_bytes(method).map_err(|_| Unsendable(":method"))?;
    let path = headers.get(":path").filter(|path| !path.is_empty()).ok_or(Unsendable(":path"))?;
    let authority = headers.get(":authority").unwrap_or_default();
    // A connection is chosen by the cluster; the URI must have some host.
    let host = if authority.is_empty() { b"upstream" } else { authority };
    let uri = Uri::builder().scheme(scheme).authority(host).path_and_query(path).build();
    let mut builder = http::Request::builder().method(method).uri(uri.map_err(|_| Unsendable(":path"))?);
    if is_http2 {
        builder = builder.version(Version::HTTP_2);
    }
    let (mut parts, ()) = builder.body(()).map_err(|_| Unsendable(":path"))?.into_parts();
    if let (false, false, Ok(host)) = (is_http2, authority.is_empty(), HeaderValue::from_bytes(authority)) {
        parts.headers.insert(http::header::HOST, host);
    }
    append_to(&mut parts.headers, headers);
    Ok(parts)
}

/// Headers for hyper, without pseudo-headers.
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

/// The status of a response, if it has a valid one.
pub(super) fn status(headers: &Headers) -> Option<StatusCode> {
    StatusCode::from_bytes(headers.get(":status")?).ok()
}
