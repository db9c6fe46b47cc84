//! A thread with its VMs, their ticks and callouts, and its streams. All events come from the caller, which is a server
//! or a test: a worker does not sleep and does not read sockets.

mod bases;
mod exchange;
mod plugin;
mod program;
mod shutdown;
mod start;
mod stream;
mod ticks;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

pub use bases::Bases;
pub use exchange::{Exchange, Routed};
pub use program::{Modules, Program};
pub use stream::Stream;

use crate::guest::Vm;
use crate::guest::effects::Effect;
use crate::state::{Host, QueueReady};
use crate::traffic::{CalloutOutcome, Network, StreamData, StreamId, Ticket};
use plugin::{PluginHandle, VmCell};
use ticks::{TickKey, Ticks};

/// A thread of the gateway. Thread 0 is the main thread, which has VMs and no streams.
pub struct Worker {
    host: Arc<Host>,
    thread: usize,
    network: Rc<dyn Network>,
    /// The VMs by their keys. A reload of a plugin replaces its failed VM here.
    vms: RefCell<HashMap<String, Weak<VmCell>>>,
    /// The VMs by their numbers, for callouts and ticks.
    instances: RefCell<HashMap<u64, Weak<VmCell>>>,
    /// The plugins of each listener, in the order of its filters.
    plugins: RefCell<Vec<Vec<Rc<PluginHandle>>>>,
    /// Plugins of an older configuration that still have streams.
    retiring: RefCell<Vec<Rc<PluginHandle>>>,
    /// Root contexts that must call `proxy_done` before they are deleted, with their VMs.
    closing: RefCell<Vec<(Rc<VmCell>, u32)>>,
    ticks: RefCell<Ticks>,
    /// The streams by their ids, for effects.
    streams: RefCell<HashMap<StreamId, Weak<RefCell<Stream>>>>,
    last_stream: Cell<u64>,
    /// Effects that wait because their streams are borrowed.
    deferred: RefCell<Vec<(Rc<VmCell>, Effect)>>,
    is_draining: Cell<bool>,
}

impl Worker {
    pub fn new(host: &Arc<Host>, thread: usize, network: Rc<dyn Network>) -> Rc<Self> {
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
            streams: RefCell::default(),
            last_stream: Cell::new(0),
            deferred: RefCell::default(),
            is_draining: Cell::new(false),
        })
    }

    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    pub fn thread(&self) -> usize {
        self.thread
    }

    /// Begins a stream through the current filters of a listener, except those that its route disables.
    pub fn begin(
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
        let id = StreamId(self.last_stream.get() + 1);
        self.last_stream.set(id.0);
        let stream = Stream::new(self, id, plugins, data, exchange);
        self.streams.borrow_mut().insert(id, Rc::downgrade(&stream));
        stream
    }

    fn forget_stream(&self, id: StreamId) {
        self.streams.borrow_mut().remove(&id);
    }

    /// Calls a VM, and carries out the effects of the call.
    fn call(&self, cell: &Rc<VmCell>, run: impl FnOnce(&mut Vm)) {
        run(&mut cell.vm.borrow_mut());
        self.do_effects(cell);
    }

    fn do_effects(&self, cell: &Rc<VmCell>) {
        let effects = cell.vm.borrow_mut().take_effects();
        for effect in effects {
            self.do_effect(cell, effect);
        }
    }

    /// Carries out an effect, or postpones it while its stream is borrowed.
    fn do_effect(&self, cell: &Rc<VmCell>, effect: Effect) {
        match effect {
            Effect::Tick { root, period } => {
                let instance = cell.vm.borrow().instance();
                self.set_tick((instance, root), Duration::from_millis(u64::from(period)));
            }
            Effect::GrpcUnavailable { root, token } => self.call(cell, |vm| vm.grpc_unavailable(root, token)),
            Effect::Done { root } => self.finish_closing(cell, root),
            Effect::Stream { stream, filter, ask } => {
                let target = self.streams.borrow().get(&stream).and_then(Weak::upgrade);
                let Some(target) = target else { return };
                match target.try_borrow_mut() {
                    Ok(mut target) => target.asked(filter, ask),
                    Err(_) => {
                        self.deferred.borrow_mut().push((Rc::clone(cell), Effect::Stream { stream, filter, ask }));
                    }
                }
            }
        }
    }

    /// Carries out the postponed effects. No stream may be borrowed.
    pub fn drain(&self) {
        if self.is_draining.replace(true) {
            return;
        }
        loop {
            let deferred = self.deferred.take();
            if deferred.is_empty() {
                break;
            }
            for (cell, effect) in deferred {
                self.do_effect(&cell, effect);
            }
        }
        self.is_draining.set(false);
    }

    fn set_tick(&self, key: TickKey, period: Duration) {
        self.ticks.borrow_mut().set(key, period, self.host.clock.now());
        if !period.is_zero() {
            self.network.tick_set();
        }
    }

    /// Returns the time of the next tick in nanoseconds since 1970.
    pub fn next_tick(&self) -> Option<u64> {
        self.ticks.borrow().next_due()
    }

    /// Calls the ticks that are due. Each is set again when its callback has returned.
    pub fn fire_ticks(&self) {
        let now = self.host.clock.now();
        loop {
            let key = self.ticks.borrow_mut().pop_due(now);
            let Some(key) = key else { break };
            match self.living(key.0) {
                Some(cell) => {
                    self.call(&cell, |vm| vm.tick(key.1));
                    self.ticks.borrow_mut().repeat(key, self.host.clock.now());
                }
                None => self.ticks.borrow_mut().forget(key),
            }
        }
        self.drain();
    }

    /// Returns a VM by its number, unless it was dropped or has failed.
    fn living(&self, instance: u64) -> Option<Rc<VmCell>> {
        let cell = self.instances.borrow().get(&instance).and_then(Weak::upgrade);
        cell.filter(|cell| !cell.has_failed())
    }

    /// Notifies a VM that a callout has ended.
    pub fn callout_done(&self, ticket: Ticket, outcome: CalloutOutcome) {
        if let Some(cell) = self.living(ticket.instance) {
            self.call(&cell, |vm| vm.callout_done(ticket.root, ticket.token, outcome));
        }
        self.drain();
    }

    /// Notifies the VM that registered a queue of a new message. If the VM was dropped, no VM is notified.
    pub fn queue_ready(&self, ready: &QueueReady) {
        let cell = self.vms.borrow().get(&ready.registrant.vm_key).and_then(Weak::upgrade);
        if let Some(cell) = cell.filter(|cell| !cell.has_failed()) {
            self.call(&cell, |vm| vm.queue_ready(ready.registrant.context, ready.token));
        }
        self.drain();
    }

    /// Returns the number of VMs and ticks in its tables.
    #[cfg(test)]
    pub fn remembered(&self) -> (usize, usize, usize) {
        (self.vms.borrow().len(), self.instances.borrow().len(), self.ticks.borrow().len())
    }

    /// Returns the memory of all guests on this thread in bytes.
    pub fn memory(&self) -> usize {
        let vms = self.vms.borrow();
        vms.values().filter_map(Weak::upgrade).map(|cell| cell.vm.borrow().memory_size()).sum()
    }
}
