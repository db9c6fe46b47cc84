//! A small proxy around the guests: workers without threads, a clock that moves on request, an upstream, and callout
//! targets.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use host_shim::Headers;
use host_shim::config::model::Bootstrap;
use host_shim::config::node::Node;
use host_shim::config::{self, to_struct};
use host_shim::gateway::{Request, Response};
use host_shim::story::{Behaviour, Story, Subject, stand_in};
use prost::Message as _;
use proxy_wasm_host::abi::v0_2_1::types::{Action, MetricType};
use proxy_wasm_host::abi::v0_2_1::{
    CallScope, ContextId, Guest, GuestError, GuestId, Host, HttpCallResponse, InMemoryStore, Invocation, PluginConfig,
    SharedServices as _, Started, StreamKind, VmServices,
};
use proxy_wasm_host::{Engine, HeaderMap as _, Limits, Module};

use crate::exchange::{Exchange, Spelling, answered, map};
use crate::services::{Asked, Services};

/// 2026-01-01T00:00:00Z, as in the shim.
const START: u64 = 1_767_225_600_000_000_000;
const VM_ID: &[u8] = b"peer";
/// How long an expected message may take, in addition to the time in the story.
const PATIENCE: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(50);

/// A compiled module.
#[derive(Clone)]
pub struct Compiled {
    host: Host,
    module: Module,
}

impl Compiled {
    /// Compiles a module.
    ///
    /// # Errors
    /// The bytes are not a module.
    pub fn new(module: &[u8]) -> Result<Self> {
        let engine = Engine::new()?;
        Ok(Compiled { host: Host::new(&engine)?, module: Module::new(&engine, module)? })
    }
}

/// The crate's host with several VMs of one `vm_id`, and the work of a proxy around it.
pub struct Peer {
    compiled: Compiled,
    /// The case of the names of clients' headers.
    spelling: Spelling,
    services: Arc<Services>,
    vm_services: VmServices,
    store: Arc<InMemoryStore>,
    bootstrap: Bootstrap,
    config: Vec<u8>,
    vms: Vec<Vm>,
    next_worker: usize,
    upstream: Behaviour,
    targets: Behaviour,
    received: Vec<Request>,
    forwarded: Vec<Request>,
    replies: Vec<Reply>,
}

struct Vm {
    guest: Guest,
    root: ContextId,
    next_tick: Option<u64>,
    period: Option<Duration>,
    /// The exchange that is lent to the guest for each call.
    exchange: Exchange,
}

/// The reply to a callout, before it arrives.
struct Reply {
    due: u64,
    to: Asked,
    response: HttpCallResponse<'static>,
}

impl Peer {
    /// Starts the module with the configuration of a story.
    ///
    /// # Errors
    /// The host or the module refuses the configuration.
    pub fn start(story: &Story, compiled: &Compiled, spelling: Spelling) -> Result<Self> {
        let loaded = config::read(&story.envoy).map_err(|errors| anyhow!("{errors}"))?;
        let filter = loaded.bootstrap.listeners.first().and_then(|listener| listener.manager.filters.first());
        let config = match &story.configuration {
            Some(configuration) => encoded(configuration)?,
            None => filter.context("the configuration has no wasm filter")?.plugin.configuration.clone(),
        };
        let clusters = loaded.bootstrap.clusters.iter().map(|cluster| cluster.name.clone()).collect();
        let services = Services::new(START, clusters);
        let observer = Arc::clone(&services);
        let store = Arc::new(InMemoryStore::new().with_enqueue_observer(Arc::new(move |_| observer.enqueue())));
        let vm_services = VmServices::new(services.clone())
            .with_clock(services.clone())
            .with_callouts(services.clone())
            .with_shared(store.clone())
            .with_vm_id(VM_ID);
        let mut peer = Peer {
            compiled: compiled.clone(),
            spelling,
            services,
            vm_services,
            store,
            bootstrap: loaded.bootstrap,
            config,
            vms: Vec::new(),
            next_worker: 0,
            upstream: Behaviour::default(),
            targets: Behaviour::default(),
            received: Vec::new(),
            forwarded: Vec::new(),
            replies: Vec::new(),
        };
        for _ in 0..=story.workers {
            let vm = peer.vm()?;
            peer.vms.push(vm);
        }
        Ok(peer)
    }

    /// The requests that reached the upstream.
    pub fn forwarded(&self) -> &[Request] {
        &self.forwarded
    }

    fn vm(&self) -> Result<Vm> {
        let mut guest =
            Guest::new(&self.compiled.host, &self.compiled.module, self.vm_services.clone(), &Limits::default())?;
        match guest.start(PluginConfig::new().with_name("tollbell").with_configuration(self.config.clone()))? {
            Started::Serving(root) => {
                let mut vm = Vm { guest, root, next_tick: None, period: None, exchange: Exchange::default() };
                vm.follow_ticks(self.services.now());
                Ok(vm)
            }
            Started::Refused { callback, .. } => {
                bail!("the module refuses {callback:?}: {:#?}", self.services.take_warnings())
            }
        }
    }

