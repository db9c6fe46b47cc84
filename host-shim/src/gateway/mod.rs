//! A gateway for tests, with Envoy's threads and VMs. Its clock moves only on demand, its upstreams are closures, and
//! it can inject faults. It uses no sockets.
//!
//! The documentation of the crate has an example.

mod builder;
mod events;
mod exchange;
mod message;
mod network;
mod thread;

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

pub use builder::Builder;
pub use message::{Request, Response};
pub use network::{Handler, Reply};

use crate::base::lock;
use crate::config::model;
use crate::state::Host;
use crate::state::clock::nanos;
use crate::state::faults::Faults;
use crate::state::logs::LogLine;
use crate::traffic::Network;
use crate::worker::{Modules, Program};
use events::{Event, Events};
use exchange::AnswerSlot;
use network::SimUpstreams;
use thread::{SimThread, ThreadHandle};

/// The state that the threads share.
struct Shared {
    host: Arc<Host>,
    events: Events,
    upstreams: SimUpstreams,
    program: Mutex<Arc<Program>>,
    empty_listener: Arc<model::Listener>,
    requests: AtomicU64,
}

impl Shared {
    fn program(&self) -> Arc<Program> {
        Arc::clone(&lock(&self.program))
    }

    fn next_request_id(&self) -> String {
        format!("00000000-0000-4000-8000-{:012x}", self.requests.fetch_add(1, Ordering::Relaxed))
    }
}

/// A running gateway. Dropping it ends its threads.
pub struct Gateway {
    shared: Arc<Shared>,
    threads: Vec<ThreadHandle>,
    next_worker: AtomicUsize,
    modules: Modules,
}

/// A request that waits for its response.
pub struct Pending(Arc<AnswerSlot>);

impl Pending {
    /// Returns the response if it is complete.
    pub fn response(&self) -> Option<Response> {
        self.0.get()
    }
}

impl Gateway {
    /// Builds a gateway with one listener and one filter of this module. All requests go to the cluster `upstream`. The
    /// name of the plugin is `plugin`, and its `vm_id` is empty.
    pub fn builder(module: impl Into<Vec<u8>>) -> Builder {
        Builder::new(Modules::replaced_by(module))
    }

    /// Builds a gateway from a complete Envoy configuration, with the modules that it names.
    pub fn of(bootstrap: model::Bootstrap) -> Builder {
        Builder::new(Modules::default()).bootstrap(bootstrap)
    }

    /// Configures the canary with the program, then all threads.
    fn configure(&self) -> Result<()> {
        let before = self.shared.host.logs.lines().len();
        let outcome = self.configure_threads();
        outcome.map_err(|error| {
            let lines = self.shared.host.logs.lines();
            let told: Vec<String> = lines.iter().skip(before).map(|line| format!("  {}", line.text)).collect();
            if told.is_empty() { error } else { error.context(format!("the log says\n{}", told.join("\n"))) }
        })
    }

    /// Configures all threads. If a thread refuses the program, the threads before it keep the new program.
    fn configure_threads(&self) -> Result<()> {
        self.on(0, |thread| {
            let network = Rc::clone(&thread.network) as Rc<dyn Network>;
            let (host, program) = (&thread.shared().host, thread.shared().program());
            let mut bases = thread.bases.borrow_mut();
            thread.worker.configure_after(&program.plugins, |loaded| bases.try_plugin(host, loaded, &network))
        })??;
        for number in 1..self.threads.len() {
            self.on(number, |thread| thread.worker.configure(&thread.shared().program().plugins))??;
        }
        self.on(0, |thread| thread.bases.borrow_mut().keep_only(&thread.shared().program()))
    }

    /// Replaces the configuration, like an update of the listener. Open streams keep the old configuration.
    ///
    /// # Errors
    /// The new configuration is refused. The old one stays in use.
    pub fn update(&self, bootstrap: &model::Bootstrap) -> Result<()> {
        let program = Arc::new(Program::load(bootstrap, &self.modules)?);
        let old = std::mem::replace(&mut *lock(&self.shared.program), program);
        if let Err(error) = self.configure() {
            *lock(&self.shared.program) = old;
            self.return_to_old().context("the old configuration cannot be restored")?;
            return Err(error);
        }
        self.settle()
    }

    /// Configures all threads with their old configuration. This changes nothing for most of them.
    fn return_to_old(&self) -> Result<()> {
        for number in 0..self.threads.len() {
            self.on(number, |thread| thread.worker.configure(&thread.shared().program().plugins))??;
        }
        self.on(0, |thread| thread.bases.borrow_mut().keep_only(&thread.shared().program()))
    }

