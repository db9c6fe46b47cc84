//! Handlers, templates, webhooks, e-mail and delivery.

use std::collections::BTreeSet;

use super::{Facts, Found, item, member, raw};
use crate::config::calls::url::CallUrl;

/// All handlers in the classic form, each with the path of its `handler_meta`.
fn classic<'c>(facts: &Facts<'c>) -> Vec<(String, &'c raw::Handler)> {
    let mut all = Vec::new();
    let mut add = |path: String, handlers: &'c raw::EventHandlers| {
        let raw::EventHandlers::Classic(classic) = handlers else { return };
        for (event, list) in &classic.events {
            let place = member(&member(&path, "events"), event);
            let each = list.iter().enumerate();
            all.extend(each.map(|(at, handler)| (member(&item(&place, at), "handler_meta"), handler)));
        }
    };
    add("event_handlers".to_owned(), &facts.raw.event_handlers);
    for (path, api) in facts.apis() {
        add(member(&path, "event_handlers"), &api.event_handlers);
    }
    all
}

/// All handlers in the form of Tyk OAS.
fn oas<'c>(facts: &Facts<'c>) -> Vec<(String, &'c raw::OasHandler)> {
    let mut all = Vec::new();
    let mut add = |path: String, list: &'c [raw::OasHandler]| {
        all.extend(list.iter().enumerate().map(|(at, handler)| (item(&path, at), handler)));
    };
    let of = |handlers: &'c raw::EventHandlers| match handlers {
        raw::EventHandlers::Oas(list) => list.as_slice(),
        raw::EventHandlers::Classic(_) => &[],
    };
    add("event_handlers".to_owned(), of(&facts.raw.event_handlers));
    for (path, api) in facts.apis() {
        add(member(&path, "event_handlers"), of(&api.event_handlers));
        add(member(&member(&path, "server"), "eventHandlers"), &api.server.event_handlers);
    }
    all
}

/// The settings of every webhook handler in the classic form, including the monitor's.
fn metas<'c>(facts: &Facts<'c>) -> Vec<(String, &'c raw::HandlerMeta)> {
    let is_webhook = |(_, handler): &(String, &raw::Handler)| handler.handler_name == "eh_web_hook_handler";
    let classic = classic(facts).into_iter().filter(is_webhook).map(|(path, handler)| (path, &handler.handler_meta));
    classic.chain([("monitor.configuration".to_owned(), &facts.raw.monitor.configuration)]).collect()
}

/// Warns of templates that no handler uses.
pub fn of_templates(facts: &Facts<'_>, found: &mut Found<'_>) {
    // Handlers without a template use the default one, which an entry with its name replaces.
    let mut used: BTreeSet<&str> = BTreeSet::from(["templates/default_webhook.json"]);
    used.extend(metas(facts).iter().map(|(_, meta)| meta.template_path.as_str()));
    used.extend(oas(facts).iter().map(|(_, handler)| handler.body_template.as_str()));
    used.extend(facts.raw.webhooks.iter().map(|webhook| webhook.template_path.as_str()));
    for name in facts.raw.templates.keys().filter(|name| !used.contains(name.as_str())) {
        found.add(member("templates", name), "no handler uses this template");
    }
}

/// Warns of named webhooks that get no messages.
pub fn of_named_webhooks(facts: &Facts<'_>, found: &mut Found<'_>) {
    let mut used: BTreeSet<&str> = metas(facts).iter().map(|(_, meta)| meta.webhook.as_str()).collect();
    used.extend(oas(facts).iter().map(|(_, handler)| handler.webhook.as_str()));
    for (index, webhook) in facts.raw.webhooks.iter().enumerate() {
        if webhook.events.is_empty() && !used.contains(webhook.name.as_str()) {
            found.add(item("webhooks", index), "no handler names this webhook, and it has no events of its own");
        }
    }
}

