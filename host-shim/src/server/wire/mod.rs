//! HTTP/1 on the wire, around hyper. hyper moves the bodies. The heads are read and written here, because hyper joins
//! lines, refuses bytes that Envoy accepts, and knows fewer statuses.
//!
//! Towards hyper, each head is a plain one with the same framing. Its header [`NAME`] has the real head.

mod follow;
mod pieces;
mod request;
mod response;
mod tap;
mod upstream;
mod writer;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::base::Headers;
pub(super) use request::Head;
pub(super) use tap::{Tap, Wire};
pub(super) use upstream::Upstream;

/// The header of a plain head that has the real head.
pub(super) const NAME: &str = "host-shim-head";

/// The writer waits if there are more bytes than this.
const FULL: usize = 64 * 1024;

/// The trailer that has the real trailers, because hyper sends only trailers whose names were announced.
pub(super) const TRAILERS: &str = "host-shim-trailers";

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Bytes(u64),
    Chunked,
    /// As long as the connection. hyper has it in chunks.
    UntilClose,
}

/// Makes the value of [`NAME`] from the first line and the lines of a head.
pub(super) fn value(length: Length, start: &str, headers: &Headers, last: &str) -> Option<HeaderValue> {
    let mut head = format!("{start}\r\n").into_bytes();
    push_lines(&mut head, headers);
    head.extend_from_slice(last.as_bytes());
    head.extend_from_slice(b"\r\n");
    let length = match length {
        Length::Bytes(bytes) => format!("{bytes} "),
        Length::Chunked => "chunked ".to_owned(),
        Length::UntilClose => "close ".to_owned(),
    };
    HeaderValue::from_bytes(&[length.as_bytes(), &escape(&head)].concat()).ok()
}

/// Makes the trailers for hyper, which have the real trailers in them.
pub(super) fn trailers(real: &Headers) -> HeaderMap {
    let mut lines = Vec::new();
    push_lines(&mut lines, real);
    let value = HeaderValue::from_bytes(&escape(&lines)).ok();
    value.map(|value| (HeaderName::from_static(TRAILERS), value)).into_iter().collect()
}

fn escape(bytes: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if *byte < b' ' || *byte == 0x7f || *byte == b'%' {
            let digit = |half: u8| if half < 10 { b'0' + half } else { b'a' + half - 10 };
            escaped.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        } else {
            escaped.push(*byte);
        }
    }
    escaped
}

fn unescape(escaped: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            plain.push(*byte);
            continue;
        }
        let digits = [*bytes.next()?, *bytes.next()?];
        plain.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    Some(plain)
}

fn push_framing(plain: &mut Vec<u8>, length: Length) {
    let line = match length {
        Length::Bytes(length) => format!("content-length: {length}\r\n"),
        Length::Chunked | Length::UntilClose => "transfer-encoding: chunked\r\n".to_owned(),
    };
    plain.extend_from_slice(line.as_bytes());
}

/// Returns the status and the lines of the real head of a response.
pub(super) fn response(plain: &HeaderMap) -> Option<(u16, Vec<(String, Vec<u8>)>)> {
    let (_, head) = parse_value(plain.get(NAME)?.as_bytes())?;
    let mut lines = request::split(&head);
    let status = std::str::from_utf8(lines.next()?).ok()?.parse().ok()?;
    Some((status, request::lines(lines).ok()?))
}

/// Returns the length of the body and the real head.
fn parse_value(value: &[u8]) -> Option<(Length, Vec<u8>)> {
    let at = value.iter().position(|byte| *byte == b' ')?;
    let (length, rest) = (std::str::from_utf8(value.get(..at)?).ok()?, value.get(at + 1..)?);
    let length = match length {
        "chunked" => Length::Chunked,
        "close" => Length::UntilClose,
        bytes => Length::Bytes(bytes.parse().ok()?),
    };
    Some((length, unescape(rest)?))
}

/// Writes lines without pseudo-headers, as they are.
pub(super) fn push_lines(head: &mut Vec<u8>, headers: &Headers) {
    for (name, value) in headers.iter().filter(|(name, _)| name.first() != Some(&b':')) {
        for part in [name, b": ", value, b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_survives_the_header() {
        let headers = [(":status", "200"), ("x-a", "100% \u{e4}"), ("x-b", ""), ("x-a", "\tc")].into_iter().collect();
        let value = value(Length::Chunked, "HTTP/1.1 1000 Odd", &headers, "a: b\r\n").unwrap();
        let head = "HTTP/1.1 1000 Odd\r\nx-a: 100% \u{e4}\r\nx-b: \r\nx-a: \tc\r\na: b\r\n\r\n";
        assert_eq!(parse_value(value.as_bytes()), Some((Length::Chunked, head.into())));
    }
}