    /// Runs a closure on a thread and returns its result.
    fn on<T: Send + 'static>(&self, number: usize, run: impl FnOnce(&SimThread) -> T + Send + 'static) -> Result<T> {
        let (sender, result) = mpsc::channel();
        let event: Event = Box::new(move |thread| {
            // The receiver is still there: it waits below.
            let _ = sender.send(run(thread));
        });
        let thread = self.threads.get(number).with_context(|| format!("there is no thread {number}"))?;
        thread.run(event);
        result.recv().map_err(|_| anyhow!("thread {number} of the gateway has died"))
    }

    /// Sends a request through the next worker, without waiting for the response.
    ///
    /// # Errors
    /// The worker has died.
    pub fn send(&self, request: Request) -> Result<Pending> {
        let workers = self.threads.len() - 1;
        let next = self.next_worker.fetch_add(1, Ordering::Relaxed);
        self.send_to(next % workers + 1, request)
    }

    /// Sends a request through the given worker, without waiting for the response. The first worker is 1.
    ///
    /// # Errors
    /// There is no such worker.
    pub fn send_to(&self, worker: usize, request: Request) -> Result<Pending> {
        let workers = self.threads.len() - 1;
        if worker == 0 || worker > workers {
            bail!("there is no worker {worker}: the workers are 1 to {workers}");
        }
        let answer = Arc::new(AnswerSlot::default());
        let for_thread = Arc::clone(&answer);
        self.on(worker, move |thread| thread.request(request, for_thread))?;
        Ok(Pending(answer))
    }

    /// Sends a request through the next worker and returns the response.
    ///
    /// # Errors
    /// There is no response, and no event is left that needs no time. The test must then advance the clock.
    pub fn request(&self, request: Request) -> Result<Response> {
        let what = format!("{} {}", request.method(), request.path());
        let pending = self.send(request)?;
        self.settle()?;
        pending.response().with_context(|| format!("{what} still waits for a response: advance the clock"))
    }

    /// Handles all events that are due now.
    ///
    /// # Errors
    /// There is no end of events.
    pub fn settle(&self) -> Result<()> {
        const ENDLESS: usize = 1_000_000;
        for _ in 0..ENDLESS {
            let Some((number, event)) = self.shared.events.pop() else { return Ok(()) };
            if let Some(thread) = self.threads.get(number) {
                thread.run(event);
            }
        }
        bail!("there are still events after the first {ENDLESS}: does the module cause them itself?")
    }

    /// Advances the clock. Ticks, timeouts and late answers happen in their order.
    ///
    /// # Errors
    /// There is no end of events.
    pub fn advance(&self, duration: Duration) -> Result<()> {
        let clock = &self.shared.host.clock;
        let until = clock.now().saturating_add(nanos(duration));
        loop {
            self.settle()?;
            let tick = self
                .threads
                .iter()
                .map(|thread| thread.next_tick.load(Ordering::SeqCst))
                .min()
                .unwrap_or(thread::NEVER);
            let due = self.shared.events.next_due().unwrap_or(thread::NEVER).min(tick);
            if due > until {
                break;
            }
            clock.move_to(due);
            while let Some((number, event)) = self.shared.events.pop_due(due) {
                self.shared.events.push(number, event);
            }
            for thread in self.threads.iter().filter(|thread| thread.next_tick.load(Ordering::SeqCst) <= due) {
                thread.run(Box::new(|thread| thread.worker.fire_ticks()));
            }
        }
        clock.move_to(until);
        self.settle()
    }

    /// Returns the time of the gateway's clock in nanoseconds since 1970.
    pub fn now(&self) -> u64 {
        self.shared.host.clock.now()
    }

    /// Changes the handler of an upstream. See [`Builder::upstream`].
    pub fn set_upstream(&self, name: &str, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
        self.shared.upstreams.set(name, Arc::new(handler));
    }

    /// Returns the requests of clients that reached an upstream.
    pub fn upstream_requests(&self) -> Vec<Request> {
        self.shared.upstreams.received()
    }

    /// Returns the callouts that reached their targets.
    pub fn callouts(&self) -> Vec<Request> {
        self.shared.upstreams.callouts()
    }

    /// Returns the log.
    pub fn logs(&self) -> Vec<LogLine> {
        self.shared.host.logs.lines()
    }

    /// Returns the value of a counter or a gauge by its full name, such as `wasmcustom.requests`.
    pub fn metric(&self, name: &str) -> Option<u64> {
        self.shared.host.metrics.value(name)
    }

    /// Returns the state that all VMs share: data, queues, statistics, the log.
    pub fn host(&self) -> &Host {
        &self.shared.host
    }

    /// Returns the faults to inject.
    pub fn faults(&self) -> &Faults {
        &self.shared.host.faults
    }

    /// Returns the memory of all guests in bytes.
    ///
    /// # Errors
    /// A thread has died.
    pub fn memory(&self) -> Result<usize> {
        (0..self.threads.len()).map(|number| self.on(number, |thread| thread.worker.memory())).sum()
    }
}

#[cfg(test)]
mod tests;
