//! One VM: a module's instance, its contexts, and calls into it. A trap ends it.

pub(crate) mod context;
pub(crate) mod module;
pub(crate) mod state;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use wasmtime::{AsContextMut, Linker, Store, StoreLimitsBuilder, TypedFunc, WasmParams, WasmResults};

use crate::abi::exports::{Exports, HeadersCallback, function};
use crate::abi::imports::{self, InjectedDeath};
use crate::abi::memory::word;
use crate::abi::types::{AbiVersion, BROKEN_CONNECTION, DataStatus, HeadersStatus, LogLevel};
use crate::config::model::Plugin;
use crate::host::Host;
use crate::network::{CalloutOutcome, Network};
use context::{CallResponse, Context, Root, StreamContext};
use module::LoadedModule;
use state::{AfterCall, VmState};

/// What tells one VM from another: plugins with the same one share a VM on each thread.
#[derive(Clone, Debug)]
pub(crate) struct VmSpec {
    /// Made of the `vm_id`, the VM's configuration and the code.
    pub(crate) key: String,
    pub(crate) vm_id: String,
    pub(crate) configuration: Vec<u8>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) allowed_capabilities: Option<Vec<String>>,
}

impl VmSpec {
    /// Whether the capabilities allow a function.
    pub(crate) fn allows(&self, name: &str) -> bool {
        self.allowed_capabilities
            .as_ref()
            .is_none_or(|allowed| allowed.is_empty() || allowed.iter().any(|one| one == name))
    }
}

/// `proxy_on_configure` answered false, or failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misconfigured(String);

/// A VM. Its calls come from its thread only.
pub(crate) struct Vm {
    store: Store<VmState>,
    exports: Rc<Exports>,
    failure: Option<String>,
    stopped: bool,
}

impl Vm {
    /// Instantiates a module and initializes it (`_initialize` and `main`, or `_start`).
    ///
    /// # Errors
    /// When it imports what the host does not offer, lacks an allocator, or traps.
    pub(crate) fn start(
        module: &LoadedModule,
        spec: &Arc<VmSpec>,
        host: &Arc<Host>,
        thread: usize,
        network: Rc<dyn Network>,
    ) -> Result<Self> {
        static INSTANCES: AtomicU64 = AtomicU64::new(1);
        let instance = INSTANCES.fetch_add(1, Ordering::Relaxed);
        let limits = StoreLimitsBuilder::new().memory_size(host.limits.memory).instances(1).memories(1).build();
        let vm_id = host.vm_id(&spec.vm_id);
        let state =
            VmState::new(Arc::clone(host), instance, thread, vm_id, Arc::clone(spec), module.abi, network, limits);
        let mut store = Store::new(module.engine(), state);
        store.limiter(|state| &mut state.limits);
        let linker = linker(module)?;
        let mut vm = Vm { store, exports: Rc::default(), failure: None, stopped: false };
        vm.set_deadline();
        module.check_imports(&linker, &mut vm.store)?;
        vm.store.data_mut().is_restricted = true;
        let instance = linker
            .instantiate(&mut vm.store, &module.module)
            .map_err(|error| match error.is::<wasmtime::Trap>() {
                true => anyhow!("its start function failed: {}", reason(&error, host)),
                false => module::told(error),
            })
            .context("cannot instantiate the module")?;
        vm.store.data_mut().memory = instance.get_memory(&mut vm.store, "memory");
        let malloc = match function(&instance, &mut vm.store, "malloc")? {
            Some(malloc) => malloc,
            None => function(&instance, &mut vm.store, "proxy_on_memory_allocate")?
                .context("Wasm module is missing malloc function.")?,
        };
        vm.store.data_mut().malloc = Some(malloc);
        vm.exports = Rc::new(Exports::of(&instance, &mut vm.store, module.abi, |name| spec.allows(name))?);
        vm.initialize(&instance)?;
        vm.store.data_mut().is_restricted = false;
        if let Some(failure) = vm.failure.take() {
            bail!(failure);
        }
        Ok(vm)
    }

    /// A WASI reactor has `_initialize` (and Envoy then calls `main`); a WASI command has `_start`.
    fn initialize(&mut self, instance: &wasmtime::Instance) -> Result<()> {
        if let Some(initialize) = function::<(), ()>(instance, &mut self.store, "_initialize")? {
            self.call("_initialize", 0, &initialize, ());
            if let Ok(Some(main)) = function::<(u32, u32), u32>(instance, &mut self.store, "main") {
                self.call("main", 0, &main, (0, 0));
            }
        } else if let Some(start) = function::<(), ()>(instance, &mut self.store, "_start")? {
            self.call("_start", 0, &start, ());
        }
        Ok(())
    }

