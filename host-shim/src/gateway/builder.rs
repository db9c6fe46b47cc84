//! The builder of a simulated gateway.

use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::events::Events;
use super::network::SimUpstreams;
use super::thread::{SimThread, ThreadHandle};
use super::{Gateway, Handler, Reply, Request, Shared};
use crate::base::LogLevel;
use crate::config::{self, defaults, model};
use crate::state::clock::Clock;
use crate::state::logs::Logs;
use crate::state::quirks::Quirk;
use crate::state::{Host, Limits};
use crate::worker::{Modules, Program};

/// The settings with which a gateway starts.
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
    pub(super) fn new(modules: Modules) -> Self {
        Builder {
            modules,
            bootstrap: defaults::bootstrap(),
            workers: 1,
            limits: Limits { callback: Some(Duration::from_secs(10)), ..Limits::default() },
            log_level: LogLevel::Info,
            upstreams: Vec::new(),
            quirks: Vec::new(),
        }
    }

    /// Sets the plugin's configuration, as the module gets it.
    #[must_use]
    pub fn config(mut self, configuration: impl Into<Vec<u8>>) -> Self {
        let configuration = configuration.into();
        self.edit_plugins(|plugin| plugin.configuration = configuration.clone());
        self
    }

    /// Sets the VM's configuration, as the module gets it.
    #[must_use]
    pub fn vm_config(mut self, configuration: impl Into<Vec<u8>>) -> Self {
        let configuration = configuration.into();
        self.edit_plugins(|plugin| plugin.vm.configuration = configuration.clone());
        self
    }

    /// Changes the settings of each plugin, such as the name, the root id or the failure policy.
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

    /// Sets an Envoy configuration, instead of one listener with one filter. The gateway's module replaces its modules.
    #[must_use]
    pub fn bootstrap(mut self, bootstrap: model::Bootstrap) -> Self {
        self.bootstrap = bootstrap;
        self
    }

    /// Sets the source of the modules that the configuration names.
    #[must_use]
    pub fn modules(mut self, modules: Modules) -> Self {
        self.modules = modules;
        self
    }

    /// Returns the current Envoy configuration. It can be changed and passed to [`Gateway::update`].
    pub fn get_bootstrap(&self) -> &model::Bootstrap {
        &self.bootstrap
    }

    /// Sets an Envoy configuration from a file.
    ///
    /// # Errors
    /// The configuration is not valid.
    pub fn envoy(self, path: impl AsRef<Path>) -> Result<Self> {
        let loaded = config::read(path.as_ref()).map_err(|errors| anyhow!("{errors}"))?;
        Ok(self.bootstrap(loaded.bootstrap))
    }

    /// Sets the number of workers. Each has a VM, in addition to the VM of the main thread.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// Sets the maximum time of a callback. The default is 10 s.
    #[must_use]
    pub fn callback_limit(mut self, limit: Duration) -> Self {
        self.limits.callback = Some(limit);
        self
    }

    /// Sets the memory limit of each guest in bytes.
    #[must_use]
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.limits.memory = bytes;
        self
    }

    /// Sets the lowest level that is logged. The default is info.
    #[must_use]
    pub fn log_level(mut self, level: LogLevel) -> Self {
        self.log_level = level;
        self
    }

    /// Sets the handler of requests to a cluster, or to an authority (`host:port`) through any cluster. `*` is for all
    /// other requests.
    #[must_use]
    pub fn upstream(mut self, name: &str, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        self.upstreams.push((name.to_owned(), Arc::new(handler)));
        self
    }

    /// Makes the gateway differ from Envoy, as other hosts do.
    #[must_use]
    pub fn quirk(mut self, quirk: Quirk) -> Self {
        self.quirks.push(quirk);
        self
    }

    /// Starts the canary, the main thread and the workers.
    ///
    /// # Errors
    /// The module does not load, or refuses its configuration. The error contains the module's log.
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
