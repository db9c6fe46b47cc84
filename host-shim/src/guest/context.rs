//! The contexts of a VM: what each of them may see.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use crate::config::model::Plugin;
use crate::traffic::{CallResponse, StreamData, StreamId};

pub enum Context {
    /// The VM's own, with the id 0: while the module is initialized.
    Vm,
    Root(Root),
    Stream(StreamContext),
}

pub struct Root {
    pub plugin: Arc<Plugin>,
    /// Whether `proxy_on_context_create` was called.
    pub created: bool,
    /// The plugin's configuration is readable in `proxy_on_configure` only.
    pub is_configuring: bool,
    /// The reply to a callout, while the module is told of it.
    pub call_response: Option<CallResponse>,
    /// The message of a gRPC reply, while the module is told of it.
    pub grpc_message: Option<Vec<u8>>,
    /// What `proxy_get_status` tells.
    pub status: (u32, String),
    /// Callouts that have not been answered.
    pub calls: HashSet<u32>,
    /// Shut down, but the module wants to call `proxy_done` first.
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
    /// Which filter of the chain it is.
    pub filter: usize,
    pub data: Rc<RefCell<StreamData>>,
    /// The stream that effects are for.
    pub stream: StreamId,
    /// Which maps can be used now.
    pub visible: Visible,
}

/// What of a stream a filter can see: a map is there from its callback until the filter continues.
#[derive(Clone, Copy, Debug, Default)]
pub struct Visible {
    pub request_headers: bool,
    pub request_trailers: bool,
    pub response_headers: bool,
    pub response_trailers: bool,
    /// The body's end was shown: from then on, Envoy makes trailers where there are none.
    pub may_add_request_trailers: bool,
    pub may_add_response_trailers: bool,
    /// In `proxy_on_log`, headers can be read and not changed.
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

    /// Adds a context under the next free id.
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

    /// A context's root: itself, or a stream's.
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
