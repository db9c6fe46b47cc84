//! Reads the events that an application posts.

use std::fmt;

use serde_json::{Map, Value};

use super::occurrence::Occurrence;
use super::shapes::FieldType::{Attributes, Boolean, Fields, Integer, Integers, Object, Text, Texts, Time};
use super::shapes::{ATTRIBUTE, Field, FieldType, fields, is_rfc3339};
use crate::base::{UnixMillis, hint, item, member, type_name};
use crate::event::{EventKind, ManagementAction};

/// An error in a posted event, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeError {
    /// The JSON path, such as `Message.CustomAttributes[0].Value`; empty for the whole event.
    pub path: String,
    /// The error, and the correct form. It contains only names, no values of the payload.
    pub message: String,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

/// Reads a posted event.
///
/// Dashboard events: `{"event": "key_event.add", "org_id", "data"}`. The action can be separate as `action`, and
/// `org_id` can be in `data`. Portal events: `{"Event", "Message", "Timestamp"}` as the portal sends them, or
/// `{"event", "data"}`. Both forms can have `org_id`. A missing timestamp becomes `now`.
///
/// # Errors
/// All errors: unknown fields, missing fields, wrong types.
pub fn posted(json: &Value, now: UnixMillis) -> Result<Occurrence, Vec<ShapeError>> {
    let mut check = Check::default();
    let occurrence = match json {
        Value::Object(members) if members.contains_key("Event") || members.contains_key("Message") => {
            check.as_portal_sends(members)
        }
        Value::Object(members) => check.short(members),
        other => {
            check.add(
                "",
                format!("expected an object such as {{\"event\", \"org_id\", \"data\"}}, found {}", type_name(other)),
            );
            None
        }
    };
    match occurrence {
        Some(mut occurrence) if check.errors.is_empty() => {
            if occurrence.kind.is_portal() {
                occurrence.timestamp.get_or_insert_with(|| now.to_rfc3339());
            }
            Ok(occurrence)
        }
        _ => Err(check.errors),
    }
}

/// The parts of a value that do not have the right type. `path` is the value's own path.
pub fn mismatches(path: &str, of: FieldType, value: &Value) -> Vec<ShapeError> {
    let mut check = Check::default();
    check.is_of(path, of, value);
    check.errors
}

#[derive(Default)]
struct Check {
    errors: Vec<ShapeError>,
}

