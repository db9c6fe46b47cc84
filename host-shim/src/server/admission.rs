//! Requests that the connection manager refuses before a filter sees them.

use http::{Method, Version};

use super::convert;
use crate::base::Headers;
use crate::config::model::ConnectionManager;
use crate::router::paths::{self, Prepared};
use crate::worker::Exchange;

/// Envoy's `max_request_headers_kb`.
const MAX_HEADERS: usize = 60 * 1024;

/// The methods that Envoy's codec knows and that this gateway serves.
const METHODS: [Method; 8] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::OPTIONS,
    Method::TRACE,
    Method::PATCH,
];

/// An answer that does not depend on the routes.
pub(super) struct Refusal {
    status: u16,
    body: &'static str,
    location: Option<Vec<u8>>,
    closes: bool,
}

impl Refusal {
    fn closing(status: u16, body: &'static str) -> Self {
        Refusal { status, body, location: None, closes: true }
    }

    /// Sends the answer.
    pub(super) fn send(&self, exchange: &impl Exchange) {
        let mut headers: Headers = [(":status", self.status.to_string())].into_iter().collect();
        headers.add("content-length", self.body.len().to_string());
        if !self.body.is_empty() {
            headers.add("content-type", "text/plain");
        }
        if let Some(location) = &self.location {
            headers.add("location", location);
        }
        exchange.finish_response(&mut headers, self.closes);
        exchange.response_headers(headers, self.body.is_empty());
        if !self.body.is_empty() {
            exchange.response_data(self.body.as_bytes().to_vec(), true);
        }
    }
}

/// Prepares the request for the filters.
///
/// # Errors
/// The answer, if the connection manager refuses the request.
pub(super) fn admit(
    parts: &http::request::Parts,
    manager: &ConnectionManager,
    scheme: &str,
) -> Result<Headers, Refusal> {
    let bad_request = || Refusal::closing(400, "Bad Request");
    let is_http1 = parts.version != Version::HTTP_2;
    if parts.version < Version::HTTP_11 {
        return Err(Refusal::closing(426, "Upgrade Required"));
    }
    if parts.method == Method::CONNECT {
        // Without a connect_matcher, no route matches a CONNECT request.
        return Err(Refusal::closing(404, ""));
    }
    if is_http1 && (!METHODS.contains(&parts.method) || !is_target(&parts.uri)) {
        return Err(bad_request());
    }
    if parts.headers.get(http::header::TRANSFER_ENCODING).is_some_and(|coding| coding != "chunked") {
        return Err(Refusal::closing(501, "Not Implemented"));
    }
    if is_http1 && convert::upgrades(parts) {
        return Err(Refusal::closing(403, ""));
    }
    let Some(mut headers) = convert::request(parts, scheme) else { return Err(Refusal::closing(400, "")) };
    if headers.byte_size() > MAX_HEADERS {
        return Err(Refusal::closing(431, "Request Header Fields Too Large"));
    }
    if !headers.get(":authority").unwrap_or_default().iter().all(|byte| is_of_authority(*byte)) {
        return Err(bad_request());
    }
    let path = headers.get(":path").unwrap_or_default().to_vec();
    match paths::prepare(manager, &path) {
        Prepared::Path(path) => headers.set_in_place(":path", path),
        Prepared::Rejected => return Err(Refusal { status: 400, body: "", location: None, closes: false }),
        Prepared::Redirect(path) => {
            return Err(Refusal { status: 307, body: "", location: Some(path), closes: false });
        }
    }
    Ok(headers)
}

/// Whether the target of a request line is a path, or a URL with http or https.
fn is_target(uri: &http::Uri) -> bool {
    match uri.scheme_str() {
        Some(scheme) => matches!(scheme, "http" | "https"),
        None => uri.authority().is_none(),
    }
}

/// Whether Envoy's codecs allow the byte in a host.
fn is_of_authority(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!$%&'()*+,-.:;=@[]_~".contains(&byte)
}
