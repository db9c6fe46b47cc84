//! Handles requests to the endpoint at which the holder of a key sees its limits.

use std::task::Poll;

use super::Engine;
use super::judgement::Judgement;
use super::request::{Decision, Waited};
use crate::access::{
    Access, AllowanceScope, Answer, Api, Caller, Charge, ChargeLine, Counters, Home, LimitScope, Limits, LocalCounters,
    MakeOwner, PageName, Quota, Request, RequestOutcome, Session,
};
use crate::admin::{status, usage};
use crate::base::{UnixMillis, fingerprint};
use crate::host::{Host, Stream};
use crate::notify::{Scene, incident::owner};

impl<C: Counters> Engine<C> {
    /// Shows the holder of a key its limits, and counts on none of them. A key that is wrong elsewhere is wrong here,
    /// too. `waited` is what the store of counters has answered for this request.
    #[cold]
    #[inline(never)]
    pub(super) fn show_usage(
        &mut self,
        host: &impl Host,
        stream: &impl Stream,
        request: &Request<'_>,
        now: UnixMillis,
        waited: Option<Waited>,
    ) -> Decision {
        let Engine { access, directory, known_keys, notifications, notifier, counters, usage: configured, .. } = self;
        let Some((endpoint, stand_in)) = configured else { return Decision::UNTOUCHED };
        if let Err(refusal) = usage::check_method(request) {
            return Decision::Refuse(refusal);
        }
        // Any place with a known key decides, else the first one that has a key.
        let (mut api, mut caller): (&Api, Caller<'_>) = (stand_in, Caller::anonymous(None));
        for place in endpoint.places.iter().filter_map(|index| access.routes.get(*index)) {
            let found = Caller::by_key(access, directory, place, known_keys, request);
            if found.has_session() || caller.name().1.is_empty() {
                (api, caller) = (place, found);
            }
            if caller.has_session() {
                break;
            }
        }
        let session = match caller.check_key(directory, now) {
            Ok(session) => session,
            Err(outcome) => {
                host.count(outcome.metric());
                let scene = Scene { api: stand_in, request, caller: &caller, is_observed: false };
                let incidents = Judgement::of(outcome).incidents(api);
                notifier.notify_all(host, notifications, &scene, &incidents, now);
                let refusal = Answer::refuse(outcome, None, access.limit_headers, now);
                let refusal = refusal.map(|refusal| refusal.with_challenge(outcome, &api.challenge));
                return Decision::Refuse(refusal.unwrap_or_else(Answer::unseen));
            }
        };
        let looked = match waited {
            Some(waited) => Poll::Ready(waited.charged.map(drop)),
            None => {
                let slowed =
                    endpoint.rate.as_ref().and_then(|rate| slow_down(host, stream, access, session, rate, now));
                if let Some(refusal) = slowed {
                    return Decision::Refuse(refusal);
                }
                let groups = groups(access, api, &caller, session);
                let hash_keys = notifications.hash_keys;
                let owner = |api| {
                    let caller = &caller;
                    move || owner(hash_keys, api, caller)
                };
                let owners: Vec<_> = groups.iter().map(|(api, _)| owner(*api)).collect();
                let charges = groups.into_iter().zip(&owners);
                let charges: Vec<_> =
                    charges.map(|((_, charge), owner)| Charge { owner: Some(MakeOwner(owner)), ..charge }).collect();
                counters.look(host, stream.id(), &charges, now)
            }
        };
        match looked {
            Poll::Pending => Decision::AwaitCharge(None),
            Poll::Ready(Err(_)) => {
                host.count(RequestOutcome::CounterUnavailable.metric());
                Decision::Refuse(Answer::unseen())
            }
            Poll::Ready(Ok(())) => {
                let usages = |charge: &Charge<'_>| counters.usages(host, charge, now);
                let shown = status::Shown { access, directory, usages: &usages };
                Decision::Refuse(usage::answer(&shown, session, now))
            }
        }
    }
}

/// The limits of a session and of its organisation, each with the API whose handlers hear of their thresholds.
fn groups<'c>(
    access: &'c Access,
    api: &'c Api,
    caller: &'c Caller<'_>,
    session: &'c Session,
) -> Vec<(&'c Api, Charge<'c>)> {
    let named = |id: &str| access.routes.iter().map(|(_, api)| api).find(|api| api.id == id);
    let rights = || session.plan.rights.iter().flatten();
    let is_allowed = session.plan.grant(&api.id).is_some();
    let first = rights().find_map(|(id, _)| named(id)).filter(|_| !is_allowed).unwrap_or(api);
    let own = caller.key_charge(access, AllowanceScope::default(), &session.plan.limits);
    let of_right = |(id, scope, limits): (&str, AllowanceScope, &'c Limits)| {
        Some((named(id)?, caller.key_charge(access, scope, limits)))
    };
    let of_rights = rights().filter_map(|(id, right)| of_right((id, right.scope, right.limits.as_ref()?)));
    [(first, caller.org_charge()), (first, own)].into_iter().chain(of_rights).collect()
}

/// The refusal of a key that asks too often. Each Envoy counts this rate alone. A count that fails refuses nothing,
/// because the answer shows only the holder's own limits.
fn slow_down(
    host: &impl Host,
    stream: &impl Stream,
    access: &Access,
    session: &Session,
    rate: &Quota,
    now: UnixMillis,
) -> Option<Answer> {
    let subject = fingerprint(&["usage", &session.hash.fingerprint()]).max(2);
    let page = subject.checked_rem(u64::from(access.identity_pages)).unwrap_or_default();
    let home = Home::Own(PageName::Identities(page));
    let line = ChargeLine { scope: LimitScope::KeyRate, subject, quota: rate, home };
    let charge = Charge { lines: [line].into_iter().collect(), ..Charge::default() };
    let Poll::Ready(Ok(charged)) = LocalCounters.charge(host, stream.id(), &charge, now) else { return None };
    charged.refused_by?;
    let outcome = RequestOutcome::RateLimited;
    host.count(outcome.metric());
    Answer::refuse(outcome, charged.usages.first(), access.limit_headers, now)
}
