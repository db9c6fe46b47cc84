//! The engine: one method for each callback of the host. This is the filter without the hostcalls.
//!
//! ```text
//! on_request_headers   → request → route → identity → session → counters ─┬→ Continue | answer
//! (store answers)      → resume  ──────────────────────────────────────────┘
//! on_response_headers  → limits shown, failures and upstreams observed
//! bodies, trailers     → admin requests collected, exchanges watched
//! on_tick, on_wake, on_callout_reply → keys, connection tests, outbox
//! ```

mod administer;
mod counting;
mod exchanges;
mod judgement;
mod keys;
mod metrics;
pub mod owners;
pub mod preview;
mod request;
mod response;
mod usage;
mod version;
mod waiting;

use crate::access::{Access, Answer, Api, CompiledUrls, Counters, Directory, FleetSettings, KnownKeys, Request};
use crate::admin::{Admin, ConnectionTests, MAX_BODY_BYTES, OwnUsage};
use crate::base::{UnixMillis, fingerprint};
use crate::config::Config;
use crate::delivery::{
    ConfigId, Dispatcher, Line, Placement, PluginScope, Target, clusters, disabled, lease, succession,
};
use crate::host::{CalloutId, CalloutReply, Flow, Host, Stream, StreamId, Streams, TICK_MS};
use crate::notify::{Notifications, Notifier};
use crate::observe::{BodyPool, Observation, Upstreams};
pub use counting::Counting;
use exchanges::{OpenStream, OpenStreams, Phase};
use keys::{KeyFetcher, LOADING_TICK_MS};
use litemap::LiteMap;
pub use metrics::metrics;
use request::Decision;

/// The interval of ticks while requests wait for the store of a fleet.
const WAITING_TICK_MS: u64 = 25;

/// tollbell for one configuration in one VM.
pub struct Engine<C = Counting> {
    access: Access,
    directory: Directory,
    observation: Observation,
    notifications: Notifications,
    /// The admin endpoints, and the API that stands for them in the AuthFailure of a wrong token.
    admin: Option<(Admin, Api)>,
    /// The endpoint at which the holder of a key sees its limits, and the API that stands for it in events.
    usage: Option<(OwnUsage, Api)>,
    http_cluster: String,
    /// The targets of named webhooks.
    named: LiteMap<String, Target>,
    counters: C,
    keys: Option<KeyFetcher>,
    notifier: Notifier,
    dispatcher: Dispatcher,
    known_keys: KnownKeys,
    compiled_urls: CompiledUrls,
    upstreams: Upstreams,
    tests: ConnectionTests,
    /// The data of streams.
    exchanges: OpenStreams,
    /// The memory for bodies of watched exchanges.
    bodies: BodyPool,
    /// Answers for streams that wait for them.
    answers: Vec<(StreamId, Answer)>,
    /// The property that contains a [`Pass`](crate::access::Pass). Each placement has its own.
    pass_property: String,
    /// True if the stream before this one was cut off and left a `Pass`.
    was_cut_off: bool,
    last_tick: UnixMillis,
    tick_ms: u64,
}

impl Engine {
    /// Makes an engine whose requests are counted as the configuration says. `salt` makes its event ids different from those of
    /// other processes that start at the same moment. The engines of a VM share the memory for watched `bodies`.
    ///
    /// This cannot fail: if a VM refused a configuration that the others accepted, its worker would pass requests
    /// unchecked.
    pub fn new(config: Config, host: &impl Host, bodies: &BodyPool, salt: u64) -> Self {
        Engine::with_counters(config, host, bodies, salt, Counting::new)
    }
}