    /// Which VM of the process it is.
    pub(crate) fn instance(&self) -> u64 {
        self.state().instance
    }

    pub(crate) fn state(&self) -> &VmState {
        self.store.data()
    }

    pub(crate) fn state_mut(&mut self) -> &mut VmState {
        self.store.data_mut()
    }

    /// Why it failed, if it did. A failed VM is not called any more.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// What the guest asked for in the calls so far.
    pub(crate) fn take_after_call(&mut self) -> Vec<AfterCall> {
        std::mem::take(&mut self.state_mut().after_call)
    }

    /// Bytes of the guest's memory.
    pub(crate) fn memory_size(&self) -> usize {
        self.state().memory.map_or(0, |memory| memory.data_size(&self.store))
    }

    fn set_deadline(&mut self) {
        let ticks = match self.state().host.limits.callback {
            Some(limit) => module::epochs(limit),
            None => module::epochs(Duration::from_secs(u64::from(u32::MAX))),
        };
        self.store.set_epoch_deadline(ticks);
    }

    /// Calls the guest. None means that the VM has failed, now or before.
    fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        name: &str,
        context: u32,
        function: &TypedFunc<P, R>,
        params: P,
    ) -> Option<R> {
        if self.failure.is_some() {
            return None;
        }
        self.set_deadline();
        let state = self.store.data_mut();
        state.current = context;
        state.effective = 0;
        state.stops_iteration = false;
        let result = function.call(self.store.as_context_mut(), params);
        let state = self.store.data_mut();
        state.effective = 0;
        self.stopped = state.stops_iteration;
        let trap = state.allocation_trap.take();
        match (result, trap) {
            (Ok(value), None) => Some(value),
            (Ok(_), Some(error)) | (Err(error), _) => {
                self.fail(name, &error);
                None
            }
        }
    }

    fn fail(&mut self, function: &str, error: &wasmtime::Error) {
        let mut text = format!("Function: {function} failed: {}", reason(error, &self.state().host));
        if let Some(backtrace) = error.downcast_ref::<wasmtime::WasmBacktrace>() {
            text.push_str("\nProxy-Wasm plugin in-VM backtrace:");
            for (number, frame) in backtrace.frames().iter().take(MAX_FRAMES).enumerate() {
                let name = frame.func_name().map_or_else(|| format!("func[{}]", frame.func_index()), str::to_owned);
                text.push_str(&format!("\n  {number}: {name}"));
            }
        }
        let (host, thread) = (&self.state().host, self.state().thread);
        host.log(thread, LogLevel::Error, text.clone());
        if !error.is::<InjectedDeath>() {
            host.vm_failed(format!("a VM of thread {thread} has failed: {text}"));
        }
        self.failure = Some(text);
    }

    /// Adds a plugin's root context: `proxy_on_context_create`, then `proxy_on_vm_start`.
    ///
    /// # Errors
    /// When the module answers false, or traps.
    pub(crate) fn start_root(&mut self, plugin: &Arc<Plugin>) -> Result<u32> {
        let exports = Rc::clone(&self.exports);
        let id = self.state_mut().contexts.add(Context::Root(Root::new(Arc::clone(plugin))));
        self.create_root(id);
        if let Some(on_vm_start) = &exports.on_vm_start {
            let size = word(self.state().spec.configuration.len());
            match self.call("proxy_on_vm_start", id, on_vm_start, (id, size)) {
                Some(0) => bail!("the module refused to start: proxy_on_vm_start answered false"),
                Some(_) => {}
                None => bail!(self.failure_text()),
            }
        }
        Ok(id)
    }

    fn create_root(&mut self, id: u32) {
        let exports = Rc::clone(&self.exports);
        if let Some(root) = self.state_mut().contexts.root_mut(id)
            && std::mem::replace(&mut root.created, true)
        {
            return;
        }
        if let Some(create) = &exports.on_context_create {
            self.call("proxy_on_context_create", id, create, (id, 0));
        }
    }

    /// Gives a plugin its configuration: `proxy_on_configure`.
    ///
    /// # Errors
    /// When the module answers false, or traps.
    pub(crate) fn configure(&mut self, root: u32) -> Result<()> {
        self.create_root(root);
        let exports = Rc::clone(&self.exports);
        let Some(on_configure) = &exports.on_configure else { return Ok(()) };
        let size = self.state().contexts.root(root).map_or(0, |root| word(root.plugin.configuration.len()));
        self.set_configuring(root, true);
        let answer = self.call("proxy_on_configure", root, on_configure, (root, size));
        self.set_configuring(root, false);
        match answer {
            Some(0) => {
                let text = "the module refused its configuration: proxy_on_configure answered false";
                Err(Misconfigured(text.to_owned()).into())
            }
            Some(_) => Ok(()),
            None => Err(Misconfigured(self.failure_text()).into()),
        }
    }

    fn set_configuring(&mut self, root: u32, is_configuring: bool) {
        if let Some(root) = self.state_mut().contexts.root_mut(root) {
            root.is_configuring = is_configuring;
        }
    }

    fn failure_text(&self) -> String {
        self.failure.clone().unwrap_or_default()
    }

    /// `proxy_on_tick`.
    pub(crate) fn tick(&mut self, root: u32) {
        let exports = Rc::clone(&self.exports);
        if let Some(on_tick) = exports.on_tick.as_ref().filter(|_| self.state().contexts.contains(root)) {
            self.call("proxy_on_tick", root, on_tick, root);
        }
    }

    /// `proxy_on_queue_ready`.
    pub(crate) fn queue_ready(&mut self, root: u32, token: u32) {
        let exports = Rc::clone(&self.exports);
        if let Some(on_queue_ready) = exports.on_queue_ready.as_ref().filter(|_| self.state().contexts.contains(root)) {
            self.call("proxy_on_queue_ready", root, on_queue_ready, (root, token));
        }
    }

    /// Tells of a callout's end: `proxy_on_http_call_response`, or the gRPC callbacks.
    pub(crate) fn callout_done(&mut self, root_id: u32, token: u32, outcome: CalloutOutcome) {
        let exports = Rc::clone(&self.exports);
        let Some(root) = self.state_mut().contexts.root_mut(root_id) else { return };
        if !root.calls.remove(&token) {
            return;
        }
        // The low two bits of a token tell a gRPC call.
        if token & 3 == 1 {
            return self.grpc_done(root_id, token, outcome);
        }
        let Some(on_response) = &exports.on_http_call_response else { return };
        let (counts, response) = match outcome {
            CalloutOutcome::Response(response) => {
                let counts = (word(response.headers.len()), word(response.body.len()), word(response.trailers.len()));
                (counts, Some(response))
            }
            CalloutOutcome::Reset => {
                root.status = (BROKEN_CONNECTION, "reset".to_owned());
                ((0, 0, 0), None)
            }
        };
        root.call_response = response;
        let (headers, body, trailers) = counts;
        self.call("proxy_on_http_call_response", root_id, on_response, (root_id, token, headers, body, trailers));
        if let Some(root) = self.state_mut().contexts.root_mut(root_id) {
            root.call_response = None;
            root.status.1.clear();
        }
    }

    fn grpc_done(&mut self, root_id: u32, token: u32, outcome: CalloutOutcome) {
        let exports = Rc::clone(&self.exports);
        let (code, message, body) = grpc_result(outcome);
        if let (0, Some(on_receive)) = (code, &exports.on_grpc_receive) {
            let size = word(body.len());
            if let Some(root) = self.state_mut().contexts.root_mut(root_id) {
                root.grpc_message = Some(body);
            }
            self.call("proxy_on_grpc_receive", root_id, on_receive, (root_id, token, size));
            if let Some(root) = self.state_mut().contexts.root_mut(root_id) {
                root.grpc_message = None;
            }
        } else if code > 0 {
            self.grpc_closed(root_id, token, code, message);
        }
    }

    /// Tells that the cluster of a gRPC call is not there.
    pub(crate) fn grpc_unavailable(&mut self, root_id: u32, token: u32) {
        self.grpc_closed(root_id, token, UNAVAILABLE, "Cluster not available".to_owned());
    }

    fn grpc_closed(&mut self, root_id: u32, token: u32, code: u32, message: String) {
        let exports = Rc::clone(&self.exports);
        let Some(on_close) = &exports.on_grpc_close else { return };
        if let Some(root) = self.state_mut().contexts.root_mut(root_id) {
            root.status = (code, message);
        }
        self.call("proxy_on_grpc_close", root_id, on_close, (root_id, token, code));
        if let Some(root) = self.state_mut().contexts.root_mut(root_id) {
            root.status.1.clear();
        }
    }

    /// Adds a stream's context, and tells the module of it.
    pub(crate) fn create_stream(&mut self, context: StreamContext) -> u32 {
        let exports = Rc::clone(&self.exports);
        let root = context.root;
        let id = self.state_mut().contexts.add(Context::Stream(context));
        if let Some(create) = &exports.on_context_create {
            self.call("proxy_on_context_create", id, create, (id, root));
        }
        id
    }

    fn headers(
        &mut self,
        name: &str,
        id: u32,
        callback: Option<&HeadersCallback>,
        count: u32,
        end: bool,
    ) -> HeadersStatus {
        let code = match callback {
            None => return if self.failure.is_some() { HeadersStatus::StopAll } else { HeadersStatus::Continue },
            Some(HeadersCallback::V1(callback)) => self.call(name, id, callback, (id, count)),
            Some(HeadersCallback::V2(callback)) => self.call(name, id, callback, (id, count, u32::from(end))),
        };
        let Some(code) = code else { return HeadersStatus::StopAll };
        let allows_stop =
            self.state().contexts.root(id).is_some_and(|root| root.plugin.allow_on_headers_stop_iteration);
        HeadersStatus::from_code(code, self.stopped, allows_stop)
    }

    /// `proxy_on_request_headers`.
    pub(crate) fn request_headers(&mut self, id: u32, count: u32, end: bool) -> HeadersStatus {
        let exports = Rc::clone(&self.exports);
        self.headers("proxy_on_request_headers", id, exports.on_request_headers.as_ref(), count, end)
    }

    /// `proxy_on_response_headers`.
    pub(crate) fn response_headers(&mut self, id: u32, count: u32, end: bool) -> HeadersStatus {
        let exports = Rc::clone(&self.exports);
        self.headers("proxy_on_response_headers", id, exports.on_response_headers.as_ref(), count, end)
    }

    fn data(
        &mut self,
        name: &str,
        id: u32,
        callback: Option<&TypedFunc<(u32, u32, u32), u32>>,
        size: u32,
        end: bool,
    ) -> DataStatus {
        let Some(callback) = callback else {
            return if self.failure.is_some() { DataStatus::NoBuffer } else { DataStatus::Continue };
        };
        match self.call(name, id, callback, (id, size, u32::from(end))) {
            Some(code) => DataStatus::from_code(code, self.stopped),
            None => DataStatus::NoBuffer,
        }
    }

    /// `proxy_on_request_body`.
    pub(crate) fn request_body(&mut self, id: u32, size: u32, end: bool) -> DataStatus {
        let exports = Rc::clone(&self.exports);
        self.data("proxy_on_request_body", id, exports.on_request_body.as_ref(), size, end)
    }

    /// `proxy_on_response_body`.
    pub(crate) fn response_body(&mut self, id: u32, size: u32, end: bool) -> DataStatus {
        let exports = Rc::clone(&self.exports);
        self.data("proxy_on_response_body", id, exports.on_response_body.as_ref(), size, end)
    }

    fn trailers(&mut self, name: &str, id: u32, callback: Option<&TypedFunc<(u32, u32), u32>>, count: u32) -> bool {
        let Some(callback) = callback else { return self.failure.is_none() };
        let code = self.call(name, id, callback, (id, count));
        code == Some(0) && !self.stopped
    }

    /// `proxy_on_request_trailers`: whether the stream goes on.
    pub(crate) fn request_trailers(&mut self, id: u32, count: u32) -> bool {
        let exports = Rc::clone(&self.exports);
        self.trailers("proxy_on_request_trailers", id, exports.on_request_trailers.as_ref(), count)
    }

    /// `proxy_on_response_trailers`: whether the stream goes on.
    pub(crate) fn response_trailers(&mut self, id: u32, count: u32) -> bool {
        let exports = Rc::clone(&self.exports);
        self.trailers("proxy_on_response_trailers", id, exports.on_response_trailers.as_ref(), count)
    }

    /// `proxy_on_log`.
    pub(crate) fn log(&mut self, id: u32) {
        let exports = Rc::clone(&self.exports);
        if let Some(on_log) = &exports.on_log {
            self.call("proxy_on_log", id, on_log, id);
        }
    }

    /// `proxy_on_done`: whether the context may go at once.
    pub(crate) fn done(&mut self, id: u32) -> bool {
        let exports = Rc::clone(&self.exports);
        match &exports.on_done {
            Some(on_done) => self.call("proxy_on_done", id, on_done, id) != Some(0),
            None => true,
        }
    }

    /// `proxy_on_delete`, and the context goes.
    pub(crate) fn delete(&mut self, id: u32) {
        let exports = Rc::clone(&self.exports);
        if let Some(on_delete) = &exports.on_delete {
            self.call("proxy_on_delete", id, on_delete, id);
        }
        self.state_mut().contexts.remove(id);
    }
}

