//! From the raw structs to checked types: everything that a schema cannot say.

use std::collections::{BTreeMap, BTreeSet};

use super::error::{ConfigError, Errors, hint, item, key_name, member};
use super::handlers::HandlerList;
use super::{Config, raw};
use crate::delivery::DeliveryPolicy;
use crate::delivery::disabled::ConfigId;
use crate::delivery::schedule::Limits;
use crate::event::EventKind;
use crate::identity::KeyLocation;
use crate::quota::Quota;
use crate::route::{Api, Routes};
use crate::session::{Directory, KeyHash, Session, key_page};
use crate::template::Templates;
use crate::units::{Percent, UnixMillis};

/// Checks everything; the result is of use only where no error was added.
pub(super) fn check(raw: raw::Config, errors: &mut Errors) -> (Config, Vec<ConfigError>) {
    let mut warnings = Errors::default();
    let templates = check_templates(&raw.templates, errors, &mut warnings);
    let monitor = MonitorRules::new(&raw.monitor, &mut warnings);
    let mut directory = Directory::default();
    check_orgs(&raw, &monitor, &mut directory);
    check_keys(&raw, &monitor, &mut directory, errors);

    let mut handlers = HandlerList::new(&templates, &raw.callouts, errors, &mut warnings);
    let gateway = handlers.add_all("event_handlers", "event_handlers", &raw.event_handlers);
    let monitor = handlers
        .add_webhook("monitor.configuration", "monitor.configuration", &raw.monitor.configuration)
        .filter(|_| raw.monitor.enable_trigger_monitors);
    let api_handlers: Vec<_> = (0_usize..)
        .zip(&raw.apis)
        .map(|(index, api)| {
            let path = member(&item("apis", index), "event_handlers");
            let own = handlers.add_all(&path, &format!("apis[{}]", api.api_id), &api.event_handlers);
            own.joined(&gateway, monitor)
        })
        .collect();
    let handlers = handlers.into_list();
    let somebody_hears = api_handlers
        .iter()
        .any(|by_event| by_event.get(EventKind::TriggerExceeded as usize).is_some_and(|handlers| !handlers.is_empty()));
    if raw.monitor.enable_trigger_monitors && raw.monitor.configuration.target_path.is_empty() && !somebody_hears {
        errors.add("monitor.configuration.target_path", "missing: nobody would hear of a crossed threshold");
    }

    let mut routes = Routes::default();
    let mut seen = SeenApis::default();
    for ((index, api), handlers) in (0_usize..).zip(&raw.apis).zip(api_handlers) {
        let path = item("apis", index);
        seen.check(&path, api, errors);
        check_org(&member(&path, "org_id"), &api.org_id, &raw, errors);
        let org = directory.org_or_insert(&api.org_id, None);
        let checked = Api {
            id: api.api_id.clone(),
            org,
            use_keyless: api.use_keyless,
            key_location: key_location(&member(&path, "auth"), &api.auth, errors),
            fire_on_missing_key: api.auth.fire_on_missing_key,
            strip_authorization_data: api.strip_authorization_data,
            handlers,
        };
        routes.add(&api.domain, &api.listen_path, checked);
    }
    if raw.apis.is_empty() {
        warnings.add("apis", "there are none: every request passes untouched");
    }
    let origin_header = header_name("origin_header", &raw.origin_header, errors);
    let delivery = delivery_policy(&raw.delivery, errors);
    let hash_keys = raw.hash_keys;
    let id = ConfigId::default();
    (Config { id, routes, directory, handlers, templates, delivery, hash_keys, origin_header }, warnings.into_list())
}

/// Where organisations are configured, every one that is named must be.
fn check_org(path: &str, id: &str, raw: &raw::Config, errors: &mut Errors) {
    if !id.is_empty() && !raw.orgs.is_empty() && !raw.orgs.contains_key(id) {
        let known = raw.orgs.keys().map(String::as_str);
        errors.add(path, format!("no organisation under orgs has the id {id:?}{}", hint(id, known)));
    }
}

fn check_templates(raw: &BTreeMap<String, String>, errors: &mut Errors, warnings: &mut Errors) -> Templates {
    let mut templates = Templates::builtin();
    for (name, source) in raw {
        if let Err(error) = templates.add(name, source) {
            errors.add(member("templates", name), error.to_string());
        } else if !templates.writes_json(name) {
            warnings.add(member("templates", name), "does not write valid JSON, although its name ends in .json");
        }
    }
    templates
}

/// Which thresholds a quota gets.
struct MonitorRules {
    keys: bool,
    orgs: bool,
    global: Option<Percent>,
}

impl MonitorRules {
    fn new(raw: &raw::Monitor, warnings: &mut Errors) -> Self {
        let enabled = raw.enable_trigger_monitors;
        if enabled && !raw.monitor_user_keys && !raw.monitor_org_keys {
            warnings.add("monitor", "enabled, but neither monitor_user_keys nor monitor_org_keys is true");
        }
        MonitorRules {
            keys: enabled && raw.monitor_user_keys,
            orgs: enabled && raw.monitor_org_keys,
            global: Percent::new(raw.global_trigger_limit),
        }
    }

