//! The trait for the output of a stream.

use std::cell::RefCell;
use std::rc::Rc;

use crate::base::Headers;
use crate::traffic::{LocalReply, StreamData};

/// The client and the upstream of a stream. The methods must only store their arguments, because the stream is borrowed
/// when it calls them.
pub trait Exchange {
    /// The request's headers have passed the filters. If the route needs no upstream, the router answers immediately.
    fn request_headers(&self, stream: &Rc<RefCell<StreamData>>, end: bool) -> Routed;
    /// Receives a part of the request's body, or its end.
    fn request_data(&self, data: Vec<u8>, end: bool);
    /// Receives the request's trailers, which are its end.
    fn request_trailers(&self, trailers: Headers);
    /// Receives the response's headers for the client.
    fn response_headers(&self, headers: Headers, end: bool);
    /// Receives a part of the response's body, or its end.
    fn response_data(&self, data: Vec<u8>, end: bool);
    /// Receives the response's trailers, which are its end.
    fn response_trailers(&self, trailers: Headers);
    fn reset(&self);
    /// Adds the headers that the connection manager adds to every response. `closes` is true for a local reply that did
    /// not wait for the complete request, or that answers a bad request: in HTTP/1 the connection cannot be used again.
    fn finish_response(&self, headers: &mut Headers, request: &Headers, closes: bool);
}

pub enum Routed {
    /// The router forwards the request to an upstream.
    Forwarded,
    /// The router answers the request itself.
    Answered(LocalReply),
}