/// What the host offers to modules of an ABI: made once for each thread.
fn linker(module: &LoadedModule) -> Result<Rc<Linker<VmState>>> {
    thread_local! {
        static LINKERS: RefCell<HashMap<AbiVersion, Rc<Linker<VmState>>>> = RefCell::default();
    }
    if let Some(linker) = LINKERS.with_borrow(|linkers| linkers.get(&module.abi).cloned()) {
        return Ok(linker);
    }
    let mut linker = Linker::new(module.engine());
    imports::offer(&mut linker, module.abi).map_err(module::told)?;
    let linker = Rc::new(linker);
    LINKERS.with_borrow_mut(|linkers| linkers.insert(module.abi, Rc::clone(&linker)));
    Ok(linker)
}

/// So many frames of a trap's backtrace are logged.
const MAX_FRAMES: usize = 50;

/// Why a call has failed.
fn reason(error: &wasmtime::Error, host: &Host) -> String {
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(wasmtime::Trap::Interrupt) => {
            let limit = host.limits.callback.unwrap_or_default();
            format!("it ran for more than {} s without returning: an endless loop?", limit.as_secs_f32())
        }
        Some(wasmtime::Trap::StackOverflow) => "Uncaught RangeError: Maximum call stack size exceeded".to_owned(),
        Some(trap) => format!("Uncaught RuntimeError: {}", trap_text(*trap)),
        None => format!("{}", error.root_cause()),
    }
}

