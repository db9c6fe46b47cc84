//! A request and its response on their way through the filters: Envoy's filter manager in small.
//!
//! The request's half goes through the filters in their order and ends at the router; the response's half goes through
//! them in reverse and ends at the client. A filter can let a half go on, hold it, or answer itself. What each half
//! does is in `half.rs`; here is what moves between the two, and a stream's end.

pub(crate) mod data;
mod half;

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use crate::abi::types::StreamType;
use crate::headers::Headers;
use crate::plugin::PluginHandle;
use crate::vm::context::StreamContext;
use crate::vm::state::{Ask, LocalReply};
use crate::worker::Worker;
use data::StreamData;
use half::Half;

/// Where a stream's output goes. The methods must only note what they get: the stream is in use when it calls them.
pub(crate) trait Exchange {
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
    /// The stream is cut off.
    fn reset(&self);
    /// Adds what the connection manager adds to every response. `closes` says that it is a local reply which did not wait
    /// for the whole request, or for a bad one: in HTTP/1 the connection cannot be used again.
    fn finish_response(&self, headers: &mut Headers, closes: bool);
}

/// What the router did.
pub(crate) enum Routed {
    /// The request is on its way to an upstream.
    Forwarded,
    /// It is answered here.
    Answered(LocalReply),
}

/// A filter of the chain, as one stream uses it.
struct Filter {
    plugin: Rc<PluginHandle>,
    /// The plugin's VM and root context at the beginning of the stream; None where it has failed.
    vm: Option<(Rc<crate::plugin::VmCell>, u32)>,
    /// Its context, when it has one.
    context: Option<u32>,
    /// It has seen the request's headers.
    started: bool,
}

/// A stream.
pub(crate) struct Stream {
    worker: Rc<Worker>,
    me: Weak<RefCell<Stream>>,
    data: Rc<RefCell<StreamData>>,
    exchange: Rc<dyn Exchange>,
    filters: Vec<Filter>,
    request: Half,
    response: Half,
    /// The response's headers have come, from wherever.
    has_response: bool,
    /// They have gone to the client.
    response_sent: bool,
    /// A local reply waits until the callback that sent it is over.
    reply: Option<LocalReply>,
    replied: bool,
    /// A local reply says 400: Envoy does not trust the connection any more.
    is_bad_request: bool,
    ended: bool,
}

impl Stream {
    /// A stream through the worker's filters; nothing happens yet.
    pub(crate) fn new(
        worker: &Rc<Worker>,
        plugins: Vec<Rc<PluginHandle>>,
        data: StreamData,
        exchange: Rc<dyn Exchange>,
    ) -> Rc<RefCell<Stream>> {
        let count = plugins.len();
        let filters = plugins
            .into_iter()
            .map(|plugin| {
                let vm = plugin.vm_for_stream(worker);
                Filter { plugin, vm, context: None, started: false }
            })
            .collect();
        let mut data = data;
        data.request_bodies = vec![None; count];
        data.response_bodies = vec![None; count];
        Rc::new_cyclic(|me| {
            RefCell::new(Stream {
                worker: Rc::clone(worker),
                me: me.clone(),
                data: Rc::new(RefCell::new(data)),
                exchange,
                filters,
                request: Half::new(0..count),
                response: Half::new((0..count).rev()),
                has_response: false,
                response_sent: false,
                reply: None,
                replied: false,
                is_bad_request: false,
                ended: false,
            })
        })
    }

    pub(crate) fn data(&self) -> Rc<RefCell<StreamData>> {
        Rc::clone(&self.data)
    }

    /// Whether nothing of the request is wanted any more.
    pub(crate) fn ignores_request(&self) -> bool {
        self.ended || self.replied
    }

    /// Whether a filter holds as much of the request's body as a buffer takes: the client has to wait.
    pub(crate) fn request_is_full(&self) -> bool {
        self.request.held_bytes(&self.data.borrow().request_bodies) >= half::BUFFER_LIMIT
    }

    /// The same of the response's body.
    pub(crate) fn response_is_full(&self) -> bool {
        self.response.held_bytes(&self.data.borrow().response_bodies) >= half::BUFFER_LIMIT
    }

    /// Does what a filter asked for.
    pub(crate) fn asked(&mut self, filter: usize, ask: Ask) {
        if self.ended {
            return;
        }
        match ask {
            Ask::ContinueRequest => {
                if !self.replied {
                    self.continue_request(filter);
                }
            }
            Ask::ContinueResponse => self.continue_response(filter),
            Ask::Reply(reply) => self.local_reply(reply),
            Ask::Close(StreamType::Request | StreamType::Response) => {
                self.data.borrow_mut().info.details.get_or_insert_with(|| "wasm_close_stream".to_owned());
                self.reset();
            }
            Ask::Close(StreamType::Downstream | StreamType::Upstream) => {}
        }
        self.send_reply();
    }

    /// Notes a local reply; the first one counts.
    pub(super) fn local_reply(&mut self, reply: LocalReply) {
        if self.ended {
            return;
        }
        match &mut self.reply {
            // Envoy sends the first, and has the details of the second.
            Some(first) => first.details = reply.details,
            // A filter can replace a reply on its way to the client, as it can an upstream's answer.
            None if !self.replied || (self.has_response && !self.response_sent) => self.reply = Some(reply),
            None => {}
        }
    }

