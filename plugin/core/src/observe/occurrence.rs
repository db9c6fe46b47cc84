//! Something that happened, and the message that says so.

use serde_json::{Map, Value};

use super::secrets::org_of_key;
use super::shapes;
use crate::base::{Address, Mailbox, Name, UnixMillis};
use crate::event::{EventKind, ManagementAction};

/// A management event that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Occurrence {
    /// What it is.
    pub kind: EventKind,
    /// What happened; `None` where the name says it all, as for the portal's events.
    pub action: Option<ManagementAction>,
    /// The organisation whose `event_options` say who hears of it.
    pub org_id: OrgId,
    /// A dashboard event's `data`, a portal event's `Message`.
    pub payload: Value,
    /// A portal event's `Timestamp`, where whoever posted it said one.
    pub timestamp: Option<String>,
    /// The person whom it concerns, whom `notify_users` tells, where the payload says who.
    pub concerned: Option<Mailbox>,
}

/// Whose event it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OrgId {
    /// That of the API on which it happened: nothing else is said.
    #[default]
    OfApi,
    /// This one.
    Named(String),
    /// This one, if there is such a one: a key begins with what would be its id.
    Supposed(String),
    /// Nobody knows. A rule says where it stands, and there is nothing: any other would be the wrong one.
    Missing,
}

impl OrgId {
    /// The id, where the API's organisation has that of `api`.
    pub fn or<'o>(&'o self, api: Option<&'o str>, is_known: impl FnOnce(&str) -> bool) -> Option<&'o str> {
        match self {
            OrgId::Named(id) => Some(id),
            OrgId::Supposed(id) if is_known(id) => Some(id),
            OrgId::OfApi | OrgId::Supposed(_) => api,
            OrgId::Missing => None,
        }
    }

    /// That of the organisation whose key this seems to be.
    pub(super) fn of_key(key: &str) -> Self {
        org_of_key(key).map_or(OrgId::OfApi, OrgId::Supposed)
    }

    /// The id that is named.
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
    /// One whose concerned person is the one of its payload.
    pub fn new(kind: EventKind, action: Option<ManagementAction>, org_id: impl Into<OrgId>, payload: Value) -> Self {
        let concerned = concerned(&payload);
        let org_id = org_id.into();
        Occurrence { kind, action, org_id, payload, timestamp: None, concerned }
    }

    /// `key_request_event.submitted`, or the name alone.
    pub fn name(&self) -> String {
        match self.action {
            Some(action) => format!("{}.{}", self.kind.name(), action.name()),
            None => self.kind.name().to_owned(),
        }
    }

    /// The message: `{"event", "data"}` or `{"Event", "Message", "Timestamp"}`, with the members in the order of the
    /// samples in Tyk's documentation. `now` is the timestamp of an event that brought none.
    pub fn body(&self, now: UnixMillis) -> String {
        match &self.timestamp {
            Some(timestamp) => self.write(timestamp),
            None => self.write(&now.to_rfc3339()),
        }
    }

    /// The message with an empty timestamp: alike for two events of one cause, for a cool-down's checksum.
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

/// The person of a payload: a portal's user, the developer of a key request, or who asked for an organisation. `None`
/// where the address is none that mail can be sent to.
fn concerned(payload: &Value) -> Option<Mailbox> {
    const ADDRESSES: [&str; 4] = ["/Email", "/portal_developer/email", "/AdminEmail", "/email"];
    let text = |pointer| payload.pointer(pointer).and_then(Value::as_str);
    let address = Address::parse(ADDRESSES.into_iter().find_map(text)?).ok()?;
    let names: Vec<&str> = ["/First", "/Last"].into_iter().filter_map(text).filter(|name| !name.is_empty()).collect();
    Some(Mailbox { address, name: Name::lossy(&names.join(" ")) })
}

/// Writes a tree whose objects' members come in the documented order, then what is left by name. `parent` is the name
/// of the member that it is.
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

/// A member's name, with the colon.
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
