//! Runs stories on the simulated gateway.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use super::{Behaviour, Fault, Story, Subject, stand_in};
use crate::base::{LogLevel, lock};
use crate::config::model::Bootstrap;
use crate::config::node::Node;
use crate::config::{self, to_struct};
use crate::gateway::{Gateway, Reply, Request, Response};
use crate::state::Limits;
use crate::worker::Modules;

/// The maximum time to wait for an expected message. The story does not contain this time.
const PATIENCE: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(50);

/// A gateway on which a story runs.
pub struct ShimSubject {
    gateway: Gateway,
    bootstrap: Bootstrap,
    upstream: Arc<Mutex<Behaviour>>,
    targets: Arc<Mutex<Behaviour>>,
    /// The number of log lines and of failures that were already returned.
    told: (usize, usize),
}

impl ShimSubject {
    /// Starts the gateway of a story.
    ///
    /// # Errors
    /// The configuration is refused.
    pub fn start(story: &Story, modules: &Modules) -> Result<Self> {
        Self::start_limited(story, modules, Limits::default().memory)
    }

    /// Starts the gateway of a story with another memory limit of each VM, in bytes.
    ///
    /// # Errors
    /// The configuration is refused.
    pub fn start_limited(story: &Story, modules: &Modules, memory: usize) -> Result<Self> {
        let loaded = config::read(&story.envoy).map_err(|errors| anyhow!("{errors}"))?;
        let mut bootstrap = loaded.bootstrap;
        if let Some(configuration) = &story.configuration {
            set_configuration(&mut bootstrap, configuration)?;
        }
        let (upstream, targets) =
            (Arc::new(Mutex::new(Behaviour::default())), Arc::new(Mutex::new(Behaviour::default())));
        let mut builder = Gateway::of(bootstrap.clone()).modules(modules.clone());
        let configured = Arc::new(bootstrap.clone());
        for cluster in &bootstrap.clusters {
            let (upstream, targets) = (Arc::clone(&upstream), Arc::clone(&targets));
            let (name, configured, cluster) = (cluster.name.clone(), Arc::clone(&configured), cluster.clone());
            builder = builder.upstream(&name, move |request| {
                if let Some(response) = stand_in::behind(&configured, &cluster, request.headers.clone()) {
                    return response.into();
                }
                // A callout has a header of Envoy, and a client's request does not.
                let is_callout = request.headers.get_str("x-envoy-internal").is_some()
                    && request.headers.get("x-request-id").is_none();
                reply(&lock(if is_callout { &targets } else { &upstream }))
            });
        }
        let gateway = builder.workers(story.workers).memory_limit(memory).start()?;
        Ok(ShimSubject { gateway, bootstrap, upstream, targets, told: (0, 0) })
    }

    /// Returns the gateway, for checks that stories cannot express.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }
}

fn set_configuration(bootstrap: &mut Bootstrap, configuration: &Node) -> Result<()> {
    let message = to_struct(configuration).context("configuration: expected a map")?;
    for listener in &mut bootstrap.listeners {
        for filter in &mut listener.manager.filters {
            filter.plugin.configuration = prost::Message::encode_to_vec(&message);
            filter.plugin.source = Some(configuration.clone());
        }
    }
    Ok(())
}

fn reply(behaviour: &Behaviour) -> Reply {
    if behaviour.is_refused {
        return Reply::refused();
    }
    let mut response = Response::new(behaviour.status).body(behaviour.body.clone());
    for (name, value) in &behaviour.headers {
        response = response.header(name, value);
    }
    response.is_reset = behaviour.is_reset;
    Reply::from(response).after(behaviour.delay)
}

impl Subject for ShimSubject {
    fn request(&mut self, request: &Request, worker: Option<usize>) -> Result<Response> {
        let pending = match worker {
            Some(worker) => self.gateway.send_to(worker, request.clone())?,
            None => self.gateway.send(request.clone())?,
        };
        self.gateway.settle()?;
        pending
            .response()
            .context("there is no answer yet: a step must advance the clock, or a filter does not continue the request")
    }

    fn set_upstream(&mut self, behaviour: &Behaviour) -> Result<()> {
        *lock(&self.upstream) = behaviour.clone();
        Ok(())
    }

    fn set_targets(&mut self, behaviour: &Behaviour) -> Result<()> {
        *lock(&self.targets) = behaviour.clone();
        Ok(())
    }

    fn messages(&mut self, count: usize) -> Result<Vec<Request>> {
        let mut waited = Duration::ZERO;
        while self.gateway.callouts().len() < count && waited < PATIENCE {
            self.gateway.advance(STEP)?;
            waited += STEP;
        }
        Ok(self.gateway.callouts())
    }

    fn metric(&mut self, name: &str) -> Result<u64> {
        self.gateway.metric(&format!("wasmcustom.{name}")).with_context(|| format!("there is no statistic {name}"))
    }

    fn wait_a_moment(&mut self) -> bool {
        self.gateway.advance(STEP).is_ok()
    }

    fn configure(&mut self, configuration: &Node) -> Result<()> {
        let mut bootstrap = self.bootstrap.clone();
        set_configuration(&mut bootstrap, configuration)?;
        self.gateway.update(&bootstrap)?;
        self.bootstrap = bootstrap;
        Ok(())
    }

    fn advance(&mut self, duration: Duration) -> Result<()> {
        self.gateway.advance(duration)
    }

    fn failures(&mut self) -> Vec<String> {
        let failures = self.gateway.host().failures();
        let told = std::mem::replace(&mut self.told.1, failures.len());
        failures.into_iter().skip(told).collect()
    }

    fn warnings(&mut self) -> Vec<String> {
        let lines = self.gateway.logs();
        let told = std::mem::replace(&mut self.told.0, lines.len());
        let new = lines.into_iter().skip(told).filter(|line| line.level >= LogLevel::Warn);
        new.map(|line| line.text).collect()
    }

    fn faults_left(&mut self) -> Vec<String> {
        self.gateway.faults().left()
    }

    fn fault(&mut self, fault: &Fault) -> Result<()> {
        let faults = self.gateway.faults();
        match fault {
            Fault::CasMismatches(count) => faults.cas_mismatches(*count),
            Fault::LostNotifications(count) => faults.lost_notifications(*count),
            Fault::Callout(fault) => faults.callout(fault.clone()),
            Fault::Death { hostcall, nth, thread } => faults.death_at(hostcall, *nth, *thread),
        }
        Ok(())
    }
}
