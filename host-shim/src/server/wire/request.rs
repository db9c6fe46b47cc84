//! The head of an HTTP/1 request as Envoy's codec reads it. hyper reads heads in another way: it joins lines, refuses
//! other bytes, and answers what it refuses itself.

use super::Length;
use crate::server::admission::Refusal;

/// Envoy's `max_request_headers_kb`.
pub(super) const MAX_HEAD: usize = 60 * 1024;
/// Envoy's `max_headers_count`.
const MAX_LINES: usize = 100;

/// The methods that Envoy's codec knows.
const METHODS: [&str; 35] = [
    "ACL",
    "BIND",
    "CHECKOUT",
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MOVE",
    "MSEARCH",
    "NOTIFY",
    "OPTIONS",
    "PATCH",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "PUT",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "SOURCE",
    "SUBSCRIBE",
    "TRACE",
    "UNBIND",
    "UNLINK",
    "UNLOCK",
    "UNSUBSCRIBE",
];

/// The head of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::server) struct Head {
    pub method: String,
    /// Whether the version is not 1.1. Envoy then answers as HTTP/1.0 needs it.
    pub is_http10: bool,
    /// The target of the request line.
    pub target: Vec<u8>,
    /// The header lines in their order. Names are in lower case.
    pub lines: Vec<(String, Vec<u8>)>,
}

impl Head {
    pub fn values<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
        self.lines.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_slice())
    }

    /// Returns the values of a name with commas between them.
    pub fn joined(&self, name: &str) -> Option<Vec<u8>> {
        let values: Vec<&[u8]> = self.values(name).collect();
        (!values.is_empty()).then(|| values.join(&b','))
    }

    /// Returns the items of a list header in lower case.
    pub fn items(&self, name: &str) -> Vec<String> {
        let values = self.values(name).map(|value| String::from_utf8_lossy(value).to_ascii_lowercase());
        values.flat_map(|value| value.split(',').map(|item| item.trim().to_owned()).collect::<Vec<_>>()).collect()
    }

    /// Whether the client asks to close the connection after the request.
    pub fn closes(&self) -> bool {
        if self.is_http10 && !self.items("connection").iter().any(|item| item == "keep-alive") {
            return true;
        }
        ["connection", "proxy-connection"].iter().any(|name| self.items(name).iter().any(|item| item == "close"))
    }

    /// Whether the request asks for an upgrade to another protocol. Like Envoy, it ignores requests for HTTP/2.
    pub fn upgrades(&self) -> bool {
        self.values("upgrade").next().is_some_and(|protocol| protocol != b"h2c")
            && self.items("connection").iter().any(|item| item == "upgrade")
    }

    /// Returns the length of the body. What follows the head of a request for a tunnel belongs to the tunnel.
    ///
    /// # Errors
    /// The lengths contradict each other, or are not valid.
    pub fn length(&self) -> Result<Length, Refusal> {
        let is_connect = self.method == "CONNECT";
        match self.framing()? {
            Length::Bytes(1..) if is_connect => Err(Refusal::codec(400, "Bad Request", "http1.body_disallowed")),
            Length::Chunked if is_connect => Err(Refusal::unknown_coding()),
            _ if is_connect || self.upgrades() => Ok(Length::UntilClose),
            length => Ok(length),
        }
    }

    /// Returns the length that the headers tell, of a request or a response.
    ///
    /// # Errors
    /// The lengths contradict each other, or are not valid.
    pub fn framing(&self) -> Result<Length, Refusal> {
        let lengths: Vec<&[u8]> = self.values("content-length").collect();
        let length = match lengths.as_slice() {
            [] => None,
            [digits] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
                let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
                Some(number.ok_or_else(Refusal::malformed)?)
            }
            _ => return Err(Refusal::malformed()),
        };
        let Some(coding) = self.joined("transfer-encoding") else { return Ok(Length::Bytes(length.unwrap_or(0))) };
        if length.is_some() {
            return Err(Refusal::codec(400, "Bad Request", "http1.content_length_and_chunked_not_allowed"));
        }
        if !coding.eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::unknown_coding());
        }
        Ok(Length::Chunked)
    }
}

