//! A request and its response, as the guest sees and changes them.

use anyhow::Result;
use host_shim::Headers;
use host_shim::gateway::{Request, Response};
use proxy_wasm_host::abi::v0_2_1::types::{BufferType, MapType, Status};
use proxy_wasm_host::abi::v0_2_1::{Access, Invocation, LocalResponse, StreamState};
use proxy_wasm_host::{Buffer, HeaderMap, HeaderMapExt as _, VecHeaderMap};

/// The parts of a request and its response that have come so far.
#[derive(Default)]
pub(crate) struct Exchange {
    pub(crate) request: VecHeaderMap,
    /// The part of the body that the host keeps: everything since the guest paused.
    pub(crate) request_body: Vec<u8>,
    pub(crate) response: VecHeaderMap,
    pub(crate) response_body: Vec<u8>,
    /// The guest's own answer.
    pub(crate) answer: Option<LocalResponse<'static>>,
}

impl StreamState for Exchange {
    fn header_map(&mut self, _: Invocation, _: Access, map: MapType) -> Result<&mut dyn HeaderMap, Status> {
        match map {
            MapType::HttpRequestHeaders if !self.request.is_empty() => Ok(&mut self.request),
            MapType::HttpResponseHeaders if !self.response.is_empty() => Ok(&mut self.response),
            _ => Err(Status::BadArgument),
        }
    }

    fn buffer(&mut self, _: Invocation, _: Access, buffer: BufferType) -> Result<&mut dyn Buffer, Status> {
        match buffer {
            BufferType::HttpRequestBody => Ok(&mut self.request_body),
            BufferType::HttpResponseBody => Ok(&mut self.response_body),
            _ => Err(Status::NotFound),
        }
    }

    fn send_local_response(&mut self, _: Invocation, response: LocalResponse<'_>) -> Result<(), Status> {
        self.answer = Some(response.into_owned());
        Ok(())
    }

    fn property(&mut self, _: Invocation, path: &[&[u8]], out: &mut Vec<u8>) -> Result<(), Status> {
        if path != [b"source", b"address".as_slice()] {
            return Err(Status::NotFound);
        }
        out.extend_from_slice(b"127.0.0.1:50000");
        Ok(())
    }
}

/// The case in which a host shows the names of headers. The crate's map compares names exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// `x-ratelimit-limit`: as in HTTP/2, and in Envoy always.
    Lower,
    /// `X-Ratelimit-Limit`: as many clients send them in HTTP/1.
    Title,
}

impl Spelling {
    pub(crate) fn of(self, name: &[u8]) -> Vec<u8> {
        let mut begins = self == Spelling::Title;
        let spell = |byte: &u8| {
            let spelt = if begins { byte.to_ascii_uppercase() } else { *byte };
            begins = self == Spelling::Title && *byte == b'-';
            spelt
        };
        name.iter().map(spell).collect()
    }
}

pub(crate) fn map(headers: &Headers, spelling: Spelling) -> VecHeaderMap {
    let mut map = VecHeaderMap::default();
    for (name, value) in headers.iter() {
        // This map accepts every write.
        let _ = map.add(&spelling.of(name), value);
    }
    map
}

impl Exchange {
    /// The request in the form for the upstream.
    pub(crate) fn forwarded(&self, body: Vec<u8>) -> Request {
        let pairs = self.request.pairs();
        let headers = pairs.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
        Request { headers: headers.collect(), body: vec![body], ..Request::default() }
    }

    /// The response in the form for the client.
    pub(crate) fn delivered(self) -> Response {
        let pairs = self.response.pairs();
        let headers = pairs.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
        Response { headers: headers.collect(), body: self.response_body, ..Response::default() }
    }
}

/// The guest's own answer in the form for the client.
pub(crate) fn answered(answer: &LocalResponse<'_>) -> Result<Response> {
    let mut response = Response::new(u16::try_from(answer.status_code)?).body(answer.body.to_vec());
    for (name, value) in &answer.headers {
        response = response.header(&String::from_utf8_lossy(name), value);
    }
    Ok(response)
}
