//! One VM: its root contexts, each with a configuration, and the root context of each stream.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use tollbell_core::BodyPool;
use tollbell_core::config::Config;
use tollbell_core::engine::Engine;
use tollbell_core::host::{CalloutId, Flow};

use crate::counters::{self, Counters};
use crate::host::{self, ProxyHost};
use crate::logging;
use crate::stream::{HostStream, HostStreams};

/// The state of a VM.
#[derive(Default)]
pub(crate) struct Plugin {
    roots: BTreeMap<u32, Root>,
    /// The first root context. Usually a VM has one configuration, and then its streams are not recorded.
    first_root: Option<u32>,
    /// The root contexts of streams that belong to other ones.
    root_of: FxHashMap<u32, u32>,
    /// The memory for the bodies that all engines watch.
    bodies: BodyPool,
}

struct Root {
    host: ProxyHost,
    engine: Engine<Counters>,
}

impl Plugin {
    pub(crate) fn on_context_create(&mut self, context: u32, parent: u32) {
        if parent == 0 {
            logging::start();
            self.first_root = self.first_root.or(Some(context));
        } else if self.first_root != Some(parent) {
            self.root_of.insert(context, parent);
        }
    }

    /// Returns `false` to refuse the configuration.
    pub(crate) fn on_configure(&mut self, root: u32, size: usize) -> bool {
        let (bytes, nanos) = match (host::configuration(size), host::now_nanos()) {
            (Ok(bytes), Ok(nanos)) => (bytes, nanos),
            (Err(status), _) | (_, Err(status)) => {
                log::error!(
                    "the proxy gives no configuration or no time (status {}): is a capability missing?",
                    status.0
                );
                return false;
            }
        };
        let Some(config) = Config::load_and_log(&bytes, &host::has_cluster) else { return false };
        let host = ProxyHost::new();
        let engine = counters::engine(config, &host, &self.bodies, nanos);
        self.first_root = self.first_root.or(Some(root));
        if let Some(former) = self.roots.insert(root, Root { host, engine }) {
            former.host.hand_over_counts();
        }
        true
    }

    pub(crate) fn on_request_headers(&mut self, stream: u32, is_end: bool) -> Flow {
        match self.root_of(stream) {
            Some(Root { host, engine }) => engine.on_request_headers(host, &HostStream(stream), is_end),
            // Envoy has no streams for a root context whose configuration was refused.
            None => host::refuse_unseen(stream),
        }
    }

    pub(crate) fn on_request_body(&mut self, stream: u32, size: usize, is_end: bool) -> Flow {
        match self.root_of(stream) {
            Some(Root { host, engine }) => engine.on_request_body(host, &HostStream(stream), size, is_end),
            None => Flow::Pause,
        }
    }

    pub(crate) fn on_request_trailers(&mut self, stream: u32) -> Flow {
        match self.root_of(stream) {
            Some(Root { host, engine }) => engine.on_request_trailers(host, &HostStream(stream)),
            None => Flow::Pause,
        }
    }

    pub(crate) fn on_response_headers(&mut self, stream: u32, is_end: bool) {
        if let Some(Root { host, engine }) = self.root_of(stream) {
            engine.on_response_headers(host, &HostStream(stream), is_end);
        }
    }

    pub(crate) fn on_response_body(&mut self, stream: u32, size: usize, is_end: bool) {
        if let Some(Root { host, engine }) = self.root_of(stream) {
            engine.on_response_body(host, &HostStream(stream), size, is_end);
        }
    }

    pub(crate) fn on_response_trailers(&mut self, stream: u32) {
        if let Some(Root { host, engine }) = self.root_of(stream) {
            engine.on_response_trailers(host, &HostStream(stream));
        }
    }

    pub(crate) fn on_tick(&mut self, root: u32) {
        if let Some(Root { host, engine }) = self.roots.get_mut(&root) {
            engine.on_tick(host, &HostStreams);
        }
    }

    pub(crate) fn on_queue_ready(&mut self, root: u32) {
        if let Some(Root { host, engine }) = self.roots.get_mut(&root) {
            engine.on_wake(host);
        }
    }

    pub(crate) fn on_http_call_response(&mut self, root: u32, call: u32, header_count: usize) {
        #[cfg(feature = "faults")]
        host::trap_if_asked();
        if let Some(Root { host, engine }) = self.roots.get_mut(&root) {
            let reply = host::callout_reply(header_count);
            engine.on_callout_reply(host, &HostStreams, CalloutId(call), &reply);
        }
    }

    pub(crate) fn on_delete(&mut self, context: u32) {
        if let Some(Root { host, mut engine }) = self.roots.remove(&context) {
            engine.on_shutdown(&host);
        } else if let Some(Root { engine, .. }) = self.root_of(context) {
            engine.on_delete(&HostStream(context));
            self.root_of.remove(&context);
        }
    }

    /// The root context of a stream.
    fn root_of(&mut self, stream: u32) -> Option<&mut Root> {
        let root = if self.root_of.is_empty() { None } else { self.root_of.get(&stream).copied() };
        self.roots.get_mut(&root.or(self.first_root)?)
    }
}
