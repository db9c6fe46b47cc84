//! A plugin on one thread: its VM, its root context, and what becomes of it when the VM fails.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use crate::abi::types::LogLevel;
use crate::config::model::{FailurePolicy, Plugin};
use crate::state::clock::nanos;
use crate::state::metrics::Stat;
use crate::stream::Stream;
use crate::vm::module::LoadedModule;
use crate::vm::{Vm, VmSpec};
use crate::worker::Worker;

/// A VM of a thread; plugins with the same key share it.
pub(crate) struct VmCell {
    pub(crate) vm: RefCell<Vm>,
    /// The gauge of VMs that live.
    active: Arc<Stat>,
}

impl Drop for VmCell {
    fn drop(&mut self) {
        self.active.sub(1);
    }
}

impl VmCell {
    pub(crate) fn new(vm: Vm) -> Rc<Self> {
        let metrics = &vm.state().host.metrics;
        metrics.counter("wasm.envoy.wasm.runtime.v8.created").add(1);
        let active = metrics.gauge("wasm.envoy.wasm.runtime.v8.active");
        active.add(1);
        Rc::new(VmCell { vm: RefCell::new(vm), active })
    }

    pub(crate) fn has_failed(&self) -> bool {
        // A VM that is in use has not failed yet.
        self.vm.try_borrow().is_ok_and(|vm| vm.failure().is_some())
    }

    /// Calls the VM and has the worker do what the guest asked for. What it asks of the stream `within` waits until
    /// that stream is free.
    pub(crate) fn call(
        self: &Rc<Self>,
        worker: &Worker,
        _within: Option<&Weak<RefCell<Stream>>>,
        run: impl FnOnce(&mut Vm),
    ) {
        let asks = {
            let mut vm = self.vm.borrow_mut();
            run(&mut vm);
            vm.take_after_call()
        };
        for ask in asks {
            worker.after_call(self, ask);
        }
    }
}

/// A plugin as it is loaded: shared by all threads.
#[derive(Clone)]
pub(crate) struct LoadedPlugin {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) spec: Arc<VmSpec>,
    pub(crate) module: Arc<LoadedModule>,
    /// The name of the entry in `http_filters`.
    pub(crate) filter_name: String,
    /// Only routes that enable it have it.
    pub(crate) is_disabled: bool,
    /// Plugins with the same one share a root context in a VM.
    pub(crate) key: String,
}

/// A plugin of a thread.
pub(crate) struct PluginHandle {
    pub(crate) loaded: LoadedPlugin,
    running: RefCell<Option<(Rc<VmCell>, u32)>>,
    /// When a failed VM may be made anew, in nanoseconds since 1970.
    next_reload: Cell<u64>,
}

impl PluginHandle {
    pub(crate) fn new(loaded: LoadedPlugin, vm: Rc<VmCell>, root: u32) -> Rc<Self> {
        Rc::new(PluginHandle { loaded, running: RefCell::new(Some((vm, root))), next_reload: Cell::new(0) })
    }

    /// The VM and the root context, if it has not failed.
    pub(crate) fn running(&self) -> Option<(Rc<VmCell>, u32)> {
        self.running.borrow().clone()
    }

    /// Whether requests pass by this plugin when its VM has failed.
    pub(crate) fn passes_failures(&self) -> bool {
        self.loaded.plugin.failure_policy == FailurePolicy::FailOpen
    }

    /// The VM and root context for a new stream. With FAIL_RELOAD a failed VM is made anew now, not more often than
    /// its back-off says.
    pub(crate) fn vm_for_stream(&self, worker: &Rc<Worker>) -> Option<(Rc<VmCell>, u32)> {
        let running = self.running();
        if running.as_ref().is_some_and(|(vm, _)| !vm.has_failed()) {
            return running;
        }
        if self.loaded.plugin.failure_policy != FailurePolicy::FailReload {
            return running;
        }
        let (host, now) = (worker.host(), worker.host().clock.now());
        let count = |what: &str| host.metrics.counter(&format!("wasm.{}.{what}", self.loaded.plugin.name)).add(1);
        if now < self.next_reload.get() {
            count("vm_reload_backoff");
            return running;
        }
        self.next_reload.set(now.saturating_add(nanos(self.loaded.plugin.reload_backoff)));
        match worker.start_plugin(&self.loaded) {
            Ok((vm, root)) => {
                count("vm_reload_success");
                host.log(
                    worker.thread(),
                    LogLevel::Info,
                    format!("wasm: plugin {:?} has a new VM", self.loaded.plugin.name),
                );
                *self.running.borrow_mut() = Some((vm, root));
            }
            Err(error) => {
                count("vm_reload_failure");
                let text = format!("wasm: plugin {:?} cannot be brought back: {error:#}", self.loaded.plugin.name);
                host.log(worker.thread(), LogLevel::Error, text);
            }
        }
        self.running()
    }
}
