//! From sessions as written to sessions in use: applies policies, chooses thresholds, checks limits.

pub mod fields;
pub mod keys_from;
mod policies;

use std::collections::BTreeSet;

use litemap::LiteMap;
use serde_json::{Map, Value};

use crate::access::{
    About, AllowanceScope, AllowedUrls, Directory, Forecast, KeyHash, Limits, OrgIndex, Plan, Quota, Right, Session,
    Shared,
};
use crate::base::{Percent, UnixMillis, fingerprint, hint, item, json, member};
use crate::config::error::{Errors, key_name};
use crate::config::lints::numbers;
use crate::config::raw;
use crate::config::read::decode::number;
use crate::config::read::duplicates;
use crate::config::sessions::fields::Closed;
use crate::config::sessions::policies::{PolicyError, merge, reads_ahead};

/// The sources of [`crate::access::identity`] other than keys. In the name of such a session, the source is the part
/// before the colon.
const IDENTITY_SOURCES: [&str; 4] = ["header", "metadata", "peer_certificate", "source_address"];

/// True if a session with this name belongs to an identity that is not a key.
pub fn is_identity(name: &str) -> bool {
    name.split_once(':').is_some_and(|(source, _)| IDENTITY_SOURCES.contains(&source))
}

/// The rules that decide which thresholds a quota gets.
#[derive(Debug, Default)]
pub struct MonitorRules {
    keys: bool,
    orgs: bool,
    global: Option<Percent>,
    forecast: Option<Forecast>,
}

impl MonitorRules {
    pub fn new(raw: &raw::Monitor, warnings: &mut Errors) -> Self {
        let enabled = raw.enable_trigger_monitors;
        if enabled && !raw.monitor_user_keys && !raw.monitor_org_keys {
            warnings.add("monitor", "enabled, but neither monitor_user_keys nor monitor_org_keys is true");
        }
        MonitorRules {
            keys: enabled && raw.monitor_user_keys,
            orgs: enabled && raw.monitor_org_keys,
            global: Percent::new(raw.global_trigger_limit),
            forecast: Percent::new(raw.forecast.min_used)
                .filter(|_| raw.forecast.within > 0)
                .map(|min_used| Forecast { within_ms: raw.forecast.within.saturating_mul(1000), min_used }),
        }
    }

    /// Limits in checked form, with the thresholds that apply.
    fn limits(&self, raw: raw::Limit, triggers: &[f64], monitored: bool, reads_ahead: Option<bool>) -> Limits {
        let seconds = |seconds: i64| u64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
        let own = triggers.iter().filter_map(|limit| Percent::new(*limit));
        let thresholds: Vec<Percent> = if monitored { own.chain(self.global).collect() } else { Vec::new() };
        let window = seconds(raw.quota_renewal_rate).map(|seconds| seconds.saturating_mul(1000));
        let quota = u64::try_from(raw.quota_max).ok().filter(|max| *max > 0);
        let forecast = self.forecast.filter(|_| monitored);
        let mut quota = quota.map(|max| Quota::new(max, window, thresholds));
        if let Some(quota) = &mut quota {
            quota.forecast = forecast;
        }
        let counted = |quota: Option<Quota>| {
            quota.map(|mut quota| {
                quota.reads_ahead = reads_ahead;
                quota
            })
        };
        Limits { rate: counted(Quota::of_rate(raw.rate, raw.per)), quota: counted(quota) }
    }
}

/// Checks all sessions, organisations and policies. Returns the maker of further sessions, the directory of all
/// configured ones, and the session of identities without their own.
pub fn check(
    raw: &mut raw::Config,
    errors: &mut Errors,
    warnings: &mut Errors,
) -> (SessionMaker, Directory, Option<Session>) {
    let rules = MonitorRules::new(&raw.monitor, warnings);
    let maker = SessionMaker::new(rules, std::mem::take(&mut raw.policies));
    maker.check_policies(raw, errors);
    let mut directory = Directory::default();
    maker.add_orgs(raw, &mut directory);
    maker.add_keys(raw, &mut directory, errors, warnings);
    let default = maker.default(&raw.default_policy, errors);
    (maker, directory, default)
}

/// Converts sessions as written to sessions in use, also long after the configuration was read.
#[derive(Debug, Default)]
pub struct SessionMaker {
    rules: MonitorRules,
    policies: raw::Named<raw::Policy>,
}

impl SessionMaker {
    fn new(rules: MonitorRules, policies: raw::Named<raw::Policy>) -> Self {
        SessionMaker { rules, policies }
    }

