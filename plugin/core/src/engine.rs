//! One request, one event, one delivery, read from top to bottom: a function for each callback of the host.

use std::borrow::Cow;
use std::task::Poll;

use serde_json::json;

use crate::admin::{self, Command};
use crate::allowed_urls::CompiledUrls;
use crate::answer::{AUTH_FAILURE, Answer, Outcome};
use crate::caller::{Asked, Caller, KnownKeys};
use crate::config::Config;
use crate::connection_test::{ConnectionTests, StreamId};
use crate::cooldown::{self, CauseDigest};
use crate::delivery::dispatcher::Dispatcher;
use crate::delivery::succession::{self, Line};
use crate::delivery::{clusters, disabled, lease};
use crate::event::EventKind;
use crate::identity::{Claimed, Source};
use crate::keys::{KeyFetcher, LOADING_TICK_MS};
use crate::manage::body::BodyPool;
use crate::message::Fate;
use crate::metrics::Metric;
use crate::notify::{Notifier, Occurrence, Scene};
use crate::pass::{self, Pass, Passing};
use crate::paths::Readings;
use crate::ports::{CalloutId, CalloutReply, Host};
use crate::preflight::is_preflight;
use crate::quota::{Charged, List, Scope, Usage, charge};
use crate::request::{HeaderChange, Request};
use crate::route::{Api, ApiIndex, Route, Versioned};
use crate::session::Grant;
use crate::units::UnixMillis;
use crate::upstream::{self, Upstreams, Verdict};
use crate::watching::Watched;

/// The period in which the host calls [`Engine::on_tick`].
pub const TICK_MS: u64 = 500;

/// How long one AuthFailure tells of all wrong tokens.
const ADMIN_FAILURES_MS: u64 = 60_000;

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

/// What a response needs to know of its request.
#[derive(Debug)]
pub struct Followup {
    /// The limits that the response shows.
    usages: Vec<(Scope, Usage)>,
    /// For the next pass of the same request.
    passing: Passing,
    /// Whose response is looked at.
    observed: Option<Box<Observed>>,
    /// An exchange that may be a management event.
    watched: Option<Box<Watched>>,
}

