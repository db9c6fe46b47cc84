//! A request as the core sees it: borrowed bytes, because clients may send invalid UTF-8.

use std::borrow::Cow;

use crate::access::origin;
use crate::host::{HeaderChange, HeaderPair, is_header};

/// Headers that name another method, for upstreams that honour one of them.
pub const OTHER_METHODS: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

/// The data of one request.
#[derive(Clone, Copy)]
pub struct Request<'r> {
    /// Pseudo-headers and headers, in their order.
    pub headers: &'r [HeaderPair<'r>],
    /// Asks the host for a property. The argument has the names of its path, joined by NUL. Each call costs as much as
    /// a read of shared data, so it is made only if a property is needed.
    pub property: &'r dyn Fn(&str) -> Option<Vec<u8>>,
}

impl<'r> Request<'r> {
    /// The first value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&'r [u8]> {
        self.headers.iter().find(|(header, _)| is_header(header, name)).map(|(_, value)| *value)
    }

    /// Every line of a header; `name` in lower case.
    pub fn lines(&self, name: &str) -> impl Iterator<Item = HeaderPair<'r>> {
        self.headers.iter().filter(move |(header, _)| is_header(header, name)).copied()
    }

    /// Removes every line of a header, in the case that the host uses.
    pub fn remove_all(&self, name: &str, changes: &mut Vec<HeaderChange>) {
        for (spelling, _) in self.lines(name) {
            let removal = HeaderChange::Remove(String::from_utf8_lossy(spelling).into_owned());
            if !changes.contains(&removal) {
                changes.push(removal);
            }
        }
    }

    /// The methods that the request may mean: its own, and those in headers that some upstreams honour.
    pub fn methods(&self) -> impl Iterator<Item = &'r [u8]> {
        let others = OTHER_METHODS.iter().flat_map(|name| self.lines(name)).map(|(_, method)| method.trim_ascii());
        [self.header(":method").unwrap_or_default()].into_iter().chain(others)
    }

    /// True if a gRPC client gets the answer, by the same rule as in Envoy.
    pub fn is_grpc(&self) -> bool {
        let rest = self.header("content-type").and_then(|value| value.strip_prefix(b"application/grpc"));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+"))
    }

    /// The target as sent: path and query.
    pub fn target(&self) -> &'r [u8] {
        self.header(":path").unwrap_or_default()
    }

    /// The path without the query.
    pub fn path(&self) -> &'r [u8] {
        let target = self.target();
        split_once(target, b'?').map_or(target, |(path, _)| path)
    }

    /// The query without the question mark.
    pub fn query(&self) -> Option<&'r [u8]> {
        split_once(self.target(), b'?').map(|(_, query)| query)
    }

    /// The requested host, with a user or port if the client sent one.
    pub fn authority(&self) -> &'r [u8] {
        self.header(":authority").unwrap_or_default()
    }

    /// A property that is text; `None` for an empty one.
    pub fn text_property(&self, path: &str) -> Option<String> {
        (self.property)(path).and_then(|value| String::from_utf8(value).ok()).filter(|value| !value.is_empty())
    }

    /// The client's address as the proxy trusts it. The port is removed, because it would make each connection look
    /// like another client.
    pub fn source_address(&self) -> Option<String> {
        self.text_property("source\0address").map(|address| origin::node(&address).to_owned())
    }

    /// The client's address for events: the first entry of the first of `headers` that has an address, else an entry
    /// that is not an address, else the trusted address.
    pub fn origin(&self, headers: &[String]) -> String {
        let first = |name: &String| origin::first(name, self.lines(name).map(|(_, value)| value));
        let mut said = headers.iter().filter_map(first);
        let address = said.by_ref().find(|text| origin::is_address(text));
        let forwarded = address.or_else(|| headers.iter().find_map(first));
        forwarded.or_else(|| self.source_address()).unwrap_or_default()
    }
}

/// Splits at the first `separator`.
pub fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&byte| byte == separator)?;
    Some((bytes.get(..at)?, bytes.get(at.saturating_add(1)..)?))
}

/// Decodes percent-encoding and `+` in a part of a query.
pub fn decode_query_part(part: &[u8]) -> Cow<'_, [u8]> {
    if !part.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(part);
    }
    let spaced: Vec<u8> = part.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    Cow::Owned(percent_encoding::percent_decode(&spaced).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn with<T>(headers: &[(&str, &str)], look: impl FnOnce(Request<'_>) -> T) -> T {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        look(Request { headers: &headers, property: &|_| Some(b"192.0.2.7:4711".to_vec()) })
    }

    #[test]
    fn path_and_query_are_split() {
        with(&[(":path", "/a?b=c?d")], |request| {
            assert_eq!(request.path(), b"/a");
            assert_eq!(request.query(), Some(&b"b=c?d"[..]));
        });
    }

    #[test]
    fn the_origin_is_trusted_unless_configured_and_has_no_port() {
        with(&[("x-forwarded-for", "203.0.113.9, 10.0.0.1")], |request| {
            let origin =
                |names: &[&str]| request.origin(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
            assert_eq!(origin(&[]), "192.0.2.7");
            assert_eq!(origin(&["x-forwarded-for"]), "203.0.113.9");
            assert_eq!(origin(&["x-real-ip"]), "192.0.2.7");
            assert_eq!(origin(&["x-real-ip", "x-forwarded-for"]), "203.0.113.9");
        });
    }

    #[test]
    fn query_parts_are_decoded() {
        assert_eq!(decode_query_part(b"a%2Fb+c").as_ref(), b"a/b c");
        assert_eq!(decode_query_part(b"%ff%zz").as_ref(), b"\xff%zz");
    }
}
