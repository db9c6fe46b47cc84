//! The checks of Envoy's codec and of the connection manager before the filters see a request.

use std::net::SocketAddr;

use http::Method;

use super::wire::Head;
use super::{convert, origin};
use crate::base::Headers;
use crate::config::model::ConnectionManager;
use crate::router;
use crate::router::paths::{self, Prepared};
use crate::traffic::{LocalReply, flags};

/// Envoy's `max_request_headers_kb`.
const MAX_HEADERS: usize = 60 * 1024;

/// An answer to a request that no filter sees. The filters get its end only.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// Boxed, because it is large.
    pub reply: Box<LocalReply>,
    /// The headers that Envoy has read.
    pub headers: Headers,
    /// Whether the connection cannot be used again.
    pub closes: bool,
}

impl Refusal {
    /// Makes an answer of the codec, which has read no headers.
    pub fn codec(status: u32, body: &str, details: &str) -> Self {
        let reply = Box::new(router::reply(status, body, details, flags::DOWNSTREAM_PROTOCOL_ERROR));
        Refusal { reply, headers: Headers::new(), closes: true }
    }

    /// Makes the answer to something that is not HTTP.
    pub fn malformed() -> Self {
        Refusal::codec(400, "Bad Request", "http1.codec_error")
    }

    /// Makes the answer to a request whose transfer coding Envoy does not support.
    pub fn unknown_coding() -> Self {
        Refusal::codec(501, "Not Implemented", "http1.invalid_transfer_encoding")
    }

    /// Makes an answer of the connection manager.
    fn manager(status: u32, details: &str, headers: Headers) -> Self {
        Refusal { reply: Box::new(router::reply(status, "", details, 0)), headers, closes: status == 400 }
    }
}

/// A request that the filters can see.
pub(super) struct Admitted {
    pub headers: Headers,
    /// The address of the client.
    pub source: SocketAddr,
}

/// The connection of a request.
#[derive(Clone, Copy)]
pub(super) struct ClientPeer {
    pub address: SocketAddr,
    pub is_tls: bool,
}

impl Admitted {
    fn new(mut headers: Headers, manager: &ConnectionManager, peer: ClientPeer) -> Self {
        let source = origin::note(&mut headers, manager, peer.address, peer.is_tls);
        Admitted { headers, source }
    }

    /// The answer to a request for a tunnel that the configuration does not allow.
    pub fn upgrade_failed() -> LocalReply {
        router::reply(403, "", "upgrade_failed", 0)
    }
}

/// The place of a request's target.
struct Target<'t> {
    scheme: Option<&'static str>,
    authority: Option<&'t [u8]>,
    path: Option<Vec<u8>>,
}

/// Prepares an HTTP/1 request for the filters.
///
/// # Errors
/// The answer, if the request is refused.
pub(super) fn http1(head: &Head, manager: &ConnectionManager, peer: ClientPeer) -> Result<Admitted, Refusal> {
    let target = if head.method == "CONNECT" {
        if !is_host_with_port(&head.target) {
            return Err(Refusal::codec(400, "Bad Request", "http1.invalid_url"));
        }
        Target { scheme: None, authority: Some(&head.target), path: None }
    } else {
        target(head)?
    };
    if target.scheme == Some("https") && !peer.is_tls && manager.use_remote_address && manager.xff_num_trusted_hops == 0
    {
        return Err(Refusal::codec(403, "Forbidden", "http1.https_url_on_plaintext_connection"));
    }
    let authority = target.authority.map(<[u8]>::to_vec).or_else(|| head.joined("host"));
    if !authority.iter().flatten().all(|byte| is_of_authority(*byte)) {
        return Err(Refusal::codec(400, "Bad Request", "http.invalid_authority"));
    }
    let mut headers = Headers::new();
    if let Some(authority) = &authority {
        headers.add(":authority", authority);
    }
    if let Some(scheme) = target.scheme {
        headers.add(":scheme", scheme);
    }
    if let Some(path) = &target.path {
        headers.add(":path", path);
    }
    headers.add(":method", &head.method);
    let default = &manager.http1.default_host;
    let default = (authority.is_none() && head.is_http10 && !default.is_empty()).then_some(default);
    if let Some(default) = default {
        headers.add(":authority", default);
    }
    convert::client_lines(head, &mut headers);
    if authority.is_none() && default.is_none() {
        return Err(Refusal::manager(400, "missing_host_header", headers));
    }
    if head.method == "QUERY" && headers.get("content-type").is_none() {
        return Err(Refusal::manager(400, "query_missing_content_type", headers));
    }
    if target.path.is_some_and(|path| path.first() != Some(&b'/')) {
        return Err(Refusal::manager(404, "absolute_path_rejected", headers));
    }
    prepare_path(&mut headers, manager)?;
    Ok(Admitted::new(headers, manager, peer))
}

