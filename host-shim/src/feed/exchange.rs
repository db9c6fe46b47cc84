//! The other side of a fed request: its upstream's answer is known, and nobody reads the client's.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use crate::base::Headers;
use crate::router::Site;
use crate::traffic::StreamData;
use crate::worker::{Exchange, Program, Routed};

pub(super) struct FedExchange {
    site: Arc<Site>,
    program: Arc<Program>,
    is_forwarded: Cell<bool>,
    response: RefCell<Option<Headers>>,
}

impl FedExchange {
    pub(super) fn new(site: &Arc<Site>, program: &Arc<Program>) -> Self {
        FedExchange {
            site: Arc::clone(site),
            program: Arc::clone(program),
            is_forwarded: Cell::new(false),
            response: RefCell::new(None),
        }
    }

    /// Whether the request has passed the filters and has an upstream.
    pub(super) fn is_forwarded(&self) -> bool {
        self.is_forwarded.get()
    }

    /// Removes and returns the headers of the answer, if there is one.
    pub(super) fn take_response(&self) -> Option<Headers> {
        self.response.take()
    }
}

impl Exchange for FedExchange {
    fn request_headers(&self, stream: &Rc<RefCell<StreamData>>, _end: bool) -> Routed {
        match self.site.route(&mut stream.borrow_mut(), |name| self.program.clusters.get(name).cloned()) {
            Ok(_) => {
                self.is_forwarded.set(true);
                Routed::Forwarded
            }
            Err(reply) => Routed::Answered(reply),
        }
    }

    fn request_data(&self, _data: Vec<u8>, _end: bool) {}

    fn request_trailers(&self, _trailers: Headers) {}

    fn response_headers(&self, headers: Headers, _end: bool) {
        self.response.replace(Some(headers));
    }

    fn response_data(&self, _data: Vec<u8>, _end: bool) {}

    fn response_trailers(&self, _trailers: Headers) {}

    fn reset(&self) {}

    fn finish_response(&self, _headers: &mut Headers, _request: &Headers, _closes: bool) {}
}
