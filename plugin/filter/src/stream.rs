//! Implements streams with hostcalls.

use tollbell_core::host::{Answer, HeaderChange, Headers, HostError, Stream, StreamId, Streams, is_header};

use crate::abi::{self, Body, Map};
use crate::host::{property, refused};

/// The stream of the current callback, by the host's id.
pub(crate) struct HostStream(pub(crate) u32);

impl Stream for HostStream {
    fn id(&self) -> StreamId {
        StreamId(self.0)
    }

    fn request_headers(&self) -> Result<Headers, HostError> {
        abi::header_pairs(Map::Request).map(Headers).map_err(refused("get_header_map_pairs"))
    }

    fn change_request(&self, changes: &[HeaderChange]) -> Result<(), HostError> {
        changes.iter().try_for_each(|change| {
            let changed = match change {
                HeaderChange::Remove(name) => abi::remove_header(Map::Request, name),
                HeaderChange::Replace(name, value) => abi::replace_header(Map::Request, name, value),
            };
            changed.map_err(|status| {
                log::error!("a request header could not be changed (status {})", status.0);
                refused("replace_header_map_value")(status)
            })
        })
    }

    fn request_body(&self, size: usize) -> Vec<u8> {
        body(Body::Request, size)
    }

    fn resume_request(&self) {
        if let Err(status) = abi::continue_request() {
            log::error!("a request could not be resumed (status {}): it is held", status.0);
        }
    }

    fn answer(&self, answer: &Answer) {
        let headers = answer.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let sent = abi::send_local_response(u32::from(answer.status), &answer.details, headers, &answer.body);
        if let Err(status) = sent {
            log::error!("a refusal could not be sent (status {}): the request is held", status.0);
        }
    }

    fn response_headers(&self) -> Headers {
        Headers(abi::header_pairs(Map::Response).unwrap_or_default())
    }

    fn response_header(&self, name: &str, keeps_case: &dyn Fn() -> bool) -> Option<Vec<u8>> {
        abi::header(Map::Response, name).ok().or_else(|| keeps_case().then(|| header(Map::Response, name)).flatten())
    }

    fn set_response_header(&self, name: &'static str, value: &str) {
        if let Err(status) = abi::replace_header(Map::Response, name, value.as_bytes()) {
            log::debug!("{name} could not be set (status {})", status.0);
        }
    }

    fn response_body(&self, size: usize) -> Vec<u8> {
        body(Body::Response, size)
    }

    fn property(&self, path: &str) -> Option<Vec<u8>> {
        property(path)
    }

    fn set_property(&self, name: &str, value: &[u8]) {
        if let Err(status) = abi::set_property(name, value) {
            log::debug!("{name} could not be set (status {})", status.0);
        }
    }
}

pub(crate) struct HostStreams;

impl Streams for HostStreams {
    type Stream = HostStream;

    fn enter(&self, StreamId(stream): StreamId) -> Option<HostStream> {
        abi::set_effective_context(stream).ok().map(|()| HostStream(stream))
    }
}

/// The first value of a header, by its name in lower case. A host that keeps the case of names may not find it.
pub(crate) fn header(map: Map, name: &str) -> Option<Vec<u8>> {
    abi::header(map, name).ok().or_else(|| {
        let headers = Headers(abi::header_pairs(map).ok()?);
        let (_, value) = headers.pairs().into_iter().find(|(known, _)| is_header(known, name))?;
        Some(value.to_vec())
    })
}

fn body(which: Body, size: usize) -> Vec<u8> {
    if size == 0 { Vec::new() } else { abi::body(which, size).unwrap_or_default() }
}
