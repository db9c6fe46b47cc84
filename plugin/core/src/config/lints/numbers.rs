//! Numbers that are certainly mistakes, where the schema cannot express it.
//!
//! Of Tyk's special numbers, -1 and 0 are allowed: both mean "unlimited" or "never". Any other negative number is an
//! error.

use crate::base::{item, member};
use crate::config::error::{Errors, key_name};
use crate::config::raw;

/// The maximum of `expires`, the year 9999. Every other number of seconds has a maximum of a century.
const LAST_UNIX_SECOND: i64 = 253_402_300_799;
const CENTURY_S: i64 = 3_153_600_000;

/// A time in Unix seconds before this (2001) was probably meant as a number of seconds from now.
const FIRST_PLAUSIBLE_EXPIRY: i64 = 1_000_000_000;

/// A shorter time-out was probably meant in seconds.
const SHORTEST_TIMEOUT_MS: u64 = 100;

/// Checks the numbers of a configuration.
pub fn check(raw: &raw::Config, errors: &mut Errors, warnings: &mut Errors) {
    for (index, api) in (0_usize..).zip(&raw.apis) {
        let path = member(&item("apis", index), "global_rate_limit");
        let raw::GlobalRateLimit { rate, per, .. } = api.global_rate_limit;
        limit(&path, raw::Limit { rate, per, ..raw::Limit::default() }, errors, warnings);
    }
    for (name, session) in &raw.keys {
        let path = member("keys", &key_name(name));
        limit(&path, session.limit(), errors, warnings);
        // With policies, the window may belong to their quota.
        if session.policies().is_empty() {
            window(&path, session.limit(), warnings);
        }
        rights(&path, &session.access_rights, errors, warnings);
        triggers(&path, &session.monitor, warnings);
        if (1..FIRST_PLAUSIBLE_EXPIRY).contains(&session.expires) {
            let message = "before the year 2001: it is a time in Unix seconds, not a number of seconds from now";
            warnings.add(member(&path, "expires"), message);
        }
    }
    for (id, policy) in &raw.policies {
        let path = member("policies", id);
        limit(&path, policy.limit(), errors, warnings);
        window(&path, policy.limit(), warnings);
        rights(&path, &policy.access_rights, errors, warnings);
        triggers(&path, &policy.monitor, warnings);
    }
    for (id, org) in &raw.orgs {
        let path = member("orgs", id);
        limit(&path, org.limit(), errors, warnings);
        window(&path, org.limit(), warnings);
        triggers(&path, &org.monitor, warnings);
    }
    fraction("monitor.global_trigger_limit", raw.monitor.global_trigger_limit, warnings);
    if raw.delivery.timeout_ms < SHORTEST_TIMEOUT_MS {
        let message = format!("{} milliseconds are too short for most receivers", raw.delivery.timeout_ms);
        warnings.add("delivery.timeout_ms", message);
    }
}

/// The first wrong number of a limit: its field, and the error.
pub fn wrong(limit: raw::Limit) -> Option<(&'static str, String)> {
    let raw::Limit { quota_max, quota_renewal_rate, rate, per } = limit;
    let whole = |name, number: i64, most: i64| {
        (!(-1..=most).contains(&number)).then(|| (name, format!("{number} is neither -1 nor from 0 to {most}")))
    };
    let float = |name, number: f64| {
        (number < 0.0 && number != -1.0).then(|| (name, format!("{number} is negative: only -1 says unlimited")))
    };
    #[allow(clippy::cast_precision_loss)]
    let too_long = per > CENTURY_S as f64;
    whole("quota_max", quota_max, i64::MAX)
        .or_else(|| whole("quota_renewal_rate", quota_renewal_rate, CENTURY_S))
        .or_else(|| float("rate", rate))
        .or_else(|| float("per", per))
        .or_else(|| too_long.then(|| ("per", format!("{per} is more than {CENTURY_S}"))))
}

/// The first wrong number of a fetched session, which closes it, and the error. Wrong numbers of its rights close
/// those.
pub fn wrong_session(session: &raw::Session) -> Option<String> {
    let expires = session.expires;
    if !(-1..=LAST_UNIX_SECOND).contains(&expires) {
        return Some(format!("expires: {expires} is neither -1 nor a time in Unix seconds"));
    }
    wrong(session.limit()).map(|(field, why)| format!("{field}: {why}"))
}