    /// Sends the reply that a filter asked for, now that no callback runs.
    fn send_reply(&mut self) {
        let Some(reply) = self.reply.take() else { return };
        if self.ended {
            return;
        }
        self.replied = true;
        self.is_bad_request |= reply.status == 400;
        self.request.stop();
        {
            let mut data = self.data.borrow_mut();
            data.info.details = Some(reply.details.clone());
            data.info.flags |= reply.flags;
        }
        if self.response_sent {
            self.reset();
            return;
        }
        let (headers, body) = reply_message(&reply, &self.data.borrow().request_headers);
        let end = body.is_empty();
        if self.has_response {
            // The upstream's response is replaced; the filters have seen theirs and see no other.
            self.response.stop();
            self.data.borrow_mut().response_headers = Some(headers.clone());
            self.send_headers(end);
            if !end {
                self.send_data(body, true);
            }
            return;
        }
        self.response_headers(headers, end);
        if !end {
            self.response_data(body, true);
        }
    }

    /// The upstream did not answer, or broke off.
    pub(crate) fn upstream_failed(&mut self, reply: LocalReply) {
        self.local_reply(reply);
        self.send_reply();
    }

    /// Cuts the stream off.
    pub(crate) fn reset(&mut self) {
        if !self.ended {
            self.exchange.reset();
            self.end();
        }
    }

    /// The client has gone.
    pub(crate) fn client_gone(&mut self) {
        if !self.ended {
            let mut data = self.data.borrow_mut();
            data.info.flags |= data::flags::DOWNSTREAM_CONNECTION_TERMINATION;
            data.info.details.get_or_insert_with(|| "downstream_remote_disconnect".to_owned());
            drop(data);
            self.end();
        }
    }

    /// The end of a stream: every filter logs, then every filter is done and deleted.
    fn end(&mut self) {
        self.ended = true;
        self.request.stop();
        self.response.stop();
        for index in 0..self.filters.len() {
            self.log(index);
        }
        for index in 0..self.filters.len() {
            let Some((vm, context)) = self.context_of(index) else { continue };
            vm.call(&self.worker, Some(&self.me), |vm| {
                vm.done(context);
            });
            vm.call(&self.worker, Some(&self.me), |vm| vm.delete(context));
            if let Some(filter) = self.filters.get_mut(index) {
                filter.context = None;
            }
        }
        self.filters.clear();
        self.worker.stream_ended();
    }

    fn log(&mut self, index: usize) {
        self.create_context(index);
        let Some((vm, context)) = self.context_of(index) else { return };
        let set_log = |is_log: bool| {
            let mut vm = vm.vm.borrow_mut();
            if let Some(stream) = vm.state_mut().contexts.stream_mut(context) {
                stream.visible.log = is_log;
            }
        };
        set_log(true);
        vm.call(&self.worker, Some(&self.me), |vm| vm.log(context));
        set_log(false);
    }

    /// Makes a filter's context, if it has none.
    fn create_context(&mut self, index: usize) {
        let (data, stream) = (Rc::clone(&self.data), self.me.clone());
        let Some(filter) = self.filters.get_mut(index) else { return };
        if filter.context.is_some() {
            return;
        }
        let Some((vm, root)) = filter.vm.clone() else { return };
        if vm.has_failed() {
            return;
        }
        let context = StreamContext { root, filter: index, data, stream, visible: Default::default() };
        let mut made = None;
        vm.call(&self.worker, Some(&self.me), |vm| made = Some(vm.create_stream(context)));
        filter.context = made;
    }

    fn context_of(&self, index: usize) -> Option<(Rc<crate::plugin::VmCell>, u32)> {
        let filter = self.filters.get(index)?;
        let (vm, _) = filter.vm.as_ref()?;
        Some((Rc::clone(vm), filter.context?))
    }
}

/// Envoy's message for a local reply.
pub(crate) fn reply_message(reply: &LocalReply, request: &Headers) -> (Headers, Vec<u8>) {
    let is_grpc = request
        .get_str("content-type")
        .is_some_and(|kind| kind == "application/grpc" || kind.starts_with("application/grpc+"));
    let mut headers = Headers::default();
    if is_grpc {
        // gRPC clients look at the trailers only.
        headers.add(":status", "200");
        for (name, value) in reply.headers.iter() {
            headers.append(name, value);
        }
        headers.set_in_place("content-type", "application/grpc");
        let status = if reply.grpc_status >= 0 { reply.grpc_status } else { grpc_status_of(reply.status) };
        headers.add("grpc-status", status.to_string());
        if !reply.body.is_empty() {
            headers.add("grpc-message", percent_encode(&reply.body));
        }
        return (headers, Vec::new());
    }
    // Envoy's codes have 16 bits.
    headers.add(":status", (reply.status & 0xffff).to_string());
    for (name, value) in reply.headers.iter().filter(|(name, _)| *name != b":status") {
        headers.append(name, value);
    }
    if !reply.body.is_empty() {
        headers.set_in_place("content-length", reply.body.len().to_string());
        if headers.get("content-type").is_none() {
            headers.add("content-type", "text/plain");
        }
    }
    let is_head = request.get_str(":method") == Some("HEAD");
    (headers, if is_head { Vec::new() } else { reply.body.clone() })
}

fn grpc_status_of(status: u32) -> i32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// As `grpc-message` is encoded: what is not printable ASCII, and the percent sign.
fn percent_encode(text: &[u8]) -> String {
    use std::fmt::Write;
    let mut encoded = String::new();
    for byte in text {
        if (b' '..=b'~').contains(byte) && *byte != b'%' {
            encoded.push(char::from(*byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
