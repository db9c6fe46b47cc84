//! Conditions of handlers that no event can meet.

use super::{Facts, Found, item, member, raw};
use crate::base::Percent;
use crate::event::{EventKind, Family};
use crate::notify::Comparison;

/// The condition of a handler, with its place, the handler's API and its events.
struct Condition<'c> {
    path: String,
    when: &'c raw::When,
    api: Option<&'c raw::Api>,
    events: Vec<&'c str>,
}

/// All conditions of active handlers.
fn all<'c>(facts: &Facts<'c>) -> Vec<Condition<'c>> {
    let mut all = Vec::new();
    of_handlers("event_handlers", None, &facts.raw.event_handlers, &mut all);
    for (path, api) in facts.apis() {
        of_handlers(&member(&path, "event_handlers"), Some(api), &api.event_handlers, &mut all);
        let oas = member(&member(&path, "server"), "eventHandlers");
        of_oas(&oas, Some(api), &api.server.event_handlers, &mut all);
    }
    for (index, webhook) in facts.raw.webhooks.iter().enumerate() {
        let events = webhook.events.iter().map(String::as_str).collect();
        all.push(Condition { path: item("webhooks", index), when: &webhook.when, api: None, events });
    }
    let (path, events) = ("monitor.configuration".to_owned(), vec![EventKind::TriggerExceeded.name()]);
    all.push(Condition { path, when: &facts.raw.monitor.configuration.when, api: None, events });
    all.retain(|condition| *condition.when != raw::When::default());
    all
}

fn of_handlers<'c>(
    path: &str,
    api: Option<&'c raw::Api>,
    handlers: &'c raw::EventHandlers,
    all: &mut Vec<Condition<'c>>,
) {
    match handlers {
        raw::EventHandlers::Oas(list) => of_oas(path, api, list, all),
        raw::EventHandlers::Classic(classic) => {
            for (event, list) in &classic.events {
                let place = member(&member(path, "events"), event);
                let active = list.iter().enumerate().filter(|(_, handler)| !handler.handler_meta.disabled);
                all.extend(active.map(|(at, handler)| Condition {
                    path: member(&item(&place, at), "handler_meta"),
                    when: &handler.handler_meta.when,
                    api,
                    events: vec![event],
                }));
            }
        }
    }
}

fn of_oas<'c>(path: &str, api: Option<&'c raw::Api>, list: &'c [raw::OasHandler], all: &mut Vec<Condition<'c>>) {
    let active = list.iter().enumerate().filter(|(_, handler)| handler.enabled);
    all.extend(active.map(|(at, handler)| Condition {
        path: item(path, at),
        when: &handler.when,
        api,
        events: vec![handler.trigger.as_str()],
    }));
}

/// Warns of conditions that no event meets.
pub fn of_when(facts: &Facts<'_>, found: &mut Found<'_>) {
    for Condition { path, when, api, events } in all(facts) {
        let place = member(&path, "when");
        if let Some(why) = why_not(facts, when, &events) {
            found.add(member(&place, "trigger_limit"), format!("no event meets this condition: {why}"));
        }
        let is_other = |api: &raw::Api| !when.api_id.is_empty() && !when.api_id.contains(&api.api_id);
        if let Some(api) = api.filter(|api| is_other(api)) {
            found.add(
                member(&place, "api_id"),
                format!("no event meets this condition: the handler is of the API {:?}", api.api_id),
            );
        }
        for id in when.org_id.iter().filter(|id| !facts.may_have_org(id)) {
            found.add(
                member(&place, "org_id"),
                format!("no event meets this condition: no key, API or entry of orgs has the organisation {id:?}"),
            );
        }
        for tag in when.tag.iter().filter(|tag| !facts.may_have_tag(tag)) {
            found.add(
                member(&place, "tag"),
                format!("no event meets this condition: no key and no policy has the tag {tag:?}"),
            );
        }
    }
}

/// Why no event has a threshold as required; `None` if one can.
fn why_not(facts: &Facts<'_>, when: &raw::When, events: &[&str]) -> Option<&'static str> {
    let comparisons = Comparison::parse_all(&when.trigger_limit.0).ok()?;
    if comparisons.is_empty() {
        return None;
    }
    let has_threshold =
        |event: &&str| EventKind::from_name(event).is_some_and(|kind| kind.family() == Family::Threshold);
    if !events.is_empty() && !events.iter().any(has_threshold) {
        return Some("only TriggerExceeded and QuotaRenewed have a threshold");
    }
    let mut thresholds = facts.thresholds();
    let is_met = |percent: Percent| comparisons.iter().all(|comparison| comparison.holds(percent));
    (!facts.fetches() && !thresholds.any(is_met)).then_some("no threshold that is configured")
}

impl Facts<'_> {
    /// All thresholds of the configuration.
    fn thresholds(&self) -> impl Iterator<Item = Percent> {
        let of_keys = self.raw.keys.values().map(|session| &session.monitor);
        let of_policies = self.raw.policies.values().map(|policy| &policy.monitor);
        let of_orgs = self.raw.orgs.values().map(|org| &org.monitor);
        let own = of_keys.chain(of_policies).chain(of_orgs).flat_map(|triggers| &triggers.trigger_limits);
        own.map(|limit| limit.0).chain([self.raw.monitor.global_trigger_limit]).filter_map(Percent::new)
    }

    /// True if an event may have this organisation. Identities, fetched sessions and posted events can name any.
    fn may_have_org(&self, id: &str) -> bool {
        let raw = self.raw;
        let names_any = self.fetches() || self.asks_for_identities() || self.has_management();
        names_any
            || raw.orgs.contains_key(id)
            || raw.keys.values().any(|session| session.org_id == id)
            || raw.apis.iter().any(|api| api.org_id == id)
    }

    fn may_have_tag(&self, tag: &String) -> bool {
        let raw = self.raw;
        self.fetches()
            || raw.keys.values().any(|session| session.tags.contains(tag))
            || raw.policies.values().any(|policy| policy.tags.contains(tag))
    }
}