    /// Reads a session in Tyk's form. Also returns what closes it, or its right to an API: see
    /// [`crate::config::sessions::fields`].
    ///
    /// An error in the session closes it, so that the other sessions can still be used.
    ///
    /// # Errors
    /// A policy does not apply to a session without policies, which cannot happen.
    pub fn read(
        &self,
        hash: KeyHash,
        json: &[u8],
        directory: &Directory,
        shared: &mut Shared,
    ) -> Result<(Session, Vec<String>), PolicyError> {
        let (mut value, malformed) = match json::parse(json) {
            Ok(value) => (value, None),
            Err(fault) => (Value::Object(Map::new()), Some(fault.to_string())),
        };
        let Closed { key: mut closing, rights: narrowed } = fields::closed(&value);
        let twice = || duplicates::find(json).map(|path| format!("{path}: occurs twice in one object"));
        closing = malformed.or(closing).or_else(twice);
        if let Value::Object(fields) = &mut value {
            make_numbers_whole(fields);
        }
        let mut raw: raw::Session = raw::read(value).unwrap_or_else(|fault| {
            closing.get_or_insert_with(|| fault.to_string());
            raw::Session::default()
        });
        // Such thresholds are never crossed.
        raw.monitor.trigger_limits.retain(|limit| Percent::new(limit.0).is_some());
        closing = closing.or_else(|| numbers::wrong_session(&raw));
        let (mut closed, mut closings) = (Vec::new(), Vec::new());
        // If the session's policies set its rights, its own are ignored.
        if !raw.policies().iter().any(|id| self.says_rights(id)) {
            for (api, right) in &raw.access_rights {
                let field = narrowed.iter().find(|(known, _)| known == api).map(|(_, field)| field.clone());
                if let Some(field) = field.or_else(|| wrong_right(api, right, shared)) {
                    closed.push(api.as_str());
                    closings.push(field);
                }
            }
        }
        let org = directory.org_index(&raw.org_id);
        let unknown = !raw.org_id.is_empty() && org.is_none();
        let org_name = unknown.then(|| shared.org_name(&raw.org_id));
        let made = match self.make(hash, &raw, &closed, org, shared) {
            Ok(made) => made,
            Err(why) => {
                closing.get_or_insert_with(|| format!("apply_policies: {why}"));
                let without =
                    raw::Session { apply_policies: Vec::new(), apply_policy_id: String::new(), ..raw.clone() };
                self.make(hash, &without, &closed, org, shared)?
            }
        };
        // Tyk refuses such a session. Without rights it could call every API.
        if made.plan.rights.is_none() && !raw.policies().is_empty() {
            closing.get_or_insert_with(|| "apply_policies: no policy gives a right to an API".to_owned());
        }
        let mut session = Session { org_name, is_fetched: true, ..made };
        if let Some(field) = closing {
            session.plan = shared.plan(Plan { rights: Some(LiteMap::new()), ..Plan::default() });
            closings = vec![field];
        }
        Ok((session, closings))
    }

    /// `closed` are rights to remove. A session that loses its last right must not become one that may call every API.
    fn make(
        &self,
        hash: KeyHash,
        raw: &raw::Session,
        closed: &[&str],
        org: Option<OrgIndex>,
        shared: &mut Shared,
    ) -> Result<Session, PolicyError> {
        let mut merged = merge(raw, &self.policies)?;
        for api in closed {
            merged.rights.as_mut().map(|rights| rights.remove(*api));
        }
        let limits = |limit| self.rules.limits(limit, &merged.trigger_limits, self.rules.keys, merged.reads_ahead);
        let mut rights = merged.rights.as_ref().map(|_| LiteMap::new());
        for (api, right) in merged.rights.iter().flatten() {
            let scope = if right.scope.is_empty() { 0 } else { fingerprint(&[&right.scope]).max(1) };
            // A wrong rule was reported at its place. The right is removed with it.
            let Ok(urls) = shared.urls(&right.urls) else { continue };
            let versions = right.versions.clone();
            let right = Right { scope: AllowanceScope(scope), limits: right.limit.map(limits), versions, urls };
            rights.get_or_insert_default().insert(api.clone(), right);
        }
        let plan = Plan { limits: limits(merged.limit), rights };
        let about = About {
            alias: raw.alias.clone(),
            tags: merged.tags.into_iter().collect(),
            meta_data: merged.meta_data.into_iter().map(|(name, value)| (name, plain_text(value))).collect(),
        };
        Ok(Session {
            hash,
            org,
            org_name: None,
            is_fetched: false,
            plan: shared.plan(plan),
            expires: u64::try_from(raw.expires)
                .ok()
                .filter(|expires| *expires > 0)
                .map(|expires| UnixMillis(expires.saturating_mul(1000))),
            is_inactive: merged.is_inactive,
            about: (about != About::default()).then(|| Box::new(about)),
        })
    }

    /// The session of identities without their own.
    fn default(&self, policy: &str, errors: &mut Errors) -> Option<Session> {
        if policy.is_empty() {
            return None;
        }
        let raw = raw::Session { apply_policies: vec![policy.to_owned()], ..raw::Session::default() };
        match self.make(KeyHash::of(b""), &raw, &[], None, &mut Shared::default()) {
            Ok(session) if session.is_inactive => {
                errors.add("default_policy", format!("the policy {policy:?} is inactive (is_inactive)"));
                None
            }
            Ok(session) => Some(session),
            Err(message) => {
                let known = self.policies.keys().map(String::as_str);
                errors.add("default_policy", format!("{message}{}", hint(policy, known)));
                None
            }
        }
    }