/// A request whose response may be an event.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Observed {
    api: ApiIndex,
    source: Source,
    name: Vec<u8>,
    org: String,
    /// The request's headers that an event shows: the host no longer has them when the response comes.
    headers: Vec<(String, Vec<u8>)>,
    is_grpc: bool,
    /// The host keeps the case of names.
    keeps_case: bool,
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
        let earlier = if std::mem::take(&mut self.was_cut_off) || pass::says_so(request) {
            (request.property)(&self.pass_property).and_then(|bytes| Pass::decode(&bytes)).map(Box::new)
        } else {
            None
        };
        let config = &self.config;
        let (index, api, doubt) = match config.routes.find(&readings, request.authority()) {
            Route::Api { index, api, doubt } => (index, api, doubt),
            Route::None => {
                let refuses = config.routes.refuses_unmatched();
                let outcome = if refuses { Outcome::Unmatched } else { Outcome::Admitted };
                return Poll::Ready(self.without_api(host, outcome, request, now));
            }
        };
        let version = version(api, request, now);
        let (index, api) = match &version {
            Ok(Some(Versioned { chosen, .. })) => {
                let of_version = chosen.version.api.and_then(|index| Some((index, config.routes.get(index)?)));
                of_version.unwrap_or((index, api))
            }
            _ => (index, api),
        };
        if let Ok(version) = version
            && api.allow_preflight
            && doubt.is_none()
            && is_preflight(request)
            && api.key_location.find(request).is_none()
        {
            host.count(Metric::Requests(Outcome::Preflight));
            return Poll::Ready(Decision::Continue { changes: changes(None, version, request), followup: None });
        }
        let (caller, verdict) = match version {
            Err(outcome) => (Caller::nobody(config.directory.org(api.org)), Judgement::of(outcome)),
            Ok(version) => {
                let caller = Caller::identify(config, api, &mut self.known_keys, request, earlier.as_deref());
                let asked = Asked {
                    request,
                    readings: &readings,
                    version: version.and_then(|version| version.name_in_rights()),
                };
                let verdict = match (caller.check(config, api, &asked, &mut self.compiled_urls, now), doubt) {
                    (Err(outcome), _) | (Ok(_), Some(outcome)) => Judgement::of(outcome),
                    (Ok(grant), None) => {
                        let place = Placed { config, api, index, earlier: earlier.as_deref() };
                        Judgement::count(host, &place, &caller, grant, now)
                    }
                };
                (caller, verdict)
            }
        };
        // What has passed before is counted as admitted already.
        if earlier.is_none() || verdict.outcome != Outcome::Admitted {
            host.count(Metric::Requests(verdict.outcome));
        }
        let scene = Scene { api, request, caller: &caller };
        for occurrence in verdict.occurrences(api) {
            self.notifier.notify(host, config, &scene, &occurrence, now);
        }
        let refused_by = verdict.charged.usages.first();
        if let Some(answer) = Answer::refuse(verdict.outcome, refused_by, config.limit_headers, now) {
            let answer = answer.with_challenge(verdict.outcome, &api.challenge);
            let answer = if request.is_grpc() { answer.for_grpc(verdict.outcome) } else { answer };
            return Poll::Ready(Decision::Refuse(answer));
        }
        let changes = changes(Some(api), version.unwrap_or_default(), request);
        let observed = (api.observe_failures || api.observe_upstream.is_some())
            .then(|| Box::new(Observed::of(config, index, &caller, request)));
        let key = caller.key_to_pass(api).map(Box::new);
        let watch = |rules| Watched::begin(index, rules, request, &readings, &self.bodies);
        let watched = api.observe.as_ref().and_then(watch).map(Box::new);
        let Judgement { counted, charged: Charged { usages, .. }, .. } = verdict;
        let passes_on = !usages.is_empty() || key.is_some() || earlier.is_some();
        let is_followed = passes_on || observed.is_some() || watched.is_some();
        let org = caller.org_index();
        let passing = Passing { earlier, key, counted, api: index, org };
        let followup = is_followed.then_some(Followup { usages, passing, observed, watched });
        Poll::Ready(Decision::Continue { changes, followup })
    }

    /// A request that belongs to no API: it passes without being counted, or is refused.
    fn without_api(&self, host: &impl Host, outcome: Outcome, request: &Request<'_>, now: UnixMillis) -> Decision {
        let answer = Answer::refuse(outcome, None, self.config.limit_headers, now);
        let Some(answer) = answer else { return Decision::UNTOUCHED };
        host.count(Metric::Requests(outcome));
        Decision::Refuse(if request.is_grpc() { answer.for_grpc(outcome) } else { answer })
    }

    fn administer(
        &mut self,
        host: &impl Host,
        stream: StreamId,
        (request, readings): (&Request<'_>, &Readings<'_>),
        now: UnixMillis,
    ) -> Decision {
        let config = &self.config;
        let Some((admin, api)) = &config.admin else { return Decision::UNTOUCHED };
        if !admin.allows(request) {
            // One event tells of any number of tries.
            let cause = CauseDigest::new("admin", 0, [0; 16]);
            if matches!(cooldown::claim(host, cause, ADMIN_FAILURES_MS, now), Ok(Some(_))) {
                let occurrence = Occurrence::Refusal {
                    kind: EventKind::AuthFailure,
                    message: AUTH_FAILURE,
                    outcome: Outcome::UnknownKey,
                };
                let scene = Scene { api, request, caller: &Caller::nobody(None) };
                self.notifier.notify(host, config, &scene, &occurrence, now);
            }
            return Decision::Refuse(admin::unauthorised());
        }
        match admin.command(request, readings) {
            Err(answer) => Decision::Refuse(answer),
            Ok(Command::Status { offset, limit }) => {
                Decision::Refuse(admin::answer(200, &admin::status(host, config, (offset, limit), now)))
            }
            Ok(Command::Events) => Decision::Collect,
            Ok(Command::TestWebhook(name)) => match config.named.get(&name) {
                Some(target) => match self.tests.begin(host, stream, &name, target, &config.http_cluster, now) {
                    Some(answer) => Decision::Refuse(answer),
                    None => Decision::Await,
                },
                None => {
                    let known: Vec<&String> = config.named.keys().collect();
                    let body = json!({ "error": format!("no webhook has the name {name:?}"), "webhooks": known });
                    Decision::Refuse(admin::answer(404, &body))
                }
            },
        }
    }

    /// The body of a request for [`Decision::Collect`], of so many bytes, of which those beyond
    /// [`admin::MAX_BODY_BYTES`] are not there.
    pub fn on_admin_body(&mut self, host: &impl Host, body: &[u8], size: usize, now: UnixMillis) -> Answer {
        let config = &self.config;
        let Some((_, api)) = &config.admin else { return admin::unauthorised() };
        let occurrences = match admin::posted_events(body, size, now) {
            Ok(occurrences) => occurrences,
            Err(answer) => return answer,
        };
        let told: Vec<Vec<Fate>> = occurrences
            .iter()
            .map(|occurrence| self.notifier.notify_management(host, config, api, occurrence, now))
            .collect();
        admin::told(&told)
    }

    /// Answers for streams that wait for them, after any other call.
    pub fn take_answers(&mut self) -> Vec<(StreamId, Answer)> {
        std::mem::take(&mut self.answers)
    }

    /// The property that the streams of one request must inherit from each other: see [`Engine::on_cut_off`].
    pub fn pass_property(&self) -> &str {
        &self.pass_property
    }

    /// The end of a stream to which no response came. Returns what its property is to hold for the next pass of the
    /// request, which may come at once or never.
    pub fn on_cut_off(&mut self, followup: Followup) -> Option<Vec<u8>> {
        self.was_cut_off = true;
        followup.passing.into_pass(&followup.usages).encode()
    }

    /// Response headers: what the answer says of the limits that its request was counted on.
    ///
    /// The time is asked for only where a header tells it.
    pub fn limit_headers(&self, followup: &Followup, now: impl FnOnce() -> UnixMillis) -> Vec<(&'static str, String)> {
        let form = self.config.limit_headers;
        if followup.usages.is_empty() {
            return Vec::new();
        }
        form.of(&followup.usages, if form.tells_time() { now() } else { UnixMillis::default() })
    }

    /// The exchange that is watched, whose bodies and response headers are to be handed to it as they pass.
    pub fn watched(followup: &mut Followup) -> Option<&mut Watched> {
        followup.watched.as_deref_mut()
    }

    /// The end of the response: what the exchange says of an admin API or a portal.
    pub fn on_exchange_end(&mut self, host: &impl Host, followup: &mut Followup, now: UnixMillis) {
        let Some(watched) = followup.watched.take() else { return };
        let config = &self.config;
        let Some((api, rules)) = config.routes.get(watched.api()).and_then(|api| Some((api, api.observe.as_ref()?)))
        else {
            return;
        };
        for occurrence in watched.finish(rules) {
            self.notifier.notify_management(host, config, api, &occurrence, now);
        }
    }

    /// The header of the response that says whether it can be an event, and whether the host keeps the case of names;
    /// `None` where it is not looked at.
    pub fn status_header(followup: &Followup) -> Option<(&'static str, bool)> {
        let observed = followup.observed.as_ref()?;
        Some((if observed.is_grpc { "grpc-status" } else { ":status" }, observed.keeps_case))
    }

    /// The status that a response's [`Engine::status_header`] stands for.
    pub fn status(followup: &Followup, value: u16) -> u16 {
        // As Envoy itself translates them: to gRPC its own answers are 200.
        match (followup.observed.as_ref().is_some_and(|observed| observed.is_grpc), value) {
            (true, 7) => 403,
            (true, 8) => 429,
            (true, 14) => 503,
            (true, 16) => 401,
            (true, _) => 200,
            (false, status) => status,
        }
    }

    /// Whether a response with this status can be an event. To be asked before anything else is read.
    pub fn minds(&self, followup: &Followup, status: u16) -> bool {
        let api = followup.observed.as_ref().and_then(|seen| Some((seen.api, self.config.routes.get(seen.api)?)));
        api.is_some_and(|(index, api)| {
            api.observe_failures && matches!(status, 401 | 403 | 429)
                || api.observe_upstream.is_some() && self.upstreams.minds(index, status)
        })
    }

    /// Response headers: what others say of a request that this filter let through, as events.
    pub fn on_response(
        &mut self,
        host: &impl Host,
        property: &dyn Fn(&str) -> Option<Vec<u8>>,
        followup: &Followup,
        status: u16,
        now: UnixMillis,
    ) {
        let config = &self.config;
        let Some(Observed { api: index, source, name, org, headers, .. }) = followup.observed.as_deref() else {
            return;
        };
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect();
        let request = &Request { headers: &headers, property };
        let Some(api) = config.routes.get(*index) else { return };
        let claimed =
            Claimed { name: Cow::Borrowed(name), org: (!org.is_empty()).then(|| org.clone()), ..Claimed::default() };
        let caller = Caller::known_as(config, api, &mut self.known_keys, source, claimed);
        let details = request.text_property("response\0code_details").unwrap_or_default();
        // Two placements of this filter may share a stream: what the other refuses, it has told of.
        if details.starts_with(Answer::DETAILS_PREFIX) {
            return;
        }
        let mut occurrences = Vec::new();
        if api.observe_failures {
            occurrences.extend(Occurrence::of_status(status, upstream::reason(&details)));
        }
        if api.observe_upstream.is_some() {
            let flags = (request.property)("response\0flags")
                .and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
            let verdict = flags.and_then(|flags| Verdict::of(flags, &details));
            let judged = verdict.map(|verdict| self.upstreams.judge(host, (*index, api), verdict, now));
            match judged.unwrap_or(Ok(Vec::new())) {
                Ok(kinds) => occurrences.extend(kinds.into_iter().map(|kind| Occurrence::Verdict { kind, status })),
                Err(error) => log::error!("{}: nobody is told of its upstream: {error}", api.id),
            }
        }
        for occurrence in occurrences {
            self.notifier.notify(host, config, &Scene { api, request, caller: &caller }, &occurrence, now);
        }
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
        self.dispatcher.on_reply(host, &self.config, id, reply, now);
    }

    /// The configuration goes, or the process ends.
    pub fn on_shutdown(&mut self, host: &impl Host) {
        self.dispatcher.on_shutdown(host, &self.config);
    }
}