/// Parses a head, which ends with an empty line. A version other than 1.1 is like 1.0.
///
/// # Errors
/// Envoy's answer to a request that its codec refuses.
pub(super) fn parse(bytes: &[u8], accepts_http10: bool) -> Result<Head, Refusal> {
    let mut lines = split(bytes);
    let (method, target, version) = request_line(lines.next().unwrap_or_default())?;
    let head = Head { method, is_http10: version != b"HTTP/1.1", target, lines: self::lines(lines)? };
    if head.is_http10 && !accepts_http10 {
        return Err(Refusal::codec(426, "Upgrade Required", "low_version"));
    }
    Ok(head)
}

/// Splits a head into lines.
pub(super) fn split(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// Parses the lines after the first one, until an empty line.
///
/// # Errors
/// A line is not valid, or there are too many.
pub(super) fn lines<'b>(given: impl Iterator<Item = &'b [u8]>) -> Result<Vec<(String, Vec<u8>)>, Refusal> {
    let mut lines: Vec<(String, Vec<u8>)> = Vec::new();
    for line in given.take_while(|line| !line.is_empty()) {
        // A line that begins with a space continues the one before it.
        if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            let (_, value) = lines.last_mut().ok_or_else(Refusal::malformed)?;
            value.push(b' ');
            value.extend(trimmed(line));
            continue;
        }
        let at = line.iter().position(|byte| *byte == b':').ok_or_else(Refusal::malformed)?;
        let (name, value) = line.split_at(at);
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            return Err(Refusal::malformed());
        }
        let value = value.get(1..).map(trimmed).unwrap_or_default();
        lines.push((String::from_utf8_lossy(name).to_ascii_lowercase(), value));
        if lines.len() > MAX_LINES {
            return Err(Refusal::codec(431, "Request Header Fields Too Large", "http1.too_many_headers"));
        }
    }
    let is_legal = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    if lines.iter().all(|(_, value)| value.iter().all(is_legal)) {
        Ok(lines)
    } else {
        Err(Refusal::codec(400, "Bad Request", "http1.invalid_characters"))
    }
}

/// Splits a request line. There can be several spaces between its parts.
fn request_line(line: &[u8]) -> Result<(String, Vec<u8>, &[u8]), Refusal> {
    let parts: Vec<&[u8]> = line.split(|byte| *byte == b' ').filter(|part| !part.is_empty()).collect();
    let (method, target, version) = match parts.as_slice() {
        [method, target] => (*method, *target, b"".as_slice()),
        [method, target, version] => (*method, *target, *version),
        _ => return Err(Refusal::malformed()),
    };
    let method = std::str::from_utf8(method).ok().filter(|method| METHODS.contains(method));
    let method = method.ok_or_else(Refusal::malformed)?.to_owned();
    if !target.iter().all(u8::is_ascii_graphic) || !(version.is_empty() || version.starts_with(b"HTTP/")) {
        return Err(Refusal::malformed());
    }
    Ok((method, target.to_vec(), version))
}

/// Removes spaces at both ends, and carriage returns everywhere.
fn trimmed(value: &[u8]) -> Vec<u8> {
    let value: Vec<u8> = value.iter().copied().filter(|byte| *byte != b'\r').collect();
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default().to_vec()
}

/// Whether a method or the name of a header can have this byte.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Returns the length of the head with its empty line.
pub(super) fn end_of_head(input: &[u8]) -> Option<usize> {
    let mut line = 0;
    for (at, byte) in input.iter().enumerate() {
        match byte {
            b'\n' if line == 0 => return Some(at + 1),
            b'\n' => line = 0,
            b'\r' => {}
            _ => line += 1,
        }
    }
    None
}
