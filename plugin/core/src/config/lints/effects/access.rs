//! APIs, keys, policies and organisations.

use super::{Facts, Found, asks_for_key, is_identity, key_name, member, raw};

const KEYLESS: &str = "the API is keyless";

/// Warns of the place of an API that is reachable only as a version of another one.
pub fn of_internal_apis(facts: &Facts<'_>, found: &mut Found<'_>) {
    const INTERNAL: &str = "the API is internal: it is reachable only as a version of another API";
    let default = raw::Api::default();
    for (path, api) in facts.apis().filter(|(_, api)| api.internal) {
        found.none(!api.domain.is_empty(), member(&path, "domain"), INTERNAL);
        found.none(api.listen_path != default.listen_path, member(&path, "listen_path"), INTERNAL);
        found.none(api.strict_listen_path, member(&path, "strict_listen_path"), INTERNAL);
    }
}

/// Warns of authentication settings of a keyless API.
pub fn of_keyless_apis(facts: &Facts<'_>, found: &mut Found<'_>) {
    for (path, api) in facts.apis().filter(|(_, api)| api.use_keyless) {
        found.none(!api.identity.is_empty(), member(&path, "identity"), KEYLESS);
        found.none(api.strip_authorization_data, member(&path, "strip_authorization_data"), KEYLESS);
        let auth = member(&path, "auth");
        found.none(api.auth.use_param, member(&auth, "use_param"), KEYLESS);
        found.none(api.auth.use_cookie, member(&auth, "use_cookie"), KEYLESS);
        found.none(api.auth.fire_on_missing_key, member(&auth, "fire_on_missing_key"), KEYLESS);
        found.none(api.auth.allow_preflight, member(&auth, "allow_preflight"), KEYLESS);
    }
}

/// Warns of names of places that are not used.
pub fn of_unused_places(facts: &Facts<'_>, found: &mut Found<'_>) {
    let default = raw::Auth::default();
    for (path, api) in facts.apis().filter(|(_, api)| !api.use_keyless) {
        let auth = member(&path, "auth");
        if !asks_for_key(api) {
            let given =
                api.auth.use_param || api.auth.use_cookie || api.auth.auth_header_name != default.auth_header_name;
            found.none(given, auth, "identity does not include key, so the filter looks for no key");
            continue;
        }
        let has_param = api.auth.param_name != default.param_name && !api.auth.param_name.is_empty();
        found.none(has_param && !api.auth.use_param, member(&auth, "param_name"), "use_param is not true");
        let has_cookie = !api.auth.cookie_name.is_empty();
        found.none(has_cookie && !api.auth.use_cookie, member(&auth, "cookie_name"), "use_cookie is not true");
    }
}

/// Warns of sessions that no request finds.
pub fn of_keys_that_no_api_asks_for(facts: &Facts<'_>, found: &mut Found<'_>) {
    if facts.raw.apis.is_empty() {
        return;
    }
    let has_keys = facts.raw.keys.keys().any(|name| !is_identity(name));
    // A session may belong to an identity with its name, too.
    if has_keys && !facts.asks_for_keys() && !facts.asks_for_identities() {
        found.add("keys", "no API asks for a key: each is keyless");
    }
    for name in facts.raw.keys.keys().filter(|name| is_identity(name)) {
        let label = name.split(':').next().unwrap_or_default();
        let has_source = facts.sources().any(|source| match label {
            "header" => !source.header.is_empty(),
            "metadata" => !source.metadata.is_empty(),
            "peer_certificate" => !source.peer_certificate.is_empty(),
            _ => source.source_address,
        });
        if !has_source {
            found.add(member("keys", &key_name(name)), format!("no API identifies callers by {label}"));
        }
    }
}

/// Warns of settings for fetching keys, if none are fetched.
pub fn of_fetching(facts: &Facts<'_>, found: &mut Found<'_>) {
    const NO_URL: &str = "without url no keys are fetched";
    let (from, default) = (&facts.raw.keys_from, raw::KeysFrom::default());
    if facts.fetches() {
        let unused = !facts.raw.apis.is_empty() && !facts.asks_for_keys() && !facts.asks_for_identities();
        found.none(unused, "keys_from.url", "every API is keyless");
        return;
    }
    found.none(from.interval_s != default.interval_s, "keys_from.interval_s", NO_URL);
    found.none(!from.headers.is_empty(), "keys_from.headers", NO_URL);
    found.none(from.max_bytes != default.max_bytes, "keys_from.max_bytes", NO_URL);
}

