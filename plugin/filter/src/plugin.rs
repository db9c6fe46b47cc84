//! One VM: its root contexts, each with a configuration, and the streams that await their response.

use std::collections::BTreeMap;
use std::task::Poll;

use rustc_hash::FxHashMap;
use tollbell_core::admin::{self, BODY_PATIENCE_MS, MAX_BODY_BYTES};
use tollbell_core::answer::{Answer, Outcome};
use tollbell_core::config::Config;
use tollbell_core::connection_test::StreamId;
use tollbell_core::delivery::succession::Scope;
use tollbell_core::engine::{Decision, Engine, Followup, TICK_MS};
use tollbell_core::limit_headers::LimitHeaders;
use tollbell_core::manage::body::BodyPool;
use tollbell_core::ports::CalloutId;
use tollbell_core::request::Request;
use tollbell_core::units::UnixMillis;
use tollbell_core::watching::Watched;

use crate::abi::{self, Action, Body};
use crate::host::{self, ProxyHost};
use crate::logging;

/// The state of a VM.
#[derive(Default)]
pub(crate) struct Plugin {
    roots: BTreeMap<u32, Root>,
    /// The first root context. Its streams are recorded only when their answer is to be looked at: one configuration
    /// to a VM is the usual case, and costs nothing.
    first_root: Option<u32>,
    /// By the host's numbers.
    streams: FxHashMap<u32, Stream>,
    /// Streams that the filter answers itself, when their body has come.
    collecting: BTreeMap<u32, Collecting>,
    /// For the bodies that all engines watch.
    bodies: BodyPool,
}

struct Collecting {
    root: u32,
    since: UnixMillis,
    /// Bytes of the body that the host keeps; `None` until it shows any.
    size: Option<usize>,
}

struct Root {
    host: ProxyHost,
    engine: Engine,
    tick_ms: u64,
}

#[derive(Default)]
struct Stream {
    root: Option<u32>,
    followup: Option<Followup>,
    /// The request's headers as the host handed them over, where the response may be an event.
    headers: Vec<u8>,
    /// Its answer comes later.
    awaits: bool,
    /// Nothing of it may go on: what comes behind the headers pauses too.
    is_held: bool,
    /// Its response has come.
    is_answered: bool,
}

impl Plugin {
    pub(crate) fn on_context_create(&mut self, context: u32, parent: u32) {
        if parent == 0 {
            logging::start();
            self.first_root = self.first_root.or(Some(context));
        } else if self.first_root != Some(parent) {
            self.streams.insert(context, Stream { root: Some(parent), ..Stream::default() });
        }
    }

    /// `false` refuses the configuration.
    pub(crate) fn on_configure(&mut self, root: u32, size: usize) -> bool {
        let (bytes, nanos) = match (host::configuration(size), host::now_nanos()) {
            (Ok(bytes), Ok(nanos)) => (bytes, nanos),
            (Err(status), _) | (_, Err(status)) => {
                log::error!(
                    "the proxy gives no configuration or no time (status {}): is a capability missing?",
                    status.0
                );
                return false;
            }
        };
        let (config, warnings) = match Config::load_in(&bytes, &host::has_cluster) {
            Ok(loaded) => loaded,
            Err(errors) => {
                for error in &errors {
                    log::error!("configuration: {error}");
                }
                let word = if errors.len() == 1 { "error" } else { "errors" };
                log::error!("configuration: refused, {} {word}", errors.len());
                return false;
            }
        };
        for warning in warnings {
            log::warn!("configuration: {warning}");
        }
        let now = UnixMillis::from_nanos(nanos);
        if !now.is_of_a_clock() {
            log::error!(
                "the host's clock says {}: until it is right, keys with `expires` are refused, and a rate, a quota, a \
                 cool-down or the wait for another attempt may have no end",
                now.to_rfc3339()
            );
        }
        let host = ProxyHost::new();
        let config = Config { scope: Scope::of(host::property), ..config };
        let engine = Engine::new(config, &host, now, nanos).with_bodies(self.bodies.clone());
        host::declare_pass(engine.pass_property());
        self.first_root = self.first_root.or(Some(root));
        if let Some(former) = self.roots.insert(root, Root { host, engine, tick_ms: TICK_MS }) {
            former.host.hand_over_counts();
        }
        host::start_ticking(TICK_MS);
        true
    }

