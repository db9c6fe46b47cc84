//! From the raw structs to checked types: everything that a schema cannot say.

use std::collections::BTreeSet;

use litemap::LiteMap;

use super::error::{Errors, key_name};
use super::handlers::{ByEvent, HandlerList};
use super::manage;
use super::places::{SeenApis, is_host, warn_of_other_hosts};
use super::sessions::{MonitorRules, SessionMaker};
use super::target::{basic, legal_header, target};
use super::{Config, KeysFrom, clusters, effects, header, numbers, raw};
use crate::access::{
    Access, Api, Challenge, Directory, IdentitySource, KeyLocation, LimitHeaders, Limits, MAX_ENTRIES, Prefix, Quota,
    Routes, TykTokens,
};
use crate::admin::Admin;
use crate::base::{hint, item, member};
use crate::delivery::{DeliveryPolicy, Placement, Retries, Target, schedule};
use crate::event::EventKind;
use crate::notify::{Notifications, Templates};
use crate::observe::Observation;

/// A page of 32 counters for so many bytes of a document that is fetched: about three sessions.
const FETCHED_PAGE_BYTES: u64 = 512;

/// Checks everything; the result is of use only where no error was added.
pub(super) fn check(mut raw: raw::Config, errors: &mut Errors) -> (Config, Errors) {
    let mut warnings = Errors::of_warnings();
    effects::check(&raw, &mut warnings);
    numbers::check(&raw, errors, &mut warnings);
    let templates = check_templates(&raw.templates, errors, &mut warnings);
    let rules = MonitorRules::new(&raw.monitor, &mut warnings);
    super::versioning::warn_of_rights(&raw, &mut warnings);
    let session_maker = SessionMaker::new(rules, std::mem::take(&mut raw.policies));
    session_maker.check_policies(&raw, errors);
    let mut directory = Directory::default();
    session_maker.add_orgs(&raw, &mut directory);
    session_maker.add_keys(&raw, &mut directory, errors, &mut warnings);
    let default_session = session_maker.default(&raw.default_policy, errors);

    check_clusters(&raw.callouts.clusters, errors);
    let mail = super::mail::check(&raw, errors, &mut warnings);
    let event_options = manage::event_options(&raw, errors, &mut warnings);
    let mut handlers = HandlerList::new(&templates, &raw, mail.as_ref(), errors, &mut warnings);
    let named = handlers.add_named(&raw.webhooks);
    let gateway = handlers.add_all("event_handlers", "event_handlers", &raw.event_handlers).with(&named);
    let told = mail.as_ref().filter(|mail| mail.backend.notify_users);
    let gateway = gateway.with(&told.map(|mail| handlers.add_developers(mail)).unwrap_or_default());
    let mut org_handlers = LiteMap::new();
    for (org, options) in &event_options {
        org_handlers.insert(org.clone(), handlers.add_options(org, options).into_lists());
    }
    let emails = told.and_then(|mail| handlers.add_developer("email_backend.TriggerExceeded", mail));
    let monitor: Vec<_> = handlers.add_monitor(&raw.monitor.configuration).into_iter().chain(emails).collect();
    let monitor = if raw.monitor.enable_trigger_monitors { monitor } else { Vec::new() };
    let api_handlers: Vec<_> = (0_usize..)
        .zip(&raw.apis)
        .map(|(index, api)| {
            let (path, owner) = (item("apis", index), format!("apis[{}]", api.api_id));
            let own = handlers.add_all(&member(&path, "event_handlers"), &owner, &api.event_handlers);
            let oas = handlers.add_oas(&format!("{path}.server.eventHandlers"), &owner, &api.server.event_handlers);
            own.with(&oas).with(&gateway).with_monitor(&monitor)
        })
        .collect();
    let named = handlers.named_targets();
    let handlers = handlers.into_list();
    let somebody_hears = api_handlers.iter().any(|by_event| !by_event[EventKind::TriggerExceeded].is_empty());
    if raw.monitor.enable_trigger_monitors && monitor.is_empty() && !somebody_hears {
        let configuration = &raw.monitor.configuration;
        if configuration.disabled {
            let message = "is true, so no one would be notified of a crossed threshold";
            errors.add("monitor.configuration.disabled", message);
        } else if configuration.target_path.is_empty() && configuration.webhook.is_empty() {
            let message = "missing: no one would be notified of a crossed threshold";
            errors.add("monitor.configuration.target_path", message);
        }
    }

    let (mut routes, mut observation) = (Routes::new(raw.unmatched == "refuse"), Observation::default());
    let mut seen = SeenApis::default();
    for ((index, api), handlers) in (0_usize..).zip(&raw.apis).zip(api_handlers) {
        let path = item("apis", index);
        let listen_path = seen.check(&path, api, errors, &mut warnings);
        check_org(&member(&path, "org_id"), &api.org_id, &raw, errors);
        let org = directory.org_or_insert(&api.org_id, Limits::default(), false);
        let limit = api.global_rate_limit;
        let identity = identity(&member(&path, "identity"), &api.identity, errors);
        let key_location = key_location(&member(&path, "auth"), &api.auth, errors);
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
            versioning: None,
            handlers,
        };
        let rules = manage::observe(&member(&path, "observe"), &listen_path, &api.observe, errors, &mut warnings);
        warn_of_identities(&path, &checked, default_session.is_some(), &mut warnings);
        let index = match api.internal {
            true => routes.add_internal(checked),
            false => routes.add(&api.domain, listen_path, checked),
        };
        if let Some(rules) = rules {
            observation.insert(index, rules);
        }
    }
    super::versioning::add(&raw, &mut routes, errors, &mut warnings);
    warn_of_sources(&raw, &routes, &mut warnings);
    manage::warn_of_shadowed_rules(&raw, &routes, &mut warnings);
    warn_of_other_hosts(&raw, &mut warnings);
    if raw.keys_from.url.is_empty() && !raw.keys_from.cluster.is_empty() {
        warnings.add("keys_from.url", "missing: no keys are fetched");
    }
    if raw.apis.is_empty() {
        let verb = if raw.unmatched == "refuse" { "is refused" } else { "passes untouched" };
        warnings.add("apis", format!("there are none: every request {verb}"));
    }
    let keys_from = keys_from(&raw, errors, &mut warnings);
    if keys_from.is_some() {
        directory.await_fetched();
    }
    let targets = handlers.iter().filter_map(|handler| Some(&handler.action.channel()?.target)).chain(named.values());
    let clusters = clusters::needed(&raw, targets, keys_from.as_ref().map(|from| &from.target));
    let pages_for = |count: u32| count.div_ceil(u32::try_from(MAX_ENTRIES).unwrap_or(u32::MAX)).max(1);
    let access = Access {
        routes,
        default_session,
        identity_pages: pages_for(raw.identities.capacity),
        fetched_pages: u32::try_from(raw.keys_from.max_bytes.div_ceil(FETCHED_PAGE_BYTES)).unwrap_or(u32::MAX),
        limit_headers: LimitHeaders::from_name(&raw.rate_limit_headers).unwrap_or_default(),
        tyk_tokens: TykTokens::new(
            &raw.tyk_tokens.forms,
            usize::try_from(raw.tyk_tokens.min_token_length).unwrap_or(usize::MAX),
        ),
    };
    let notifications = Notifications {
        placement: Placement::default(),
        handlers,
        org_handlers,
        templates,
        mail,
        delivery: delivery_policy(&raw.delivery, errors),
        clusters,
        hash_keys: raw.hash_keys,
        origin_headers: raw
            .origin_header
            .iter()
            .filter_map(|name| header_name("origin_header", name, errors))
            .collect(),
    };
    let config = Config {
        access,
        directory,
        observation,
        notifications,
        admin: admin(&raw, gateway, errors, &mut warnings),
        keys_from,
        session_maker,
        named,
        http_cluster: raw.callouts.http_cluster.clone(),
    };
    (config, warnings)
}