/// Prepares an HTTP/2 request for the filters.
///
/// # Errors
/// The answer, if the request is refused.
pub(super) fn http2(
    parts: &http::request::Parts,
    manager: &ConnectionManager,
    peer: ClientPeer,
) -> Result<Admitted, Refusal> {
    let headers = convert::request(parts).ok_or_else(|| {
        let headers = [(":method", parts.method.as_str())].into_iter().collect();
        Refusal::manager(400, "missing_host_header", headers)
    });
    let mut headers = headers?;
    if parts.method == Method::CONNECT {
        headers.remove(":path");
    }
    if headers.byte_size() > MAX_HEADERS {
        return Err(Refusal::codec(431, "Request Header Fields Too Large", "http2.headers_too_large"));
    }
    if !headers.get(":authority").unwrap_or_default().iter().all(|byte| is_of_authority(*byte)) {
        return Err(Refusal::codec(400, "Bad Request", "http.invalid_authority"));
    }
    prepare_path(&mut headers, manager)?;
    Ok(Admitted::new(headers, manager, peer))
}

/// Reads the target of a request line: a path, `*`, or a URL.
fn target(head: &Head) -> Result<Target<'_>, Refusal> {
    let target = head.target.as_slice();
    if target.first() == Some(&b'/') || (target == b"*" && head.method == "OPTIONS") {
        return Ok(Target { scheme: None, authority: None, path: Some(target.to_vec()) });
    }
    let schemes = [("http://", "http"), ("https://", "https")];
    let found = schemes.into_iter().find_map(|(prefix, scheme)| {
        let (start, rest) = target.split_at_checked(prefix.len())?;
        start.eq_ignore_ascii_case(prefix.as_bytes()).then_some((scheme, rest))
    });
    let (scheme, rest) = found.ok_or_else(|| match other_scheme(target) {
        true => Refusal::codec(400, "Bad Request", "http1.invalid_scheme"),
        false => Refusal::malformed(),
    })?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains(&b'#') {
        return Err(Refusal::malformed());
    }
    if authority.is_empty() {
        return Err(Refusal::codec(400, "Bad Request", "http1.invalid_url"));
    }
    let host = authority.iter().rposition(|byte| *byte == b'@').map_or(0, |at| at + 1);
    let path = if path.is_empty() { b"/" } else { path };
    Ok(Target { scheme: Some(scheme), authority: authority.get(host..), path: Some(path.to_vec()) })
}

/// Whether a target is a URL with a scheme that is not for HTTP.
fn other_scheme(target: &[u8]) -> bool {
    let scheme = target.windows(3).position(|part| part == b"://").and_then(|end| target.get(..end));
    scheme.is_some_and(|scheme| scheme.first().is_some_and(u8::is_ascii_alphabetic))
        && scheme.is_some_and(|scheme| scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)))
}

fn prepare_path(headers: &mut Headers, manager: &ConnectionManager) -> Result<(), Refusal> {
    const DETAILS: &str = "path_normalization_failed";
    let Some(path) = headers.get(":path") else { return Ok(()) };
    match paths::prepare(manager, path) {
        Prepared::Path(path) => headers.set_in_place(":path", path),
        Prepared::Rejected(path) => {
            headers.set_in_place(":path", path);
            return Err(Refusal::manager(400, DETAILS, headers.clone()));
        }
        Prepared::Redirect(path) => {
            headers.set_in_place(":path", &path);
            let mut refusal = Refusal::manager(307, DETAILS, headers.clone());
            refusal.reply.headers.add("location", path);
            return Err(refusal);
        }
    }
    Ok(())
}

/// Whether the target of a CONNECT request is valid.
fn is_host_with_port(target: &[u8]) -> bool {
    let Some(colon) = target.iter().rposition(|byte| *byte == b':') else { return false };
    let (host, port) = target.split_at(colon);
    let port = port.get(1..).and_then(|port| std::str::from_utf8(port).ok());
    !host.is_empty() && !host.contains(&b'/') && port.is_some_and(|port| port.parse::<u16>().is_ok())
}

/// Whether Envoy's codecs allow the byte in a host.
fn is_of_authority(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!$%&'()*+,-.:;=@[]_~".contains(&byte)
}
