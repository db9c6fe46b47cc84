//! One request, one event, one delivery, read from top to bottom: a function for each callback of the host.

mod administer;
mod judgement;
mod response;
mod version;

use std::task::Poll;

pub use response::{Followup, StatusHeader};

use crate::allowed_urls::CompiledUrls;
use crate::answer::{Answer, Outcome};
use crate::caller::{Asked, Caller, KnownKeys};
use crate::config::Config;
use crate::connection_test::{ConnectionTests, StreamId};
use crate::delivery::dispatcher::Dispatcher;
use crate::delivery::succession::{self, Line};
use crate::delivery::{clusters, disabled, lease};
use crate::keys::{KeyFetcher, LOADING_TICK_MS};
use crate::manage::Rules;
use crate::manage::body::BodyPool;
use crate::metrics::Metric;
use crate::notify::{Notifier, Scene};
use crate::pass::{self, Pass, Passing};
use crate::paths::Readings;
use crate::ports::{CalloutId, CalloutReply, Host};
use crate::preflight::is_preflight;
use crate::request::{HeaderChange, Request};
use crate::route::{Api, ApiIndex, Route, Versioned};
use crate::units::UnixMillis;
use crate::upstream::Upstreams;
use crate::versioning::ROUTE_HEADER;
use crate::watching::Watched;
use judgement::{Judgement, Placed};

/// The period in which the host calls [`Engine::on_tick`].
pub const TICK_MS: u64 = 500;

/// tollbell for one configuration in one VM.
pub struct Engine {
    config: Config,
    notifier: Notifier,
    dispatcher: Dispatcher,
    known_keys: KnownKeys,
    compiled_urls: CompiledUrls,
    upstreams: Upstreams,
    keys: Option<KeyFetcher>,
    last_tick: UnixMillis,
    tests: ConnectionTests,
    /// Of the exchanges that are watched.
    bodies: BodyPool,
    /// Answers for streams that wait for them.
    answers: Vec<(StreamId, Answer)>,
    /// The property that holds a [`Pass`]: each placement has its own.
    pass_property: String,
    /// The stream before this one was cut off, and left a [`Pass`].
    was_cut_off: bool,
}

/// What is to be done with a request.
#[derive(Debug)]
pub enum Decision {
    /// It goes on, changed.
    Continue {
        /// Changes to its headers.
        changes: Vec<HeaderChange>,
        /// What is to be remembered for its response.
        followup: Option<Followup>,
    },
    /// It ends here.
    Refuse(Answer),
    /// It ends here, when its body has come: see [`Engine::on_admin_body`].
    Collect,
    /// It ends here, when its answer is there: see [`Engine::take_answers`].
    Await,
}

impl Decision {
    const UNTOUCHED: Decision = Decision::Continue { changes: Vec::new(), followup: None };
}

impl Engine {
    /// Makes ready for requests. `now` and `salt` make event ids differ from those of other processes.
    ///
    /// This cannot fail: a VM that refused what the others took would let requests pass unchecked on its worker.
    pub fn new(config: Config, host: &impl Host, now: UnixMillis, salt: u64) -> Self {
        let vm = lease::register_vm(host).unwrap_or_else(|error| {
            log::error!("this VM has no number of its own, and takes one from the clock: {error}");
            salt
        });
        let began = succession::begin(host, config.scope, config.id, now).map_err(|error| {
            log::error!("what a former configuration holds is not taken over: {error}");
        });
        let (line, is_new) = began.map_or((Line(config.id.0), true), |began| (began.line, began.is_new));
        let config = Config { line, ..config };
        let notifier = Notifier::new(vm, now, salt);
        let dispatcher = Dispatcher::new(vm, &config);
        // A VM that takes the place of another, perhaps while its listener is drained, makes its configuration no later.
        let begun = if is_new { disabled::begin(host, config.id) } else { Ok(false) };
        let forgotten = begun.and_then(|is_another| if is_another { clusters::forget(host) } else { Ok(()) });
        if let Err(error) = forgotten {
            log::error!("targets that were disabled before may stay so: {error}");
        }
        let keys = KeyFetcher::new(&config, vm, now);
        let pass_property = format!("tollbell.pass.{:x}", config.id.0);
        Engine {
            pass_property,
            keys,
            config,
            notifier,
            dispatcher,
            known_keys: KnownKeys::default(),
            compiled_urls: CompiledUrls::default(),
            upstreams: Upstreams::default(),
            last_tick: UnixMillis(0),
            tests: ConnectionTests::default(),
            bodies: BodyPool::default(),
            answers: Vec::new(),
            was_cut_off: false,
        }
    }