impl<C: Counters> Engine<C> {
    /// As [`Engine::new`], with other counters. `make_counters` gets the configured store, and a text that distinguishes
    /// this VM from all others of a fleet.
    pub fn with_counters(
        config: Config,
        host: &impl Host,
        bodies: &BodyPool,
        salt: u64,
        make_counters: impl FnOnce(Option<FleetSettings>, String) -> C,
    ) -> Self {
        let now = host.now_or_epoch();
        // The processes of a fleet may start in the same nanosecond.
        let node = host.property("xds\0node\0id").unwrap_or_default();
        let salt = fingerprint(&[&String::from_utf8_lossy(&node), &salt.to_string()]);
        if !now.is_of_a_clock() {
            log::error!(
                "the host's clock says {}: until it is corrected, keys with `expires` are refused, and rates, quotas, \
                 cool-downs and delays between attempts may never end",
                now.to_rfc3339()
            );
        }
        let vm = lease::register_vm(host).unwrap_or_else(|error| {
            log::error!("this VM got no number, and takes one from the clock: {error}");
            salt
        });
        let born = format!("{:x}", fingerprint(&[&salt.to_string(), &vm.to_string()]));
        let Config {
            access,
            directory,
            observation,
            notifications,
            keys_from,
            session_maker,
            admin,
            usage,
            http_cluster,
            named,
            fleet,
        } = config;
        let placement = begin(host, notifications.placement.id, now);
        let notifications = Notifications { placement, ..notifications };
        let keys = keys_from.map(|from| {
            let used = notifications.clusters.get(&from.target.cluster).cloned();
            KeyFetcher::new(from, session_maker, used, vm, now)
        });
        let pass_property = format!("tollbell.pass.{:x}", placement.id.0);
        host.declare_request_property(&pass_property);
        host.tick_every(TICK_MS);
        Engine {
            access,
            directory,
            observation,
            admin,
            usage,
            http_cluster,
            named,
            counters: make_counters(fleet, born),
            keys,
            notifier: Notifier::new(vm, now, salt),
            dispatcher: Dispatcher::new(vm, placement.id),
            notifications,
            known_keys: KnownKeys::default(),
            compiled_urls: CompiledUrls::default(),
            upstreams: Upstreams::default(),
            tests: ConnectionTests::default(),
            exchanges: OpenStreams::default(),
            bodies: bodies.clone(),
            answers: Vec::new(),
            pass_property,
            was_cut_off: false,
            last_tick: UnixMillis(0),
            tick_ms: TICK_MS,
        }
    }

    /// Request headers: route, identity, session, counters, and their events. `is_end` means that no body follows.
    pub fn on_request_headers(&mut self, host: &impl Host, stream: &impl Stream, is_end: bool) -> Flow {
        let (Ok(headers), Ok(now)) = (stream.request_headers(), host.now()) else {
            return self.refuse_unseen(stream);
        };
        let decision = {
            let pairs = headers.pairs();
            let request = Request { headers: &pairs, property: &|path| stream.property(path) };
            self.judge(host, stream, &request, now)
        };
        match decision {
            Decision::Continue { changes, followup } => {
                if stream.change_request(&changes).is_err() {
                    return self.refuse_unseen(stream);
                }
                if let Some(followup) = followup {
                    self.exchanges.remember(stream.id(), followup, headers);
                }
                Flow::Continue
            }
            Decision::Refuse(answer) => {
                stream.answer(&answer);
                self.exchanges.hold(stream.id(), Phase::Held)
            }
            Decision::Collect => {
                self.exchanges.hold(stream.id(), Phase::Collecting { since: now, size: None });
                if is_end {
                    self.end_collecting(host, stream, 0);
                }
                Flow::Pause
            }
            Decision::AwaitTest => self.exchanges.hold(stream.id(), Phase::AwaitsTest),
            Decision::AwaitCharge(earlier) => {
                self.choose_tick(host);
                self.exchanges.hold(stream.id(), Phase::AwaitsCharge { since: now, headers, earlier })
            }
        }
    }

    /// A part of the request's body, of `size` bytes. For a paused stream it is the whole body so far.
    pub fn on_request_body(&mut self, host: &impl Host, stream: &impl Stream, size: usize, is_end: bool) -> Flow {
        let Some(exchange) = self.exchanges.get(stream.id()) else { return Flow::Continue };
        if let Phase::Collecting { size: seen, .. } = &mut exchange.phase {
            *seen = Some(size);
            if is_end || size > MAX_BODY_BYTES {
                self.end_collecting(host, stream, size);
            }
            return Flow::Pause;
        }
        if let Some(collector) = exchange.watched().and_then(|watched| watched.request_body()) {
            collector.push(&stream.request_body(size));
        }
        exchange.flow()
    }

    /// Trailers of the request, which end its body.
    pub fn on_request_trailers(&mut self, host: &impl Host, stream: &impl Stream) -> Flow {
        let Some(exchange) = self.exchanges.get(stream.id()) else { return Flow::Continue };
        let flow = exchange.flow();
        if let Phase::Collecting { size, .. } = exchange.phase {
            self.end_collecting(host, stream, size.unwrap_or_default());
        }
        flow
    }

    /// The stream has ended.
    pub fn on_delete(&mut self, stream: &impl Stream) {
        let Some(OpenStream { phase, followup, .. }) = self.exchanges.remove(stream.id()) else { return };
        match (phase, followup) {
            (Phase::AwaitsCharge { .. }, _) => self.counters.forget(stream.id()),
            // No response came. Another pass of the same request may follow at once, or never.
            (Phase::Passing, Some(followup)) => {
                self.was_cut_off = true;
                if let Some(pass) = followup.into_pass() {
                    stream.set_property(&self.pass_property, &pass);
                }
            }
            _ => {}
        }
    }

