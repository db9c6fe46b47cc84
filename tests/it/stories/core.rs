//! Runs a story on the core: several engines on one host in memory are the VMs of a process.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use host_shim::config::model::Bootstrap;
use host_shim::config::node::Node;
use host_shim::config::{self, to_struct};
use host_shim::gateway::{Request, Response};
use host_shim::story::{Behaviour, Fault, Story, Subject, stand_in};
use host_shim::{CalloutFault, Headers};
use prost::Message;
use tollbell_core::BodyPool;
use tollbell_core::UnixMillis;
use tollbell_core::config::Config;
use tollbell_core::engine::Engine;
use tollbell_core::host::{Answer, Callout, CalloutId, CalloutRefused, CalloutReply, Flow, Stream, TICK_MS};
use tollbell_core::testing::{MemoryHost, TestStream, TestStreams};

/// 2026-01-01T00:00:00Z, as in the shim.
const START: u64 = 1_767_225_600_000;
const PATIENCE_MS: u64 = 3000;

pub struct CoreSubject {
    host: MemoryHost,
    streams: TestStreams,
    last_stream: u32,
    bootstrap: Bootstrap,
    config: Vec<u8>,
    /// The engines, the main thread's first; `None` for a VM that has died.
    engines: Vec<Option<Engine>>,
    /// The VM that is woken: the last one that was made.
    listener: usize,
    next_worker: usize,
    now: u64,
    upstream: Behaviour,
    targets: Behaviour,
    received: Vec<Request>,
    replies: Vec<Reply>,
    faults: Vec<CalloutFault>,
    lost_wakeups: u32,
    dies_sending: bool,
}

/// The reply to a callout, before it arrives.
struct Reply {
    due: u64,
    engine: usize,
    id: CalloutId,
    reply: CalloutReply,
}

impl CoreSubject {
    pub fn start(story: &Story) -> Result<Self> {
        let loaded = config::read(&story.envoy).map_err(|errors| anyhow!("{errors}"))?;
        let filter = loaded.bootstrap.listeners.first().and_then(|listener| listener.manager.filters.first());
        let config = match &story.configuration {
            Some(configuration) => encoded(configuration)?,
            None => filter.context("the configuration has no wasm filter")?.plugin.configuration.clone(),
        };
        let mut subject = CoreSubject {
            host: MemoryHost::default(),
            streams: TestStreams::default(),
            last_stream: 0,
            bootstrap: loaded.bootstrap,
            config,
            engines: Vec::new(),
            listener: 0,
            next_worker: 0,
            now: START,
            upstream: Behaviour::default(),
            targets: Behaviour::default(),
            received: Vec::new(),
            replies: Vec::new(),
            faults: Vec::new(),
            lost_wakeups: 0,
            dies_sending: false,
        };
        for _ in 0..=story.workers {
            let engine = subject.engine()?;
            subject.engines.push(Some(engine));
        }
        subject.listener = story.workers;
        Ok(subject)
    }

    fn engine(&self) -> Result<Engine> {
        let (config, _) = Config::load(&self.config).map_err(|errors| anyhow!("{errors:?}"))?;
        self.host.set_now(UnixMillis(self.now));
        Ok(Engine::new(config, &self.host, &BodyPool::default(), self.now))
    }

    fn with_engine<T>(
        &mut self,
        index: usize,
        run: impl FnOnce(&mut Engine, &MemoryHost, &TestStreams) -> T,
    ) -> Option<T> {
        self.host.set_now(UnixMillis(self.now));
        let result = run(self.engines.get_mut(index)?.as_mut()?, &self.host, &self.streams);
        for (id, callout) in self.host.take_sent() {
            self.send(index, id, &callout);
        }
        Some(result)
    }