    pub(crate) fn on_request_headers(&mut self, stream: u32, is_end: bool) -> Action {
        let root = self.streams.get(&stream).and_then(|stream| stream.root).or(self.first_root).unwrap_or_default();
        let Some(Root { host, engine, .. }) = self.roots.get_mut(&root) else {
            // Envoy has no streams for a root context whose configuration was refused.
            return self.refuse_unseen(stream);
        };
        let Ok((bytes, now)) = host::request_facts() else { return self.refuse_unseen(stream) };
        let decision = {
            let headers = abi::parse_pairs(&bytes);
            let request = Request { headers: &headers, property: &host::property };
            engine.on_request(host, StreamId(stream), &request, now)
        };
        match decision {
            Poll::Ready(Decision::Continue { changes, followup }) => {
                if !host::change_request(&changes) {
                    return self.refuse_unseen(stream);
                }
                if let Some(followup) = followup {
                    let state = self.streams.entry(stream).or_default();
                    if Engine::status_header(&followup).is_some() {
                        state.headers = bytes;
                    }
                    state.followup = Some(followup);
                }
                Action::Continue
            }
            Poll::Ready(Decision::Refuse(answer)) => {
                host::send_answer(&answer);
                self.hold(stream)
            }
            Poll::Ready(Decision::Collect) => {
                self.collecting.insert(stream, Collecting { root, since: now, size: None });
                if is_end {
                    self.end_collecting(stream, 0);
                }
                self.hold(stream)
            }
            Poll::Ready(Decision::Await) => {
                self.streams.entry(stream).or_default().awaits = true;
                self.hold(stream)
            }
            Poll::Pending => self.hold(stream),
        }
    }

    pub(crate) fn on_request_body(&mut self, stream: u32, size: usize, is_end: bool) -> Action {
        if let Some(collecting) = self.collecting.get_mut(&stream) {
            // What is paused stays with the host, which shows it anew with what has come.
            collecting.size = Some(size);
            if !is_end && size <= MAX_BODY_BYTES {
                return Action::Pause;
            }
            self.end_collecting(stream, size);
        }
        let Some(state) = self.streams.get_mut(&stream) else { return Action::Continue };
        if let Some(collector) = state.followup.as_mut().and_then(Engine::watched).and_then(Watched::request_body) {
            collector.push(&host::body(Body::Request, size));
        }
        if state.is_held { Action::Pause } else { Action::Continue }
    }

    pub(crate) fn on_request_trailers(&mut self, stream: u32) -> Action {
        if let Some(size) = self.collecting.get(&stream).map(|collecting| collecting.size.unwrap_or_default()) {
            self.end_collecting(stream, size);
        }
        if self.streams.get(&stream).is_some_and(|state| state.is_held) { Action::Pause } else { Action::Continue }
    }

    /// Lets nothing of a request through, whether or not the host took an answer to it.
    fn hold(&mut self, stream: u32) -> Action {
        self.streams.entry(stream).or_default().is_held = true;
        Action::Pause
    }

    /// What cannot be looked at is not let through.
    fn refuse_unseen(&mut self, stream: u32) -> Action {
        let outcome = Outcome::CounterUnavailable;
        if let Some(answer) = Answer::refuse(outcome, None, LimitHeaders::None, UnixMillis::default()) {
            host::send_answer(&answer);
        }
        self.hold(stream)
    }

    /// Answers a request whose body is complete, or too long.
    fn end_collecting(&mut self, stream: u32, size: usize) {
        let root = self.collecting.remove(&stream).map(|collecting| collecting.root);
        let Some(Root { host, engine, .. }) = root.and_then(|root| self.roots.get_mut(&root)) else { return };
        let body = if size <= MAX_BODY_BYTES { host::body(Body::Request, size) } else { Vec::new() };
        host::send_answer(&engine.on_admin_body(host, &body, size, host::now()));
    }

    /// Answers the requests of which no body comes: a proxy that keeps it back would leave them waiting.
    fn give_up_collecting(&mut self, root: u32, now: UnixMillis) {
        self.collecting.retain(|stream, collecting| {
            let waits =
                collecting.root != root || collecting.size.is_some() || now.since(collecting.since) < BODY_PATIENCE_MS;
            if !waits && host::enter(*stream) {
                host::send_answer(&admin::no_body());
            }
            waits
        });
    }