/// Warns of policies that no key has.
pub fn of_policies_without_keys(facts: &Facts<'_>, found: &mut Found<'_>) {
    if facts.fetches() {
        return;
    }
    for id in facts.raw.policies.keys() {
        let is_named = |session: &raw::Session| session.policies().contains(id);
        if *id != facts.raw.default_policy && !facts.raw.keys.values().any(is_named) {
            found.add(member("policies", id), "no key has this policy");
        }
    }
}

/// Warns of a policy for identities, if there are none.
pub fn of_default_policy(facts: &Facts<'_>, found: &mut Found<'_>) {
    let unused = !facts.raw.default_policy.is_empty() && !facts.asks_for_identities();
    found.none(unused, "default_policy", "it is for identities, but every API uses only keys or is keyless");
}

/// Warns of the size of the table for identities, if there are none.
pub fn of_identities(facts: &Facts<'_>, found: &mut Found<'_>) {
    let is_given = facts.raw.identities.capacity != raw::Identities::default().capacity;
    found.none(
        is_given && !facts.asks_for_identities(),
        "identities.capacity",
        "no API identifies callers other than by keys",
    );
}

/// Warns of organisations without an API or a key.
pub fn of_orgs_without_members(facts: &Facts<'_>, found: &mut Found<'_>) {
    let names_org = facts.sources().any(|source| !source.org.is_empty());
    if facts.fetches() || names_org || facts.raw.apis.is_empty() {
        return;
    }
    for (id, org) in &facts.raw.orgs {
        let of_apis = facts.raw.apis.iter().any(|api| api.org_id == *id);
        let of_keys = facts.raw.keys.values().any(|session| session.org_id == *id);
        // A management event names its organisation itself.
        let of_events = !org.event_options.is_empty() && facts.has_management();
        if !(of_apis || of_keys || of_events) {
            found.add(member("orgs", id), "no API and no key belongs to this organisation");
        }
    }
}

/// Warns of a way to count in a fleet without a fleet.
pub fn of_counting(facts: &Facts<'_>, found: &mut Found<'_>) {
    if facts.raw.store.redis.is_some() {
        return;
    }
    let orgs = facts.raw.orgs.iter().map(|(id, org)| (member("orgs", id), &org.counting));
    let policies = facts.raw.policies.iter().map(|(id, policy)| (member("policies", id), &policy.counting));
    let keys = facts.raw.keys.iter().map(|(name, key)| (member("keys", &key_name(name)), &key.counting));
    for (path, counting) in orgs.chain(policies).chain(keys) {
        found.none(!counting.is_empty(), member(&path, "counting"), "there is no store: each Envoy counts for itself");
    }
}

/// Warns of limits of organisations that are not enforced, and of enforcement without limits.
pub fn of_limits_of_orgs(facts: &Facts<'_>, found: &mut Found<'_>) {
    const NOT_ENFORCED: &str = "enforce_org_quotas is not true";
    if facts.raw.enforce_org_quotas {
        let is_limited = |org: &raw::Org| org.quota_max > 0 || org.rate > 0.0;
        let none = !facts.raw.orgs.values().any(is_limited);
        found.none(none, "enforce_org_quotas", "no organisation has a quota or a rate");
        return;
    }
    for (path, org) in facts.orgs() {
        found.none(org.quota_max > 0, member(&path, "quota_max"), NOT_ENFORCED);
        found.none(org.rate > 0.0 && org.per > 0.0, member(&path, "rate"), NOT_ENFORCED);
    }
}

/// Warns of limits for an API that identifies no callers.
pub fn of_limits_of_keyless_apis(facts: &Facts<'_>, found: &mut Found<'_>) {
    let is_keyless = |id: &str| facts.raw.apis.iter().any(|api| api.api_id == id && api.use_keyless);
    for (path, rights) in facts.rights() {
        for (api, _) in rights.iter().filter(|(api, right)| is_limited(right) && is_keyless(api)) {
            found.none(true, member(&member(&path, api), "limit"), KEYLESS);
        }
    }
}

