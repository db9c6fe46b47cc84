//! Reads a protobuf message from a map of its fields.

use std::cell::RefCell;
use std::time::Duration;

use super::known::{ENVOY, Field, Treatment, fields, lower_camel};
use super::node::{Key, Node};
use super::place::Place;
use super::report::hint;

/// The beginning of a warning if the gateway accepts something that Envoy refuses.
pub(super) const MORE_OPEN: &str = "this gateway is less strict than Envoy: ";

/// A message whose fields are read one by one. [`Message::done`] reports the fields that were not read.
pub(super) struct Message<'a> {
    pub(super) place: Place<'a>,
    name: &'static str,
    fields: &'a [(Key, Node)],
    read: RefCell<Vec<&'a str>>,
}

impl<'a> Message<'a> {
    /// `name` is the name of the protobuf message without its package.
    pub(super) fn new(place: Place<'a>, name: &'static str, fields: &'a [(Key, Node)]) -> Self {
        Message { place, name, fields, read: RefCell::default() }
    }

    /// Returns a field if it is set, under its protobuf name or its JSON name.
    pub(super) fn get(&self, field: &'static str) -> Option<Place<'a>> {
        #[cfg(test)]
        super::tests::note_read(self.name, field);
        let camel = lower_camel(field);
        let mut found = self.fields.iter().filter(|(key, _)| key.name == field || key.name == camel);
        let (mut key, mut node) = found.next().map(|(key, node)| (key, node))?;
        self.read.borrow_mut().push(&key.name);
        if let Some((other, value)) = found.next() {
            let message = format!("{:?} on line {} is the same field: Envoy uses only one of them", key.name, key.line);
            self.place.report.warn(other.line, &self.place.child(&other.name, other.line, value).path, message);
            self.read.borrow_mut().push(&other.name);
            (key, node) = (other, value);
        }
        let place = self.place.child(&key.name, key.line, node);
        (!matches!(node.value, super::node::Value::Null)).then_some(place)
    }

    /// Returns a field, or reports that it is missing.
    pub(super) fn required(&self, field: &'static str) -> Option<Place<'a>> {
        let place = self.get(field);
        if place.is_none() {
            self.missing(field);
        }
        place
    }

    /// Reports that a field is missing.
    pub(super) fn missing(&self, field: &str) {
        self.place.child(field, self.place.line, self.place.node).error("missing");
    }

    /// Returns a string, or an empty one if the field is not set.
    pub(super) fn string(&self, field: &'static str) -> String {
        self.get(field).and_then(|place| place.string()).unwrap_or_default()
    }

    /// Returns a string, or reports that it is missing or empty.
    pub(super) fn required_string(&self, field: &'static str) -> Option<String> {
        let place = self.required(field)?;
        let text = place.string()?;
        if text.is_empty() {
            place.error("empty");
            return None;
        }
        Some(text)
    }

    /// Returns a string, or `None` if it is empty or not set.
    pub(super) fn optional_string(&self, field: &'static str) -> Option<String> {
        Some(self.string(field)).filter(|text| !text.is_empty())
    }

    /// Returns a bool, or false if the field is not set.
    pub(super) fn bool(&self, field: &'static str) -> bool {
        self.get(field).and_then(|place| place.bool()).unwrap_or_default()
    }

    /// Returns a `BoolValue`, or `None` if the field is not set.
    pub(super) fn optional_bool(&self, field: &'static str) -> Option<bool> {
        self.get(field).and_then(|place| place.bool())
    }

    pub(super) fn u32(&self, field: &'static str) -> Option<u32> {
        self.get(field).and_then(|place| place.u32())
    }

    pub(super) fn duration(&self, field: &'static str) -> Option<Duration> {
        self.get(field).and_then(|place| place.duration())
    }

    /// Returns the number of an enum value, or 0 if the field is not set.
    pub(super) fn choice(&self, field: &'static str, names: &[&str]) -> usize {
        self.get(field).and_then(|place| place.choice(names)).unwrap_or_default()
    }

    pub(super) fn message(&self, field: &'static str, name: &'static str) -> Option<Message<'a>> {
        self.get(field).and_then(|place| place.message(name))
    }

    /// Returns the items of a list, or none if the field is not set.
    pub(super) fn items(&self, field: &'static str) -> Vec<Place<'a>> {
        self.get(field).map(|place| place.items()).unwrap_or_default()
    }

    pub(super) fn messages(&self, field: &'static str, name: &'static str) -> Vec<Message<'a>> {
        self.items(field).iter().filter_map(|place| place.message(name)).collect()
    }

    pub(super) fn strings(&self, field: &'static str) -> Vec<String> {
        self.items(field).iter().filter_map(Place::string).collect()
    }

    /// Returns the entries of a map, or none if the field is not set.
    pub(super) fn entries(&self, field: &'static str) -> Vec<(&'a str, Place<'a>)> {
        self.get(field).map(|place| place.entries()).unwrap_or_default()
    }

    /// Returns the field of a `oneof` that is set.
    pub(super) fn one_of(&self, names: &[&'static str]) -> Option<(&'static str, Place<'a>)> {
        let mut set = names.iter().filter_map(|name| Some((*name, self.get(name)?)));
        let first = set.next()?;
        for (_, other) in set {
            other.error(format!("only one of {} can be set, and {} is", names.join(", "), first.0));
        }
        Some(first)
    }

    /// Returns the field of a `oneof` that is set, or reports that none is.
    pub(super) fn required_one_of(&self, names: &[&'static str]) -> Option<(&'static str, Place<'a>)> {
        let found = self.one_of(names);
        if found.is_none() {
            self.place.error(format!("one of {} is missing", names.join(", ")));
        }
        found
    }

    /// Reports the fields that were not read, as the table says.
    pub(super) fn done(self) {
        let known = fields(self.name);
        for (key, node) in self.fields {
            let name = key.name.as_str();
            if self.read.borrow().contains(&name) {
                continue;
            }
            let place = self.place.child(name, key.line, node);
            let Some(field) = known.iter().find(|field| field.name == name || lower_camel(field.name) == name) else {
                let near = hint(name, known.iter().map(|field| field.name));
                place.error(format!("{ENVOY}'s {} has no field of this name{near}", self.name));
                continue;
            };
            if !changes_something(field, node) {
                continue;
            }
            match field.treatment {
                Treatment::Harmless => {}
                Treatment::Opens => place.warn(format!("{MORE_OPEN}not honoured: {}", field.reason)),
                _ => place.warn(format!("not honoured: {}", field.reason)),
            }
        }
    }
}

/// Whether a value differs from what the shim does anyway.
fn changes_something(field: &Field, node: &Node) -> bool {
    let is_harmless_name = |text: &String| field.harmless_values.iter().any(|value| text.eq_ignore_ascii_case(value));
    match &node.value {
        super::node::Value::Null => false,
        super::node::Value::String(text) if is_harmless_name(text) => false,
        super::node::Value::Bool(true) if field.harmless_values.contains(&"true") => false,
        super::node::Value::Map(entries) if entries.is_empty() && field.harmless_values.contains(&"{}") => false,
        _ => field.has_no_harmless_value || !node.is_default(),
    }
}
