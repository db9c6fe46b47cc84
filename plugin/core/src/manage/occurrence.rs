//! Something that happened, and the message that says so.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use super::kind::{Action, Kind};
use super::secrets::org_of_key;
use super::shapes;
use crate::mail::{Address, Mailbox, Name};
use crate::units::UnixMillis;

/// A management event that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Occurrence {
    /// What it is.
    pub kind: Kind,
    /// What happened; `None` where the name says it all, as for the portal's events.
    pub action: Option<Action>,
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
    pub fn new(kind: Kind, action: Option<Action>, org_id: impl Into<OrgId>, payload: Value) -> Self {
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
        let payload = Ordered { value: &self.payload, kind: self.kind, parent: "" };
        let message = Members { kind: self.kind, name: &self.name(), payload, timestamp };
        // Strings and trees of strings and numbers cannot fail.
        serde_json::to_string(&message).unwrap_or_default()
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

struct Members<'o> {
    kind: Kind,
    name: &'o str,
    payload: Ordered<'o>,
    timestamp: &'o str,
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.kind.is_portal() {
            map.serialize_entry("Event", self.name)?;
            map.serialize_entry("Message", &self.payload)?;
            map.serialize_entry("Timestamp", self.timestamp)?;
        } else {
            map.serialize_entry("event", self.name)?;
            map.serialize_entry("data", &self.payload)?;
        }
        map.end()
    }
}

/// A tree whose objects' members are written in the documented order, then what is left by name.
struct Ordered<'v> {
    value: &'v Value,
    kind: Kind,
    /// The name of the member that it is.
    parent: &'v str,
}

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let below = |value, parent| Ordered { value, kind: self.kind, parent };
        match self.value {
            Value::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in in_order(members, &shapes::order(self.kind, self.parent)) {
                    map.serialize_entry(name, &below(value, name))?;
                }
                map.end()
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(|item| below(item, ""))),
            plain => plain.serialize(serializer),
        }
    }
}

fn in_order<'m>(members: &'m Map<String, Value>, order: &[&str]) -> Vec<(&'m String, &'m Value)> {
    let place = |name: &str| order.iter().position(|known| *known == name).unwrap_or(order.len());
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_by_key(|(name, _)| place(name));
    sorted
}