impl Observed {
    fn of(config: &Config, api: ApiIndex, caller: &Caller<'_>, request: &Request<'_>) -> Self {
        let (source, name) = caller.name();
        let shown = [":path"].into_iter().chain(config.origin_headers.iter().map(String::as_str));
        let lines = |name| request.lines(name).map(move |(_, value): (_, &[u8])| (str::to_owned(name), value.to_vec()));
        let headers = shown.flat_map(lines).collect();
        Observed {
            api,
            source: source.clone(),
            name: name.to_vec(),
            org: caller.named_org().to_owned(),
            headers,
            is_grpc: request.is_grpc(),
            keeps_case: request.headers.iter().any(|(name, _)| name.iter().any(u8::is_ascii_uppercase)),
        }
    }
}

/// The version of an API that has some.
fn version<'c>(api: &'c Api, request: &Request<'_>, now: UnixMillis) -> Result<Option<Versioned<'c>>, Outcome> {
    let Some(versioning) = &api.versioning else { return Ok(None) };
    Ok(Some(Versioned { versioning, chosen: versioning.choose(request, now)? }))
}

/// What is changed in a request that goes on; `stripped`: whose key does not.
fn changes(stripped: Option<&Api>, version: Option<Versioned<'_>>, request: &Request<'_>) -> Vec<HeaderChange> {
    let stripped = stripped.filter(|api| api.strip_authorization_data);
    let mut changes = stripped.map(|api| api.key_location.strip(request)).unwrap_or_default();
    if let Some(Versioned { versioning, chosen }) = version {
        versioning.change(request, chosen, &mut changes);
    }
    changes
}