/// A trap in V8's words, where they are known.
fn trap_text(trap: wasmtime::Trap) -> String {
    use wasmtime::Trap;
    let text = match trap {
        Trap::UnreachableCodeReached => "unreachable",
        Trap::MemoryOutOfBounds => "memory access out of bounds",
        Trap::TableOutOfBounds => "table index is out of bounds",
        Trap::IndirectCallToNull | Trap::BadSignature => "null function or function signature mismatch",
        Trap::IntegerDivisionByZero => "divide by zero",
        Trap::IntegerOverflow => "divide result unrepresentable",
        Trap::BadConversionToInteger => "float unrepresentable in integer range",
        other => return other.to_string(),
    };
    text.to_owned()
}

/// gRPC's UNAVAILABLE.
const UNAVAILABLE: u32 = 14;

/// A unary call's status, message and reply. Status 0 has a reply.
fn grpc_result(outcome: CalloutOutcome) -> (u32, String, Vec<u8>) {
    const UNKNOWN: u32 = 2;
    const INTERNAL: u32 = 13;
    let CalloutOutcome::Response(CallResponse { headers, body, trailers }) = outcome else {
        return (UNAVAILABLE, "reset".to_owned(), Vec::new());
    };
    let find = |name: &str| trailers.get_str(name).or_else(|| headers.get_str(name)).map(str::to_owned);
    let message = find("grpc-message").unwrap_or_default();
    match (find("grpc-status").map(|code| code.parse()), headers.get_str(":status")) {
        (Some(Ok(0)), _) => match body.split_at_checked(5) {
            // A frame: not compressed, and its length.
            Some(([0, length @ ..], message))
                if length.try_into().is_ok_and(|l| u32::from_be_bytes(l) == word(message.len())) =>
            {
                (0, String::new(), message.to_vec())
            }
            _ => (INTERNAL, "the reply is not one message".to_owned(), Vec::new()),
        },
        (Some(Ok(code)), _) => (code, message, Vec::new()),
        (Some(Err(_)), _) => (UNKNOWN, message, Vec::new()),
        (None, Some("503" | "504")) => (UNAVAILABLE, String::from_utf8_lossy(&body).into_owned(), Vec::new()),
        (None, _) => (INTERNAL, "via_upstream".to_owned(), Vec::new()),
    }
}