    /// Shares the memory for watched bodies with the other engines of the VM.
    #[must_use]
    pub fn with_bodies(self, bodies: BodyPool) -> Self {
        Engine { bodies, ..self }
    }

    /// Request headers: route, identity, session, quota, monitor, and the events of all that.
    ///
    /// Pending is for a store that answers later; shared data answers at once.
    pub fn on_request(
        &mut self,
        host: &impl Host,
        stream: StreamId,
        request: &Request<'_>,
        now: UnixMillis,
    ) -> Poll<Decision> {
        if let Some(keys) = &mut self.keys {
            keys.on_request(now);
        }
        let Ok(readings) = Readings::of(request.path()) else {
            return Poll::Ready(self.without_api(host, Outcome::AmbiguousPath, request, now));
        };
        if self.config.admin.as_ref().is_some_and(|(admin, _)| admin.owns(&readings)) {
            return Poll::Ready(self.administer(host, stream, (request, &readings), now));
        }
        let earlier = self.earlier_pass(request);
        let config = &self.config;
        let (index, api, doubt) = match config.routes.find(&readings, request.authority()) {
            Route::Api { index, api, doubt } => (index, api, doubt),
            Route::None => {
                let refuses = config.routes.refuses_unmatched();
                let outcome = if refuses { Outcome::Unmatched } else { Outcome::Admitted };
                return Poll::Ready(self.without_api(host, outcome, request, now));
            }
        };
        let version = version::of_request(config, (index, api), request, earlier.as_deref(), now);
        let (index, api) = version::api(config, &version).unwrap_or((index, api));
        if api.allow_preflight
            && let Ok(version) = version
            && doubt.is_none()
            && is_preflight(request)
            && api.key_location.find(request).is_none()
        {
            host.count(Metric::Requests(Outcome::Preflight));
            let changes = changes(config, None, version, request);
            return Poll::Ready(Decision::Continue { changes, followup: None });
        }
        let caller = match version {
            Err(_) => Caller::nobody(config.directory.org(api.org)),
            Ok(_) => Caller::identify(config, api, &mut self.known_keys, request, earlier.as_deref()),
        };
        let grant = version.and_then(|version| {
            let in_rights = version.and_then(|version| version.name_in_rights());
            let asked = Asked { request, readings: &readings, version: in_rights };
            caller.check(config, api, &asked, &mut self.compiled_urls, now)
        });
        let verdict = match (grant, doubt) {
            (Err(outcome), _) | (Ok(_), Some(outcome)) => Judgement::of(outcome),
            (Ok(grant), None) => {
                let place = Placed { config, api, index, earlier: earlier.as_deref() };
                Judgement::count(host, &place, &caller, grant, now)
            }
        };
        // What has passed before is counted as admitted already.
        if earlier.is_none() || verdict.outcome != Outcome::Admitted {
            host.count(Metric::Requests(verdict.outcome));
        }
        if !verdict.is_quiet() {
            let scene = Scene { api, request, caller: &caller };
            self.notifier.notify_all(host, config, &scene, &verdict.occurrences(api), now);
            if let Some(answer) = refusal(config, api, &verdict, request, now) {
                return Poll::Ready(Decision::Refuse(answer));
            }
        }
        let version = version.unwrap_or_default();
        let changes = changes(config, Some(api), version, request);
        let (key, org) = (caller.key_to_pass(api).map(Box::new), caller.org_index());
        let version = version.map(|version| version.place());
        let passing = Passing { earlier, key, counted: verdict.counted, api: index, org, version };
        let followup = Followup {
            usages: verdict.charged.usages,
            passing,
            observed: StatusHeader::of(api, request),
            watched: api.observe.as_ref().and_then(|rules| watch(index, rules, request, &readings, &self.bodies)),
        };
        Poll::Ready(Decision::Continue { changes, followup: followup.is_needed().then_some(followup) })
    }

    /// What an earlier pass of the request through this filter has left, if there was one.
    fn earlier_pass(&mut self, request: &Request<'_>) -> Option<Box<Pass>> {
        if !std::mem::take(&mut self.was_cut_off) && !pass::says_so(request) {
            return None;
        }
        (request.property)(&self.pass_property).and_then(|bytes| Pass::decode(&bytes)).map(Box::new)
    }

