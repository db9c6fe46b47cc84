//! Checks the APIs: their places, their callers, and what is observed on them.

pub mod admin;
mod identity;
pub mod observe;
mod places;
pub mod usage;
mod versioning;

pub use places::is_host;
pub use versioning::{is_version_name, warn_of_rights};

use enum_map::EnumMap;

use super::error::Errors;
use super::raw;
use crate::access::{
    Access, Api, Challenge, Directory, LimitHeaders, Limits, MAX_ENTRIES, Quota, Routes, Session, TykTokens,
};
use crate::base::{HandlerIndex, hint, item, member};
use crate::event::EventKind;
use crate::observe::Observation;
use places::SeenApis;

/// The bytes of a fetched document for each page of 32 counters: about three sessions.
const FETCHED_PAGE_BYTES: u64 = 512;

/// Handlers by event type.
type ByEvent = EnumMap<EventKind, Vec<HandlerIndex>>;

const OBSERVE: &str = "observe";

/// True if the refusals of an API are only observed.
pub fn is_observed(raw: &raw::Config, api: &raw::Api) -> bool {
    let own = if api.enforcement.is_empty() { &raw.enforcement } else { &api.enforcement };
    own == OBSERVE
}

/// Checks all APIs and their handlers. `default_session` is the session of identities without their own.
pub fn check(
    raw: &raw::Config,
    handlers: Vec<ByEvent>,
    (directory, default_session): (&mut Directory, Option<Session>),
    errors: &mut Errors,
    warnings: &mut Errors,
) -> (Access, Observation) {
    let (mut routes, mut observation) = (Routes::new(raw.unmatched == "refuse"), Observation::default());
    let mut seen = SeenApis::default();
    for ((index, api), handlers) in (0_usize..).zip(&raw.apis).zip(handlers) {
        let path = item("apis", index);
        let listen_path = seen.check(&path, api, errors, warnings);
        check_org(&member(&path, "org_id"), &api.org_id, raw, errors);
        let org = directory.org_or_insert(&api.org_id, Limits::default(), false);
        let limit = api.global_rate_limit;
        let identity = identity::sources(&member(&path, "identity"), &api.identity, errors);
        let key_location = identity::key_location(&member(&path, "auth"), &api.auth, errors);
        let name = if api.name.is_empty() { &api.api_id } else { &api.name };
        let checked = Api {
            id: api.api_id.clone(),
            org,
            use_keyless: api.use_keyless,
            challenge: Challenge::new(name, &identity, &key_location),
            identity,
            key_location,
            fire_on_missing_key: api.auth.fire_on_missing_key,
            allow_preflight: api.auth.allow_preflight,
            strip_authorization_data: api.strip_authorization_data,
            rate: Quota::of_rate(limit.rate, limit.per).filter(|_| !limit.disabled),
            page: format!("tb1/a/{}", api.api_id),
            observe_failures: api.observe_failures,
            observe_upstream: api.observe_upstream.failures(),
            is_observed: is_observed(raw, api),
            versioning: None,
            handlers,
        };
        let rules = observe::observe(&member(&path, "observe"), &listen_path, &api.observe, errors, warnings);
        identity::warn_of_identities(&path, &checked, default_session.is_some(), warnings);
        let index = match api.internal {
            true => routes.add_internal(checked),
            false => routes.add(&api.domain, listen_path, checked),
        };
        if let Some(rules) = rules {
            observation.insert(index, rules);
        }
    }
    versioning::add(raw, &mut routes, errors, warnings);
    identity::warn_of_sources(raw, &routes, warnings);
    observe::warn_of_shadowed_rules(raw, &routes, warnings);
    places::warn_of_other_hosts(raw, warnings);
    if raw.apis.is_empty() {
        let verb = if raw.unmatched == "refuse" { "is refused" } else { "passes untouched" };
        warnings.add("apis", format!("there are none: every request {verb}"));
    }
    let pages_for = |count: u32| count.div_ceil(u32::try_from(MAX_ENTRIES).unwrap_or(u32::MAX)).max(1);
    let tokens = &raw.tyk_tokens;
    let access = Access {
        routes,
        default_session,
        identity_pages: pages_for(raw.identities.capacity),
        fetched_pages: u32::try_from(raw.keys_from.max_bytes.div_ceil(FETCHED_PAGE_BYTES)).unwrap_or(u32::MAX),
        limit_headers: LimitHeaders::from_name(&raw.rate_limit_headers).unwrap_or_default(),
        is_observed: raw.enforcement == OBSERVE,
        shows_in_access_log: raw.access_log,
        tyk_tokens: TykTokens::new(&tokens.forms, usize::try_from(tokens.min_token_length).unwrap_or(usize::MAX)),
    };
    (access, observation)
}

/// If organisations are configured, a named organisation must be one of them.
pub fn check_org(path: &str, id: &str, raw: &raw::Config, errors: &mut Errors) {
    if !id.is_empty() && !raw.orgs.is_empty() && !raw.orgs.contains_key(id) {
        let known = raw.orgs.keys().map(String::as_str);
        errors.add(path, format!("no organisation under orgs has the id {id:?}{}", hint(id, known)));
    }
}