    /// Calls a VM's guest.
    fn call<T>(
        &mut self,
        index: usize,
        run: impl FnOnce(&mut CallScope<'_, Exchange>) -> Result<T, GuestError>,
    ) -> Result<T> {
        let vm = self.vms.get_mut(index).context("no such VM")?;
        let (result, exchange) = vm.guest.with(std::mem::take(&mut vm.exchange), run);
        vm.exchange = exchange;
        vm.follow_ticks(self.services.now());
        self.start_callouts();
        Ok(result?)
    }

    fn start_callouts(&mut self) {
        for to in self.services.take_asked() {
            let headers: Headers = to.call.headers.iter().map(|(name, value)| (name, value)).collect();
            let request = Request { headers, body: vec![to.call.body.to_vec()], ..Request::default() };
            let (behaviour, timeout) = (&self.targets, to.call.timeout);
            let pair =
                |name: &str, value: &str| (self.spelling.of(name.as_bytes()).into(), value.as_bytes().to_vec().into());
            let (response, delay) = if behaviour.is_reset {
                (HttpCallResponse::failed(), behaviour.delay)
            } else if behaviour.is_refused {
                (HttpCallResponse::failed(), Duration::ZERO)
            } else if behaviour.delay > timeout {
                (HttpCallResponse::failed(), timeout)
            } else {
                let status = [pair(":status", &behaviour.status.to_string())];
                let headers = behaviour.headers.iter().map(|(name, value)| pair(name, value));
                let response = HttpCallResponse::received(status.into_iter().chain(headers).collect());
                (response.with_body(behaviour.body.clone().into_bytes()), behaviour.delay)
            };
            if !behaviour.is_refused {
                self.received.push(request);
            }
            self.replies.push(Reply { due: self.services.now() + nanos(delay), to, response });
        }
    }

    /// Does everything that needs no time.
    fn settle(&mut self) -> Result<()> {
        loop {
            let now = self.services.now();
            let due = self.replies.iter().position(|reply| reply.due <= now);
            if let Some(Reply { to, response, .. }) = due.map(|at| self.replies.remove(at)) {
                // The guest may belong to a configuration that has ended.
                if let Some(index) = self.vms.iter().position(|vm| vm.guest.id() == to.guest) {
                    self.call(index, |scope| scope.on_http_call_response(to.context, to.callout, response))?;
                }
            } else if self.services.take_enqueued() > 0 {
                for index in 0..self.vms.len() {
                    self.wake(index)?;
                }
            } else {
                return Ok(());
            }
        }
    }

    /// Tells a VM about the queues that it has registered. In this host every registrant is told, not only the last.
    fn wake(&mut self, index: usize) -> Result<()> {
        let vm = &self.vms[index];
        let root = vm.root;
        for queue in (1..=8).filter_map(|id| id.try_into().ok()) {
            if self.vms[index].guest.queue_registrants(queue).contains(&root) {
                self.call(index, |scope| scope.on_queue_ready(root, queue))?;
            }
        }
        Ok(())
    }

    /// Passes the request through the guest, until it is answered or continues. `None` if it waits.
    fn admit(&mut self, index: usize, stream: ContextId, request: &Request) -> Result<Option<Vec<u8>>> {
        let count = u32::try_from(request.headers.len())?;
        let has_body = !request.body.is_empty();
        let mut action = self.call(index, |scope| scope.on_request_headers(stream, count, !has_body))?;
        let mut body = Vec::new();
        for (place, piece) in request.body.iter().enumerate() {
            if self.vms[index].exchange.answer.is_some() {
                return Ok(None);
            }
            let is_last = place + 1 == request.body.len();
            self.vms[index].exchange.request_body.extend_from_slice(piece);
            let size = u32::try_from(self.vms[index].exchange.request_body.len())?;
            action = self.call(index, |scope| scope.on_request_body(stream, size, is_last))?;
            if action == Action::Continue {
                body.append(&mut self.vms[index].exchange.request_body);
            }
        }
        self.settle()?;
        Ok((action == Action::Continue).then_some(body))
    }

    fn upstream_answer(&mut self, request: Request) -> Response {
        let response = stand_in(&self.bootstrap, &request).unwrap_or_else(|| {
            let mut response = Response::new(self.upstream.status).body(self.upstream.body.clone());
            for (name, value) in &self.upstream.headers {
                response = response.header(name, value);
            }
            response
        });
        self.forwarded.push(request);
        response
    }

    fn respond(&mut self, index: usize, stream: ContextId, response: &Response) -> Result<()> {
        let exchange = &mut self.vms[index].exchange;
        exchange.response = map(&response.headers, self.spelling);
        exchange.response_body.clone_from(&response.body);
        let (count, size) = (u32::try_from(exchange.response.len())?, u32::try_from(response.body.len())?);
        self.call(index, |scope| scope.on_response_headers(stream, count, size == 0))?;
        if size > 0 {
            self.call(index, |scope| scope.on_response_body(stream, size, true))?;
        }
        Ok(())
    }

    fn tick(&mut self, index: usize) -> Result<()> {
        let root = self.vms[index].root;
        self.call(index, |scope| scope.on_tick(root))
    }
}

impl Vm {
    /// A period counts from the time when it was set, or from the last tick.
    fn follow_ticks(&mut self, now: u64) {
        let period = self.guest.tick_period(self.root);
        if period != self.period || self.next_tick.is_some_and(|due| due <= now) {
            self.period = period;
            self.next_tick = period.map(|period| now + nanos(period));
        }
    }
}

fn encoded(configuration: &Node) -> Result<Vec<u8>> {
    Ok(to_struct(configuration).context("configuration: a map is expected")?.encode_to_vec())
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Subject for Peer {
    fn request(&mut self, request: &Request, worker: Option<usize>) -> Result<Response> {
        let workers = self.vms.len() - 1;
        let index = worker.unwrap_or_else(|| self.next_worker % workers + 1);
        self.next_worker += 1;
        let root = self.vms[index].root;
        self.vms[index].exchange = Exchange { request: map(&request.headers, self.spelling), ..Exchange::default() };
        let stream = self.call(index, |scope| {
            let stream = scope.on_context_create(Some(root))?;
            scope.expect_stream_kind(stream, StreamKind::Http)?;
            Ok(stream)
        })?;
        let admitted = self.admit(index, stream, request)?;
        let answer = self.vms[index].exchange.answer.take();
        let response = match (admitted, answer) {
            (_, Some(answer)) => answered(&answer)?,
            (None, None) => bail!("the request waits, and nothing answers it"),
            (Some(body), None) => {
                let forwarded = self.vms[index].exchange.forwarded(body);
                let response = self.upstream_answer(forwarded);
                self.respond(index, stream, &response)?;
                std::mem::take(&mut self.vms[index].exchange).delivered()
            }
        };
        self.call(index, |scope| {
            scope.on_done(stream)?;
            scope.on_log(stream)?;
            scope.on_delete(stream)
        })?;
        self.settle()?;
        Ok(response)
    }

    fn set_upstream(&mut self, behaviour: &Behaviour) -> Result<()> {
        self.upstream = behaviour.clone();
        Ok(())
    }

    fn set_targets(&mut self, behaviour: &Behaviour) -> Result<()> {
        self.targets = behaviour.clone();
        Ok(())
    }

    fn messages(&mut self, count: usize) -> Result<Vec<Request>> {
        let mut waited = Duration::ZERO;
        while self.received.len() < count && waited < PATIENCE {
            self.advance(STEP)?;
            waited += STEP;
        }
        Ok(self.received.clone())
    }

    fn metric(&mut self, name: &str) -> Result<u64> {
        let by = Invocation::new(GuestId::next(), ContextId::try_from(1)?);
        let define = |kind| self.store.define_metric(by, VM_ID, kind, name.as_bytes());
        let metric = define(MetricType::Counter).or_else(|_| define(MetricType::Gauge));
        let value = metric.and_then(|metric| self.store.get_metric(by, metric));
        value.map_err(|status| anyhow!("{name}: {status:?}"))
    }

    fn wait_a_moment(&mut self) -> bool {
        self.advance(STEP).is_ok()
    }

    fn configure(&mut self, configuration: &Node) -> Result<()> {
        self.config = encoded(configuration)?;
        for index in 0..self.vms.len() {
            let new = self.vm()?;
            let root = self.vms[index].root;
            self.call(index, |scope| {
                scope.on_done(root)?;
                scope.on_delete(root)
            })?;
            self.vms[index] = new;
        }
        Ok(())
    }

    fn advance(&mut self, duration: Duration) -> Result<()> {
        let until = self.services.now() + nanos(duration);
        loop {
            self.settle()?;
            let ticks = self.vms.iter().filter_map(|vm| vm.next_tick);
            let next = ticks.chain(self.replies.iter().map(|reply| reply.due)).min().unwrap_or(u64::MAX);
            if next > until {
                break;
            }
            self.services.set_now(next.max(self.services.now()));
            for index in 0..self.vms.len() {
                if self.vms[index].next_tick.is_some_and(|due| due <= self.services.now()) {
                    self.tick(index)?;
                }
            }
        }
        self.services.set_now(until);
        self.settle()
    }

    fn failures(&mut self) -> Vec<String> {
        let poisoned = self.vms.iter().filter(|vm| vm.guest.is_poisoned());
        poisoned.map(|vm| format!("the VM {:?} has failed", vm.guest.id())).collect()
    }

    fn warnings(&mut self) -> Vec<String> {
        self.services.take_warnings()
    }
}