/// What became of a request, before anybody is told.
struct Judgement {
    outcome: Outcome,
    charged: Charged,
    /// The counters that this pass was counted on, by scope and number.
    counted: List<(Scope, u64)>,
}

/// Where a request is.
struct Placed<'e> {
    config: &'e Config,
    api: &'e Api,
    index: ApiIndex,
    earlier: Option<&'e Pass>,
}

impl Judgement {
    fn of(outcome: Outcome) -> Self {
        Judgement { outcome, charged: Charged::default(), counted: List::new() }
    }

    fn count(
        host: &impl Host,
        place: &Placed<'_>,
        caller: &Caller<'_>,
        grant: Option<Grant<'_>>,
        now: UnixMillis,
    ) -> Self {
        let Placed { config, api, index, earlier } = *place;
        let mut due = caller.charge(config, api, grant);
        let before = earlier.map(|pass| pass.take(&mut due.lines, index, caller.org_index())).unwrap_or_default();
        match charge(host, &due, now) {
            Ok(mut charged) => {
                let Some(scope) = charged.refused_by else {
                    charged.usages.extend(before);
                    let counted = due.lines.iter().map(|line| (line.scope, line.subject)).collect();
                    return Judgement { outcome: Outcome::Admitted, charged, counted };
                };
                Judgement { outcome: Outcome::refused_by(scope), charged, counted: List::new() }
            }
            Err(error) => {
                log::error!("{} of {:?}: not counted, so refused: {error}", caller.fingerprint(), caller.org_id());
                Judgement::of(Outcome::CounterUnavailable)
            }
        }
    }

    /// Everything that somebody may want to hear of.
    fn occurrences(&self, api: &Api) -> Vec<Occurrence> {
        let refused = self.outcome.event().filter(|_| self.outcome != Outcome::MissingKey || api.fire_on_missing_key);
        let refused = refused.map(|(kind, message)| Occurrence::Refusal { kind, message, outcome: self.outcome });
        let crossings = self.charged.crossings.iter().map(|crossing| Occurrence::Crossing(*crossing));
        crossings.chain(refused).collect()
    }
}

#[cfg(test)]
mod tests;
