//! From a request's headers to a decision.

use std::task::Poll;

use super::Engine;
use super::judgement::{Judgement, Placed};
use super::response::{Followup, StatusHeader};
use super::version;
use crate::access::{
    Access, Answer, Api, ApiIndex, Asked, Caller, Charge, ChargeResult, Counters, Pass, Passing, ROUTE_HEADER,
    Readings, Request, RequestOutcome, Route, Versioned, is_preflight, pass,
};
use crate::base::UnixMillis;
use crate::host::{HeaderChange, Host, Stream};
use crate::notify::Scene;
use crate::observe::{BodyPool, Rules, Watched};

/// The decision on a request.
#[derive(Debug)]
pub(super) enum Decision {
    /// The request continues, with changes.
    Continue {
        changes: Vec<HeaderChange>,
        /// The data that its response needs.
        followup: Option<Followup>,
    },
    /// The filter answers it now.
    Refuse(Answer),
    /// The filter answers it when its body is complete.
    Collect,
    /// The filter answers it when a connection test ends.
    AwaitTest,
    /// It is decided when the store of counters answers. The data of its earlier passes, if any.
    AwaitCharge(Option<Box<Pass>>),
}

impl Decision {
    pub(super) const UNTOUCHED: Decision = Decision::Continue { changes: Vec::new(), followup: None };
}

/// A request that has waited for its charge and is decided again.
pub(super) struct Waited {
    pub(super) charged: ChargeResult,
    pub(super) earlier: Option<Box<Pass>>,
}

impl<C: Counters> Engine<C> {
    pub(super) fn judge(
        &mut self,
        host: &impl Host,
        stream: &impl Stream,
        request: &Request<'_>,
        now: UnixMillis,
    ) -> Decision {
        self.judge_again(host, stream, request, now, None)
    }

    /// Decides on a request that has waited for its charge. Everything except the charge is checked again.
    pub(super) fn judge_again(
        &mut self,
        host: &impl Host,
        stream: &impl Stream,
        request: &Request<'_>,
        now: UnixMillis,
        waited: Option<Waited>,
    ) -> Decision {
        if let Some(keys) = &mut self.keys {
            keys.on_request(now);
        }
        let Ok(readings) = Readings::of(request.path()) else {
            return self.without_api((host, stream), RequestOutcome::AmbiguousPath, request, now);
        };
        if self.usage.as_ref().is_some_and(|(usage, _)| usage.owns(&readings)) {
            return self.show_usage(host, stream, request, now, waited);
        }
        if self.admin.as_ref().is_some_and(|(admin, _)| admin.owns(&readings)) {
            return self.administer(host, stream.id(), (request, &readings), now);
        }
        let (charged, earlier) = match waited {
            None => (None, self.earlier_pass(request)),
            Some(Waited { charged, earlier }) => (Some(charged), earlier),
        };
        let Engine { access, directory, .. } = self;
        let (index, api, doubt) = match access.routes.find(&readings, request.authority()) {
            Route::Api { index, api, doubt } => (index, api, doubt),
            Route::None => {
                let refuses = access.routes.refuses_unmatched();
                let outcome = if refuses { RequestOutcome::Unmatched } else { RequestOutcome::Admitted };
                return self.without_api((host, stream), outcome, request, now);
            }
        };
        let version = version::of_request(access, (index, api), request, earlier.as_deref(), now);
        let (index, api) = version::api(access, &version).unwrap_or((index, api));
        if api.allow_preflight
            && let Ok(version) = version
            && doubt.is_none()
            && is_preflight(request)
            && api.key_location.find(request).is_none()
        {
            host.count(RequestOutcome::Preflight.metric());
            if access.shows_in_access_log {
                show_in_access_log(stream, Some(api), &Caller::anonymous(None), RequestOutcome::Preflight, false);
            }
            return Decision::Continue { changes: changes(access, None, version, request), followup: None };
        }
        let caller = match version {
            Err(_) => Caller::anonymous(directory.org(api.org)),
            Ok(_) => Caller::identify(access, directory, api, &mut self.known_keys, request, earlier.as_deref()),
        };
        let grant = version.and_then(|version| {
            let in_rights = version.and_then(|version| version.name_in_rights());
            let asked = Asked { request, readings: &readings, version: in_rights };
            caller.check(directory, api, &asked, &mut self.compiled_urls, now)
        });
        let verdict = match (grant, doubt) {
            (Err(outcome), _) | (Ok(_), Some(outcome)) => Judgement::of(outcome),
            (Ok(grant), None) => {
                let hash_keys = self.notifications.hash_keys;
                let place = Placed { access, api, index, earlier: earlier.as_deref(), hash_keys };
                let mut charged = charged;
                let mut charge = |charge: &Charge<'_>| match charged.take() {
                    Some(charged) => Poll::Ready(charged),
                    None => self.counters.charge(host, stream.id(), charge, now),
                };
                match Judgement::count(&mut charge, &place, &caller, grant) {
                    Poll::Ready(verdict) => verdict,
                    Poll::Pending => return Decision::AwaitCharge(earlier),
                }
            }
        };
        // A path that may mean several APIs is admitted only if that holds for all of them.
        let is_observed = api.is_observed && (doubt.is_none() || access.is_observed);
        let would_refuse = Some(verdict.outcome).filter(|outcome| is_observed && *outcome != RequestOutcome::Admitted);
        let outcome = would_refuse.map_or(verdict.outcome, |_| RequestOutcome::Admitted);
        // A request that passed before was already counted as admitted.
        if earlier.is_none() || outcome != RequestOutcome::Admitted {
            host.count(outcome.metric());
        }
        if access.shows_in_access_log {
            show_in_access_log(stream, Some(api), &caller, verdict.outcome, is_observed);
        }
        if !verdict.is_quiet() {
            let scene = Scene { api, request, caller: &caller, is_observed };
            self.notifier.notify_all(host, &self.notifications, &scene, &verdict.incidents(api), now);
            match would_refuse {
                Some(outcome) => host.count(outcome.would_refuse()),
                None => {
                    if let Some(answer) = refusal(access, api, &verdict, request, now) {
                        return Decision::Refuse(answer);
                    }
                }
            }
        }
        let version = version.unwrap_or_default();
        let changes = changes(access, Some(api), version, request);
        let (key, org) = (caller.key_to_pass(api).map(Box::new), caller.org_index());
        let version = version.map(|version| version.place());
        let passing = Passing { earlier, key, counted: verdict.counted, api: index, org, version };
        let rules = self.observation.rules(index);
        let followup = Followup {
            usages: verdict.charged.usages,
            passing,
            observed: StatusHeader::of(api, request),
            watched: rules.and_then(|rules| watch(index, rules, request, &readings, &self.bodies)),
            would_refuse,
        };
        Decision::Continue { changes, followup: followup.is_needed().then_some(followup) }
    }

    /// The data that an earlier pass of the request through this filter has left, if any.
    fn earlier_pass(&mut self, request: &Request<'_>) -> Option<Box<Pass>> {
        if !std::mem::take(&mut self.was_cut_off) && !pass::says_so(request) {
            return None;
        }
        (request.property)(&self.pass_property).and_then(|bytes| Pass::decode(&bytes)).map(Box::new)
    }

    /// Handles a request that belongs to no API: it passes without being counted, or is refused.
    #[cold]
    #[inline(never)]
    fn without_api(
        &self,
        (host, stream): (&impl Host, &impl Stream),
        outcome: RequestOutcome,
        request: &Request<'_>,
        now: UnixMillis,
    ) -> Decision {
        let Access { is_observed, shows_in_access_log, limit_headers, .. } = self.access;
        if shows_in_access_log {
            show_in_access_log(stream, None, &Caller::anonymous(None), outcome, is_observed);
        }
        let answer = Answer::refuse(outcome, None, limit_headers, now);
        let Some(answer) = answer.filter(|_| !is_observed) else {
            if outcome != RequestOutcome::Admitted {
                host.count(outcome.would_refuse());
            }
            return Decision::Continue { changes: changes(&self.access, None, None, request), followup: None };
        };
        host.count(outcome.metric());
        Decision::Refuse(if request.is_grpc() { answer.for_grpc(outcome) } else { answer })
    }
}