    /// A tick: see [`Clock::tick_every`](crate::host::Clock::tick_every).
    pub fn on_tick(&mut self, host: &impl Host, streams: &impl Streams) {
        let now = host.now_or_epoch();
        if !self.loads_keys(host, now) && !self.is_between(now) {
            self.last_tick = now;
            if let Some(guesses) = host.guesses() {
                guesses.tick();
            }
            self.notifier.forget_repeats();
            self.answers.extend(self.tests.on_tick(host, now));
            let observed = self.access.routes.iter().filter(|(_, api)| api.observe_upstream.is_some());
            self.upstreams.refresh(host, observed);
            self.dispatcher.on_tick(host, &self.notifications, self.counters.outbox(now), now);
            host.flush();
        }
        self.counters.on_tick(host, now);
        self.answer_waiting(host, streams, now);
        self.choose_tick(host);
        self.give_up_waiting(host, streams, now);
    }

    /// A message waits for the VM that dispatches.
    pub fn on_wake(&mut self, host: &impl Host) {
        let now = host.now_or_epoch();
        self.dispatcher.on_wake(host, &self.notifications, self.counters.outbox(now), now);
        self.counters.send_due(host, now);
    }

    /// A callout has ended.
    pub fn on_callout_reply(&mut self, host: &impl Host, streams: &impl Streams, id: CalloutId, reply: &CalloutReply) {
        let now = host.now_or_epoch();
        let is_of_store = self.counters.on_callout_reply(host, id, reply, now);
        let has_answers = self.counters.outbox(now).is_some_and(|outbox| outbox.take_answered());
        if is_of_store && has_answers {
            self.dispatcher.on_wake(host, &self.notifications, self.counters.outbox(now), now);
        }
        if is_of_store || self.keys.as_mut().is_some_and(|keys| keys.on_reply(host, id, reply, now)) {
            // The key fetcher took the reply.
        } else if let Some(answer) = self.tests.on_reply(host, id, reply, now) {
            self.answers.push(answer);
        } else {
            self.notifier.forget_repeats();
            self.dispatcher.on_reply(host, &self.notifications, self.counters.outbox(now), (id, reply), now);
        }
        self.counters.send_due(host, now);
        self.answer_waiting(host, streams, now);
        self.choose_tick(host);
    }

    /// The configuration is removed, or the process ends.
    pub fn on_shutdown(&mut self, host: &impl Host) {
        self.dispatcher.on_shutdown(host, &self.notifications);
        self.counters.on_shutdown(host, host.now_or_epoch());
        host.flush();
    }

    /// True if this tick comes early, because requests wait: it is only for them.
    fn is_between(&self, now: UnixMillis) -> bool {
        self.tick_ms == WAITING_TICK_MS && self.last_tick <= now && now.since(self.last_tick) < TICK_MS
    }

    /// Does a step of loading keys. `true` means that this tick was only for that, because such ticks come much faster
    /// than other work needs.
    fn loads_keys(&mut self, host: &impl Host, now: UnixMillis) -> bool {
        let Some(keys) = &mut self.keys else { return false };
        let was_busy = keys.is_busy();
        if keys.on_tick(host, &mut self.directory, now) {
            self.known_keys.clear();
        }
        was_busy && self.last_tick <= now && now.since(self.last_tick) < TICK_MS
    }

    fn choose_tick(&mut self, host: &impl Host) {
        let is_loading = self.keys.as_ref().is_some_and(KeyFetcher::is_busy);
        let wanted = match is_loading {
            true => LOADING_TICK_MS,
            false if self.counters.is_waiting() => WAITING_TICK_MS,
            false => TICK_MS,
        };
        if wanted != self.tick_ms {
            host.tick_every(wanted);
            self.tick_ms = wanted;
        }
    }

    /// Refuses a request whose headers or time the host does not give.
    fn refuse_unseen(&mut self, stream: &impl Stream) -> Flow {
        stream.answer(&Answer::unseen());
        self.exchanges.hold(stream.id(), Phase::Held)
    }
}

/// Adds the configuration to those before it.
fn begin(host: &impl Host, id: ConfigId, now: UnixMillis) -> Placement {
    let scope = PluginScope::of(|path| host.property(path));
    let began = succession::begin(host, scope, id, now).map_err(|error| {
        log::error!("messages of a former configuration are not taken over: {error}");
    });
    let (line, is_new) = began.map_or((Line(id.0), true), |began| (began.line, began.is_new));
    // A VM may replace another one while its listener is drained. This does not make its configuration the latest.
    let begun = if is_new { disabled::begin(host, id) } else { Ok(false) };
    let forgotten = begun.and_then(|is_another| if is_another { clusters::forget(host) } else { Ok(()) });
    if let Err(error) = forgotten {
        log::error!("targets that were disabled before may stay disabled: {error}");
    }
    Placement { id, scope, line }
}

#[cfg(test)]
mod tests;
