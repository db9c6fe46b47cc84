//! Requests and responses of a test.

use crate::base::Headers;

/// A request, to the gateway or from it to an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// With the pseudo-headers `:method`, `:path`, `:scheme` and `:authority`.
    pub headers: Headers,
    /// The body, in the pieces in which it comes; an upstream gets one.
    pub body: Vec<Vec<u8>>,
    /// The trailers; may be empty.
    pub trailers: Headers,
    /// The cluster that an upstream's request went to; empty for a client's.
    pub cluster: String,
}

impl Request {
    /// A request without a body.
    pub fn new(method: &str, path: &str) -> Self {
        let pairs = [(":authority", "gateway.test"), (":path", path), (":method", method), (":scheme", "http")];
        Request { headers: pairs.into_iter().collect(), ..Request::default() }
    }

    /// A GET.
    pub fn get(path: &str) -> Self {
        Request::new("GET", path)
    }

    /// A POST.
    pub fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Request::new("POST", path).body(body)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        if name.starts_with(':') {
            self.headers.set(name, value);
        } else {
            self.headers.add(name, value);
        }
        self
    }

    /// Adds a piece of the body.
    #[must_use]
    pub fn body(mut self, piece: impl Into<Vec<u8>>) -> Self {
        self.body.push(piece.into());
        self
    }

    /// The method.
    pub fn method(&self) -> &str {
        self.headers.get_str(":method").unwrap_or_default()
    }

    /// Path and query.
    pub fn path(&self) -> &str {
        self.headers.get_str(":path").unwrap_or_default()
    }

    /// The host, with its port if it has one.
    pub fn authority(&self) -> &str {
        self.headers.get_str(":authority").unwrap_or_default()
    }

    /// The whole body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body.concat()).into_owned()
    }
}

/// A response, from the gateway or from an upstream to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// With `:status`.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
    /// The trailers; may be empty.
    pub trailers: Headers,
    /// The connection broke before the response was whole.
    pub is_reset: bool,
}

impl Response {
    /// A response without a body.
    pub fn new(status: u16) -> Self {
        Response { headers: [(":status", status.to_string())].into_iter().collect(), ..Response::default() }
    }

    /// 200 with a body.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Response::new(200).body(body)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.add(name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The status; 0 where there is none.
    pub fn status(&self) -> u16 {
        self.headers.get_str(":status").and_then(|status| status.parse().ok()).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