impl Check {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.errors.push(ShapeError { path: path.into(), message: message.into() });
    }

    fn as_portal_sends(&mut self, members: &Map<String, Value>) -> Option<Occurrence> {
        self.known("", members, &["Event", "Message", "Timestamp", "org_id"]);
        let kind = self.text(members, "Event").and_then(|name| self.kind("Event", name));
        let kind = kind.filter(|kind| {
            if !kind.is_portal() {
                self.add("Event", format!("{kind} is the dashboard's: post {{\"event\", \"org_id\", \"data\"}}"));
            }
            kind.is_portal()
        });
        let timestamp = members.get("Timestamp").filter(|time| self.is_of("Timestamp", Time, time));
        let org_id = self.org_id(members);
        let payload = self.payload(members, "Message", kind);
        let mut occurrence = Occurrence::new(kind?, None, org_id, payload?);
        occurrence.timestamp = timestamp.and_then(Value::as_str).map(str::to_owned);
        Some(occurrence)
    }

    fn short(&mut self, members: &Map<String, Value>) -> Option<Occurrence> {
        self.known("", members, &["event", "action", "org_id", "data"]);
        let named = self.text(members, "event");
        let (name, of_name) = named.map_or(("", None), |named| match named.split_once('.') {
            Some((name, action)) => (name, Some(action)),
            None => (named, None),
        });
        let kind = named.and_then(|_| self.kind("event", name));
        let apart = if members.contains_key("action") { self.text(members, "action") } else { None };
        let action = match (of_name, apart) {
            (Some(of_name), Some(apart)) if of_name != apart => {
                self.add("action", "differs from the one in event: give it once");
                None
            }
            (Some(action), _) => kind.and_then(|kind| self.action("event", kind, Some(action))),
            (None, apart) => kind.and_then(|kind| self.action("action", kind, apart)),
        };
        let org_id = self.org_id(members);
        let payload = self.payload(members, "data", kind);
        let (kind, payload) = kind.zip(payload)?;
        let in_data =
            |place| payload.pointer(place).and_then(Value::as_str).filter(|id| !id.is_empty()).map(str::to_owned);
        let org_id = org_id.or_else(|| if kind.is_portal() { None } else { in_data("/org_id") });
        Some(Occurrence::new(kind, action, org_id, payload))
    }

    fn kind(&mut self, path: &str, name: &str) -> Option<EventKind> {
        let kind = EventKind::of_management_name(name);
        if kind.is_none() {
            let known = EventKind::of_management().map(EventKind::name);
            self.add(path, format!("no management event has this name{}", hint(name, known)));
        }
        kind
    }

    fn action(&mut self, path: &str, kind: EventKind, name: Option<&str>) -> Option<ManagementAction> {
        let names: Vec<&str> = kind.actions().iter().map(|action| action.name()).collect();
        match name {
            Some(_) if names.is_empty() => self.add(path, format!("{kind} has no actions")),
            None if names.is_empty() => {}
            Some(name) => match ManagementAction::from_name(name).filter(|action| kind.actions().contains(action)) {
                Some(action) => return Some(action),
                None => self.add(
                    path,
                    format!("the action of {kind} is one of {}{}", names.join(", "), hint(name, names.iter().copied())),
                ),
            },
            None => self.add("event", format!("needs an action: {kind}.{}", names.join(&format!(", {kind}.")))),
        }
        None
    }

    fn org_id(&mut self, members: &Map<String, Value>) -> Option<String> {
        let org_id = members.get("org_id").filter(|id| self.is_of("org_id", Text, id))?;
        org_id.as_str().filter(|id| !id.is_empty()).map(str::to_owned)
    }

    fn text<'m>(&mut self, members: &'m Map<String, Value>, name: &str) -> Option<&'m str> {
        let Some(value) = members.get(name) else {
            self.add(name, "missing");
            return None;
        };
        if self.is_of(name, Text, value) { value.as_str() } else { None }
    }

    fn payload(&mut self, members: &Map<String, Value>, name: &str, kind: Option<EventKind>) -> Option<Value> {
        match members.get(name) {
            Some(Value::Object(payload)) => {
                if let Some(kind) = kind {
                    self.fields(name, payload, fields(kind), kind.is_portal());
                }
                Some(Value::Object(payload.clone()))
            }
            Some(other) => {
                self.add(name, format!("expected an object, found {}", type_name(other)));
                None
            }
            None => {
                self.add(name, "missing");
                None
            }
        }
    }

    fn fields(&mut self, path: &str, members: &Map<String, Value>, fields: &'static [Field], is_closed: bool) {
        for field in fields {
            let place = member(path, field.name);
            match members.get(field.name) {
                Some(value) => {
                    self.is_of(&place, field.of, value);
                }
                None if field.required => self.add(place, format!("missing: {}", field.of)),
                None => {}
            }
        }
        if is_closed {
            let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
            self.known(path, members, &names);
        }
    }

    fn known(&mut self, path: &str, members: &Map<String, Value>, names: &[&str]) {
        for name in members.keys().filter(|name| !names.contains(&name.as_str())) {
            self.add(member(path, name), format!("unknown field{}", hint(name, names.iter().copied())));
        }
    }

    /// True if a value has the type. Errors within the value are added, too.
    fn is_of(&mut self, path: &str, of: FieldType, value: &Value) -> bool {
        let before = self.errors.len();
        match (of, value) {
            (Integer, Value::Number(number)) if number.is_i64() || number.is_u64() => {}
            (Text, Value::String(_)) | (Boolean, Value::Bool(_)) | (Object, Value::Object(_)) => {}
            (Time, Value::String(text)) if is_rfc3339(text) => {}
            (Integers, Value::Array(items)) => self.items(path, Integer, items),
            (Texts, Value::Array(items)) => self.items(path, Text, items),
            (Attributes, Value::Array(items)) => {
                for (index, value) in (0_usize..).zip(items) {
                    let place = item(path, index);
                    match value {
                        Value::Object(members) => self.fields(&place, members, ATTRIBUTE, true),
                        other => self.wrong(&place, Fields(ATTRIBUTE), other),
                    }
                }
            }
            (Fields(fields), Value::Object(members)) => self.fields(path, members, fields, false),
            _ => self.wrong(path, of, value),
        }
        self.errors.len() == before
    }

    fn items(&mut self, path: &str, of: FieldType, items: &[Value]) {
        for (index, value) in (0_usize..).zip(items) {
            self.is_of(&item(path, index), of, value);
        }
    }

    fn wrong(&mut self, path: &str, of: FieldType, value: &Value) {
        let found = match (of, value) {
            (Time, Value::String(_)) => "another string",
            (Integer, Value::Number(_)) => "another number",
            _ => type_name(value),
        };
        self.add(path, format!("expected {of}, found {found}"));
    }
}