    fn send(&mut self, engine: usize, id: CalloutId, callout: &Callout) {
        if std::mem::take(&mut self.dies_sending) {
            self.engines[engine] = None;
            return;
        }
        let fault = if self.faults.is_empty() { None } else { Some(self.faults.remove(0)) };
        let by_proxy = |status| CalloutReply { status: Some(status), by_proxy: true, ..CalloutReply::default() };
        let (reply, delay) = match fault {
            Some(CalloutFault::TimesOut) => (by_proxy(504), callout.timeout_ms),
            Some(CalloutFault::ConnectFailure) => (by_proxy(503), 0),
            Some(CalloutFault::Reset) => (CalloutReply::default(), 0),
            Some(CalloutFault::Status(status)) => {
                self.receive(callout);
                (CalloutReply { status: Some(status), ..CalloutReply::default() }, 0)
            }
            other => {
                self.receive(callout);
                let late = if let Some(CalloutFault::Late(late)) = other { millis(late) } else { 0 };
                self.answer(callout, late)
            }
        };
        self.replies.push(Reply { due: self.now + delay, engine, id, reply });
    }

    /// The target's answer, and the time after which it comes.
    fn answer(&self, callout: &Callout, late: u64) -> (CalloutReply, u64) {
        let behaviour = &self.targets;
        let delay = millis(behaviour.delay) + late;
        if delay > callout.timeout_ms {
            let reply = CalloutReply { status: Some(504), by_proxy: true, ..CalloutReply::default() };
            return (reply, callout.timeout_ms);
        }
        let status = if behaviour.is_refused { 503 } else { behaviour.status };
        let reply = CalloutReply {
            status: (!behaviour.is_reset).then_some(status),
            retry_after: behaviour.headers.get("retry-after").cloned(),
            by_proxy: behaviour.is_refused,
        };
        (reply, delay)
    }

    /// The upstream behind the proxy answers.
    fn answered(&self, request: &Request) -> Response {
        stand_in(&self.bootstrap, request).unwrap_or_else(|| {
            let mut response = Response::new(self.upstream.status).body(self.upstream.body.clone());
            for (name, value) in &self.upstream.headers {
                response = response.header(name, value);
            }
            response
        })
    }

    /// A request and its response through the callbacks of one VM, in a proxy's order.
    fn exchange(&mut self, index: usize, stream: &Rc<TestStream>, request: &Request) -> Result<Response> {
        let pieces = request.body.len();
        let mut flow = self.call(index, |engine, host| engine.on_request_headers(host, stream, pieces == 0))?;
        self.settle();
        let mut shown = Vec::new();
        for (number, piece) in request.body.iter().enumerate() {
            // Paused parts are kept, and shown again with the parts that have come.
            if flow == Flow::Continue {
                shown.clear();
            }
            shown.extend_from_slice(piece);
            stream.request_body.replace(shown.clone());
            let (size, is_end) = (shown.len(), number + 1 == pieces);
            if stream.answered.borrow().is_none() {
                flow = self.call(index, |engine, host| engine.on_request_body(host, stream, size, is_end))?;
                self.settle();
            }
        }
        if let Some(answer) = stream.answered.take() {
            return Ok(of_answer(answer));
        }
        if flow == Flow::Pause && !stream.is_resumed.get() {
            // The targets of stories answer at once, so the awaited answer has come.
            bail!("the engine holds the request, and does not answer");
        }
        let response = self.answered(request);
        let headers = response.headers.iter();
        let headers = headers.map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.to_vec()));
        stream.response.borrow_mut().push((":status".to_owned(), response.status().to_string().into_bytes()));
        stream.response.borrow_mut().extend(headers);
        stream.response_body.replace(response.body.clone());
        let size = response.body.len();
        self.call(index, |engine, host| engine.on_response_headers(host, stream, size == 0))?;
        if size > 0 {
            self.call(index, |engine, host| engine.on_response_body(host, stream, size, true))?;
        }
        let mut shown = Response::new(response.status()).body(response.body);
        for (name, value) in stream.response.borrow().iter().filter(|(name, _)| name != ":status") {
            shown = shown.header(name, value);
        }
        Ok(shown)
    }

    fn call<T>(&mut self, index: usize, run: impl FnOnce(&mut Engine, &MemoryHost) -> T) -> Result<T> {
        self.with_engine(index, |engine, host, _| run(engine, host)).context("the VM has died")
    }

    fn receive(&mut self, callout: &Callout) {
        let headers: Headers = callout.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        self.received.push(Request { headers, body: vec![callout.body.clone()], ..Request::default() });
    }

    /// Does everything that needs no time.
    fn settle(&mut self) {
        loop {
            let now = self.now;
            if let Some(at) = self.replies.iter().position(|reply| reply.due <= now) {
                let reply = self.replies.remove(at);
                self.with_engine(reply.engine, |engine, host, streams| {
                    engine.on_callout_reply(host, streams, reply.id, &reply.reply)
                });
            } else if self.host.has_wakeup() && self.lost_wakeups == 0 && self.engines[self.listener].is_some() {
                let listener = self.listener;
                self.with_engine(listener, |engine, host, _| engine.on_wake(host));
                if self.host.has_wakeup() {
                    return;
                }
            } else {
                self.lost_wakeups = self.lost_wakeups.saturating_sub(1);
                return;
            }
        }
    }
}

