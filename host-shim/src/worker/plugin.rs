//! A plugin on one thread: its VM, its root context, and its reload after a failure of the VM.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use crate::config::model::{FailurePolicy, Plugin};
use crate::guest::{LoadedModule, Vm, VmSpec};
use crate::state::clock::nanos;

/// A VM of a thread. Plugins with the same key share it.
pub struct VmCell {
    pub vm: RefCell<Vm>,
}

impl VmCell {
    pub fn new(vm: Vm) -> Rc<Self> {
        Rc::new(VmCell { vm: RefCell::new(vm) })
    }

    pub fn has_failed(&self) -> bool {
        // A VM that is borrowed has not failed yet.
        self.vm.try_borrow().is_ok_and(|vm| vm.failure().is_some())
    }
}

/// A loaded plugin, which all threads share.
#[derive(Clone)]
pub struct LoadedPlugin {
    pub plugin: Arc<Plugin>,
    pub spec: Arc<VmSpec>,
    pub module: Arc<LoadedModule>,
    /// The name of the entry in `http_filters`.
    pub filter_name: String,
    /// Whether only routes that enable the filter use it.
    pub is_disabled: bool,
    /// Plugins with the same key share a root context in a VM.
    pub key: String,
}

/// A VM and a root context in it.
pub type RunningPlugin = (Rc<VmCell>, u32);

pub struct PluginHandle {
    pub loaded: LoadedPlugin,
    running: RefCell<Option<RunningPlugin>>,
    /// The earliest time for another VM, in nanoseconds since 1970.
    next_reload: Cell<u64>,
}

impl PluginHandle {
    /// Makes the handle of a plugin that starts now. The first back-off begins now, too.
    pub fn new(loaded: LoadedPlugin, running: RunningPlugin, now: u64) -> Rc<Self> {
        let next_reload = Cell::new(now.saturating_add(nanos(loaded.plugin.reload_backoff)));
        Rc::new(PluginHandle { loaded, running: RefCell::new(Some(running)), next_reload })
    }

    /// Returns the VM and the root context, if the VM has not failed.
    pub fn running(&self) -> Option<RunningPlugin> {
        self.running.borrow().clone()
    }

    /// Whether requests skip this plugin if its VM has failed.
    pub fn passes_failures(&self) -> bool {
        self.loaded.plugin.failure_policy == FailurePolicy::FailOpen
    }

    /// Whether a failed VM can be replaced now. If so, the next time is after the back-off.
    pub fn may_reload(&self, now: u64, backoff: u64) -> bool {
        let may = now >= self.next_reload.get();
        if may {
            self.next_reload.set(now.saturating_add(backoff));
        }
        may
    }

    pub fn set_running(&self, running: RunningPlugin) {
        *self.running.borrow_mut() = Some(running);
    }
}