/// Warns of templates for GET, which sends no body. With a cool-down, the template still decides which messages are the
/// same.
pub fn of_get(facts: &Facts<'_>, found: &mut Found<'_>) {
    const NO_BODY: &str = "GET sends no body, and without a cool-down nothing else depends on it";
    let is_get = |method: &Option<String>| method.as_deref().is_some_and(|method| method.eq_ignore_ascii_case("GET"));
    let mut named = BTreeSet::new();
    for (path, meta) in metas(facts) {
        named.insert(meta.webhook.as_str());
        // A named webhook may have its own cool-down.
        let cools_down = meta.event_timeout.is_some_and(|seconds| seconds > 0) || !meta.webhook.is_empty();
        let is_unused = is_get(&meta.method) && !meta.template_path.is_empty() && !cools_down;
        found.none(is_unused, member(&path, "template_path"), NO_BODY);
    }
    for (path, handler) in oas(facts) {
        named.insert(handler.webhook.as_str());
        let cools_down = !handler.cooldown_period.is_empty() || !handler.webhook.is_empty();
        let is_unused = is_get(&handler.method) && !handler.body_template.is_empty() && !cools_down;
        found.none(is_unused, member(&path, "bodyTemplate"), NO_BODY);
    }
    for (index, webhook) in facts.raw.webhooks.iter().enumerate() {
        let cools_down = webhook.event_timeout.is_some_and(|seconds| seconds > 0);
        let is_unused = is_get(&webhook.method) && !webhook.template_path.is_empty() && !cools_down;
        let is_unused = is_unused && !named.contains(webhook.name.as_str());
        found.none(is_unused, member(&item("webhooks", index), "template_path"), NO_BODY);
    }
}

/// Warns of fields that belong to another kind of handler.
pub fn of_log_handlers(facts: &Facts<'_>, found: &mut Found<'_>) {
    for (path, handler) in classic(facts) {
        let meta = &handler.handler_meta;
        match handler.handler_name.as_str() {
            "eh_log_handler" => {
                let given = [
                    ("method", meta.method.is_some()),
                    ("target_path", !meta.target_path.is_empty()),
                    ("webhook", !meta.webhook.is_empty()),
                    ("template_path", !meta.template_path.is_empty()),
                    ("receiver", meta.receiver != raw::ReceiverSettings::default()),
                    ("header_map", !meta.header_map.is_empty()),
                    ("secret", meta.secret.iter().any(|secret| !secret.is_empty())),
                    ("digest", meta.digest == Some(true)),
                    ("event_timeout", meta.event_timeout.is_some_and(|seconds| seconds > 0)),
                    ("max_per_minute", meta.max_per_minute.is_some()),
                    ("timeout", meta.timeout.is_some_and(|seconds| seconds > 0)),
                ];
                for (field, is_given) in given {
                    found.none(
                        is_given,
                        member(&path, field),
                        "it is not for an eh_log_handler, which writes each event",
                    );
                }
            }
            "eh_web_hook_handler" => {
                found.none(!meta.prefix.is_empty(), member(&path, "prefix"), "it is for an eh_log_handler");
            }
            _ => {}
        }
    }
}

/// The same for handlers in the form of Tyk OAS.
pub fn of_oas_handlers(facts: &Facts<'_>, found: &mut Found<'_>) {
    for (path, handler) in oas(facts) {
        let of_webhooks = [
            ("url", !handler.url.is_empty()),
            ("webhook", !handler.webhook.is_empty()),
            ("bodyTemplate", !handler.body_template.is_empty()),
            ("receiver", handler.receiver != raw::ReceiverSettings::default()),
            ("headers", !handler.headers.is_empty()),
            ("secret", handler.secret.iter().any(|secret| !secret.is_empty())),
            ("digest", handler.digest == Some(true)),
            ("cooldownPeriod", !handler.cooldown_period.is_empty()),
            ("maxPerMinute", handler.max_per_minute.is_some()),
        ];
        let of_scripts = [("functionName", !handler.function_name.is_empty()), ("path", !handler.path.is_empty())];
        match handler.r#type.as_str() {
            "log" => {
                for (field, is_given) in of_webhooks.into_iter().chain(of_scripts) {
                    found.none(is_given, member(&path, field), "it is not for a handler of the type log");
                }
            }
            "webhook" => {
                for (field, is_given) in of_scripts.into_iter().chain([("logPrefix", !handler.log_prefix.is_empty())]) {
                    found.none(is_given, member(&path, field), "it is not for a handler of the type webhook");
                }
            }
            _ => {}
        }
    }
}

