//! Quota monitors.

use super::{Facts, Found, member, raw};

const ENABLE: &str = "monitor.enable_trigger_monitors is not true";

fn has_own(triggers: &raw::Triggers) -> bool {
    !triggers.trigger_limits.is_empty()
}

fn place(path: &str) -> String {
    member(&member(path, "monitor"), "trigger_limits")
}

/// Warns of all monitor settings, if monitors are off.
pub fn of_switched_off(facts: &Facts<'_>, found: &mut Found<'_>) {
    let monitor = &facts.raw.monitor;
    if monitor.enable_trigger_monitors {
        return;
    }
    found.none(monitor.monitor_user_keys, "monitor.monitor_user_keys", ENABLE);
    found.none(monitor.monitor_org_keys, "monitor.monitor_org_keys", ENABLE);
    found.none(monitor.global_trigger_limit > 0.0, "monitor.global_trigger_limit", ENABLE);
    found.none(monitor.forecast.within > 0, "monitor.forecast", ENABLE);
    for (path, session) in facts.sessions() {
        found.none(has_own(&session.monitor), place(&path), ENABLE);
    }
    for (path, policy) in facts.policies() {
        found.none(has_own(&policy.monitor), place(&path), ENABLE);
    }
    for (path, org) in facts.orgs() {
        found.none(has_own(&org.monitor), place(&path), ENABLE);
    }
}

/// Warns of thresholds of keys, if keys are not monitored.
pub fn of_keys(facts: &Facts<'_>, found: &mut Found<'_>) {
    const OFF: &str = "monitor.monitor_user_keys is not true";
    let monitor = &facts.raw.monitor;
    if !monitor.enable_trigger_monitors {
        return;
    }
    if monitor.monitor_user_keys {
        let unused = !facts.has_key_quota();
        found.none(unused, "monitor.monitor_user_keys", "no key has a quota");
        return;
    }
    for (path, session) in facts.sessions() {
        found.none(has_own(&session.monitor), place(&path), OFF);
    }
    for (path, policy) in facts.policies() {
        found.none(has_own(&policy.monitor), place(&path), OFF);
    }
}

/// Warns of thresholds of organisations that are not monitored, or whose quotas are not counted.
pub fn of_orgs(facts: &Facts<'_>, found: &mut Found<'_>) {
    let (raw, monitor) = (facts.raw, &facts.raw.monitor);
    if !monitor.enable_trigger_monitors {
        return;
    }
    let off = if !monitor.monitor_org_keys {
        "monitor.monitor_org_keys is not true"
    } else if !raw.enforce_org_quotas {
        "enforce_org_quotas is not true, so organisations are not counted"
    } else {
        found.none(!facts.has_org_quota(), "monitor.monitor_org_keys", "no organisation has a quota");
        return;
    };
    found.none(monitor.monitor_org_keys, "monitor.monitor_org_keys", off);
    for (path, org) in facts.orgs() {
        found.none(has_own(&org.monitor), place(&path), off);
    }
}

/// Warns of thresholds without a quota.
pub fn without_quota(facts: &Facts<'_>, found: &mut Found<'_>) {
    const NO_QUOTA: &str = "there is no quota: quota_max is missing or unlimited";
    let monitor = &facts.raw.monitor;
    if monitor.enable_trigger_monitors && monitor.monitor_user_keys {
        for (path, session) in facts.sessions().filter(|(_, session)| has_own(&session.monitor)) {
            found.none(!has_quota(facts, session), place(&path), NO_QUOTA);
        }
        for (id, policy) in &facts.raw.policies {
            if !has_own(&policy.monitor) || facts.fetches() || policy_has_quota(policy) {
                continue;
            }
            let of_keys = facts.raw.keys.values().filter(|session| session.policies().contains(id));
            let is_limited = of_keys.into_iter().any(|session| has_quota(facts, session));
            found.none(!is_limited, place(&member("policies", id)), NO_QUOTA);
        }
    }
    if monitor.enable_trigger_monitors && monitor.monitor_org_keys && facts.raw.enforce_org_quotas {
        for (path, org) in facts.orgs() {
            found.none(has_own(&org.monitor) && org.quota_max <= 0, place(&path), NO_QUOTA);
        }
    }
}

/// True if a session may have a quota, its own or from its policies.
fn has_quota(facts: &Facts<'_>, session: &raw::Session) -> bool {
    session.quota_max > 0
        || session.access_rights.values().any(|right| right.limit.quota_max > 0)
        || session.policies().iter().filter_map(|id| facts.raw.policies.get(id)).any(policy_has_quota)
}

fn policy_has_quota(policy: &raw::Policy) -> bool {
    policy.quota_max > 0 || policy.access_rights.values().any(|right| right.limit.quota_max > 0)
}

/// Warns of forecasts that cannot be made.
pub fn of_forecasts(facts: &Facts<'_>, found: &mut Found<'_>) {
    let raw::Forecast { within, min_used } = facts.raw.monitor.forecast;
    let is_given = within == 0 && (min_used - raw::Forecast::default().min_used).abs() > 0.0;
    found.none(is_given, "monitor.forecast.min_used", "within is missing, so nothing is foretold");
    if within == 0 || facts.fetches() {
        return;
    }
    let raw = facts.raw;
    let ends = |quota_max: i64, renewal_rate: i64| quota_max > 0 && renewal_rate > 0;
    let of_keys = facts.has_limit(|limit| ends(limit.quota_max, limit.quota_renewal_rate));
    let of_orgs = raw.orgs.values().any(|org| ends(org.quota_max, org.quota_renewal_rate));
    let is_foretold = raw.monitor.monitor_user_keys && of_keys || raw.monitor.monitor_org_keys && of_orgs;
    let is_enabled = raw.monitor.enable_trigger_monitors;
    found.none(is_enabled && !is_foretold, "monitor.forecast", "no monitored quota has a window that ends");
}

/// Warns of monitors without a threshold.
pub fn without_thresholds(facts: &Facts<'_>, found: &mut Found<'_>) {
    let (raw, monitor) = (facts.raw, &facts.raw.monitor);
    let has_forecast = monitor.forecast.within > 0;
    if !monitor.enable_trigger_monitors || monitor.global_trigger_limit > 0.0 || has_forecast {
        return;
    }
    let of_keys = raw.keys.values().map(|session| &session.monitor);
    let of_policies = raw.policies.values().map(|policy| &policy.monitor);
    let of_orgs = raw.orgs.values().map(|org| &org.monitor);
    let for_keys = facts.fetches() || of_keys.chain(of_policies).any(has_own);
    let for_orgs = of_orgs.into_iter().any(has_own);
    const NONE: &str = "there is no threshold: set global_trigger_limit or trigger_limits";
    found.none(monitor.monitor_user_keys && !for_keys && facts.has_key_quota(), "monitor.monitor_user_keys", NONE);
    found.none(monitor.monitor_org_keys && !for_orgs && facts.has_org_quota(), "monitor.monitor_org_keys", NONE);
}