fn limit(path: &str, limit: raw::Limit, errors: &mut Errors, warnings: &mut Errors) {
    if let Some((field, why)) = wrong(limit) {
        errors.add(member(path, field), why);
    }
    let raw::Limit { rate, per, .. } = limit;
    match (rate > 0.0, per > 0.0) {
        (true, false) => warnings.add(member(path, "rate"), "no limit: per is missing"),
        (false, true) if rate == 0.0 => warnings.add(member(path, "per"), "no limit: rate is missing"),
        _ => {}
    }
}

/// Warns of a window without a quota.
fn window(path: &str, limit: raw::Limit, warnings: &mut Errors) {
    if limit.quota_max == 0 && limit.quota_renewal_rate > 0 {
        let message = "has no effect: quota_max is missing or 0, which is unlimited, as -1 is";
        warnings.add(member(path, "quota_renewal_rate"), message);
    }
}

fn rights(path: &str, rights: &raw::Named<raw::AccessRight>, errors: &mut Errors, warnings: &mut Errors) {
    for (api, right) in rights {
        let place = member(&member(&member(path, "access_rights"), api), "limit");
        limit(&place, right.limit, errors, warnings);
        window(&place, right.limit, warnings);
    }
}

fn triggers(path: &str, monitor: &raw::Triggers, warnings: &mut Errors) {
    let place = format!("{path}.monitor.trigger_limits");
    for (index, trigger) in (0_usize..).zip(&monitor.trigger_limits) {
        fraction(&item(&place, index), trigger.0, warnings);
    }
}

/// Warns of a fraction: 0.8 was probably meant as 80.
fn fraction(path: &str, percent: f64, warnings: &mut Errors) {
    if percent > 0.0 && percent < 1.0 {
        let meant = (percent * 10_000.0).round() / 100.0;
        warnings.add(path, format!("{percent} means {percent} %; write {meant} for {meant} %"));
    }
}

/// True if a cool-down was probably written in milliseconds.
pub fn looks_like_milliseconds(seconds: u64) -> bool {
    const MONTH_S: u64 = 2_678_400;
    seconds > MONTH_S || seconds >= 10_000 && seconds.is_multiple_of(1000) && !seconds.is_multiple_of(3600)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn minus_one_is_the_only_negative_number_that_means_unlimited() {
        let limit = |quota_max, quota_renewal_rate, rate, per| raw::Limit { quota_max, quota_renewal_rate, rate, per };
        for good in [limit(0, 0, 0.0, 0.0), limit(-1, -1, -1.0, -1.0), limit(i64::MAX, CENTURY_S, 1e9, 0.001)] {
            assert_eq!(wrong(good), None, "{good:?}");
        }
        for (bad, field) in [
            (limit(-10, 0, 0.0, 0.0), "quota_max"),
            (limit(i64::MIN, 0, 0.0, 0.0), "quota_max"),
            (limit(0, -2, 0.0, 0.0), "quota_renewal_rate"),
            (limit(0, CENTURY_S + 1, 0.0, 0.0), "quota_renewal_rate"),
            (limit(0, 0, -0.5, 0.0), "rate"),
            (limit(0, 0, -2.0, 0.0), "rate"),
            (limit(0, 0, 1.0, -1.5), "per"),
            (limit(0, 0, 1.0, 1e12), "per"),
        ] {
            assert_eq!(wrong(bad).map(|(field, _)| field), Some(field), "{bad:?}");
        }
    }

    #[test]
    fn cool_downs_in_milliseconds_are_warnings() {
        for seconds in [10_000, 15_000, 60_000, 300_000, 3_600_000, 86_400_000] {
            assert!(looks_like_milliseconds(seconds), "{seconds}");
        }
        for seconds in [0, 10, 60, 1000, 3600, 36_000, 86_400, 604_800, 2_592_000] {
            assert!(!looks_like_milliseconds(seconds), "{seconds}");
        }
    }
}
