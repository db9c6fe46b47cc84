//! A client's request and its response.

use super::headers::{HeaderChange, Headers};
use super::ports::HostError;

/// The host's id of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

/// What the host does with a stream after a callback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// The stream continues.
    Continue,
    /// The host holds the stream and everything that follows, until it is resumed or answered. This is the default, so
    /// that no unchecked request passes.
    #[default]
    Pause,
}

/// A whole response that the filter makes instead of the upstream (Envoy's local reply).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Header names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// `{"error": "<text>"}`, or plain text.
    pub body: String,
    /// The text for Envoy's `response_code_details`; it has no spaces.
    pub details: String,
}

/// The stream of the current callback. Each method makes at most one hostcall, so that a request costs only the calls
/// that it needs.
pub trait Stream {
    /// The stream's id.
    fn id(&self) -> StreamId;

    /// All headers of the request.
    ///
    /// # Errors
    /// The host refuses.
    fn request_headers(&self) -> Result<Headers, HostError>;

    /// Changes headers of the request.
    ///
    /// # Errors
    /// The host refuses one of the changes. The request must not continue then.
    fn change_request(&self, changes: &[HeaderChange]) -> Result<(), HostError>;

    /// The part of the request's body that the host shows, of `size` bytes; empty if it shows nothing.
    fn request_body(&self, size: usize) -> Vec<u8>;

    /// Resumes a paused request.
    fn resume_request(&self);

    /// Answers the request. If the host does not take the answer, the stream stays paused.
    fn answer(&self, answer: &Answer);

    /// All headers of the response; none if the host refuses.
    fn response_headers(&self) -> Headers;

    /// A header of the response, by its name in lower case. `keeps_case` says whether this host keeps the case of
    /// names, so that the first read may miss a header.
    fn response_header(&self, name: &str, keeps_case: &dyn Fn() -> bool) -> Option<Vec<u8>>;

    /// Sets a header of the response.
    fn set_response_header(&self, name: &'static str, value: &str);

    /// The part of the response's body that the host shows, of `size` bytes; empty if it shows nothing.
    fn response_body(&self, size: usize) -> Vec<u8>;

    /// A property. `path` has the names of its path, joined by NUL.
    fn property(&self, path: &str) -> Option<Vec<u8>>;

    /// Sets a property that [`Setup::declare_request_property`](super::ports::Setup::declare_request_property) declared.
    fn set_property(&self, name: &str, value: &[u8]);
}

/// Access to streams other than that of the current callback.
pub trait Streams {
    /// A stream of this host.
    type Stream: Stream;

    /// Makes the following calls apply to this stream; `None` if it no longer exists. Calls of the same callback for
    /// other streams must come before.
    fn enter(&self, stream: StreamId) -> Option<Self::Stream>;
}
