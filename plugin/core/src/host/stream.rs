//! A client's request and its response, as the filter meets them.

use super::headers::{HeaderChange, Headers};
use super::ports::HostError;

/// The host's number of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

/// What becomes of a stream after a callback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// It goes on.
    Continue,
    /// The host holds it, and what comes behind, until it is resumed or answered. The default: what was not looked at is
    /// not let through.
    #[default]
    Pause,
}

/// A whole answer, made by the filter instead of the upstream (Envoy's local reply).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Headers, lower case.
    pub headers: Vec<(&'static str, String)>,
    /// `{"error": "<text>"}`, or plain text.
    pub body: String,
    /// For Envoy's `response_code_details`: no spaces.
    pub details: String,
}

/// The stream that a callback is about. Each method asks the host at most once, so that a request costs no more than what
/// is asked for.
pub trait Stream {
    /// Its number.
    fn id(&self) -> StreamId;

    /// All headers of the request.
    ///
    /// # Errors
    /// When the host refuses.
    fn request_headers(&self) -> Result<Headers, HostError>;

    /// Changes headers of the request.
    ///
    /// # Errors
    /// When the host refuses one of the changes; the request must then not go on.
    fn change_request(&self, changes: &[HeaderChange]) -> Result<(), HostError>;

    /// The piece of the request's body that the host shows, of `size` bytes; empty where it shows nothing.
    fn request_body(&self, size: usize) -> Vec<u8>;

    /// Lets a paused request go on.
    fn resume_request(&self);

    /// Answers the request. Where the host does not take the answer, the stream stays paused.
    fn answer(&self, answer: &Answer);

    /// All headers of the response; none where the host refuses.
    fn response_headers(&self) -> Headers;

    /// A header of the response, by its name in lower case. `keeps_case`: this host hands names over as the client wrote
    /// them, so that the first look may miss one.
    fn response_header(&self, name: &str, keeps_case: &dyn Fn() -> bool) -> Option<Vec<u8>>;

    /// Sets a header of the response.
    fn set_response_header(&self, name: &'static str, value: &str);

    /// The piece of the response's body that the host shows, of `size` bytes; empty where it shows nothing.
    fn response_body(&self, size: usize) -> Vec<u8>;

    /// A property, by the names on the way to it joined by NUL.
    fn property(&self, path: &str) -> Option<Vec<u8>>;

    /// Sets a property that [`Setup::declare_request_property`](super::ports::Setup::declare_request_property) declared.
    fn set_property(&self, name: &str, value: &[u8]);
}

/// The streams that no callback is about.
pub trait Streams {
    /// One of them.
    type Stream: Stream;

    /// Makes further calls those of a stream; `None` where it is gone. Later calls of the same callback that are not about
    /// this stream must come before.
    fn enter(&self, stream: StreamId) -> Option<Self::Stream>;
}