/// A session for an identity is found by its source's label and name: where two sources have one label, by both.
fn warn_of_sources(raw: &raw::Config, routes: &Routes, warnings: &mut Errors) {
    let sources: BTreeSet<_> =
        routes.iter().flat_map(|(_, api)| &api.identity).map(|source| (source.label(), source.place())).collect();
    for label in ["header", "metadata", "peer_certificate"] {
        let several = sources.iter().filter(|(known, _)| *known == label).count() > 1;
        if let Some(name) = raw.keys.keys().find(|name| name.split_once(':').is_some_and(|(source, _)| source == label))
            && several
        {
            let message = format!("Several identity sources are of kind {label}; each of them finds this session.");
            warnings.add(member("keys", &key_name(name)), message);
        }
    }
}

fn warn_of_identities(path: &str, api: &Api, has_default: bool, warnings: &mut Errors) {
    if api.use_keyless {
        return;
    }
    let others = api.identity.iter().any(|source| *source != IdentitySource::Key);
    if others && !has_default {
        let message = "default_policy is not set: identified callers without a session have no limits";
        warnings.add(member(path, "identity"), message);
    }
}

/// A name in `callouts.clusters` that no host can have.
fn check_clusters(clusters: &raw::Named<String>, errors: &mut Errors) {
    for name in clusters.keys() {
        let port = match name.rsplit_once(']') {
            Some((_, behind)) => behind.strip_prefix(':'),
            None => name.split_once(':').map(|(_, port)| port),
        };
        let host = name.strip_suffix(&port.map(|port| format!(":{port}")).unwrap_or_default()).unwrap_or_default();
        if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0))
            || host.is_empty()
            || !is_host(host)
        {
            errors.add(member("callouts.clusters", name), "is not a host, or a host and a port from 1 to 65535");
        }
    }
}

