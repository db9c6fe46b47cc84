//! From sessions as written to sessions as used: policies applied, thresholds chosen, limits checked.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::error::{Errors, hint, key_name, member};
use super::policies::merge;
use super::raw;
use crate::quota::Quota;
use crate::session::{About, AllowanceScope, Directory, KeyHash, Limits, OrgIndex, Plan, Right, Session, Shared};
use crate::units::{Percent, UnixMillis, fingerprint};

/// The sources of [`crate::identity`] that are no keys: what stands before the colon of such a session's name.
const IDENTITY_SOURCES: [&str; 4] = ["header", "metadata", "peer_certificate", "source_address"];

/// Whether a session of that name is one of an identity that is no key.
pub fn is_identity(name: &str) -> bool {
    name.split_once(':').is_some_and(|(source, _)| IDENTITY_SOURCES.contains(&source))
}

/// Which thresholds a quota gets.
#[derive(Debug, Default)]
pub(super) struct MonitorRules {
    keys: bool,
    orgs: bool,
    global: Option<Percent>,
}

impl MonitorRules {
    pub(super) fn new(raw: &raw::Monitor, warnings: &mut Errors) -> Self {
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

    /// Limits as configured, with the thresholds that apply.
    fn limits(&self, raw: raw::Limit, triggers: &[f64], monitored: bool) -> Limits {
        let seconds = |seconds: i64| u64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
        let own = triggers.iter().filter_map(|limit| Percent::new(*limit));
        let thresholds: Vec<Percent> = if monitored { own.chain(self.global).collect() } else { Vec::new() };
        let window = seconds(raw.quota_renewal_rate).map(|seconds| seconds.saturating_mul(1000));
        let quota = u64::try_from(raw.quota_max).ok().filter(|max| *max > 0);
        Limits { rate: Quota::of_rate(raw.rate, raw.per), quota: quota.map(|max| Quota::new(max, window, thresholds)) }
    }
}

/// What turns a session as written into one as used, also long after the configuration was read.
#[derive(Debug, Default)]
pub struct SessionMaker {
    rules: MonitorRules,
    policies: BTreeMap<String, raw::Policy>,
}

impl SessionMaker {
    pub(super) fn new(rules: MonitorRules, policies: BTreeMap<String, raw::Policy>) -> Self {
        SessionMaker { rules, policies }
    }

    /// From a session as Tyk writes it; what is of no use here is passed over.
    ///
    /// # Errors
    /// When it is none, or names a policy that it cannot have.
    pub fn read(
        &self,
        hash: KeyHash,
        json: &[u8],
        directory: &Directory,
        shared: &mut Shared,
    ) -> Result<Session, String> {
        let raw: raw::Session = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let bad = raw.monitor.trigger_limits.iter().find(|limit| Percent::new(limit.0).is_none());
        if let Some(bad) = bad {
            return Err(format!("monitor.trigger_limits: {} is not over 0 and up to 100", bad.0));
        }
        let org = directory.org_index(&raw.org_id);
        let unknown = !raw.org_id.is_empty() && org.is_none();
        let org_name = unknown.then(|| shared.org_name(&raw.org_id));
        Ok(Session { org_name, is_fetched: true, ..self.make(hash, &raw, org, shared)? })
    }

