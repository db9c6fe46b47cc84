//! Warns of legal settings that cannot have an effect, because another setting switches them off or is missing. Each
//! warning has the path, because the author expects an effect.
//!
//! A rule reads the configuration as written. [`RULES`] are all rules, in the order of the settings.

mod access;
mod conditions;
mod events;
mod messages;
mod monitors;

use crate::base::{item, member};
use crate::config::error::{Errors, key_name};
use crate::config::raw;
use crate::config::sessions::is_identity;

/// A rule that finds settings of one kind.
type Rule = fn(&Facts<'_>, &mut Found<'_>);

/// All rules.
const RULES: [Rule; 36] = [
    access::of_internal_apis,
    access::of_keyless_apis,
    access::of_unused_places,
    access::of_keys_that_no_api_asks_for,
    access::of_fetching,
    access::of_policies_without_keys,
    access::of_default_policy,
    access::of_identities,
    access::of_orgs_without_members,
    access::of_limits_of_orgs,
    access::of_counting,
    access::of_limits_of_keyless_apis,
    access::of_limits_of_policies_rights,
    access::of_partitions,
    access::of_scopes,
    access::of_replaced,
    access::of_enforcement,
    access::of_observing,
    monitors::of_switched_off,
    monitors::of_keys,
    monitors::of_orgs,
    monitors::without_quota,
    monitors::without_thresholds,
    monitors::of_forecasts,
    events::that_cannot_fire,
    events::of_options,
    events::without_recipient,
    conditions::of_when,
    messages::of_templates,
    messages::of_named_webhooks,
    messages::of_get,
    messages::of_log_handlers,
    messages::of_oas_handlers,
    messages::of_email,
    messages::of_clusters,
    messages::of_delivery,
];

/// Adds a warning for each setting without an effect.
pub fn check(raw: &raw::Config, warnings: &mut Errors) {
    let facts = Facts { raw };
    let mut found = Found { warnings };
    for rule in RULES {
        rule(&facts, &mut found);
    }
}

/// The warnings of the rules.
struct Found<'w> {
    warnings: &'w mut Errors,
}

impl Found<'_> {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.warnings.add(path, message);
    }

    /// Adds `path: has no effect: because`, if the setting is present.
    fn none(&mut self, is_given: bool, path: impl Into<String>, because: &str) {
        if is_given {
            self.add_none(path.into(), because);
        }
    }

    #[inline(never)]
    fn add_none(&mut self, path: String, because: &str) {
        self.warnings.add(path, ["has no effect: ", because].concat());
    }
}

/// The configuration, and the facts that rules need.
struct Facts<'c> {
    raw: &'c raw::Config,
}

/// The rights of a session or a policy, with their path.
type Rights<'c> = (String, &'c raw::Named<raw::AccessRight>);

impl<'c> Facts<'c> {
    fn apis(&self) -> impl Iterator<Item = (String, &'c raw::Api)> {
        self.raw.apis.iter().enumerate().map(|(index, api)| (item("apis", index), api))
    }

    fn sessions(&self) -> impl Iterator<Item = (String, &'c raw::Session)> {
        self.raw.keys.iter().map(|(name, session)| (member("keys", &key_name(name)), session))
    }

    fn policies(&self) -> impl Iterator<Item = (String, &'c raw::Policy)> {
        self.raw.policies.iter().map(|(id, policy)| (member("policies", id), policy))
    }

    fn orgs(&self) -> impl Iterator<Item = (String, &'c raw::Org)> {
        self.raw.orgs.iter().map(|(id, org)| (member("orgs", id), org))
    }

    fn rights(&self) -> impl Iterator<Item = Rights<'c>> {
        let of_keys = self.sessions().map(|(path, session)| (path, &session.access_rights));
        let of_policies = self.policies().map(|(path, policy)| (path, &policy.access_rights));
        of_keys.chain(of_policies).map(|(path, rights)| (member(&path, "access_rights"), rights))
    }

    /// True if some sessions are fetched and therefore unknown here.
    fn fetches(&self) -> bool {
        !self.raw.keys_from.url.is_empty()
    }

    /// True if an API uses the filter's own keys.
    fn asks_for_keys(&self) -> bool {
        self.raw.apis.iter().any(asks_for_key)
    }

    /// True if an API identifies callers in another way.
    fn asks_for_identities(&self) -> bool {
        self.sources().next().is_some()
    }

    /// The sources of identities other than keys.
    fn sources(&self) -> impl Iterator<Item = &'c raw::IdentityFrom> {
        let apis = self.raw.apis.iter().filter(|api| !api.use_keyless);
        apis.flat_map(|api| &api.identity).filter_map(|source| match source {
            raw::IdentitySource::From(from) => Some(from),
            raw::IdentitySource::Key(_) => None,
        })
    }

    /// True if any key may have such a limit.
    fn has_limit(&self, is_limit: impl Fn(raw::Limit) -> bool) -> bool {
        let sessions = self.raw.keys.values().map(raw::Session::limit);
        let policies = self.raw.policies.values().map(raw::Policy::limit);
        let rights = self.rights().flat_map(|(_, rights)| rights.values().map(|right| right.limit));
        self.fetches() || sessions.chain(policies).chain(rights).any(is_limit)
    }

    fn has_key_quota(&self) -> bool {
        self.has_limit(|limit| limit.quota_max > 0)
    }

    fn has_key_rate(&self) -> bool {
        self.has_limit(|limit| limit.rate > 0.0 && limit.per > 0.0)
    }

    fn has_org_quota(&self) -> bool {
        self.raw.enforce_org_quotas && self.raw.orgs.values().any(|org| org.quota_max > 0)
    }

    fn has_org_rate(&self) -> bool {
        self.raw.enforce_org_quotas && self.raw.orgs.values().any(|org| org.rate > 0.0 && org.per > 0.0)
    }

    /// True if applications can post events.
    fn takes_posted_events(&self) -> bool {
        !self.raw.admin.token_sha256.is_empty()
    }

    /// True if a management event can happen.
    fn has_management(&self) -> bool {
        self.takes_posted_events() || self.raw.apis.iter().any(observes)
    }
}

fn observes(api: &raw::Api) -> bool {
    !api.observe.preset.is_empty() || !api.observe.rules.is_empty()
}

/// True if an API uses the filter's own keys.
fn asks_for_key(api: &raw::Api) -> bool {
    let is_key = |source: &raw::IdentitySource| matches!(source, raw::IdentitySource::Key(_));
    !api.use_keyless && (api.identity.is_empty() || api.identity.iter().any(is_key))
}

#[cfg(test)]
mod tests;