/// The admin endpoints, with the place where a wrong token is an AuthFailure.
fn admin(raw: &raw::Config, gateway: ByEvent, errors: &mut Errors, warnings: &mut Errors) -> Option<(Admin, Api)> {
    let raw::Admin { path_prefix, token_sha256 } = &raw.admin;
    if token_sha256.is_empty() {
        if *path_prefix != raw::Admin::default().path_prefix {
            warnings.add("admin.path_prefix", "has no effect: without token_sha256 there are no endpoints");
        }
        return None;
    }
    let prefix = match Prefix::parse(path_prefix.trim_end_matches('/')) {
        Ok(prefix) => Some(prefix),
        Err(message) => {
            errors.add("admin.path_prefix", format!("is not a path prefix such as /.tollbell: {message}"));
            None
        }
    };
    for (index, api) in (0_usize..).zip(&raw.apis) {
        let (Some(prefix), Ok(path)) = (&prefix, Prefix::parse(&api.listen_path)) else { continue };
        match prefix.rest(&String::from_utf8_lossy(path.respelled())) {
            Some("/") => {
                errors.add("admin.path_prefix", format!("{path_prefix:?} is the listen_path of apis[{index}] too"))
            }
            Some(_) => {
                let message =
                    format!("receives no requests: the admin endpoints answer everything below {path_prefix}");
                warnings.add(member(&item("apis", index), "listen_path"), message);
            }
            None => {}
        }
    }
    let digits = token_sha256.strip_prefix("sha256:").unwrap_or(token_sha256);
    let token: Option<[u8; 32]> = hex::decode(digits).ok().and_then(|bytes| bytes.try_into().ok());
    let Some(token) = token else {
        errors.add("admin.token_sha256", "not 64 hex digits: printf %s \"$token\" | sha256sum");
        return None;
    };
    let api = Api { id: "admin".to_owned(), use_keyless: true, handlers: gateway.with_monitor(&[]), ..Api::default() };
    Some((Admin::new(prefix?, token), api))
}

fn keys_from(raw: &raw::Config, errors: &mut Errors, warnings: &mut Errors) -> Option<KeysFrom> {
    let from = &raw.keys_from;
    let (target, user_info) = match from.url.as_str() {
        "" => return None,
        url => target("keys_from.url", url, &raw.callouts, errors, warnings)?,
    };
    let mut headers = Vec::new();
    for (name, value) in &from.headers {
        let place = member("keys_from.headers", name);
        headers.extend(legal_header(&place, name, value, errors).map(|name| (name, value.clone())));
    }
    if let Some(user_info) = user_info {
        headers.push(("authorization".to_owned(), basic(&user_info)));
    }
    Some(KeysFrom {
        target: Target {
            cluster: if from.cluster.is_empty() { target.cluster } else { from.cluster.clone() },
            ..target
        },
        headers,
        interval_ms: from.interval_s.saturating_mul(1000),
        max_bytes: usize::try_from(from.max_bytes).unwrap_or(usize::MAX),
    })
}

