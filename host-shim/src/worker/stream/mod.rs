//! A request and its response on their way through the filters: Envoy's filter manager in small.
//!
//! The request's half goes through the filters in their order and ends at the router; the response's half goes through
//! them in reverse and ends at the client. A filter can let a half go on, hold it, or answer itself. `pass` has each
//! half's way; here is what moves between the two, and a stream's end.

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

/// A filter of the chain, as one stream uses it.
struct Filter {
    plugin: Rc<PluginHandle>,
    /// The plugin's VM and root context at the beginning of the stream; None where it has failed.
    vm: Option<RunningPlugin>,
    /// Its context, when it has one.
    context: Option<u32>,
    /// It has seen the request's headers.
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

    /// Whether nothing of the request is wanted any more.
    pub fn ignores_request(&self) -> bool {
        self.ended || self.replied
    }

    /// Whether a filter holds as much of the request's body as a buffer takes: the client has to wait.
    pub fn request_is_full(&self) -> bool {
        self.request.held_bytes(&self.data.borrow().request_bodies) >= half::BUFFER_LIMIT
    }

    /// The same of the response's body.
    pub fn response_is_full(&self) -> bool {
        self.response.held_bytes(&self.data.borrow().response_bodies) >= half::BUFFER_LIMIT
    }

    /// Does what a filter asked for.
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

    /// The client has gone.
    pub fn client_gone(&mut self) {
        if !self.ended {
            let mut data = self.data.borrow_mut();
            data.info.flags |= flags::DOWNSTREAM_CONNECTION_TERMINATION;
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

    /// Makes a filter's context, if it has none.
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
