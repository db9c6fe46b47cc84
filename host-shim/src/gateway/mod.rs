//! A gateway for tests: Envoy's threads and VMs, with a clock that stands, upstreams that are closures, and faults on
//! demand. Nothing here touches a socket.
//!
//! ```no_run
//! use std::time::Duration;
//! use host_shim::gateway::{Gateway, Request, Response};
//!
//! # fn main() -> anyhow::Result<()> {
//! let gateway = Gateway::builder(std::fs::read("filter.wasm")?)
//!     .config(r#"{"limit": 3}"#)
//!     .workers(2)
//!     .upstream("upstream", |_request| Response::ok("hello").into())
//!     .start()?;
//! let response = gateway.request(Request::get("/").header("authorization", "key"))?;
//! assert_eq!(response.status(), 200);
//! gateway.advance(Duration::from_secs(60))?;
//! assert_eq!(gateway.callouts().len(), 1);
//! # Ok(())
//! # }
//! ```

mod events;
mod exchange;
mod message;
mod network;
mod thread;

use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

pub use message::{Request, Response};
pub use network::{Handler, Reply};

use crate::base::{LogLevel, lock};
use crate::config::{self, defaults, model};
use crate::state::clock::{Clock, nanos};
use crate::state::faults::Faults;
use crate::state::logs::{LogLine, Logs};
use crate::state::quirks::Quirk;
use crate::state::{Host, Limits};
use crate::traffic::Network;
use crate::worker::{Modules, Program};
use events::{Event, Events};
use exchange::AnswerSlot;
use network::SimUpstreams;
use thread::{SimThread, ThreadHandle};

/// What the threads share.
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

/// How a gateway starts.
pub struct Builder {
    modules: Modules,
    bootstrap: model::Bootstrap,
    workers: usize,
    limits: Limits,
    log_level: LogLevel,
    upstreams: Vec<(String, Handler)>,
    quirks: Vec<Quirk>,
}

impl Builder {
    /// The plugin's configuration, as the module gets it.
    #[must_use]
    pub fn config(mut self, configuration: impl Into<Vec<u8>>) -> Self {
        let configuration = configuration.into();
        self.edit_plugins(|plugin| plugin.configuration = configuration.clone());
        self
    }

    /// The VM's configuration, as the module gets it.
    #[must_use]
    pub fn vm_config(mut self, configuration: impl Into<Vec<u8>>) -> Self {
        let configuration = configuration.into();
        self.edit_plugins(|plugin| plugin.vm.configuration = configuration.clone());
        self
    }

    /// Changes each plugin's settings: name, root id, failure policy and so on.
    #[must_use]
    pub fn plugin(mut self, edit: impl Fn(&mut model::Plugin)) -> Self {
        self.edit_plugins(edit);
        self
    }

    fn edit_plugins(&mut self, edit: impl Fn(&mut model::Plugin)) {
        for listener in &mut self.bootstrap.listeners {
            listener.manager.filters.iter_mut().for_each(|filter| edit(&mut filter.plugin));
        }
    }

    /// An Envoy configuration, instead of one listener with one filter. The module given replaces those it names.
    #[must_use]
    pub fn bootstrap(mut self, bootstrap: model::Bootstrap) -> Self {
        self.bootstrap = bootstrap;
        self
    }

    /// Where the modules come from that the configuration names.
    #[must_use]
    pub fn modules(mut self, modules: Modules) -> Self {
        self.modules = modules;
        self
    }

    /// The Envoy configuration as it is so far: what [`Gateway::update`] can be given, changed.
    pub fn get_bootstrap(&self) -> &model::Bootstrap {
        &self.bootstrap
    }