/// Where organisations are configured, every one that is named must be.
pub(super) fn check_org(path: &str, id: &str, raw: &raw::Config, errors: &mut Errors) {
    if !id.is_empty() && !raw.orgs.is_empty() && !raw.orgs.contains_key(id) {
        let known = raw.orgs.keys().map(String::as_str);
        errors.add(path, format!("no organisation under orgs has the id {id:?}{}", hint(id, known)));
    }
}

fn check_templates(raw: &raw::Named<String>, errors: &mut Errors, warnings: &mut Errors) -> Templates {
    let mut templates = Templates::builtin();
    for (name, source) in raw {
        if let Err(error) = templates.add(name, source) {
            errors.add(member("templates", name), error.to_string());
        } else if let Some(fault) = templates.json_fault(name) {
            warnings.add(member("templates", name), format!("does not write valid JSON: {fault}"));
        }
    }
    templates
}

/// Where identities come from; keys, unless something else is configured.
fn identity(path: &str, raw: &[raw::IdentitySource], errors: &mut Errors) -> Vec<IdentitySource> {
    let mut sources = Vec::new();
    for (index, source) in (0_usize..).zip(raw) {
        let path = item(path, index);
        let from = match source {
            raw::IdentitySource::Key(_) => {
                sources.push(IdentitySource::Key);
                continue;
            }
            raw::IdentitySource::From(from) => from,
        };
        let mut given = Vec::new();
        if !from.metadata.is_empty() {
            let org = (!from.org.is_empty()).then(|| IdentitySource::metadata_property(&from.org));
            given.push(IdentitySource::Metadata { name: IdentitySource::metadata_property(&from.metadata), org });
        }
        if let Some(name) = header_name(&member(&path, "header"), &from.header, errors) {
            given.push(IdentitySource::Header(name));
        }
        let property = IdentitySource::CERTIFICATE_PROPERTIES.iter().find(|(word, _)| *word == from.peer_certificate);
        given.extend(property.map(|(_, property)| IdentitySource::PeerCertificate(property)));
        if from.source_address {
            given.push(IdentitySource::SourceAddress);
        }
        if !from.org.is_empty() && from.metadata.is_empty() {
            errors.add(member(&path, "org"), "is of use with metadata only");
        }
        match (given.pop(), given.is_empty()) {
            (Some(source), true) => sources.push(source),
            _ => errors.add(path, "needs one of metadata, header, peer_certificate, source_address, or be key"),
        }
    }
    if raw.is_empty() { vec![IdentitySource::Key] } else { sources }
}

fn key_location(path: &str, auth: &raw::Auth, errors: &mut Errors) -> KeyLocation {
    let named = |field: &str, used: bool, name: &str, errors: &mut Errors| {
        if used && name.is_empty() {
            errors.add(member(path, field), "missing, although it is to be used");
        }
        used.then(|| name.to_owned()).filter(|name| !name.is_empty())
    };
    KeyLocation {
        parameter: named("param_name", auth.use_param, &auth.param_name, errors),
        cookie: named("cookie_name", auth.use_cookie, &auth.cookie_name, errors),
        header: header_name(&member(path, "auth_header_name"), &auth.auth_header_name, errors).unwrap_or_default(),
    }
}

/// In lower case; `None` for an empty one.
fn header_name(path: &str, name: &str, errors: &mut Errors) -> Option<String> {
    if name.is_empty() {
        return None;
    }
    let legal = header::name(name);
    if legal.is_none() {
        errors.add(path, format!("{name:?} is not a header name"));
    }
    legal
}

fn delivery_policy(raw: &raw::Delivery, errors: &mut Errors) -> DeliveryPolicy {
    if raw.max_delay_ms < raw.base_delay_ms {
        errors.add(
            "delivery.max_delay_ms",
            format!("{} is less than base_delay_ms, {}", raw.max_delay_ms, raw.base_delay_ms),
        );
    }
    DeliveryPolicy {
        retries: Retries {
            max_attempts: raw.max_attempts,
            base_delay_ms: raw.base_delay_ms,
            max_delay_ms: raw.max_delay_ms,
        },
        timeout_ms: raw.timeout_ms,
        capacity: raw.capacity,
        limits: schedule::InFlightLimits {
            total: raw.max_in_flight as usize,
            per_target: raw.max_in_flight_per_target as usize,
        },
    }
}
