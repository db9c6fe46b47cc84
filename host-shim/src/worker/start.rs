//! Starts plugins on a thread: for a new configuration, and again after the failure of a VM.

use std::rc::{Rc, Weak};

use anyhow::Result;

use super::Worker;
use super::plugin::{LoadedPlugin, PluginHandle, RunningPlugin, VmCell};
use crate::base::LogLevel;
use crate::config::model::FailurePolicy;
use crate::guest::Vm;
use crate::state::clock::nanos;

impl Worker {
    /// Replaces the configuration, which has the plugins of each listener in the order of its filters. New plugins
    /// start before the old ones are shut down. Unchanged plugins stay.
    ///
    /// # Errors
    /// A plugin does not start. The old configuration then stays in use.
    pub fn configure(&self, listeners: &[Vec<LoadedPlugin>]) -> Result<()> {
        self.configure_after(listeners, |_| Ok(()))
    }

    /// Like [`Worker::configure`], but calls a closure before each plugin that starts.
    ///
    /// # Errors
    /// Those of [`Worker::configure`] and of the closure.
    pub fn configure_after(
        &self,
        listeners: &[Vec<LoadedPlugin>],
        mut before: impl FnMut(&LoadedPlugin) -> Result<()>,
    ) -> Result<()> {
        let present: Vec<Rc<PluginHandle>> = self.plugins.borrow().iter().flatten().cloned().collect();
        let mut known = present.clone();
        let mut chains = Vec::new();
        for plugins in listeners {
            let mut chain = Vec::new();
            for loaded in plugins {
                let handle = match known.iter().find(|handle| handle.loaded.key == loaded.key) {
                    Some(handle) => Rc::clone(handle),
                    None => {
                        before(loaded)?;
                        PluginHandle::new(loaded.clone(), self.start_plugin(loaded)?, self.host.clock.now())
                    }
                };
                known.push(Rc::clone(&handle));
                chain.push(handle);
            }
            chains.push(chain);
        }
        let is_kept = |handle: &Rc<PluginHandle>| chains.iter().flatten().any(|kept| Rc::ptr_eq(kept, handle));
        let gone: Vec<_> = present.into_iter().filter(|handle| !is_kept(handle)).collect();
        drop(known);
        self.plugins.replace(chains);
        self.retiring.borrow_mut().extend(gone);
        self.stream_ended();
        Ok(())
    }

    /// Makes a root context for a plugin, in the VM with its key or in a new VM.
    ///
    /// # Errors
    /// The VM does not start, or the module refuses its configuration.
    fn start_plugin(&self, loaded: &LoadedPlugin) -> Result<RunningPlugin> {
        let present = self.vms.borrow().get(&loaded.spec.key).and_then(Weak::upgrade).filter(|vm| !vm.has_failed());
        let (cell, root) = match present {
            Some(cell) => {
                let started = cell.vm.borrow_mut().start_root(&loaded.plugin);
                self.do_effects(&cell);
                (cell, started?)
            }
            None => {
                let vm = Vm::start(&loaded.module, &loaded.spec, &self.host, self.thread, Rc::clone(&self.network))?;
                let cell = VmCell::new(vm);
                self.forget_dead();
                self.vms.borrow_mut().insert(loaded.spec.key.clone(), Rc::downgrade(&cell));
                self.instances.borrow_mut().insert(cell.vm.borrow().instance(), Rc::downgrade(&cell));
                let started = cell.vm.borrow_mut().start_root(&loaded.plugin);
                self.do_effects(&cell);
                (cell, started?)
            }
        };
        let configured = cell.vm.borrow_mut().configure(root);
        self.do_effects(&cell);
        configured?;
        Ok((cell, root))
    }

    /// Removes the numbers and the ticks of dropped VMs.
    fn forget_dead(&self) {
        self.vms.borrow_mut().retain(|_, vm| vm.strong_count() > 0);
        let mut instances = self.instances.borrow_mut();
        instances.retain(|_, vm| vm.strong_count() > 0);
        self.ticks.borrow_mut().keep_only(|instance| instances.contains_key(&instance));
    }

    /// Returns the VM and the root context of a plugin for a new stream. With FAIL_RELOAD, a failed VM is replaced now
    /// if its back-off has passed.
    pub fn vm_for_stream(&self, handle: &PluginHandle) -> Option<RunningPlugin> {
        let running = handle.running();
        if running.as_ref().is_some_and(|(vm, _)| !vm.has_failed()) {
            return running;
        }
        let plugin = &handle.loaded.plugin;
        if plugin.failure_policy != FailurePolicy::FailReload {
            return running;
        }
        let now = self.host.clock.now();
        let count = |what: &str| self.host.metrics.counter(&format!("wasm.{}.{what}", plugin.name)).add(1);
        if !handle.may_reload(now, nanos(plugin.reload_backoff)) {
            count("vm_reload_backoff");
            return running;
        }
        match self.start_plugin(&handle.loaded) {
            Ok(running) => {
                count("vm_reload_success");
                let text = format!("wasm: plugin {:?} has a new VM", plugin.name);
                self.host.log(self.thread, LogLevel::Info, text);
                handle.set_running(running);
            }
            Err(error) => {
                count("vm_reload_failure");
                let text = format!("wasm: plugin {:?} cannot be restarted: {error:#}", plugin.name);
                self.host.log(self.thread, LogLevel::Error, text);
            }
        }
        handle.running()
    }
}
