//! A copy of a request's body, for retries.

use http::HeaderMap;

use crate::server::body::{Sink, UpstreamBody, UpstreamSink};

/// The body so far, or nothing if it is too large to be sent again.
pub struct Record {
    data: Option<Vec<u8>>,
    trailers: Option<HeaderMap>,
    limit: Option<usize>,
}

impl Record {
    /// Makes a record of at most `limit` bytes. `None` means no limit.
    pub fn new(limit: Option<usize>) -> Self {
        Record { data: Some(Vec::new()), trailers: None, limit }
    }

    pub fn data(&mut self, data: &[u8]) {
        if let Some(all) = &mut self.data {
            all.extend_from_slice(data);
            if self.limit.is_some_and(|limit| all.len() > limit) {
                self.data = None;
            }
        }
    }

    pub fn trailers(&mut self, trailers: HeaderMap) {
        self.trailers = Some(trailers);
    }

    /// Makes the whole body again.
    pub fn again(&self, has_length: bool) -> Option<(UpstreamSink, UpstreamBody)> {
        let data = self.data.as_ref()?;
        let (sink, body) = UpstreamSink::new();
        if has_length && !data.is_empty() {
            sink.has_length();
        }
        sink.data(data.clone());
        match &self.trailers {
            Some(trailers) => sink.trailers(trailers.clone()),
            None => sink.end(),
        }
        Some((sink, body))
    }
}