    /// The same from a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn envoy(self, path: impl AsRef<Path>) -> Result<Self> {
        let loaded = config::read(path.as_ref()).map_err(|errors| anyhow!("{errors}"))?;
        Ok(self.bootstrap(loaded.bootstrap))
    }

    /// The number of workers, each with a VM, beside the main thread's VM.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// How long a callback may take; 10 s unless given.
    #[must_use]
    pub fn callback_limit(mut self, limit: Duration) -> Self {
        self.limits.callback = Some(limit);
        self
    }

    /// The most memory that a guest can have, in bytes.
    #[must_use]
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.limits.memory = bytes;
        self
    }

    /// The lowest level that is logged; info unless given.
    #[must_use]
    pub fn log_level(mut self, level: LogLevel) -> Self {
        self.log_level = level;
        self
    }

    /// Answers what is sent to a cluster, or to an authority (`host:port`) by any cluster. `*` is for all others.
    #[must_use]
    pub fn upstream(mut self, name: &str, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        self.upstreams.push((name.to_owned(), Arc::new(handler)));
        self
    }

    /// Makes it differ from Envoy, as other hosts do.
    #[must_use]
    pub fn quirk(mut self, quirk: Quirk) -> Self {
        self.quirks.push(quirk);
        self
    }

    /// Starts canary, main thread and workers.
    ///
    /// # Errors
    /// When the module does not load, or refuses its configuration; the text has what it logged.
    pub fn start(self) -> Result<Gateway> {
        let host = Host::new(Clock::manual(), Logs::kept(self.log_level), self.limits);
        host.quirks.set(self.quirks);
        let program = Program::load(&self.bootstrap, &self.modules)?;
        let shared = Arc::new(Shared {
            host,
            events: Events::default(),
            upstreams: SimUpstreams::default(),
            program: Mutex::new(Arc::new(program)),
            empty_listener: Arc::new(defaults::listener()),
            requests: AtomicU64::new(1),
        });
        for (name, handler) in self.upstreams {
            shared.upstreams.set(&name, handler);
        }
        let threads: Vec<ThreadHandle> =
            (0..=self.workers).map(|number| ThreadHandle::start(number, &shared)).collect::<std::io::Result<_>>()?;
        for number in 0..threads.len() {
            let for_events = Arc::downgrade(&shared);
            shared.host.set_mailbox(
                number,
                Box::new(move |ready| {
                    if let Some(shared) = for_events.upgrade() {
                        shared
                            .events
                            .push(number, Box::new(move |thread: &SimThread| thread.worker.queue_ready(&ready)));
                    }
                }),
            );
        }
        let gateway = Gateway { shared, threads, next_worker: AtomicUsize::new(0), modules: self.modules };
        gateway.configure()?;
        gateway.settle()?;
        Ok(gateway)
    }
}

/// A running gateway. Its threads end with it.
pub struct Gateway {
    shared: Arc<Shared>,
    threads: Vec<ThreadHandle>,
    next_worker: AtomicUsize,
    modules: Modules,
}

/// A request that is under way.
pub struct Pending(Arc<AnswerSlot>);

impl Pending {
    /// The response, if it is whole by now.
    pub fn response(&self) -> Option<Response> {
        self.0.get()
    }
}

impl Gateway {
    /// A gateway with one listener and one filter, of this module: everything goes to the
    /// cluster `upstream`. The plugin is named `plugin`, and its `vm_id` is empty.
    pub fn builder(module: impl Into<Vec<u8>>) -> Builder {
        Builder {
            modules: Modules::replaced_by(module),
            bootstrap: defaults::bootstrap(),
            workers: 1,
            limits: Limits { callback: Some(Duration::from_secs(10)), ..Limits::default() },
            log_level: LogLevel::Info,
            upstreams: Vec::new(),
            quirks: Vec::new(),
        }
    }

    /// A gateway of a whole Envoy configuration, with the modules that it names.
    pub fn of(bootstrap: model::Bootstrap) -> Builder {
        Builder { modules: Modules::default(), ..Gateway::builder(Vec::new()) }.bootstrap(bootstrap)
    }

    /// Gives the program to the canary, then to all threads.
    fn configure(&self) -> Result<()> {
        let before = self.shared.host.logs.lines().len();
        let outcome = self.configure_threads();
        outcome.map_err(|error| {
            let lines = self.shared.host.logs.lines();
            let told: Vec<String> = lines.iter().skip(before).map(|line| format!("  {}", line.text)).collect();
            if told.is_empty() { error } else { error.context(format!("the log says\n{}", told.join("\n"))) }
        })
    }

    /// Where a thread refuses it, those before it have it.
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

    /// Replaces the configuration, as a listener's update does. The streams that are under way keep the old one.
    ///
    /// # Errors
    /// When it is refused; the old one stays.
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

