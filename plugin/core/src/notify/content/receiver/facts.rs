//! The details of an event that people see, as names and values.

use serde_json::{Map, Value};

use super::markup::visible;
use crate::access::KeyHash;
use crate::event::{Event, EventKind, Family, Management};
use crate::observe::is_secret;

/// A detail of an event. Neither part contains control characters.
pub(super) struct Fact {
    pub(super) label: String,
    pub(super) value: String,
}

/// The members of an object in a payload that say what the object is.
const NAMES: [&str; 8] = ["name", "id", "api_id", "org_id", "email", "email_address", "alias", "active"];

/// The details that people see, with their labels. A key is shown by its fingerprint.
const SHOWN: [(&str, &str); 13] = [
    ("/TriggerLimit", "Threshold in percent"),
    ("/ExpectedAt", "Expected at"),
    ("/APIID", "API"),
    ("/Alias", "Alias"),
    ("/Fingerprint", "Key"),
    ("/Reason", "Reason"),
    ("/WouldRefuse", "Would be refused"),
    ("/Path", "Path"),
    ("/Origin", "Client"),
    ("/Cluster", "Cluster"),
    ("/HostInfo/ResponseCode", "Status"),
    ("/Tags", "Tags"),
    ("/OrgID", "Organisation"),
];

/// The variables of an event's `Meta` that have a value, and the count and the maximum of a quota.
pub(super) fn details(event: &Event) -> Map<String, Value> {
    let mut view = event.view();
    let Some(Value::Object(mut details)) = view.get_mut("Meta").map(Value::take) else { return Map::new() };
    // The metadata of a session is for its owner, and `Org` repeats `OrgID`.
    let is_shown = |name: &str| match name {
        "MetaData" | "Org" => false,
        "HostInfo" => event.kind.is_of_upstream(),
        // The client whose request crossed an organisation's threshold is not concerned.
        "Fingerprint" => event.kind.family() != Family::Threshold || !event.meta.key.is_empty(),
        _ => true,
    };
    let is_empty = |value: &Value| match value {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        value => value.as_u64() == Some(0) || *value == Value::Bool(false),
    };
    details.retain(|name, value| is_shown(name) && !is_empty(value));
    if let Some(crossed) = &event.crossed {
        details.insert("Used".to_owned(), crossed.used.into());
        details.insert("Max".to_owned(), crossed.max.into());
    }
    details
}

/// All facts, the most important first.
pub(super) fn of_event(event: &Event) -> Vec<Fact> {
    let mut facts = Facts(Vec::new());
    match &event.management {
        Some(management) => {
            facts.add_payload(management);
            facts.add("Organisation", &event.meta.org_id);
        }
        None => facts.add_details(event),
    }
    if event.meta.suppressed == 0 {
        facts.add("Time", &event.at.to_rfc3339());
    }
    facts.0
}

struct Facts(Vec<Fact>);

impl Facts {
    /// Adds a fact, unless it has no value or repeats a label.
    fn add(&mut self, label: &str, value: &str) {
        let (label, value) = (visible(label), visible(value));
        if !label.is_empty() && !value.is_empty() && self.0.iter().all(|other| other.label != label) {
            self.0.push(Fact { label, value });
        }
    }

    fn add_details(&mut self, event: &Event) {
        if let Some(crossed) = &event.crossed {
            self.add("Used", &format!("{} of {}", crossed.used, crossed.max));
        }
        let details = Value::Object(details(event));
        for (place, label) in SHOWN {
            if let Some(value) = details.pointer(place) {
                self.add(label, &text(value));
            }
        }
    }

    /// Adds the members of a payload, and of the objects in it those that say what they are.
    fn add_payload(&mut self, management: &Management) {
        let Value::Object(members) = &management.payload else { return };
        for (name, value) in members {
            match value {
                Value::Object(inner) => {
                    for known in NAMES {
                        let found = inner.iter().find(|(name, _)| name.eq_ignore_ascii_case(known));
                        if let Some((inner_name, value)) = found {
                            self.add_member(&format!("{name}.{inner_name}"), inner_name, value);
                        }
                    }
                }
                value => self.add_member(name, name, value),
            }
        }
    }

    fn add_member(&mut self, label: &str, name: &str, value: &Value) {
        match value {
            _ if is_secret(name) => {}
            Value::String(text) if is_key(name) && !text.starts_with("sha256:") && !text.is_empty() => {
                self.add(label, &KeyHash::of(text.as_bytes()).fingerprint());
            }
            _ if is_key(name) => {}
            value => self.add(label, &text(value)),
        }
    }
}

/// True if a member of this name can be a raw key, or keys. Observed payloads have none, but an application may post one.
fn is_key(name: &str) -> bool {
    ["key", "key_id", "keyid", "keys", "key_ids"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// A value as text; empty for an object, and for `null`.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Array(items) => items.iter().map(text).filter(|item| !item.is_empty()).collect::<Vec<_>>().join(", "),
        Value::Object(_) | Value::Null => String::new(),
    }
}

/// Whom or what an event is about, for the title.
pub(super) fn name_of_subject(event: &Event) -> String {
    const FINGERPRINT_CHARS: usize = 19;
    let Event { kind, meta, fingerprint, management, .. } = event;
    if let Some(management) = management {
        return name_in_payload(management);
    }
    match kind.family() {
        Family::Threshold if meta.key.is_empty() => visible(&format!("organisation {}", meta.org_id)),
        Family::Threshold if meta.alias.is_empty() => fingerprint.chars().take(FINGERPRINT_CHARS).collect(),
        Family::Threshold => visible(&meta.alias),
        Family::Upstream if !meta.cluster.is_empty() => visible(&meta.cluster),
        _ if matches!(kind, EventKind::OrgQuotaExceeded | EventKind::OrgRateLimitExceeded) => visible(&meta.org_id),
        _ => visible(&meta.api_id),
    }
}

/// The first of the members that name something, in the payload or in an object of it.
fn name_in_payload(management: &Management) -> String {
    const WANTED: [&str; 4] = ["name", "email", "email_address", "api_id"];
    let Value::Object(members) = &management.payload else { return String::new() };
    let objects = || [members].into_iter().chain(members.values().filter_map(Value::as_object));
    let mut found = WANTED.iter().flat_map(|wanted| {
        objects()
            .flatten()
            .filter(move |(name, _)| name.eq_ignore_ascii_case(wanted))
            .filter_map(|(_, value)| value.as_str())
    });
    found.find(|text| !text.is_empty()).map(visible).unwrap_or_default()
}
