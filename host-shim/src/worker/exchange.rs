//! Where a stream's output goes.

use std::cell::RefCell;
use std::rc::Rc;

use crate::base::Headers;
use crate::traffic::{LocalReply, StreamData};

/// The client and the upstream of a stream. The methods must only note what they get: the stream is in use when it calls
/// them.
pub trait Exchange {
    /// The request's headers have passed the filters. The router answers a route that needs no upstream at once.
    fn request_headers(&self, stream: &Rc<RefCell<StreamData>>, end: bool) -> Routed;
    /// More of the request's body, or its end.
    fn request_data(&self, data: Vec<u8>, end: bool);
    /// The request's trailers, and its end.
    fn request_trailers(&self, trailers: Headers);
    /// The response's headers for the client.
    fn response_headers(&self, headers: Headers, end: bool);
    /// More of the response's body, or its end.
    fn response_data(&self, data: Vec<u8>, end: bool);
    /// The response's trailers, and its end.
    fn response_trailers(&self, trailers: Headers);
    fn reset(&self);
    /// Adds what the connection manager adds to every response. `closes` says that it is a local reply which did not wait
    /// for the whole request, or for a bad one: in HTTP/1 the connection cannot be used again.
    fn finish_response(&self, headers: &mut Headers, closes: bool);
}

pub enum Routed {
    /// The request is on its way to an upstream.
    Forwarded,
    /// It is answered here.
    Answered(LocalReply),
}
