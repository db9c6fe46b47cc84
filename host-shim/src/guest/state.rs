//! The state of a VM, on which hostcalls work.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use wasmtime::{Memory, StoreLimits, TypedFunc};

use super::codes::AbiVersion;
use super::context::Contexts;
use super::effects::Effect;
use crate::base::{LogLevel, MetricType};
use crate::state::logs::LogLine;
use crate::state::metrics::Stat;
use crate::state::{Host, VmId};
use crate::traffic::Network;

/// The identity of a VM. Plugins with the same identity share a VM on each thread.
#[derive(Clone, Debug)]
pub struct VmSpec {
    /// The key, made of the `vm_id`, the VM's configuration and the code.
    pub key: String,
    pub vm_id: String,
    pub configuration: Vec<u8>,
    pub environment: Vec<(String, String)>,
    pub allowed_capabilities: Option<Vec<String>>,
}

impl VmSpec {
    /// Whether the capabilities allow a function.
    pub fn allows(&self, name: &str) -> bool {
        self.allowed_capabilities
            .as_ref()
            .is_none_or(|allowed| allowed.is_empty() || allowed.iter().any(|one| one == name))
    }
}

/// The state of a VM in addition to the guest's memory.
pub struct VmState {
    pub host: Arc<Host>,
    /// The number of the VM in the process, for callouts.
    pub instance: u64,
    /// The thread. 0 is the main thread, and the first worker is 1.
    pub thread: usize,
    pub vm_id: Arc<VmId>,
    pub spec: Arc<VmSpec>,
    pub abi: AbiVersion,
    pub network: Rc<dyn Network>,
    pub memory: Option<Memory>,
    pub malloc: Option<TypedFunc<u32, u32>>,
    pub limits: StoreLimits,
    pub contexts: Contexts,
    /// The context of the current callback.
    pub current: u32,
    /// The context that `proxy_set_effective_context` chose in this callback, or 0.
    pub effective: u32,
    /// Whether the module is being initialized or allocates. Few hostcalls are allowed then.
    pub is_restricted: bool,
    /// Whether a local reply was sent in this callback. The stream then stops, with any return value.
    pub stops_iteration: bool,
    /// A trap in the guest's allocator, during a hostcall.
    pub allocation_trap: Option<wasmtime::Error>,
    pub effects: Vec<Effect>,
    pub metrics: MetricIds,
    next_call: u32,
    next_grpc_call: u32,
    next_grpc_stream: u32,
}

impl VmState {
    pub fn new(
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
            effects: Vec::new(),
            metrics: MetricIds::default(),
            next_call: 0,
            next_grpc_call: 0,
            next_grpc_stream: 0,
        }
    }

    /// Returns the context to which hostcalls apply.
    pub fn acting(&self) -> u32 {
        if self.effective != 0 && self.contexts.contains(self.effective) { self.effective } else { self.current }
    }

    /// Writes a line for a context, with Envoy's prefix: plugin name, root id, VM id.
    pub fn log(&self, level: LogLevel, message: &str) {
        if level < self.host.logs.level() {
            return;
        }
        let mut text = String::from("wasm log");
        if let Some(root) = self.contexts.root(self.acting()) {
            // In Envoy, the log lines of a root context have no plugin name.
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

    /// Returns the id of the next HTTP callout. Its low two bits are 0.
    pub fn next_call_id(&mut self) -> u32 {
        self.next_call = self.next_call.wrapping_add(4).max(4);
        self.next_call
    }

    /// Returns the id of the next gRPC call. Its low two bits are 1.
    pub fn next_grpc_call_id(&mut self) -> u32 {
        self.next_grpc_call = self.next_grpc_call.wrapping_add(4).max(4);
        self.next_grpc_call | 1
    }

    /// Returns the id of the next gRPC stream. Its low two bits are 2.
    pub fn next_grpc_stream_id(&mut self) -> u32 {
        self.next_grpc_stream = self.next_grpc_stream.wrapping_add(4).max(4);
        self.next_grpc_stream | 2
    }
}

/// The ids of statistics in a VM. The low two bits are the kind.
#[derive(Default)]
pub struct MetricIds {
    by_id: HashMap<u32, Arc<Stat>>,
    last: [u32; 3],
}

impl MetricIds {
    pub fn add(&mut self, kind: MetricType, stat: Arc<Stat>) -> u32 {
        let code = kind.code();
        let Some(last) = usize::try_from(code).ok().and_then(|code| self.last.get_mut(code)) else { return code };
        *last = last.wrapping_add(4);
        let id = *last | code;
        self.by_id.insert(id, stat);
        id
    }

    pub fn get(&self, id: u32) -> Option<&Arc<Stat>> {
        self.by_id.get(&id)
    }
}