    /// A quota as configured, with the thresholds that apply; `None` is unlimited.
    fn quota(&self, max: i64, renewal_s: i64, triggers: &raw::Triggers, monitored: bool) -> Option<Quota> {
        let max = u64::try_from(max).ok().filter(|max| *max > 0)?;
        let window_ms = u64::try_from(renewal_s).ok().filter(|seconds| *seconds > 0);
        let own = triggers.trigger_limits.iter().filter_map(|limit| Percent::new(limit.0));
        let limits: Vec<Percent> = if monitored { own.chain(self.global).collect() } else { Vec::new() };
        Some(Quota::new(max, window_ms.map(|seconds| seconds.saturating_mul(1000)), limits))
    }
}

fn check_orgs(raw: &raw::Config, monitor: &MonitorRules, directory: &mut Directory) {
    for (id, org) in &raw.orgs {
        let quota = monitor.quota(org.quota_max, org.quota_renewal_rate, &org.monitor, monitor.orgs);
        directory.org_or_insert(id, quota.filter(|_| raw.enforce_org_quotas));
    }
}

fn check_keys(raw: &raw::Config, monitor: &MonitorRules, directory: &mut Directory, errors: &mut Errors) {
    let api_ids: BTreeSet<&str> = raw.apis.iter().map(|api| api.api_id.as_str()).collect();
    for (name, session) in &raw.keys {
        let path = member("keys", &key_name(name));
        if name.is_empty() {
            errors.add("keys", "an empty key");
            continue;
        }
        let Some(hash) = KeyHash::from_config(name) else {
            errors.add(path, "\"sha256:\" must be followed by 64 hex digits");
            continue;
        };
        for (api, right) in &session.access_rights {
            let place = member(&member(&path, "access_rights"), api);
            if !api_ids.contains(api.as_str()) {
                errors.add(place, format!("no API has the id {api:?}{}", hint(api, api_ids.iter().copied())));
            } else if !right.api_id.is_empty() && right.api_id != *api {
                errors
                    .add(member(&place, "api_id"), format!("{:?} differs from its place's name {api:?}", right.api_id));
            }
        }
        check_org(&member(&path, "org_id"), &session.org_id, raw, errors);
        let quota = monitor.quota(session.quota_max, session.quota_renewal_rate, &session.monitor, monitor.keys);
        let org = directory.org_or_insert(&session.org_id, None);
        let is_new = directory.add(Session {
            hash,
            org,
            quota,
            expires: u64::try_from(session.expires)
                .ok()
                .filter(|expires| *expires > 0)
                .map(|expires| UnixMillis(expires.saturating_mul(1000))),
            is_inactive: session.is_inactive,
            access: session.access_rights.keys().cloned().collect(),
            page: key_page(&hash),
        });
        if !is_new {
            errors.add(path, "the same key twice: once raw, once as its hash, or twice in different case");
        }
    }
}

#[derive(Default)]
struct SeenApis {
    ids: BTreeMap<String, String>,
    places: BTreeMap<(String, String), String>,
}

impl SeenApis {
    fn check(&mut self, path: &str, api: &raw::Api, errors: &mut Errors) {
        if !api.listen_path.starts_with('/') {
            errors.add(member(path, "listen_path"), format!("{:?} does not start with /", api.listen_path));
        } else if api.listen_path.contains(|c: char| matches!(c, '?' | '#') || c.is_whitespace()) {
            errors.add(member(path, "listen_path"), format!("{:?} is not the beginning of a path", api.listen_path));
        }
        if !is_host(&api.domain) {
            let message = format!("{:?} is not a plain host name: no scheme, port, wildcard or final dot", api.domain);
            errors.add(member(path, "domain"), message);
        }
        let first = self.ids.insert(api.api_id.clone(), path.to_owned());
        if let Some(first) = first.filter(|_| !api.api_id.is_empty()) {
            errors.add(member(path, "api_id"), format!("{:?} is the id of {first} too", api.api_id));
        }
        let place = (api.domain.to_ascii_lowercase(), api.listen_path.clone());
        if let Some(first) = self.places.insert(place, path.to_owned()) {
            errors.add(
                member(path, "listen_path"),
                format!("{first} has the same domain {:?} and listen_path {:?}", api.domain, api.listen_path),
            );
        }
    }
}

/// A literal host name or address, or none.
fn is_host(domain: &str) -> bool {
    let is_address = domain
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    let is_name = |name: &str| {
        name.split('.').all(|label| {
            !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        })
    };
    domain.is_empty() || is_address || is_name(domain)
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
    match http::HeaderName::from_bytes(name.as_bytes()) {
        Ok(name) => Some(name.as_str().to_owned()),
        Err(_) => {
            errors.add(path, format!("{name:?} is not a header name"));
            None
        }
    }
}

fn delivery_policy(raw: &raw::Delivery, errors: &mut Errors) -> DeliveryPolicy {
    if raw.max_delay_ms < raw.base_delay_ms {
        errors.add(
            "delivery.max_delay_ms",
            format!("{} is less than base_delay_ms, {}", raw.max_delay_ms, raw.base_delay_ms),
        );
    }
    DeliveryPolicy {
        max_attempts: raw.max_attempts,
        base_delay_ms: raw.base_delay_ms,
        max_delay_ms: raw.max_delay_ms,
        timeout_ms: raw.timeout_ms,
        capacity: raw.capacity,
        limits: Limits { total: raw.max_in_flight as usize, per_target: raw.max_in_flight_per_target as usize },
    }
}