/// The answer to a request that does not continue; `None` if it does.
#[cold]
#[inline(never)]
fn refusal(access: &Access, api: &Api, verdict: &Judgement, request: &Request<'_>, now: UnixMillis) -> Option<Answer> {
    let refused_by = verdict.charged.usages.first();
    let answer = Answer::refuse(verdict.outcome, refused_by, access.limit_headers, now)?;
    let answer = answer.with_challenge(verdict.outcome, &api.challenge);
    Some(if request.is_grpc() { answer.for_grpc(verdict.outcome) } else { answer })
}

/// Sets the properties that the proxy's access log can show.
#[cold]
#[inline(never)]
fn show_in_access_log(
    stream: &impl Stream,
    api: Option<&Api>,
    caller: &Caller<'_>,
    outcome: RequestOutcome,
    is_observed: bool,
) {
    let refusal = if is_observed && outcome.refusal().is_some() { "would_refuse_" } else { "" };
    let properties = [
        ("tollbell.key", caller.fingerprint()),
        ("tollbell.org", caller.org_id().to_owned()),
        ("tollbell.api", api.map_or_else(String::new, |api| api.id.clone())),
        ("tollbell.outcome", [refusal, outcome.label()].concat()),
    ];
    for (name, value) in properties.iter().filter(|(_, value)| !value.is_empty()) {
        stream.set_property(name, value.as_bytes());
    }
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

/// The changes of a request that continues. `stripped` is the API whose key is removed.
fn changes(
    access: &Access,
    stripped: Option<&Api>,
    version: Option<Versioned<'_>>,
    request: &Request<'_>,
) -> Vec<HeaderChange> {
    let stripped = stripped.filter(|api| api.strip_authorization_data);
    let mut changes = stripped.map(|api| api.key_location.strip(request)).unwrap_or_default();
    match version {
        Some(Versioned { versioning, chosen, .. }) => versioning.change(request, chosen, &mut changes),
        // A client must not be able to set the header that the routes trust.
        None if access.routes.has_versions() => request.remove_all(ROUTE_HEADER, &mut changes),
        None => {}
    }
    changes
}
