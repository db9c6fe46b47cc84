//! A management event and its payload.

use serde_json::{Map, Value};

use super::secrets::org_of_key;
use super::shapes;
use crate::base::{Address, Mailbox, Name, UnixMillis};
use crate::event::{EventKind, ManagementAction};

/// A management event that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Occurrence {
    pub kind: EventKind,
    /// The action; `None` if the event's name includes it, as in the portal's events.
    pub action: Option<ManagementAction>,
    /// The organisation. Its `event_options` decide who is notified.
    pub org_id: OrgId,
    /// `data` of a dashboard event, `Message` of a portal event.
    pub payload: Value,
    /// `Timestamp` of a portal event, if the application posted one.
    pub timestamp: Option<String>,
    /// The developer concerned, if the payload names one. With `notify_users`, this person gets an email.
    pub concerned: Option<Mailbox>,
}

/// The organisation of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OrgId {
    /// The API's organisation, because the event names none.
    #[default]
    OfApi,
    /// This organisation.
    Named(String),
    /// This organisation, if it exists. The id is the beginning of a key.
    Supposed(String),
    /// Unknown. A rule's `org_id` found nothing, and any other organisation would be wrong.
    Missing,
}

impl OrgId {
    /// The organisation's id; `api` is the id of the API's organisation.
    pub fn or<'o>(&'o self, api: Option<&'o str>, is_known: impl FnOnce(&str) -> bool) -> Option<&'o str> {
        match self {
            OrgId::Named(id) => Some(id),
            OrgId::Supposed(id) if is_known(id) => Some(id),
            OrgId::OfApi | OrgId::Supposed(_) => api,
            OrgId::Missing => None,
        }
    }

    /// The organisation whose id the key seems to begin with.
    pub(super) fn of_key(key: &str) -> Self {
        org_of_key(key).map_or(OrgId::OfApi, OrgId::Supposed)
    }

    /// The id that the event names.
    pub fn named(&self) -> Option<&str> {
        self.or(None, |_| true)
    }
}

impl From<Option<String>> for OrgId {
    fn from(id: Option<String>) -> Self {
        id.map_or(OrgId::OfApi, OrgId::Named)
    }
}

impl Occurrence {
    /// Makes an occurrence. The payload says which person is concerned.
    pub fn new(kind: EventKind, action: Option<ManagementAction>, org_id: impl Into<OrgId>, payload: Value) -> Self {
        let concerned = concerned(&payload);
        let org_id = org_id.into();
        Occurrence { kind, action, org_id, payload, timestamp: None, concerned }
    }

    /// The name with its action, such as `key_request_event.submitted`, or the name alone.
    pub fn name(&self) -> String {
        match self.action {
            Some(action) => format!("{}.{}", self.kind.name(), action.name()),
            None => self.kind.name().to_owned(),
        }
    }

    /// The payload text: `{"event", "data"}` or `{"Event", "Message", "Timestamp"}`, with the fields in the order of
    /// the samples in Tyk's documentation. An event without a timestamp gets `now`.
    pub fn body(&self, now: UnixMillis) -> String {
        match &self.timestamp {
            Some(timestamp) => self.write(timestamp),
            None => self.write(&now.to_rfc3339()),
        }
    }

    /// The payload text with an empty timestamp, for the checksum of a cool-down: it is the same for two events of one
    /// cause.
    pub fn stable_body(&self) -> String {
        self.write("")
    }

    fn write(&self, timestamp: &str) -> String {
        let (event, payload, end) = match self.kind.is_portal() {
            true => ("Event", "Message", Some("Timestamp")),
            false => ("event", "data", None),
        };
        let mut out = "{".to_owned();
        write_name(&mut out, event);
        write_text(&mut out, &self.name());
        out.push(',');
        write_name(&mut out, payload);
        write_ordered(&mut out, &self.payload, self.kind, "");
        if let Some(name) = end {
            out.push(',');
            write_name(&mut out, name);
            write_text(&mut out, timestamp);
        }
        out.push('}');
        out
    }
}

/// The person in a payload: a portal's user, the developer of a key request, or the person who asked for an
/// organisation. `None` if the address cannot receive email.
fn concerned(payload: &Value) -> Option<Mailbox> {
    const ADDRESSES: [&str; 4] = ["/Email", "/portal_developer/email", "/AdminEmail", "/email"];
    let text = |pointer| payload.pointer(pointer).and_then(Value::as_str);
    let address = Address::parse(ADDRESSES.into_iter().find_map(text)?).ok()?;
    let names: Vec<&str> = ["/First", "/Last"].into_iter().filter_map(text).filter(|name| !name.is_empty()).collect();
    Some(Mailbox { address, name: Name::lossy(&names.join(" ")) })
}

/// Writes a tree. The fields of objects come in the documented order, then the others by name. `parent` is the name of
/// the field that the tree belongs to.
fn write_ordered(out: &mut String, value: &Value, kind: EventKind, parent: &str) {
    match value {
        Value::Object(members) => {
            let mut separator = '{';
            for (name, value) in in_order(members, &shapes::order(kind, parent)) {
                out.push(separator);
                write_name(out, name);
                write_ordered(out, value, kind, name);
                separator = ',';
            }
            out.push_str(if members.is_empty() { "{}" } else { "}" });
        }
        Value::Array(items) => {
            let mut separator = '[';
            for item in items {
                out.push(separator);
                write_ordered(out, item, kind, "");
                separator = ',';
            }
            out.push_str(if items.is_empty() { "[]" } else { "]" });
        }
        plain => out.push_str(&plain.to_string()),
    }
}

/// Writes a field's name and the colon.
fn write_name(out: &mut String, name: &str) {
    write_text(out, name);
    out.push(':');
}

fn write_text(out: &mut String, text: &str) {
    out.push_str(&Value::from(text).to_string());
}

fn in_order<'m>(members: &'m Map<String, Value>, order: &[&str]) -> Vec<(&'m String, &'m Value)> {
    let known = order.iter().filter_map(|name| members.get_key_value(*name));
    let others = members.iter().filter(|(name, _)| !order.contains(&name.as_str()));
    known.chain(others).collect()
}
