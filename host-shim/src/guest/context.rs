//! The contexts of a VM, and the data that each can see.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use crate::config::model::Plugin;
use crate::traffic::{CallResponse, StreamData, StreamId};

pub enum Context {
    /// The context of the VM itself, with the id 0. It is used during the initialization of the module.
    Vm,
    Root(Root),
    Stream(StreamContext),
}

pub struct Root {
    pub plugin: Arc<Plugin>,
    /// Whether `proxy_on_context_create` was called.
    pub created: bool,
    /// Whether the plugin's configuration is readable, which is so only in `proxy_on_configure`.
    pub is_configuring: bool,
    /// The reply to a callout, during its callback.
    pub call_response: Option<CallResponse>,
    /// The message of a gRPC reply, during its callback.
    pub grpc_message: Option<Vec<u8>>,
    /// The status and message for `proxy_get_status`.
    pub status: (u32, String),
    /// The callouts without an outcome.
    pub calls: HashSet<u32>,
    /// Whether the context was shut down and waits for the module's call of `proxy_done`.
    pub is_closing: bool,
}

impl Root {
    pub fn new(plugin: Arc<Plugin>) -> Self {
        Root {
            plugin,
            created: false,
            is_configuring: false,
            call_response: None,
            grpc_message: None,
            status: (0, String::new()),
            calls: HashSet::new(),
            is_closing: false,
        }
    }
}

pub struct StreamContext {
    pub root: u32,
    /// The index of the filter in the chain.
    pub filter: usize,
    pub data: Rc<RefCell<StreamData>>,
    /// The stream to which effects apply.
    pub stream: StreamId,
    /// The maps that can be used now.
    pub visible: Visible,
}

/// The parts of a stream that a filter can see. A map is visible from its callback until the filter continues.
#[derive(Clone, Copy, Debug, Default)]
pub struct Visible {
    pub request_headers: bool,
    pub request_trailers: bool,
    pub response_headers: bool,
    pub response_trailers: bool,
    /// Whether the filter has seen the end of the body. From then on, Envoy creates trailers if there are none.
    pub may_add_request_trailers: bool,
    pub may_add_response_trailers: bool,
    /// Whether headers can only be read, as in `proxy_on_log`.
    pub log: bool,
}

#[derive(Default)]
pub struct Contexts {
    by_id: HashMap<u32, Context>,
    last_id: u32,
}

impl Contexts {
    pub fn new() -> Self {
        Contexts { by_id: HashMap::from([(0, Context::Vm)]), last_id: 0 }
    }

    /// Adds a context with the next free id.
    pub fn add(&mut self, context: Context) -> u32 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if self.last_id != 0 && !self.by_id.contains_key(&self.last_id) {
                break;
            }
        }
        self.by_id.insert(self.last_id, context);
        self.last_id
    }

    pub fn remove(&mut self, id: u32) -> Option<Context> {
        self.by_id.remove(&id)
    }

    pub fn contains(&self, id: u32) -> bool {
        self.by_id.contains_key(&id)
    }

    /// Returns the root context of a context. A root context is its own root.
    pub fn root_id(&self, id: u32) -> u32 {
        match self.by_id.get(&id) {
            Some(Context::Stream(stream)) => stream.root,
            _ => id,
        }
    }

    pub fn root(&self, id: u32) -> Option<&Root> {
        match self.by_id.get(&self.root_id(id)) {
            Some(Context::Root(root)) => Some(root),
            _ => None,
        }
    }

    pub fn root_mut(&mut self, id: u32) -> Option<&mut Root> {
        let id = self.root_id(id);
        match self.by_id.get_mut(&id) {
            Some(Context::Root(root)) => Some(root),
            _ => None,
        }
    }

    pub fn stream(&self, id: u32) -> Option<&StreamContext> {
        match self.by_id.get(&id) {
            Some(Context::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    pub fn stream_mut(&mut self, id: u32) -> Option<&mut StreamContext> {
        match self.by_id.get_mut(&id) {
            Some(Context::Stream(stream)) => Some(stream),
            _ => None,
        }
    }
}
