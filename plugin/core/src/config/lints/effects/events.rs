//! Events that cannot happen, and events without a recipient.

use super::{Facts, Found, item, member, observes, raw};
use crate::event::EventKind;

/// The place of a handler for an event: every API, or one.
struct Wanted<'c> {
    path: String,
    api: Option<&'c raw::Api>,
    kind: EventKind,
}

/// All handlers for events, except inactive ones.
fn wanted<'c>(facts: &Facts<'c>) -> Vec<Wanted<'c>> {
    let mut all = Vec::new();
    let mut add = |path: String, api: Option<&'c raw::Api>, event: &str| {
        // Other names are reported where handlers are read.
        all.extend(EventKind::from_name(event).map(|kind| Wanted { path, api, kind }));
    };
    of_handlers("event_handlers", &facts.raw.event_handlers, &mut |path, event| add(path, None, event));
    for (path, api) in facts.apis() {
        of_handlers(&member(&path, "event_handlers"), &api.event_handlers, &mut |path, event| {
            add(path, Some(api), event)
        });
        let oas = member(&member(&path, "server"), "eventHandlers");
        of_oas(&oas, &api.server.event_handlers, &mut |path, event| add(path, Some(api), event));
    }
    for (index, webhook) in facts.raw.webhooks.iter().enumerate() {
        for (place, event) in webhook.events.iter().enumerate() {
            add(item(&member(&item("webhooks", index), "events"), place), None, event);
        }
    }
    all
}

fn of_handlers(path: &str, handlers: &raw::EventHandlers, add: &mut impl FnMut(String, &str)) {
    match handlers {
        raw::EventHandlers::Oas(list) => of_oas(path, list, add),
        raw::EventHandlers::Classic(classic) => {
            for (event, list) in &classic.events {
                if list.iter().any(|handler| !handler.handler_meta.disabled) {
                    add(member(&member(path, "events"), event), event);
                }
            }
        }
    }
}

fn of_oas(path: &str, list: &[raw::OasHandler], add: &mut impl FnMut(String, &str)) {
    for (index, handler) in list.iter().enumerate().filter(|(_, handler)| handler.enabled) {
        add(member(&item(path, index), "trigger"), &handler.trigger);
    }
}