    /// A request that belongs to no API: it passes without being counted, or is refused.
    #[cold]
    #[inline(never)]
    fn without_api(&self, host: &impl Host, outcome: Outcome, request: &Request<'_>, now: UnixMillis) -> Decision {
        let answer = Answer::refuse(outcome, None, self.config.limit_headers, now);
        let Some(answer) = answer else {
            return Decision::Continue { changes: changes(&self.config, None, None, request), followup: None };
        };
        host.count(Metric::Requests(outcome));
        Decision::Refuse(if request.is_grpc() { answer.for_grpc(outcome) } else { answer })
    }

    /// Answers for streams that wait for them, after any other call.
    pub fn take_answers(&mut self) -> Vec<(StreamId, Answer)> {
        std::mem::take(&mut self.answers)
    }

    /// The property that the streams of one request must inherit from each other: see [`Engine::on_cut_off`].
    pub fn pass_property(&self) -> &str {
        &self.pass_property
    }

    /// Every [`TICK_MS`].
    pub fn on_tick(&mut self, host: &impl Host, now: UnixMillis) {
        if let Some(keys) = &mut self.keys {
            let was_busy = keys.is_busy();
            if keys.on_tick(host, &mut self.config, now) {
                self.known_keys.clear();
            }
            // These ticks come much faster than what follows needs.
            if was_busy && self.last_tick <= now && now.since(self.last_tick) < TICK_MS {
                return;
            }
        }
        self.last_tick = now;
        if let Some(guesses) = host.guesses() {
            guesses.tick();
        }
        self.notifier.forget_repeats();
        self.answers.extend(self.tests.on_tick(host, now));
        let observed = self.config.routes.iter().filter(|(_, api)| api.observe_upstream.is_some());
        self.upstreams.refresh(host, observed);
        self.dispatcher.on_tick(host, &self.config, now);
    }

    /// The period in which [`Engine::on_tick`] is to be called.
    pub fn tick_ms(&self) -> u64 {
        if self.keys.as_ref().is_some_and(KeyFetcher::is_busy) { LOADING_TICK_MS } else { TICK_MS }
    }

    /// A message waits for the dispatching VM.
    pub fn on_wake(&mut self, host: &impl Host, now: UnixMillis) {
        self.dispatcher.on_wake(host, &self.config, now);
    }

    /// A callout ended.
    pub fn on_callout_reply(&mut self, host: &impl Host, id: CalloutId, reply: &CalloutReply, now: UnixMillis) {
        if self.keys.as_mut().is_some_and(|keys| keys.on_reply(host, id, reply, now)) {
            return;
        }
        if let Some(answer) = self.tests.on_reply(host, id, reply, now) {
            return self.answers.push(answer);
        }
        self.notifier.forget_repeats();
        self.dispatcher.on_reply(host, &self.config, id, reply, now);
    }

    /// The configuration goes, or the process ends.
    pub fn on_shutdown(&mut self, host: &impl Host) {
        self.dispatcher.on_shutdown(host, &self.config);
    }
}

/// The answer to a request that does not go on; `None` where it does.
#[cold]
#[inline(never)]
fn refusal(config: &Config, api: &Api, verdict: &Judgement, request: &Request<'_>, now: UnixMillis) -> Option<Answer> {
    let refused_by = verdict.charged.usages.first();
    let answer = Answer::refuse(verdict.outcome, refused_by, config.limit_headers, now)?;
    let answer = answer.with_challenge(verdict.outcome, &api.challenge);
    Some(if request.is_grpc() { answer.for_grpc(verdict.outcome) } else { answer })
}

#[cold]
#[inline(never)]
fn watch(
    index: ApiIndex,
    rules: &Rules,
    request: &Request<'_>,
    readings: &Readings<'_>,
    bodies: &BodyPool,
) -> Option<Box<Watched>> {
    Watched::begin(index, rules, request, readings, bodies).map(Box::new)
}

/// What is changed in a request that goes on; `stripped`: whose key does not.
fn changes(
    config: &Config,
    stripped: Option<&Api>,
    version: Option<Versioned<'_>>,
    request: &Request<'_>,
) -> Vec<HeaderChange> {
    let stripped = stripped.filter(|api| api.strip_authorization_data);
    let mut changes = stripped.map(|api| api.key_location.strip(request)).unwrap_or_default();
    match version {
        Some(Versioned { versioning, chosen, .. }) => versioning.change(request, chosen, &mut changes),
        // Routes must not take a client's word for what the filter says elsewhere.
        None if config.routes.has_versions() => request.remove_all(ROUTE_HEADER, &mut changes),
        None => {}
    }
    changes
}

#[cfg(test)]
mod tests;
