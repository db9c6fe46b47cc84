//! The contexts of a VM: what each of them may see.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use crate::config::model::Plugin;
use crate::headers::Headers;
use crate::stream::Stream;
use crate::stream::data::StreamData;

/// A context by its kind.
pub(crate) enum Context {
    /// The VM's own, with the id 0: while the module is initialized.
    Vm,
    /// A plugin's.
    Root(Root),
    /// A filter's in a stream.
    Stream(StreamContext),
}

/// A plugin's context.
pub(crate) struct Root {
    pub(crate) plugin: Arc<Plugin>,
    /// Whether `proxy_on_context_create` was called.
    pub(crate) created: bool,
    /// The plugin's configuration is readable in `proxy_on_configure` only.
    pub(crate) is_configuring: bool,
    /// The reply to a callout, while the module is told of it.
    pub(crate) call_response: Option<CallResponse>,
    /// The message of a gRPC reply, while the module is told of it.
    pub(crate) grpc_message: Option<Vec<u8>>,
    /// What `proxy_get_status` tells.
    pub(crate) status: (u32, String),
    /// Callouts that have not been answered.
    pub(crate) calls: HashSet<u32>,
    /// Shut down, but the module wants to call `proxy_done` first.
    pub(crate) is_closing: bool,
}

impl Root {
    pub(crate) fn new(plugin: Arc<Plugin>) -> Self {
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

/// The reply to a callout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallResponse {
    /// With `:status`.
    pub(crate) headers: Headers,
    /// The body.
    pub(crate) body: Vec<u8>,
    /// The trailers; may be empty.
    pub(crate) trailers: Headers,
}

/// A filter's context in a stream.
pub(crate) struct StreamContext {
    /// Its root context.
    pub(crate) root: u32,
    /// Which filter of the chain it is.
    pub(crate) filter: usize,
    /// What passes through.
    pub(crate) data: Rc<RefCell<StreamData>>,
    /// The stream itself; gone when it has ended.
    pub(crate) stream: Weak<RefCell<Stream>>,
    /// Which maps can be used now.
    pub(crate) visible: Visible,
}

/// What of a stream a filter can see: a map is there from its callback until the filter continues.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Visible {
    pub(crate) request_headers: bool,
    pub(crate) request_trailers: bool,
    pub(crate) response_headers: bool,
    pub(crate) response_trailers: bool,
    /// The body's end was shown: from then on, Envoy makes trailers where there are none.
    pub(crate) may_add_request_trailers: bool,
    pub(crate) may_add_response_trailers: bool,
    /// In `proxy_on_log`, headers can be read and not changed.
    pub(crate) log: bool,
}

/// The contexts by their ids.
#[derive(Default)]
pub(crate) struct Contexts {
    by_id: HashMap<u32, Context>,
    last_id: u32,
}

impl Contexts {
    pub(crate) fn new() -> Self {
        Contexts { by_id: HashMap::from([(0, Context::Vm)]), last_id: 0 }
    }

    /// Adds a context under the next free id.
    pub(crate) fn add(&mut self, context: Context) -> u32 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if self.last_id != 0 && !self.by_id.contains_key(&self.last_id) {
                break;
            }
        }
        self.by_id.insert(self.last_id, context);
        self.last_id
    }

    pub(crate) fn remove(&mut self, id: u32) -> Option<Context> {
        self.by_id.remove(&id)
    }

    pub(crate) fn contains(&self, id: u32) -> bool {
        self.by_id.contains_key(&id)
    }

    /// A context's root: itself, or a stream's.
    pub(crate) fn root_id(&self, id: u32) -> u32 {
        match self.by_id.get(&id) {
            Some(Context::Stream(stream)) => stream.root,
            _ => id,
        }
    }

    pub(crate) fn root(&self, id: u32) -> Option<&Root> {
        match self.by_id.get(&self.root_id(id)) {
            Some(Context::Root(root)) => Some(root),
            _ => None,
        }
    }

    pub(crate) fn root_mut(&mut self, id: u32) -> Option<&mut Root> {
        let id = self.root_id(id);
        match self.by_id.get_mut(&id) {
            Some(Context::Root(root)) => Some(root),
            _ => None,
        }
    }

    pub(crate) fn stream(&self, id: u32) -> Option<&StreamContext> {
        match self.by_id.get(&id) {
            Some(Context::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    pub(crate) fn stream_mut(&mut self, id: u32) -> Option<&mut StreamContext> {
        match self.by_id.get_mut(&id) {
            Some(Context::Stream(stream)) => Some(stream),
            _ => None,
        }
    }
}
