//! Streams in memory. A test reads afterwards what the filter did to a stream.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::vm::uncounted;
use crate::host::{Answer, HeaderChange, HeaderPair, Headers, HostError, Stream, StreamId, Streams, is_header};

/// A stream in memory.
#[derive(Debug, Default)]
pub struct TestStream {
    id: u32,
    request: Headers,
    /// The part of the request's body that the stream shows.
    pub request_body: RefCell<Vec<u8>>,
    /// Headers of the response.
    pub response: RefCell<Vec<(String, Vec<u8>)>>,
    /// The part of the response's body that the stream shows.
    pub response_body: RefCell<Vec<u8>>,
    /// Properties by their paths.
    pub properties: RefCell<BTreeMap<String, Vec<u8>>>,
    /// Changes of the request's headers.
    pub changes: RefCell<Vec<HeaderChange>>,
    /// The filter's answer.
    pub answered: RefCell<Option<Answer>>,
    /// True if the filter resumed the paused request.
    pub is_resumed: Cell<bool>,
    /// True if the host refuses changes of the request's headers.
    pub refuses_changes: Cell<bool>,
    calls: RefCell<Vec<&'static str>>,
    asked: RefCell<Vec<String>>,
}

impl TestStream {
    /// A request with these headers, from an address.
    pub fn new<'h>(id: u32, headers: impl Iterator<Item = HeaderPair<'h>> + Clone) -> Self {
        let properties = BTreeMap::from([("source\0address".to_owned(), b"192.0.2.7:4711".to_vec())]);
        TestStream {
            id,
            request: Headers::serialize(headers),
            properties: RefCell::new(properties),
            ..TestStream::default()
        }
    }

    /// The calls for this stream since the last call, by their ABI names.
    pub fn take_calls(&self) -> Vec<&'static str> {
        self.calls.take()
    }

    /// The properties that were requested since the last call.
    pub fn take_asked(&self) -> Vec<String> {
        self.asked.take()
    }

    /// A header of the response.
    pub fn response_text(&self, name: &str) -> Option<String> {
        let response = self.response.borrow();
        let (_, value) = response.iter().find(|(known, _)| is_header(known.as_bytes(), name))?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    fn call<T>(&self, name: &'static str, work: impl FnOnce() -> T) -> T {
        uncounted(|| {
            self.calls.borrow_mut().push(name);
            work()
        })
    }
}

impl Stream for TestStream {
    fn id(&self) -> StreamId {
        StreamId(self.id)
    }

    fn request_headers(&self) -> Result<Headers, HostError> {
        self.call("get_header_map_pairs", || Ok(self.request.clone()))
    }

    fn change_request(&self, changes: &[HeaderChange]) -> Result<(), HostError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.call("replace_header_map_value", || {
            if self.refuses_changes.get() {
                return Err(HostError { call: "replace_header_map_value", status: 10 });
            }
            self.changes.borrow_mut().extend_from_slice(changes);
            Ok(())
        })
    }

    fn request_body(&self, size: usize) -> Vec<u8> {
        self.call("get_buffer_bytes", || self.request_body.borrow().iter().copied().take(size).collect())
    }

    fn resume_request(&self) {
        self.call("continue_stream", || self.is_resumed.set(true));
    }

    fn answer(&self, answer: &Answer) {
        self.call("send_local_response", || {
            self.answered.borrow_mut().get_or_insert_with(|| answer.clone());
        });
    }

    fn response_headers(&self) -> Headers {
        self.call("get_header_map_pairs", || {
            let response = self.response.borrow();
            Headers::serialize(response.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())))
        })
    }

    fn response_header(&self, name: &str, _keeps_case: &dyn Fn() -> bool) -> Option<Vec<u8>> {
        self.call("get_header_map_value", || self.response_text(name).map(String::into_bytes))
    }

    fn set_response_header(&self, name: &'static str, value: &str) {
        self.call("replace_header_map_value", || {
            let mut response = self.response.borrow_mut();
            response.retain(|(known, _)| known != name);
            response.push((name.to_owned(), value.as_bytes().to_vec()));
        });
    }

    fn response_body(&self, size: usize) -> Vec<u8> {
        self.call("get_buffer_bytes", || self.response_body.borrow().iter().copied().take(size).collect())
    }

    fn property(&self, path: &str) -> Option<Vec<u8>> {
        self.call("get_property", || {
            self.asked.borrow_mut().push(path.to_owned());
            self.properties.borrow().get(path).cloned()
        })
    }

    fn set_property(&self, name: &str, value: &[u8]) {
        self.call("set_property", || {
            self.properties.borrow_mut().insert(name.to_owned(), value.to_vec());
        });
    }
}

/// The open streams of a host.
#[derive(Debug, Default)]
pub struct TestStreams(pub RefCell<Vec<Rc<TestStream>>>);

impl TestStreams {
    /// Opens a stream.
    pub fn open(&self, stream: TestStream) -> Rc<TestStream> {
        let stream = Rc::new(stream);
        self.0.borrow_mut().push(Rc::clone(&stream));
        stream
    }

    /// Closes a stream.
    pub fn close(&self, stream: StreamId) {
        self.0.borrow_mut().retain(|open| open.id() != stream);
    }
}

impl Stream for Rc<TestStream> {
    fn id(&self) -> StreamId {
        self.as_ref().id()
    }

    fn request_headers(&self) -> Result<Headers, HostError> {
        self.as_ref().request_headers()
    }

    fn change_request(&self, changes: &[HeaderChange]) -> Result<(), HostError> {
        self.as_ref().change_request(changes)
    }

    fn request_body(&self, size: usize) -> Vec<u8> {
        Stream::request_body(self.as_ref(), size)
    }

    fn resume_request(&self) {
        self.as_ref().resume_request();
    }

    fn answer(&self, answer: &Answer) {
        self.as_ref().answer(answer);
    }

    fn response_headers(&self) -> Headers {
        self.as_ref().response_headers()
    }

    fn response_header(&self, name: &str, keeps_case: &dyn Fn() -> bool) -> Option<Vec<u8>> {
        self.as_ref().response_header(name, keeps_case)
    }

    fn set_response_header(&self, name: &'static str, value: &str) {
        self.as_ref().set_response_header(name, value);
    }

    fn response_body(&self, size: usize) -> Vec<u8> {
        Stream::response_body(self.as_ref(), size)
    }

    fn property(&self, path: &str) -> Option<Vec<u8>> {
        self.as_ref().property(path)
    }

    fn set_property(&self, name: &str, value: &[u8]) {
        self.as_ref().set_property(name, value);
    }
}

impl Streams for TestStreams {
    type Stream = Rc<TestStream>;

    fn enter(&self, stream: StreamId) -> Option<Rc<TestStream>> {
        self.0.borrow().iter().find(|open| open.id() == stream).cloned()
    }
}
