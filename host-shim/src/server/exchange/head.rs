//! The heads of responses for hyper.

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use http::{HeaderMap, StatusCode};

use crate::base::Headers;
use crate::router::Tunnel;
use crate::server::convert;
use crate::server::wire::{self, Length};

type Plain = (StatusCode, HeaderMap);

/// Makes the head of an HTTP/2 response. Returns the real status too.
pub fn http2(headers: &Headers) -> (u16, Plain) {
    // Envoy's codec refuses a response without a status.
    let (status, map) = match convert::status(headers) {
        Some(status) => (status, convert::to_map(headers)),
        None => (StatusCode::BAD_GATEWAY, HeaderMap::new()),
    };
    (status.as_u16(), (status, map))
}

/// The request of an HTTP/1 response.
pub struct Asked {
    pub is_head: bool,
    pub is_http10: bool,
    /// The tunnel that the request may open.
    pub tunnel: Option<Tunnel>,
}

/// Makes the plain head of an HTTP/1 response, which has the real head in it. Returns the real status too.
pub fn http1(headers: &Headers, end: bool, request: &Asked) -> (u16, Plain) {
    let Asked { is_head, is_http10, tunnel } = *request;
    let status: u16 = headers.get_str(":status").and_then(|status| status.parse().ok()).unwrap_or(502);
    let opens = tunnel.is_some_and(|tunnel| tunnel.is_opened_by(status)) && !end;
    let has_no_body = !opens && (status < 200 || status == 204 || status == 304);
    let length = headers.get_str("content-length").map(|length| length.parse().unwrap_or_default());
    let (length, last) = match length {
        _ if opens => (Length::UntilClose, ""),
        Some(_) if has_no_body || is_head => (Length::Bytes(0), ""),
        Some(length) => (Length::Bytes(length), ""),
        None if has_no_body => (Length::Bytes(0), ""),
        None if is_head && is_http10 => (Length::Bytes(0), ""),
        None if is_head => (Length::Bytes(0), "transfer-encoding: chunked\r\n"),
        None if end => (Length::Bytes(0), "content-length: 0\r\n"),
        None if is_http10 => (Length::UntilClose, ""),
        None => (Length::Chunked, "transfer-encoding: chunked\r\n"),
    };
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Unknown");
    let version = if is_http10 { "1.0" } else { "1.1" };
    let mut map = HeaderMap::new();
    if let Some(head) = wire::value(length, &format!("HTTP/{version} {status} {reason}"), headers, last) {
        map.insert(wire::NAME, head);
    }
    if let Length::Bytes(length) = length {
        map.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let closes = headers.get("connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
    if closes || length == Length::UntilClose {
        map.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    // hyper sends no body after this status.
    let plain = if has_no_body { StatusCode::NO_CONTENT } else { StatusCode::OK };
    if has_no_body {
        map.remove(CONTENT_LENGTH);
    }
    (status, (plain, map))
}