/// The reason why an event cannot happen on one API, or on any; `None` if it can.
fn why_not(facts: &Facts<'_>, kind: EventKind, api: Option<&raw::Api>) -> Option<&'static str> {
    let any = |is_so: &dyn Fn(&raw::Api) -> bool| match api {
        Some(api) => is_so(api),
        None => facts.raw.apis.iter().any(is_so),
    };
    let asks = any(&|api| !api.use_keyless);
    let is_enforced = facts.raw.enforce_org_quotas;
    let monitor = &facts.raw.monitor;
    let (can, because) = match kind {
        EventKind::AuthFailure => (
            asks || any(&|api| api.observe_failures) || api.is_none() && facts.takes_posted_events(),
            "every request may pass (use_keyless), and observe_failures is not set",
        ),
        _ if !asks && matches!(kind, EventKind::KeyExpired | EventKind::QuotaExceeded) => {
            (false, "every request may pass without a key (use_keyless)")
        }
        EventKind::KeyExpired => (expires(facts), "no key has expires or is_inactive"),
        EventKind::QuotaExceeded => (facts.has_key_quota(), "no key has a quota"),
        EventKind::OrgQuotaExceeded if !is_enforced => (false, "enforce_org_quotas is not true"),
        EventKind::OrgQuotaExceeded => (facts.has_org_quota(), "no organisation has a quota"),
        EventKind::OrgRateLimitExceeded if !is_enforced => (false, "enforce_org_quotas is not true"),
        EventKind::OrgRateLimitExceeded => (facts.has_org_rate(), "no organisation has a rate"),
        EventKind::RatelimitExceeded => {
            let is_limited = |api: &raw::Api| {
                let limit = api.global_rate_limit;
                api.observe_failures || !limit.disabled && limit.rate > 0.0 && limit.per > 0.0
            };
            (
                any(&is_limited) || asks && facts.has_key_rate(),
                "no key and no API has a rate, and observe_failures is not set",
            )
        }
        EventKind::QuotaForecast if monitor.forecast.within == 0 => (false, "monitor.forecast.within is not set"),
        EventKind::TriggerExceeded | EventKind::QuotaRenewed | EventKind::QuotaForecast
            if !monitor.enable_trigger_monitors =>
        {
            (false, "monitor.enable_trigger_monitors is not true")
        }
        EventKind::TriggerExceeded | EventKind::QuotaRenewed | EventKind::QuotaForecast => (
            monitor.monitor_user_keys && asks || monitor.monitor_org_keys && is_enforced,
            "neither keys nor organisations are monitored",
        ),
        kind if kind.is_of_upstream() => (
            any(&|api| api.observe_upstream.failures().is_some()),
            if api.is_some() { "observe_upstream is not set" } else { "no API has observe_upstream" },
        ),
        EventKind::VersionFailure => (any(&|api| !api.versioning.versions.is_empty()), "no API has versioning"),
        kind if kind.is_management() => match api {
            Some(api) => (observes(api), "the API has neither a preset nor rules in observe"),
            None => (facts.has_management(), "no API has observe, and admin is off"),
        },
        _ => (true, ""),
    };
    (!can).then_some(because)
}

fn expires(facts: &Facts<'_>) -> bool {
    let raw = facts.raw;
    facts.fetches()
        || raw.keys.values().any(|session| session.expires > 0 || session.is_inactive)
        || raw.policies.values().any(|policy| policy.is_inactive)
}

/// Warns of handlers for events that cannot happen.
pub fn that_cannot_fire(facts: &Facts<'_>, found: &mut Found<'_>) {
    if facts.raw.apis.is_empty() {
        return;
    }
    for Wanted { path, api, kind } in wanted(facts) {
        if let Some(because) = why_not(facts, kind, api) {
            found.add(path, format!("this event never fires here: {because}"));
        }
    }
}

/// Warns of event_options for management events that cannot happen.
pub fn of_options(facts: &Facts<'_>, found: &mut Found<'_>) {
    if facts.has_management() || facts.raw.apis.is_empty() {
        return;
    }
    for (path, org) in facts.orgs() {
        for (event, option) in &org.event_options {
            let has_recipient = !option.webhook.is_empty() || !option.email.is_empty();
            let place = member(&member(&path, "event_options"), event);
            found.none(has_recipient, place, "no API has observe, and admin is off");
        }
    }
}

/// Warns of observing without a recipient.
pub fn without_recipient(facts: &Facts<'_>, found: &mut Found<'_>) {
    let wanted = wanted(facts);
    let is_wanted = |api: &raw::Api, is_kind: &dyn Fn(EventKind) -> bool| {
        let is_here = |wanted: &Wanted<'_>| wanted.api.is_none_or(|other| std::ptr::eq(other, api));
        wanted.iter().any(|wanted| is_here(wanted) && is_kind(wanted.kind))
    };
    let is_mailed = facts.raw.email_backend.enable_email_notifications && facts.raw.email_backend.notify_users;
    let told =
        |org: &raw::Org| org.event_options.values().any(|told| !told.webhook.is_empty() || !told.email.is_empty());
    let has_recipient = facts.raw.orgs.values().any(told) || is_mailed;
    for (path, api) in facts.apis() {
        let of_failures = |kind| matches!(kind, EventKind::AuthFailure | EventKind::RatelimitExceeded);
        let is_unnoticed = api.observe_failures && !is_wanted(api, &of_failures);
        found.none(
            is_unnoticed,
            member(&path, "observe_failures"),
            "no handler is for AuthFailure or RatelimitExceeded",
        );
        let is_unnoticed = api.observe_upstream.failures().is_some() && !is_wanted(api, &EventKind::is_of_upstream);
        found.none(
            is_unnoticed,
            member(&path, "observe_upstream"),
            "no handler is for an event of the upstream, such as HostDown",
        );
        let is_management = EventKind::is_management;
        let is_unnoticed = observes(api) && !has_recipient && !is_wanted(api, &is_management);
        found.none(
            is_unnoticed,
            member(&path, "observe"),
            "no one is notified of management events: there are no event_options, no handler and no webhook",
        );
    }
}