    fn make(
        &self,
        hash: KeyHash,
        raw: &raw::Session,
        org: Option<OrgIndex>,
        shared: &mut Shared,
    ) -> Result<Session, String> {
        let merged = merge(raw, &self.policies)?;
        let limits = |limit| self.rules.limits(limit, &merged.trigger_limits, self.rules.keys);
        let right = |(api, (limit, scope)): (&String, &(Option<raw::Limit>, String))| {
            let scope = AllowanceScope(if scope.is_empty() { 0 } else { fingerprint(&[scope]).max(1) });
            (api.clone(), Right { scope, limits: limit.map(limits) })
        };
        let plan = Plan {
            limits: limits(merged.limit),
            rights: merged.rights.as_ref().map(|rights| rights.iter().map(right).collect()),
        };
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

    /// The session of identities that have none of their own.
    pub(super) fn default(&self, policy: &str, errors: &mut Errors) -> Option<Session> {
        if policy.is_empty() {
            return None;
        }
        let raw = raw::Session { apply_policies: vec![policy.to_owned()], ..raw::Session::default() };
        match self.make(KeyHash::of(b""), &raw, None, &mut Shared::default()) {
            Ok(session) if session.is_inactive => {
                errors.add("default_policy", format!("the policy {policy:?} is switched off (is_inactive)"));
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

    pub(super) fn add_orgs(&self, raw: &raw::Config, directory: &mut Directory) {
        for (id, org) in &raw.orgs {
            let raw::Org { quota_max, quota_renewal_rate, rate, per, is_inactive, .. } = *org;
            let triggers: Vec<f64> = org.monitor.trigger_limits.iter().map(|limit| limit.0).collect();
            let limit = raw::Limit { quota_max, quota_renewal_rate, rate, per };
            let limits = self.rules.limits(limit, &triggers, self.rules.orgs);
            let enforced = if raw.enforce_org_quotas { limits } else { Limits::default() };
            directory.org_or_insert(id, enforced, is_inactive);
        }
    }

    pub(super) fn add_keys(
        &self,
        raw: &raw::Config,
        directory: &mut Directory,
        errors: &mut Errors,
        warnings: &mut Errors,
    ) {
        let mut shared = Shared::default();
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
            check_rights(&member(&path, "access_rights"), &session.access_rights, raw, errors, warnings);
            super::check::check_org(&member(&path, "org_id"), &session.org_id, raw, errors);
            let org = directory.org_or_insert(&session.org_id, Limits::default(), false);
            let made = match self.make(hash, session, org, &mut shared) {
                Ok(made) => made,
                Err(message) => {
                    errors.add(member(&path, "apply_policies"), message);
                    continue;
                }
            };
            warn_of_half(&path, session.rate, session.per, warnings);
            if !session.apply_policies.is_empty() {
                self.warn_of_replaced(&path, session, warnings);
                if made.plan.rights.is_none() && session.apply_policies.iter().any(|id| self.names_apis(id)) {
                    let message =
                        "no policy grants an API (their partitions leave acl out), so the key may call every one";
                    warnings.add(member(&path, "apply_policies"), message);
                }
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
                errors.add(path, "the same key twice, raw and hashed");
            }
        }
    }

    /// A limit that stands in the session and does nothing surprises whoever wrote it.
    fn warn_of_replaced(&self, path: &str, session: &raw::Session, warnings: &mut Errors) {
        if session.apply_policies.iter().any(|id| self.names_apis(id)) {
            for (api, right) in &session.access_rights {
                if right.limit != raw::Limit::default() {
                    let place = member(&member(&member(path, "access_rights"), api), "limit");
                    warnings.add(place, "has no effect: the session's policies say its rights, as in Tyk");
                }
            }
        }
    }

    fn names_apis(&self, policy: &str) -> bool {
        self.policies.get(policy).is_some_and(|policy| !policy.access_rights.is_empty())
    }

    pub(super) fn check_policies(&self, raw: &raw::Config, errors: &mut Errors, warnings: &mut Errors) {
        for (id, policy) in &self.policies {
            let path = member("policies", id);
            warn_of_half(&path, policy.rate, policy.per, warnings);
            check_rights(&member(&path, "access_rights"), &policy.access_rights, raw, errors, warnings);
            super::check::check_org(&member(&path, "org_id"), &policy.org_id, raw, errors);
        }
    }
}

/// Half a rate is none, which somebody may not have meant.
pub(super) fn warn_of_half(path: &str, rate: f64, per: f64, warnings: &mut Errors) {
    match (rate > 0.0, per > 0.0) {
        (true, false) => warnings.add(member(path, "rate"), "no limit: per is missing"),
        (false, true) if rate == 0.0 => warnings.add(member(path, "per"), "no limit: rate is missing"),
        _ => {}
    }
}

fn check_rights(
    path: &str,
    rights: &BTreeMap<String, raw::AccessRight>,
    raw: &raw::Config,
    errors: &mut Errors,
    warnings: &mut Errors,
) {
    let api_ids: BTreeSet<&str> = raw.apis.iter().map(|api| api.api_id.as_str()).collect();
    for (api, right) in rights {
        let place = member(path, api);
        warn_of_half(&member(&place, "limit"), right.limit.rate, right.limit.per, warnings);
        if !right.allowance_scope.is_empty() && right.limit == raw::Limit::default() {
            warnings.add(member(&place, "allowance_scope"), "has no effect without a limit");
        }
        if !api_ids.contains(api.as_str()) {
            errors.add(place, format!("no API has the id {api:?}{}", hint(api, api_ids.iter().copied())));
        } else if !right.api_id.is_empty() && right.api_id != *api {
            errors.add(member(&place, "api_id"), format!("{:?} differs from its place's name {api:?}", right.api_id));
        }
    }
}

fn plain_text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}