    fn add_orgs(&self, raw: &raw::Config, directory: &mut Directory) {
        for (id, org) in &raw.orgs {
            let triggers: Vec<f64> = org.monitor.trigger_limits.iter().map(|limit| limit.0).collect();
            let limits = self.rules.limits(org.limit(), &triggers, self.rules.orgs, reads_ahead(&org.counting));
            let enforced = if raw.enforce_org_quotas { limits } else { Limits::default() };
            directory.org_or_insert(id, enforced, org.is_inactive);
        }
    }

    fn add_keys(&self, raw: &raw::Config, directory: &mut Directory, errors: &mut Errors, warnings: &mut Errors) {
        let mut shared = Shared::default();
        let api_ids = api_ids(raw);
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
            check_rights(&member(&path, "access_rights"), &session.access_rights, &api_ids, errors);
            crate::config::apis::check_org(&member(&path, "org_id"), &session.org_id, raw, errors);
            let org = directory.org_or_insert(&session.org_id, Limits::default(), false);
            if let Some((name, why)) = fields::special_meta_data(&session.meta_data) {
                errors.add(member(&member(&path, "meta_data"), name), why);
            }
            if !session.apply_policy_id.is_empty() && !session.apply_policies.is_empty() {
                let message = "has no effect: apply_policies is not empty, and wins, as in Tyk";
                warnings.add(member(&path, "apply_policy_id"), message);
            }
            let made = match self.make(hash, session, &[], org, &mut shared) {
                Ok(made) => made,
                Err(error) => {
                    errors.add(member(&path, "apply_policies"), error.to_string());
                    continue;
                }
            };
            if !session.policies().is_empty() && made.plan.rights.is_none() {
                let message = "none of the policies gives a right to an API, so the key may call every API. Tyk refuses \
                               such a key: give it or a policy access_rights";
                warnings.add(member(&path, "apply_policies"), message);
            }
            if let Some((source, _)) =
                name.split_once(':').filter(|_| !is_identity(name) && !name.starts_with("sha256:"))
                && let near = hint(source, IDENTITY_SOURCES)
                && !near.is_empty()
            {
                warnings.add(&path, format!("a raw key, although it looks like the name of an identity{near}"));
            }
            if is_identity(name) {
                directory.add_identity(name, made);
            } else if !directory.add(made) {
                errors.add(path, "the same key occurs twice, raw and hashed");
            }
        }
    }

    /// True if this policy sets the rights of a session that has it.
    fn says_rights(&self, policy: &str) -> bool {
        self.policies.get(policy).is_some_and(raw::Policy::says_rights)
    }

    fn check_policies(&self, raw: &raw::Config, errors: &mut Errors) {
        let api_ids = api_ids(raw);
        for (id, policy) in &self.policies {
            let path = member("policies", id);
            check_rights(&member(&path, "access_rights"), &policy.access_rights, &api_ids, errors);
            crate::config::apis::check_org(&member(&path, "org_id"), &policy.org_id, raw, errors);
        }
    }
}

fn api_ids(raw: &raw::Config) -> BTreeSet<&str> {
    raw.apis.iter().map(|api| api.api_id.as_str()).collect()
}

fn check_rights(path: &str, rights: &raw::Named<raw::AccessRight>, api_ids: &BTreeSet<&str>, errors: &mut Errors) {
    for (api, right) in rights {
        let place = member(path, api);
        if let Err((rule, why)) = AllowedUrls::new(&right.urls()) {
            errors.add(member(&item(&member(&place, "allowed_urls"), rule), "url"), why);
        }
        if !api_ids.contains(api.as_str()) {
            errors.add(place, format!("no API has the id {api:?}{}", hint(api, api_ids.iter().copied())));
        } else if !right.api_id.is_empty() && right.api_id != *api {
            errors.add(
                member(&place, "api_id"),
                format!("{:?} differs from the name of its entry, {api:?}", right.api_id),
            );
        }
    }
}

/// The error in a right of a fetched session.
fn wrong_right(api: &str, right: &raw::AccessRight, shared: &mut Shared) -> Option<String> {
    let path = format!("access_rights.{api}");
    if let Some((field, why)) = numbers::wrong(right.limit) {
        return Some(format!("{path}.limit.{field}: {why}"));
    }
    let (rule, why) = shared.urls(&right.urls()).err()?;
    Some(format!("{path}.allowed_urls[{rule}].url: {why}"))
}

/// Some programs write `1000.0` for a whole number.
fn make_numbers_whole(fields: &mut Map<String, Value>) {
    for (name, value) in fields {
        match value {
            Value::Object(inner) if name != "meta_data" => make_numbers_whole(inner),
            Value::Number(given) if given.is_f64() => *value = number(given.as_f64().unwrap_or_default()),
            _ => {}
        }
    }
}

fn plain_text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}
