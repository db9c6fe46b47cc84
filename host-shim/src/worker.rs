//! A thread: its VMs, their ticks and callouts, and its streams. What the operating system or a test does comes in
//! from outside: the worker neither sleeps nor reads a socket.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::host::{Host, QueueReady};
use crate::network::{CalloutOutcome, Network, Ticket};
use crate::plugin::{LoadedPlugin, PluginHandle, VmCell};
use crate::state::clock::nanos;
use crate::state::timers::{TimerId, Timers};
use crate::stream::data::StreamData;
use crate::stream::{Exchange, Stream};
use crate::vm::Vm;
use crate::vm::state::AfterCall;

/// A thread of the gateway. 0 is the main thread, which has VMs and no streams.
pub(crate) struct Worker {
    host: Arc<Host>,
    thread: usize,
    network: Rc<dyn Network>,
    /// The VMs by their keys; a failed one is replaced here when its plugin is reloaded.
    vms: RefCell<HashMap<String, Weak<VmCell>>>,
    /// The VMs that callouts and ticks find by their numbers.
    instances: RefCell<HashMap<u64, Weak<VmCell>>>,
    /// By listener, in the order of its filters.
    plugins: RefCell<Vec<Vec<Rc<PluginHandle>>>>,
    /// Plugins of an older configuration, whose streams go on.
    retiring: RefCell<Vec<Rc<PluginHandle>>>,
    /// Root contexts that want to call `proxy_done` before they go, with the VMs that they keep.
    closing: RefCell<Vec<(Rc<VmCell>, u32)>>,
    ticks: RefCell<Ticks>,
    /// Streams' asks that came while the stream was in use.
    deferred: RefCell<Vec<(Rc<VmCell>, AfterCall)>>,
    is_draining: Cell<bool>,
}

/// Which root context a tick is for.
type TickKey = (u64, u32);

#[derive(Default)]
struct Ticks {
    timers: Timers<TickKey>,
    periods: HashMap<TickKey, (Duration, TimerId)>,
}

impl Worker {
    pub(crate) fn new(host: &Arc<Host>, thread: usize, network: Rc<dyn Network>) -> Rc<Self> {
        Rc::new(Worker {
            host: Arc::clone(host),
            thread,
            network,
            vms: RefCell::default(),
            instances: RefCell::default(),
            plugins: RefCell::default(),
            retiring: RefCell::default(),
            closing: RefCell::default(),
            ticks: RefCell::default(),
            deferred: RefCell::default(),
            is_draining: Cell::new(false),
        })
    }

    pub(crate) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    pub(crate) fn thread(&self) -> usize {
        self.thread
    }

    /// Replaces the configuration (by listener, the plugins in the order of its filters): new plugins start before the
    /// old ones go, and what has not changed stays.
    ///
    /// # Errors
    /// When a plugin does not start; then the old configuration stays.
    pub(crate) fn configure(&self, listeners: &[Vec<LoadedPlugin>]) -> Result<()> {
        self.configure_after(listeners, |_| Ok(()))
    }