/// Warns of e-mail settings if no email is ever sent.
pub fn of_email(facts: &Facts<'_>, found: &mut Found<'_>) {
    let backend = &facts.raw.email_backend;
    if !backend.enable_email_notifications {
        return;
    }
    found.none(
        backend.event_timeout > 0 && !backend.notify_users,
        "email_backend.event_timeout",
        "notify_users is false, and it is the cool-down of emails to developers",
    );
    let by_handlers = classic(facts)
        .iter()
        .any(|(_, handler)| handler.handler_name == "eh_email_handler" && !handler.handler_meta.disabled);
    let by_orgs = facts.has_management()
        && facts.raw.orgs.values().flat_map(|org| org.event_options.values()).any(|told| !told.email.is_empty());
    let of_quotas = facts.raw.monitor.enable_trigger_monitors && facts.raw.monitor.monitor_user_keys;
    let to_developers = backend.notify_users && (facts.has_management() || of_quotas);
    let unused = !(by_handlers || by_orgs || to_developers);
    found.none(
        unused,
        "email_backend",
        "no handler and no event_options names an address, and no event concerns a developer",
    );
}

/// Warns of clusters for hosts that get no messages.
pub fn of_clusters(facts: &Facts<'_>, found: &mut Found<'_>) {
    let mut urls: Vec<&str> = vec![&facts.raw.keys_from.url];
    urls.extend(metas(facts).iter().map(|(_, meta)| meta.target_path.as_str()));
    urls.extend(oas(facts).iter().map(|(_, handler)| handler.url.as_str()));
    urls.extend(facts.raw.webhooks.iter().map(|webhook| webhook.target_url.as_str()));
    let options = facts.raw.orgs.values().flat_map(|org| org.event_options.values());
    urls.extend(options.map(|option| option.webhook.as_str()));
    // A provider's host follows from its name.
    if !facts.raw.email_backend.code.is_empty() {
        return;
    }
    let targets: Vec<CallUrl> = urls.into_iter().filter_map(|url| CallUrl::parse(url).ok()).collect();
    for name in facts.raw.callouts.clusters.keys() {
        let is_for =
            |target: &CallUrl| [&target.host, &target.authority].iter().any(|host| host.eq_ignore_ascii_case(name));
        if !targets.iter().any(is_for) {
            found.add(member("callouts.clusters", name), "nothing is sent to this host");
        }
    }
}

/// Warns of delivery settings that others limit.
pub fn of_delivery(facts: &Facts<'_>, found: &mut Found<'_>) {
    let (delivery, default) = (&facts.raw.delivery, raw::Delivery::default());
    let is_given = |value: u32, default: u32| value != default;
    found.none(
        is_given(delivery.max_in_flight_per_target, default.max_in_flight_per_target)
            && delivery.max_in_flight_per_target > delivery.max_in_flight,
        "delivery.max_in_flight_per_target",
        "max_in_flight is less",
    );
    found.none(
        is_given(delivery.max_in_flight, default.max_in_flight) && delivery.max_in_flight > delivery.capacity,
        "delivery.max_in_flight",
        "capacity is less",
    );
    let delays = delivery.base_delay_ms != default.base_delay_ms;
    found.none(
        delays && delivery.max_attempts == 1,
        "delivery.base_delay_ms",
        "max_attempts is 1, so nothing is retried",
    );
}
