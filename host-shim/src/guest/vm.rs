//! A VM: an instance of a module, its contexts, and calls of it. A trap ends the VM.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use wasmtime::{AsContextMut, Store, StoreLimitsBuilder, TypedFunc, WasmParams, WasmResults};

use super::effects::Effect;
use super::exports::{Exports, function};
use super::failure::{self, reason};
use super::hostcalls;
use super::module::{self, LoadedModule};
use super::state::{VmSpec, VmState};
use crate::state::Host;
use crate::state::metrics::Stat;
use crate::traffic::Network;

/// A VM. Only its thread calls it.
pub struct Vm {
    store: Store<VmState>,
    pub(super) exports: Rc<Exports>,
    pub(super) failure: Option<String>,
    /// Whether the last callback sent a local reply.
    pub(super) stopped: bool,
    _counted: CountedVm,
}

/// Counts a VM in the statistics while it lives.
struct CountedVm([Arc<Stat>; 2]);

impl CountedVm {
    fn new(host: &Host) -> Self {
        host.metrics.counter("wasm.envoy.wasm.runtime.v8.created").add(1);
        let gauges = ["wasm.envoy.wasm.runtime.v8.active", "wasm.wasm_vm_count"].map(|name| host.metrics.gauge(name));
        gauges.iter().for_each(|gauge| gauge.add(1));
        CountedVm(gauges)
    }
}

impl Drop for CountedVm {
    fn drop(&mut self) {
        self.0.iter().for_each(|gauge| gauge.sub(1));
    }
}

impl Vm {
    /// Instantiates a module and initializes it (`_initialize` and `main`, or `_start`).
    ///
    /// # Errors
    /// The module imports a function that the host does not have, has no allocator, or traps.
    pub fn start(
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
        let linker = hostcalls::linker(module.engine(), module.abi).map_err(module::told)?;
        let counted = CountedVm::new(host);
        let mut vm = Vm { store, exports: Rc::default(), failure: None, stopped: false, _counted: counted };
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

    /// A WASI reactor has `_initialize`, after which Envoy calls `main`. A WASI command has `_start`.
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

    /// Returns the number of the VM in the process.
    pub fn instance(&self) -> u64 {
        self.state().instance
    }

    pub fn state(&self) -> &VmState {
        self.store.data()
    }

    pub fn state_mut(&mut self) -> &mut VmState {
        self.store.data_mut()
    }

    /// Returns the reason for the failure of the VM, if it has failed. A failed VM is not called any more.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Removes and returns the effects of the calls so far.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.state_mut().effects)
    }

    /// Returns the size of the guest's memory in bytes.
    pub fn memory_size(&self) -> usize {
        self.state().memory.map_or(0, |memory| memory.data_size(&self.store))
    }

    fn set_deadline(&mut self) {
        let ticks = match self.state().host.limits.callback {
            Some(limit) => module::epochs(limit),
            None => module::epochs(Duration::from_secs(u64::from(u32::MAX))),
        };
        self.store.set_epoch_deadline(ticks);
    }

    /// Calls the guest. `None` means that the VM has failed in this call or before.
    pub(super) fn call<P: WasmParams, R: WasmResults>(
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
        let text = failure::report(function, error, &self.state().host, self.state().thread);
        self.failure = Some(text);
        // What waits for the end of a callback does not happen after a trap.
        self.state_mut().effects.retain(|effect| matches!(effect, Effect::Tick { .. }));
    }
}