    /// The same, with something to do before each plugin that starts.
    ///
    /// # Errors
    /// As [`Worker::configure`], and those of what is done before.
    pub(crate) fn configure_after(
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
                        let (vm, root) = self.start_plugin(loaded)?;
                        PluginHandle::new(loaded.clone(), vm, root)
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

    /// Gives a plugin a root context: in the VM of its key, or in a new one.
    ///
    /// # Errors
    /// When the VM does not start, or the module refuses its configuration.
    pub(crate) fn start_plugin(&self, loaded: &LoadedPlugin) -> Result<(Rc<VmCell>, u32)> {
        let present = self.vms.borrow().get(&loaded.spec.key).and_then(Weak::upgrade).filter(|vm| !vm.has_failed());
        let (cell, root) = match present {
            Some(cell) => {
                let started = cell.vm.borrow_mut().start_root(&loaded.plugin);
                self.run_after_call(&cell);
                (cell, started?)
            }
            None => {
                let vm = Vm::start(&loaded.module, &loaded.spec, &self.host, self.thread, Rc::clone(&self.network))?;
                let cell = VmCell::new(vm);
                self.forget_dead();
                self.vms.borrow_mut().insert(loaded.spec.key.clone(), Rc::downgrade(&cell));
                self.instances.borrow_mut().insert(cell.vm.borrow().instance(), Rc::downgrade(&cell));
                let started = cell.vm.borrow_mut().start_root(&loaded.plugin);
                self.run_after_call(&cell);
                (cell, started?)
            }
        };
        let configured = cell.vm.borrow_mut().configure(root);
        self.run_after_call(&cell);
        configured?;
        Ok((cell, root))
    }

    /// VMs that are gone have no number and no ticks.
    fn forget_dead(&self) {
        self.vms.borrow_mut().retain(|_, vm| vm.strong_count() > 0);
        let mut instances = self.instances.borrow_mut();
        instances.retain(|_, vm| vm.strong_count() > 0);
        let mut ticks = self.ticks.borrow_mut();
        let Ticks { timers, periods } = &mut *ticks;
        periods.retain(|(instance, _), (_, timer)| {
            let lives = instances.contains_key(instance);
            if !lives {
                timers.cancel(*timer);
            }
            lives
        });
    }

    fn run_after_call(&self, cell: &Rc<VmCell>) {
        let asks = cell.vm.borrow_mut().take_after_call();
        for ask in asks {
            self.after_call(cell, ask);
        }
    }

    /// Begins a stream through a listener's present filters, but for those that its route disables.
    pub(crate) fn begin(
        self: &Rc<Self>,
        listener: usize,
        data: StreamData,
        exchange: Rc<dyn Exchange>,
    ) -> Rc<RefCell<Stream>> {
        let mut plugins = self.plugins.borrow().get(listener).cloned().unwrap_or_default();
        let route = data.info.route.as_ref();
        plugins.retain(|handle| {
            let (name, is_disabled) = (&handle.loaded.filter_name, handle.loaded.is_disabled);
            let is_enabled = !is_disabled || route.is_some_and(|route| route.enabled_filters.contains(name));
            is_enabled && !route.is_some_and(|route| route.disabled_filters.contains(name))
        });
        Stream::new(self, plugins, data, exchange)
    }

    /// A stream has ended: plugins of older configurations that nobody uses any more are shut down.
    pub(crate) fn stream_ended(&self) {
        // Two owners: the list of plugins that retire, and the copy here.
        let unused = |handle: &Rc<PluginHandle>| Rc::strong_count(handle) == 1;
        let gone: Vec<_> = {
            let mut retiring = self.retiring.borrow_mut();
            let (gone, kept) = retiring.drain(..).partition(|handle| unused(handle));
            *retiring = kept;
            gone
        };
        for handle in gone {
            self.shut_down(&handle);
        }
    }

    /// The process ends: every root context is shut down.
    pub(crate) fn shut_down_all(&self) {
        let mut handles: Vec<_> = self.plugins.take().into_iter().flatten().collect();
        handles.extend(self.retiring.take());
        // Filters that are alike share a handle.
        let mut done: Vec<Rc<PluginHandle>> = Vec::new();
        for handle in handles {
            if !done.iter().any(|other| Rc::ptr_eq(other, &handle)) {
                self.shut_down(&handle);
                done.push(handle);
            }
        }
    }

    /// `proxy_on_done` for a root context; if the module answers true, `proxy_on_delete`, or else when it calls
    /// `proxy_done`.
    fn shut_down(&self, handle: &PluginHandle) {
        let Some((cell, root)) = handle.running() else { return };
        if cell.has_failed() {
            self.forget_root(&cell, root);
            return;
        }
        let mut is_done = true;
        cell.call(self, None, |vm| is_done = vm.done(root));
        if is_done {
            self.delete_root(&cell, root);
        } else {
            let mut vm = cell.vm.borrow_mut();
            if let Some(root) = vm.state_mut().contexts.root_mut(root) {
                root.is_closing = true;
            }
            drop(vm);
            // It lives on until it calls proxy_done.
            self.closing.borrow_mut().push((cell, root));
        }
    }

    fn delete_root(&self, cell: &Rc<VmCell>, root: u32) {
        let calls = {
            let vm = cell.vm.borrow();
            vm.state().contexts.root(root).map(|root| root.calls.clone()).unwrap_or_default()
        };
        let instance = cell.vm.borrow().instance();
        for token in calls {
            self.network.cancel(Ticket { instance, root, token });
        }
        cell.call(self, None, |vm| vm.delete(root));
        self.forget_root(cell, root);
    }

    fn forget_root(&self, cell: &Rc<VmCell>, root: u32) {
        let instance = cell.vm.borrow().instance();
        self.set_tick((instance, root), Duration::ZERO);
    }

    /// Does what a guest asked for, or puts it off while its stream is in use.
    pub(crate) fn after_call(&self, cell: &Rc<VmCell>, ask: AfterCall) {
        match ask {
            AfterCall::Tick { root, period } => {
                let instance = cell.vm.borrow().instance();
                self.set_tick((instance, root), Duration::from_millis(u64::from(period)));
            }
            AfterCall::GrpcUnavailable { root, token } => {
                cell.call(self, None, |vm| vm.grpc_unavailable(root, token));
            }
            AfterCall::Done { root } => {
                self.closing.borrow_mut().retain(|(other, closing)| !Rc::ptr_eq(other, cell) || *closing != root);
                self.delete_root(cell, root);
            }
            AfterCall::Stream { stream, filter, ask } => {
                let Some(target) = stream.upgrade() else { return };
                match target.try_borrow_mut() {
                    Ok(mut target) => target.asked(filter, ask),
                    Err(_) => {
                        self.deferred.borrow_mut().push((Rc::clone(cell), AfterCall::Stream { stream, filter, ask }))
                    }
                }
            }
        }
    }

    /// Does what was put off. To be called when no stream is in use.
    pub(crate) fn drain(&self) {
        if self.is_draining.replace(true) {
            return;
        }
        loop {
            let deferred = self.deferred.take();
            if deferred.is_empty() {
                break;
            }
            for (cell, ask) in deferred {
                self.after_call(&cell, ask);
            }
        }
        self.is_draining.set(false);
    }

    fn set_tick(&self, key: TickKey, period: Duration) {
        let mut ticks = self.ticks.borrow_mut();
        if let Some((_, timer)) = ticks.periods.remove(&key) {
            ticks.timers.cancel(timer);
        }
        if !period.is_zero() {
            let timer = ticks.timers.set(self.host.clock.now().saturating_add(nanos(period)), key);
            ticks.periods.insert(key, (period, timer));
            self.network.tick_set();
        }
    }

    /// When the next tick is due, in nanoseconds since 1970.
    pub(crate) fn next_tick(&self) -> Option<u64> {
        self.ticks.borrow().timers.next_due()
    }

    /// Calls the ticks that are due; each is set again when its callback has returned.
    pub(crate) fn fire_ticks(&self) {
        let now = self.host.clock.now();
        loop {
            let key = self.ticks.borrow_mut().timers.pop_due(now);
            let Some(key) = key else { break };
            let cell = self.instances.borrow().get(&key.0).and_then(Weak::upgrade);
            let Some(cell) = cell.filter(|cell| !cell.has_failed()) else {
                self.ticks.borrow_mut().periods.remove(&key);
                continue;
            };
            cell.call(self, None, |vm| vm.tick(key.1));
            // Unless the callback has changed the period, and with it the timer.
            let mut ticks = self.ticks.borrow_mut();
            let period = ticks.periods.get(&key).map(|(period, _)| *period);
            let is_set = ticks.periods.get(&key).is_some_and(|(_, timer)| ticks.timers.is_set(*timer));
            if let (Some(period), false) = (period, is_set) {
                let timer = ticks.timers.set(self.host.clock.now().saturating_add(nanos(period)), key);
                ticks.periods.insert(key, (period, timer));
            }
        }
        self.drain();
    }

    /// Tells a VM that a callout has ended.
    pub(crate) fn callout_done(&self, ticket: Ticket, outcome: CalloutOutcome) {
        let cell = self.instances.borrow().get(&ticket.instance).and_then(Weak::upgrade);
        if let Some(cell) = cell.filter(|cell| !cell.has_failed()) {
            cell.call(self, None, |vm| vm.callout_done(ticket.root, ticket.token, outcome));
        }
        self.drain();
    }

    /// Tells the VM that registered a queue of a message. Where it is gone, nobody is told.
    pub(crate) fn queue_ready(&self, ready: &QueueReady) {
        let cell = self.vms.borrow().get(&ready.registrant.vm_key).and_then(Weak::upgrade);
        if let Some(cell) = cell.filter(|cell| !cell.has_failed()) {
            cell.call(self, None, |vm| vm.queue_ready(ready.registrant.context, ready.token));
        }
        self.drain();
    }

    /// How many VMs and ticks are remembered.
    #[cfg(test)]
    pub(crate) fn remembered(&self) -> (usize, usize, usize) {
        (self.vms.borrow().len(), self.instances.borrow().len(), self.ticks.borrow().periods.len())
    }

    /// The bytes of guests' memory on this thread.
    pub(crate) fn memory(&self) -> usize {
        let vms = self.vms.borrow();
        vms.values().filter_map(Weak::upgrade).map(|cell| cell.vm.borrow().memory_size()).sum()
    }
}