    pub(crate) fn on_response_headers(&mut self, stream: u32, is_end: bool) {
        let Some(state) = self.streams.get_mut(&stream) else { return };
        state.is_answered = true;
        let root = state.root.or(self.first_root).unwrap_or_default();
        let Some(followup) = &mut state.followup else { return };
        let Some(Root { host, engine, .. }) = self.roots.get_mut(&root) else { return };
        engine.show_limits(followup, host::now, host::set_response_header);
        // They may be long, and the stream may last.
        let headers = std::mem::take(&mut state.headers);
        if Engine::status_header(followup).is_some() {
            observe(host, engine, followup, &headers);
        }
        match Engine::watched(followup) {
            None => state.followup = None,
            Some(watched) => {
                watched.on_response(&abi::parse_pairs(&host::response_headers()));
                if is_end {
                    self.on_exchange_end(stream);
                }
            }
        }
    }

    pub(crate) fn on_response_body(&mut self, stream: u32, size: usize, is_end: bool) {
        let followup = self.streams.get_mut(&stream).and_then(|state| state.followup.as_mut());
        if let Some(collector) = followup.and_then(Engine::watched).and_then(Watched::response_body) {
            collector.push(&host::body(Body::Response, size));
        }
        if is_end {
            self.on_exchange_end(stream);
        }
    }

    /// The response has come whole.
    pub(crate) fn on_exchange_end(&mut self, stream: u32) {
        let Some(state) = self.streams.get_mut(&stream) else { return };
        let root = state.root.or(self.first_root);
        let Some(mut followup) = state.followup.take() else { return };
        if let Some(Root { host, engine, .. }) = root.and_then(|root| self.roots.get_mut(&root)) {
            engine.on_exchange_end(host, &mut followup, host::now());
        }
    }

    pub(crate) fn on_tick(&mut self, root: u32) {
        if let Some(Root { host, engine, tick_ms }) = self.roots.get_mut(&root) {
            engine.on_tick(host, host::now());
            set_tick(engine, tick_ms);
            host.hand_over_counts();
        }
        // Last, for they make a stream the one that further calls are of.
        self.send_answers(root);
        if !self.collecting.is_empty() {
            self.give_up_collecting(root, host::now());
        }
    }

    pub(crate) fn on_queue_ready(&mut self, root: u32) {
        if let Some(Root { host, engine, .. }) = self.roots.get_mut(&root) {
            engine.on_wake(host, host::now());
        }
    }

    pub(crate) fn on_http_call_response(&mut self, root: u32, call: u32, header_count: usize) {
        #[cfg(feature = "faults")]
        host::trap_if_asked();
        if let Some(Root { host, engine, tick_ms }) = self.roots.get_mut(&root) {
            let reply = host::callout_reply(header_count);
            engine.on_callout_reply(host, CalloutId(call), &reply, host::now());
            set_tick(engine, tick_ms);
        }
        self.send_answers(root);
    }

    /// Answers the streams that waited, unless they are gone.
    fn send_answers(&mut self, root: u32) {
        let answers = self.roots.get_mut(&root).map(|root| root.engine.take_answers()).unwrap_or_default();
        for (StreamId(stream), answer) in answers {
            let awaits = self.streams.get_mut(&stream).is_some_and(|state| std::mem::take(&mut state.awaits));
            if awaits && host::enter(stream) {
                host::send_answer(&answer);
            }
        }
    }

    pub(crate) fn on_delete(&mut self, context: u32) {
        self.collecting.remove(&context);
        if let Some(Stream { root, followup, is_answered, .. }) = self.streams.remove(&context) {
            let engine =
                root.or(self.first_root).and_then(|root| self.roots.get_mut(&root)).map(|root| &mut root.engine);
            if let Some((engine, followup)) = engine.zip(followup.filter(|_| !is_answered))
                && let Some(pass) = engine.on_cut_off(followup)
            {
                host::leave_to_next_pass(engine.pass_property(), &pass);
            }
            return;
        }
        if let Some(Root { host, mut engine, .. }) = self.roots.remove(&context) {
            engine.on_shutdown(&host);
            host.hand_over_counts();
        }
    }
}

/// Looks at a response that may be an event; `headers` are those of its request.
fn observe(host: &ProxyHost, engine: &mut Engine, followup: &Followup, headers: &[u8]) {
    let Some(header) = Engine::status_header(followup) else { return };
    let Some(status) = host::response_number(header.name(), headers).map(|value| header.status(value)) else { return };
    if engine.minds(followup, status) {
        let headers = abi::parse_pairs(headers);
        let request = Request { headers: &headers, property: &host::property };
        engine.on_response(host, &request, followup, status, host::now());
    }
}

/// An engine that has much to read asks for more ticks.
fn set_tick(engine: &Engine, tick_ms: &mut u64) {
    let wanted = engine.tick_ms();
    if wanted != *tick_ms {
        host::start_ticking(wanted);
        *tick_ms = wanted;
    }
}