fn encoded(configuration: &Node) -> Result<Vec<u8>> {
    Ok(to_struct(configuration).context("configuration: a map is expected")?.encode_to_vec())
}

fn of_answer(answer: Answer) -> Response {
    let mut response = Response::new(answer.status).body(answer.body);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    response
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Subject for CoreSubject {
    fn request(&mut self, request: &Request, worker: Option<usize>) -> Result<Response> {
        let workers = self.engines.len() - 1;
        let index = worker.unwrap_or_else(|| self.next_worker % workers + 1);
        self.next_worker += 1;
        if self.engines[index].is_none() {
            let engine = self.engine()?;
            self.engines[index] = Some(engine);
            self.listener = index;
        }
        self.last_stream += 1;
        let stream = TestStream::new(self.last_stream, request.headers.iter());
        stream.properties.borrow_mut().insert("source\0address".to_owned(), b"127.0.0.1:50000".to_vec());
        let stream = self.streams.open(stream);
        let response = self.exchange(index, &stream, request);
        self.streams.close(stream.id());
        self.with_engine(index, |engine, _, _| engine.on_delete(&stream));
        self.settle();
        response
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
        let until = self.now + PATIENCE_MS;
        while self.received.len() < count && self.now < until {
            self.advance(Duration::from_millis(50))?;
        }
        Ok(self.received.clone())
    }

    fn metric(&mut self, name: &str) -> Result<u64> {
        Ok(self.host.metric_named(name).unwrap_or_default())
    }

    fn configure(&mut self, configuration: &Node) -> Result<()> {
        self.config = encoded(configuration)?;
        for index in 0..self.engines.len() {
            let new = self.engine()?;
            if let Some(mut old) = self.engines[index].replace(new) {
                old.on_shutdown(&self.host);
            }
        }
        self.listener = self.engines.len() - 1;
        Ok(())
    }

    fn advance(&mut self, duration: Duration) -> Result<()> {
        let until = self.now + millis(duration);
        loop {
            self.settle();
            let tick = (self.now - START) / TICK_MS * TICK_MS + TICK_MS + START;
            let reply = self.replies.iter().map(|reply| reply.due).min().unwrap_or(u64::MAX).max(self.now);
            let next = tick.min(reply);
            if next > until {
                break;
            }
            self.now = next;
            if next == tick {
                for index in 0..self.engines.len() {
                    self.with_engine(index, |engine, host, streams| engine.on_tick(host, streams));
                }
            }
        }
        self.now = until;
        self.settle();
        Ok(())
    }

    fn fault(&mut self, fault: &Fault) -> Result<()> {
        match fault {
            Fault::CasMismatches(count) => self.host.fail_next_writes(*count),
            Fault::LostNotifications(count) => self.lost_wakeups += count,
            Fault::Callout(CalloutFault::RefusedAtOnce) => self.host.refuse_next_callout(CalloutRefused::Immediately),
            Fault::Callout(fault) => self.faults.push(fault.clone()),
            Fault::Death { hostcall, nth: 1, thread: None } if hostcall == "proxy_http_call" => {
                self.dies_sending = true
            }
            Fault::Death { .. } => bail!("here a VM can die in its next proxy_http_call only"),
        }
        Ok(())
    }
}
