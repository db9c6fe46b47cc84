//! The head of an HTTP/1 response as Envoy's codec reads it.

use super::request::{self, Head};
use super::{Length, NAME, push_framing, value};
use crate::base::Headers;
use crate::router::Tunnel;

/// How a response goes on after its head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Another head follows: this was not the final response.
    Head,
    Body(Length),
    /// The body ends with the connection.
    UntilClose,
}

/// Parses a head, which ends with an empty line. Returns the plain head for hyper.
///
/// `None` means that Envoy's codec refuses the response.
pub(super) fn parse(bytes: &[u8], is_head: bool, tunnel: Option<Tunnel>) -> Option<(Vec<u8>, After)> {
    let mut lines = request::split(bytes);
    let start = std::str::from_utf8(lines.next()?).ok()?;
    let (version, rest) = start.split_once(' ')?;
    let status: u16 = rest.split(' ').next()?.parse().ok().filter(|status| *status >= 100)?;
    if !matches!(version, "HTTP/1.0" | "HTTP/1.1") {
        return None;
    }
    if (100..200).contains(&status) && status != 101 {
        return Some((Vec::new(), After::Head));
    }
    let mut head = Head { lines: request::lines(lines).ok()?, ..Head::default() };
    let has_no_body = status == 204 || status == 304 || is_head;
    let is_framed = ["content-length", "transfer-encoding"].iter().any(|name| head.values(name).next().is_some());
    let opens = tunnel.is_some_and(|tunnel| tunnel.is_opened_by(status));
    let length = head.framing().ok()?;
    if !opens && matches!(status, 101 | 204) {
        if length != Length::Bytes(0) {
            return None;
        }
        head.lines.retain(|(name, _)| name != "content-length");
    }
    let after = match length {
        _ if opens => After::UntilClose,
        _ if has_no_body => After::Body(Length::Bytes(0)),
        length @ (Length::Bytes(_) | Length::Chunked) if is_framed && status != 101 => After::Body(length),
        _ => After::UntilClose,
    };
    let closes = version == "HTTP/1.0" || head.items("connection").iter().any(|item| item == "close");
    let headers: Headers = head.lines.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    let real = value(Length::Bytes(0), &status.to_string(), &headers, "")?;
    let mut plain = b"HTTP/1.1 200 OK\r\n".to_vec();
    match after {
        After::Body(length) => push_framing(&mut plain, length),
        _ => plain.extend_from_slice(b"connection: close\r\n"),
    }
    if closes && after != After::UntilClose {
        plain.extend_from_slice(b"connection: close\r\n");
    }
    for part in [NAME.as_bytes(), b": ", real.as_bytes(), b"\r\n\r\n"] {
        plain.extend_from_slice(part);
    }
    Some((plain, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(head: &str) -> Option<After> {
        parse(head.as_bytes(), false, None).map(|(_, after)| after)
    }

    #[test]
    fn the_framing_is_found() {
        assert_eq!(after("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"), Some(After::Body(Length::Bytes(2))));
        assert_eq!(after("HTTP/1.1 200\r\ntransfer-encoding: chunked\r\n\r\n"), Some(After::Body(Length::Chunked)));
        assert_eq!(after("HTTP/1.0 200 OK\r\n\r\n"), Some(After::UntilClose));
        let with_upgrade = "connection: upgrade\r\nupgrade: a\r\n";
        assert_eq!(after(&format!("HTTP/1.1 101 Odd\r\n{with_upgrade}\r\n")), Some(After::UntilClose));
        let needed = format!("HTTP/1.1 426 Needed\r\n{with_upgrade}content-length: 2\r\n\r\n");
        assert_eq!(after(&needed), Some(After::Body(Length::Bytes(2))));
        assert_eq!(after("HTTP/1.1 204 None\r\n\r\n"), Some(After::Body(Length::Bytes(0))));
        assert_eq!(after("HTTP/1.1 103 Hints\r\nlink: a\r\n\r\n"), Some(After::Head));
        assert_eq!(after("HTTP/1.1 204 None\r\ncontent-length: 2\r\n\r\n"), None);
        assert_eq!(after("HTTP/1.1 99 Odd\r\n\r\n"), None);
        assert_eq!(after("nonsense\r\n\r\n"), None);
    }
}