    /// Gives all threads the configuration that they had before; for most of them nothing changes.
    fn return_to_old(&self) -> Result<()> {
        for number in 0..self.threads.len() {
            self.on(number, |thread| thread.worker.configure(&thread.shared().program().plugins))??;
        }
        self.on(0, |thread| thread.bases.borrow_mut().keep_only(&thread.shared().program()))
    }

    /// Runs something on a thread and returns what it made.
    fn on<T: Send + 'static>(&self, number: usize, run: impl FnOnce(&SimThread) -> T + Send + 'static) -> Result<T> {
        let (sender, result) = mpsc::channel();
        let event: Event = Box::new(move |thread| {
            // The receiver waits below.
            let _ = sender.send(run(thread));
        });
        let thread = self.threads.get(number).with_context(|| format!("there is no thread {number}"))?;
        thread.run(event);
        result.recv().map_err(|_| anyhow!("thread {number} of the gateway has died"))
    }

    /// Sends a request through the next worker, without waiting for the response.
    ///
    /// # Errors
    /// When the worker has died.
    pub fn send(&self, request: Request) -> Result<Pending> {
        let workers = self.threads.len() - 1;
        let next = self.next_worker.fetch_add(1, Ordering::Relaxed);
        self.send_to(next % workers + 1, request)
    }

    /// The same through a worker of choice: they count from 1.
    ///
    /// # Errors
    /// When there is no such worker.
    pub fn send_to(&self, worker: usize, request: Request) -> Result<Pending> {
        let workers = self.threads.len() - 1;
        if worker == 0 || worker > workers {
            bail!("there is no worker {worker}: they count from 1 to {workers}");
        }
        let answer = Arc::new(AnswerSlot::default());
        let for_thread = Arc::clone(&answer);
        self.on(worker, move |thread| thread.request(request, for_thread))?;
        Ok(Pending(answer))
    }

    /// Sends a request through the next worker and returns the response.
    ///
    /// # Errors
    /// When the response does not come although everything that could happen now has happened: then time has to pass.
    pub fn request(&self, request: Request) -> Result<Response> {
        let what = format!("{} {}", request.method(), request.path());
        let pending = self.send(request)?;
        self.settle()?;
        pending.response().with_context(|| format!("{what} still waits for a response: advance the clock"))
    }

    /// Lets everything happen that needs no time.
    ///
    /// # Errors
    /// When there is no end to it.
    pub fn settle(&self) -> Result<()> {
        const ENDLESS: usize = 1_000_000;
        for _ in 0..ENDLESS {
            let Some((number, event)) = self.shared.events.pop() else { return Ok(()) };
            if let Some(thread) = self.threads.get(number) {
                thread.run(event);
            }
        }
        bail!("after {ENDLESS} events there are still more: does the module answer itself for ever?")
    }

    /// Lets time pass: ticks, time-outs and late answers come in their order.
    ///
    /// # Errors
    /// When there is no end to what happens.
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

    /// Nanoseconds since 1970, by the gateway's clock.
    pub fn now(&self) -> u64 {
        self.shared.host.clock.now()
    }

    /// Changes how an upstream answers: see [`Builder::upstream`].
    pub fn set_upstream(&self, name: &str, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
        self.shared.upstreams.set(name, Arc::new(handler));
    }

    /// The clients' requests that reached an upstream.
    pub fn upstream_requests(&self) -> Vec<Request> {
        self.shared.upstreams.received()
    }

    /// The callouts that reached their targets.
    pub fn callouts(&self) -> Vec<Request> {
        self.shared.upstreams.callouts()
    }

    /// What was logged.
    pub fn logs(&self) -> Vec<LogLine> {
        self.shared.host.logs.lines()
    }

    /// A counter's or gauge's value by its full name, such as `wasmcustom.requests`.
    pub fn metric(&self, name: &str) -> Option<u64> {
        self.shared.host.metrics.value(name)
    }

    /// What all VMs share: data, queues, statistics, the log.
    pub fn host(&self) -> &Host {
        &self.shared.host
    }

    /// The faults to inject.
    pub fn faults(&self) -> &Faults {
        &self.shared.host.faults
    }

    /// The bytes of guests' memory, on all threads.
    ///
    /// # Errors
    /// When a thread has died.
    pub fn memory(&self) -> Result<usize> {
        (0..self.threads.len()).map(|number| self.on(number, |thread| thread.worker.memory())).sum()
    }
}

#[cfg(test)]
mod tests;
