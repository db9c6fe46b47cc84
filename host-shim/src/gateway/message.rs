//! Requests and responses of a test.

use crate::base::Headers;

/// A request, to the gateway or from it to an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The headers, with the pseudo-headers `:method`, `:path`, `:scheme` and `:authority`.
    pub headers: Headers,
    /// The body in pieces. A client's body arrives in these pieces. An upstream gets one piece.
    pub body: Vec<Vec<u8>>,
    /// The trailers, which can be empty.
    pub trailers: Headers,
    /// The cluster of an upstream's request. It is empty for a client's request.
    pub cluster: String,
}

impl Request {
    /// Makes a request without a body.
    pub fn new(method: &str, path: &str) -> Self {
        let pairs = [(":authority", "gateway.test"), (":path", path), (":method", method), (":scheme", "http")];
        Request { headers: pairs.into_iter().collect(), ..Request::default() }
    }

    /// Makes a GET request.
    pub fn get(path: &str) -> Self {
        Request::new("GET", path)
    }

    /// Makes a POST request.
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

    /// Returns the method.
    pub fn method(&self) -> &str {
        self.headers.get_str(":method").unwrap_or_default()
    }

    /// Returns the path with the query.
    pub fn path(&self) -> &str {
        self.headers.get_str(":path").unwrap_or_default()
    }

    /// Returns the host, with its port if there is one.
    pub fn authority(&self) -> &str {
        self.headers.get_str(":authority").unwrap_or_default()
    }

    /// Returns the complete body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body.concat()).into_owned()
    }
}

/// A response, from the gateway or from an upstream to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The headers, with `:status`.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
    /// The trailers, which can be empty.
    pub trailers: Headers,
    /// Whether the connection broke before the response was complete.
    pub is_reset: bool,
}

impl Response {
    /// Makes a response without a body.
    pub fn new(status: u16) -> Self {
        Response { headers: [(":status", status.to_string())].into_iter().collect(), ..Response::default() }
    }

    /// Makes a response 200 with a body.
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

    /// Returns the status, or 0 if there is none.
    pub fn status(&self) -> u16 {
        self.headers.get_str(":status").and_then(|status| status.parse().ok()).unwrap_or_default()
    }

    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