fn is_limited(right: &raw::AccessRight) -> bool {
    right.limit.quota_max > 0 || right.limit.rate > 0.0
}

/// Warns of an API whose enforcement changes nothing.
pub fn of_enforcement(facts: &Facts<'_>, found: &mut Found<'_>) {
    for (path, api) in facts.apis() {
        let limit = api.global_rate_limit;
        let is_limited = !limit.disabled && limit.rate > 0.0 && limit.per > 0.0;
        let is_open = api.use_keyless && !is_limited && api.org_id.is_empty() && api.versioning.versions.is_empty();
        let is_given = !api.enforcement.is_empty() && is_open;
        found.none(
            is_given,
            member(&path, "enforcement"),
            "the API is keyless and has no limits, so it refuses nothing",
        );
    }
}

/// Warns of refusals that are only observed, so that no one forgets to enforce them.
pub fn of_observing(facts: &Facts<'_>, found: &mut Found<'_>) {
    const OBSERVED: &str = "requests that would be refused are admitted, also without a valid key (observe)";
    if facts.raw.enforcement == "observe" {
        found.add("enforcement", OBSERVED);
    }
    for (path, _) in facts.apis().filter(|(_, api)| api.enforcement == "observe") {
        found.add(member(&path, "enforcement"), OBSERVED);
    }
}

/// Warns of limits and scopes in policies. Tyk reads the limits of a policy's rights only if the policy is per_api, and
/// never its scopes.
pub fn of_limits_of_policies_rights(facts: &Facts<'_>, found: &mut Found<'_>) {
    for (path, policy) in facts.policies() {
        let rights = member(&path, "access_rights");
        for (api, right) in &policy.access_rights {
            let place = member(&rights, api);
            let is_given = !policy.partitions.per_api && right.limit != raw::Limit::default();
            found.none(is_given, member(&place, "limit"), "partitions.per_api is not true, as in Tyk");
            found.none(
                !right.allowance_scope.is_empty(),
                member(&place, "allowance_scope"),
                "a policy's rights are counted by policy, or with per_api by API, as in Tyk",
            );
        }
    }
}

/// Warns of scopes of rights without limits.
pub fn of_scopes(facts: &Facts<'_>, found: &mut Found<'_>) {
    for (path, session) in facts.sessions() {
        for (api, right) in &session.access_rights {
            let is_unused = !right.allowance_scope.is_empty() && right.limit == raw::Limit::default();
            let place = member(&member(&path, "access_rights"), api);
            found.none(is_unused, member(&place, "allowance_scope"), "the right has no limit");
        }
    }
}

/// Warns of settings of a session that its policies replace.
pub fn of_replaced(facts: &Facts<'_>, found: &mut Found<'_>) {
    const REPLACED: &str = "the key's policies set this instead, as in Tyk";
    for (path, session) in facts.sessions() {
        let (mut rights, mut quota, mut rate) = (false, false, false);
        for policy in session.policies().iter().filter_map(|id| facts.raw.policies.get(id)) {
            rights |= policy.says_rights();
            quota |= policy.partitions.says(policy.partitions.quota);
            rate |= policy.partitions.says(policy.partitions.rate_limit);
        }
        found.none(rights && !session.access_rights.is_empty(), member(&path, "access_rights"), REPLACED);
        found.none(quota && session.quota_max != 0, member(&path, "quota_max"), REPLACED);
        found.none(rate && session.rate != 0.0, member(&path, "rate"), REPLACED);
    }
}

/// Warns of settings of a policy that its partitions leave out.
pub fn of_partitions(facts: &Facts<'_>, found: &mut Found<'_>) {
    for (path, policy) in facts.policies() {
        let raw::Partitions { quota, rate_limit, acl, complexity, per_api } = policy.partitions;
        if per_api || !(quota || rate_limit || acl || complexity) {
            continue;
        }
        let left_out = |part: &str| format!("its partitions leave {part} out");
        found.none(!quota && policy.quota_max > 0, member(&path, "quota_max"), &left_out("quota"));
        let has_rate = policy.rate > 0.0 && policy.per > 0.0;
        found.none(!rate_limit && has_rate, member(&path, "rate"), &left_out("rate_limit"));
    }
}
