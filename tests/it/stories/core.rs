//! A story on the core itself: several engines on one host in memory stand for the VMs of a process.

use std::task::Poll;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use host_shim::config::model::Bootstrap;
use host_shim::config::node::Node;
use host_shim::config::{self, to_struct};
use host_shim::gateway::{Request, Response};
use host_shim::story::{Behaviour, Fault, Story, Subject, stand_in};
use host_shim::{CalloutFault, Headers};
use prost::Message;
use tollbell_core::access::answer::Answer;
use tollbell_core::config::Config;
use tollbell_core::admin::connection_test::StreamId;
use tollbell_core::engine::{Decision, Engine, Followup, TICK_MS};
use tollbell_core::host::ports::{Callout, CalloutId, CalloutRefused, CalloutReply};
use tollbell_core::access::request::{HeaderPair, Request as CoreRequest};
use tollbell_core::testing::MemoryHost;
use tollbell_core::base::units::UnixMillis;

/// 2026-01-01T00:00:00Z, as in the shim.
const START: u64 = 1_767_225_600_000;
const PATIENCE_MS: u64 = 3000;

pub struct CoreSubject {
    host: MemoryHost,
    bootstrap: Bootstrap,
    config: Vec<u8>,
    /// The main thread's first; None for a VM that has died.
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

/// A callout's reply on its way.
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
        Ok(Engine::new(config, &self.host, UnixMillis(self.now), self.now))
    }

    fn with_engine<T>(
        &mut self,
        index: usize,
        run: impl FnOnce(&mut Engine, &MemoryHost, UnixMillis) -> T,
    ) -> Option<T> {
        let now = UnixMillis(self.now);
        let result = run(self.engines.get_mut(index)?.as_mut()?, &self.host, now);
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

    /// The target's answer, and after which time it comes.
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

    /// What stands behind the proxy answers.
    fn answered(&self, request: &Request) -> Response {
        stand_in(&self.bootstrap, request).unwrap_or_else(|| {
            let mut response = Response::new(self.upstream.status).body(self.upstream.body.clone());
            for (name, value) in &self.upstream.headers {
                response = response.header(name, value);
            }
            response
        })
    }

    /// What of an exchange is watched passes by.
    fn watch(&mut self, index: usize, followup: &mut Followup, request: &Request, response: &Response) {
        let Some(watched) = Engine::watched(followup) else { return };
        for chunk in &request.body {
            if let Some(collector) = watched.request_body() {
                collector.push(chunk);
            }
        }
        let headers: Vec<HeaderPair<'_>> = response.headers.iter().collect();
        watched.on_response(&headers);
        if let Some(collector) = watched.response_body() {
            collector.push(&response.body);
        }
        self.with_engine(index, |engine, host, now| engine.on_exchange_end(host, followup, now));
        self.settle();
    }

    fn receive(&mut self, callout: &Callout) {
        let headers: Headers = callout.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        self.received.push(Request { headers, body: vec![callout.body.clone()], ..Request::default() });
    }

    /// Everything that needs no time.
    fn settle(&mut self) {
        loop {
            let now = self.now;
            if let Some(at) = self.replies.iter().position(|reply| reply.due <= now) {
                let reply = self.replies.remove(at);
                self.with_engine(reply.engine, |engine, host, now| {
                    engine.on_callout_reply(host, reply.id, &reply.reply, now)
                });
            } else if self.host.has_wakeup() && self.lost_wakeups == 0 && self.engines[self.listener].is_some() {
                let listener = self.listener;
                self.with_engine(listener, |engine, host, now| engine.on_wake(host, now));
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
        let pairs: Vec<HeaderPair<'_>> = request.headers.iter().collect();
        let property = |path: &str| (path == "source\0address").then(|| b"127.0.0.1:50000".to_vec());
        let decision = self.with_engine(index, |engine, host, now| {
            engine.on_request(host, StreamId(0), &CoreRequest { headers: &pairs, property: &property }, now)
        });
        let Some(Poll::Ready(decision)) = decision else { bail!("the engine does not decide") };
        self.settle();
        Ok(match decision {
            Decision::Collect => {
                let body = request.body.concat();
                let answer =
                    self.with_engine(index, |engine, host, now| engine.on_admin_body(host, &body, body.len(), now));
                self.settle();
                of_answer(answer.context("the VM has died")?)
            }
            // What the wait was for has come by now, since the targets of stories answer at once.
            Decision::Await => {
                let answers = self.with_engine(index, |engine, _, _| engine.take_answers()).unwrap_or_default();
                let (_, answer) = answers.into_iter().next().context("the engine does not answer")?;
                of_answer(answer)
            }
            Decision::Refuse(answer) => of_answer(answer),
            Decision::Continue { followup, .. } => {
                let mut response = self.answered(request);
                if let Some(mut followup) = followup {
                    self.watch(index, &mut followup, request, &response);
                    let mut headers = Vec::new();
                    self.with_engine(index, |engine, _, now| {
                        engine.show_limits(&followup, || now, |name, value| headers.push((name, value.to_owned())));
                    });
                    for (name, value) in headers {
                        response = response.header(name, value);
                    }
                }
                response
            }
        })
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
                    self.with_engine(index, |engine, host, now| engine.on_tick(host, now));
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
