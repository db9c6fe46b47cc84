//! What hostcalls work on.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use wasmtime::{Memory, StoreLimits, TypedFunc};

use super::context::Contexts;
use crate::abi::types::{AbiVersion, LogLevel, MetricType, StreamType};
use crate::headers::Headers;
use crate::host::{Host, VmId};
use crate::network::Network;
use crate::state::logs::LogLine;
use crate::state::metrics::Stat;
use crate::stream::Stream;
use crate::vm::VmSpec;

/// The state of a VM, beside the guest's own memory.
pub(crate) struct VmState {
    pub(crate) host: Arc<Host>,
    /// Which VM of the process it is, for callouts to find it.
    pub(crate) instance: u64,
    /// The thread: 0 is the main thread, workers count from 1.
    pub(crate) thread: usize,
    pub(crate) vm_id: Arc<VmId>,
    pub(crate) spec: Arc<VmSpec>,
    pub(crate) abi: AbiVersion,
    pub(crate) network: Rc<dyn Network>,
    pub(crate) memory: Option<Memory>,
    pub(crate) malloc: Option<TypedFunc<u32, u32>>,
    pub(crate) limits: StoreLimits,
    pub(crate) contexts: Contexts,
    /// The context of the callback that runs.
    pub(crate) current: u32,
    /// What `proxy_set_effective_context` chose for this callback; 0 for nothing.
    pub(crate) effective: u32,
    /// While the module is initialized, or allocates, few hostcalls are allowed.
    pub(crate) is_restricted: bool,
    /// A local reply was sent in this callback: whatever it answers, the stream stops.
    pub(crate) stops_iteration: bool,
    /// A trap in the guest's allocator, during a hostcall.
    pub(crate) allocation_trap: Option<wasmtime::Error>,
    /// What has to wait until the callback has returned.
    pub(crate) after_call: Vec<AfterCall>,
    pub(crate) metrics: MetricIds,
    next_call: u32,
    next_grpc_call: u32,
    next_grpc_stream: u32,
}

/// What a guest asked for that happens when its callback has returned.
pub(crate) enum AfterCall {
    /// Something for a filter of a stream.
    Stream { stream: Weak<RefCell<Stream>>, filter: usize, ask: Ask },
    /// A root context's tick period, in milliseconds; 0 ends it.
    Tick { root: u32, period: u32 },
    /// A gRPC call or stream to a cluster that is not there.
    GrpcUnavailable { root: u32, token: u32 },
    /// A root context has finished its shutdown.
    Done { root: u32 },
}

/// What a filter asked of its stream.
#[derive(Debug)]
pub(crate) enum Ask {
    ContinueRequest,
    ContinueResponse,
    Reply(LocalReply),
    Close(StreamType),
}

/// An answer made by the gateway.
#[derive(Clone, Debug, Default)]
pub(crate) struct LocalReply {
    pub(crate) status: u32,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    /// Negative for none.
    pub(crate) grpc_status: i32,
    /// `response.code_details`.
    pub(crate) details: String,
    /// `response.flags`.
    pub(crate) flags: u64,
}

impl VmState {
    pub(crate) fn new(
        host: Arc<Host>,
        instance: u64,
        thread: usize,
        vm_id: Arc<VmId>,
        spec: Arc<VmSpec>,
        abi: AbiVersion,
        network: Rc<dyn Network>,
        limits: StoreLimits,
    ) -> Self {
        VmState {
            host,
            instance,
            thread,
            vm_id,
            spec,
            abi,
            network,
            memory: None,
            malloc: None,
            limits,
            contexts: Contexts::new(),
            current: 0,
            effective: 0,
            is_restricted: false,
            stops_iteration: false,
            allocation_trap: None,
            after_call: Vec::new(),
            metrics: MetricIds::default(),
            next_call: 0,
            next_grpc_call: 0,
            next_grpc_stream: 0,
        }
    }

    /// The context that hostcalls are about.
    pub(crate) fn acting(&self) -> u32 {
        if self.effective != 0 && self.contexts.contains(self.effective) { self.effective } else { self.current }
    }

    /// Writes a line for a context, with Envoy's prefix: plugin name, root id, VM id.
    pub(crate) fn log(&self, level: LogLevel, message: &str) {
        if level < self.host.logs.level() {
            return;
        }
        let mut text = String::from("wasm log");
        if let Some(root) = self.contexts.root(self.acting()) {
            // A root context's lines carry no plugin name in Envoy.
            let is_stream = self.contexts.stream(self.acting()).is_some();
            let name = if is_stream { root.plugin.name.as_str() } else { "" };
            for part in [name, &root.plugin.root_id, &root.plugin.vm.vm_id] {
                if !part.is_empty() {
                    text.push(' ');
                    text.push_str(part);
                }
            }
        }
        text.push_str(": ");
        text.push_str(message);
        let line = LogLine { level, thread: self.thread, from_module: true, text };
        self.host.logs.write(self.host.clock.now(), line);
    }

    /// The next HTTP callout's id: its low two bits are 0.
    pub(crate) fn next_call_id(&mut self) -> u32 {
        self.next_call = self.next_call.wrapping_add(4).max(4);
        self.next_call
    }

    /// The next gRPC call's id: its low two bits are 1.
    pub(crate) fn next_grpc_call_id(&mut self) -> u32 {
        self.next_grpc_call = self.next_grpc_call.wrapping_add(4).max(4);
        self.next_grpc_call | 1
    }

    /// The next gRPC stream's id: its low two bits are 2.
    pub(crate) fn next_grpc_stream_id(&mut self) -> u32 {
        self.next_grpc_stream = self.next_grpc_stream.wrapping_add(4).max(4);
        self.next_grpc_stream | 2
    }
}

/// The ids under which a VM knows statistics: the low two bits are the kind.
#[derive(Default)]
pub(crate) struct MetricIds {
    by_id: HashMap<u32, Arc<Stat>>,
    last: [u32; 3],
}

impl MetricIds {
    pub(crate) fn add(&mut self, kind: MetricType, stat: Arc<Stat>) -> u32 {
        let code = kind.code();
        let Some(last) = usize::try_from(code).ok().and_then(|code| self.last.get_mut(code)) else { return code };
        *last = last.wrapping_add(4);
        let id = *last | code;
        self.by_id.insert(id, stat);
        id
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Arc<Stat>> {
        self.by_id.get(&id)
    }
}
