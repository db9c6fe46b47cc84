//! A request and its response on their way through the filters, like Envoy's filter manager.
//!
//! The request's half passes the filters in their order and ends at the router. The response's half passes them in
//! reverse order and ends at the client. A filter can continue a half, hold it, or send a local reply. `pass` moves
//! each half. This module connects the two halves, and ends the stream.

mod calls;
mod half;
mod output;
mod pass;
mod replies;

use std::cell::RefCell;
use std::rc::Rc;

use super::plugin::{PluginHandle, RunningPlugin};
use super::{Exchange, Worker};
use crate::guest::codes::StreamType;
use crate::guest::context::StreamContext;
use crate::guest::effects::StreamEffect;
use crate::traffic::{LocalReply, StreamData, StreamId, flags};
use half::{Half, Way};

/// A filter of the chain in one stream.
struct Filter {
    plugin: Rc<PluginHandle>,
    /// The plugin's VM and root context at the beginning of the stream, or `None` if the VM has failed.
    vm: Option<RunningPlugin>,
    /// The id of its context, after the context was created.
    context: Option<u32>,
    /// Whether it has seen the request's headers.
    started: bool,
}

pub struct Stream {
    worker: Rc<Worker>,
    id: StreamId,
    data: Rc<RefCell<StreamData>>,
    exchange: Rc<dyn Exchange>,
    filters: Vec<Filter>,
    request: Half,
    response: Half,
    /// Whether there are response headers, from the upstream or from a local reply.
    has_response: bool,
    /// Whether the response headers were sent to the client.
    response_sent: bool,
    /// A local reply that waits until the callback that sent it has returned.
    reply: Option<LocalReply>,
    replied: bool,
    /// Whether a local reply was 400. Envoy then closes the connection.
    is_bad_request: bool,
    ended: bool,
}

impl Stream {
    /// Makes a stream through the worker's filters, without calling them.
    pub fn new(
        worker: &Rc<Worker>,
        id: StreamId,
        plugins: Vec<Rc<PluginHandle>>,
        data: StreamData,
        exchange: Rc<dyn Exchange>,
    ) -> Rc<RefCell<Stream>> {
        let count = plugins.len();
        let filters = plugins
            .into_iter()
            .map(|plugin| {
                let vm = worker.vm_for_stream(&plugin);
                Filter { plugin, vm, context: None, started: false }
            })
            .collect();
        let mut data = data;
        data.request_bodies = vec![None; count];
        data.response_bodies = vec![None; count];
        Rc::new(RefCell::new(Stream {
            worker: Rc::clone(worker),
            id,
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
        }))
    }

    pub fn data(&self) -> Rc<RefCell<StreamData>> {
        Rc::clone(&self.data)
    }

    /// Whether the rest of the request is not needed.
    pub fn ignores_request(&self) -> bool {
        self.ended || self.replied
    }

    /// Whether a filter holds so much of the request's body that the buffer is full. The client must then wait.
    pub fn request_is_full(&self) -> bool {
        self.request.held_bytes(&self.data.borrow().request_bodies) >= half::BUFFER_LIMIT
    }

    /// Like [`Self::request_is_full`], for the response's body.
    pub fn response_is_full(&self) -> bool {
        self.response.held_bytes(&self.data.borrow().response_bodies) >= half::BUFFER_LIMIT
    }

    /// Carries out an effect of a filter.
    pub fn asked(&mut self, filter: usize, ask: StreamEffect) {
        if self.ended {
            return;
        }
        match ask {
            StreamEffect::ContinueRequest => {
                if !self.replied {
                    self.resume(Way::Request, filter);
                }
            }
            StreamEffect::ContinueResponse => self.resume(Way::Response, filter),
            StreamEffect::Reply(reply) => self.local_reply(reply),
            StreamEffect::Close(StreamType::Request | StreamType::Response) => {
                self.data.borrow_mut().info.details.get_or_insert_with(|| "wasm_close_stream".to_owned());
                self.reset();
            }
            StreamEffect::Close(StreamType::Downstream | StreamType::Upstream) => {}
        }
        self.send_reply();
    }

    pub fn reset(&mut self) {
        if !self.ended {
            self.exchange.reset();
            self.end();
        }
    }

    /// Handles the disconnection of the client.
    pub fn client_gone(&mut self) {
        if !self.ended {
            let mut data = self.data.borrow_mut();
            data.info.flags |= flags::DOWNSTREAM_CONNECTION_TERMINATION;
            data.info.details = Some("downstream_remote_disconnect".to_owned());
            drop(data);
            self.end();
        }
    }

    /// Ends the stream: calls the log callback of every filter, then the done and delete callbacks of every filter.
    fn end(&mut self) {
        self.ended = true;
        self.request.stop();
        self.response.stop();
        for index in 0..self.filters.len() {
            self.log(index);
        }
        for index in 0..self.filters.len() {
            let Some((vm, context)) = self.context_of(index) else { continue };
            self.worker.call(&vm, |vm| {
                vm.done(context);
            });
            self.worker.call(&vm, |vm| vm.delete(context));
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
        self.worker.call(&vm, |vm| vm.log(context));
        set_log(false);
    }

    /// Creates the context of a filter, if it has none.
    fn create_context(&mut self, index: usize) {
        let (data, stream) = (Rc::clone(&self.data), self.id);
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
        self.worker.call(&vm, |vm| made = Some(vm.create_stream(context)));
        filter.context = made;
    }

    fn context_of(&self, index: usize) -> Option<RunningPlugin> {
        let filter = self.filters.get(index)?;
        let (vm, _) = filter.vm.as_ref()?;
        Some((Rc::clone(vm), filter.context?))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.worker.forget_stream(self.id);
    }
}
