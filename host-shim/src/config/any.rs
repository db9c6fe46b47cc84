//! `google.protobuf.Any` in its two forms, and typed structs, which replace a message.

use super::message::Message;
use super::node::{Node, Value};
use super::place::Place;
use super::report::member;

/// Types whose JSON is not a map of fields. In an Any, their JSON is in the field `value`.
pub(super) const WITH_VALUE: [&str; 16] = [
    "Any",
    "BoolValue",
    "BytesValue",
    "DoubleValue",
    "Duration",
    "FieldMask",
    "FloatValue",
    "Int32Value",
    "Int64Value",
    "ListValue",
    "StringValue",
    "Struct",
    "Timestamp",
    "UInt32Value",
    "UInt64Value",
    "Value",
];

/// A message with its type.
pub(super) struct Any<'a> {
    /// The full name, such as `envoy.extensions.…`. Empty if the map is empty.
    pub(super) type_name: String,
    /// The message: a map with or without `@type`, or the content of `value`.
    pub(super) body: Place<'a>,
    /// Whether `@type` is one of the fields of `body`.
    is_direct: bool,
}

impl<'a> Any<'a> {
    pub(super) fn read(place: &Place<'a>) -> Option<Any<'a>> {
        let fields = match &place.node.value {
            Value::Map(entries) if !entries.is_empty() => place.message("Any")?,
            Value::Map(_) | Value::Null => {
                return Some(Any { type_name: String::new(), body: place.clone(), is_direct: false });
            }
            _ => return place.expected("a map with \"@type\""),
        };
        let Some(given) = fields.get("@type") else {
            fields.missing("@type");
            return None;
        };
        let url = given.string()?;
        let type_name = type_name(&given, &url)?;
        let well_known = type_name.strip_prefix("google.protobuf.");
        if !well_known.is_some_and(|name| WITH_VALUE.contains(&name)) {
            return Some(Any { type_name, body: place.clone(), is_direct: true });
        }
        let body = fields.get("value").unwrap_or_else(|| Place { node: &NOTHING, ..place.clone() });
        for (name, other) in place.entries() {
            if name != "value" && name != "@type" {
                other.error(format!("a {type_name} in an Any has only the field \"value\": move this into it"));
            }
        }
        Some(Any { type_name, body, is_direct: false })
    }

    /// Returns the message inside an `xds.type.v3.TypedStruct`, or this message if it is not a typed struct.
    pub(super) fn unwrapped(self) -> Option<Any<'a>> {
        if !is_typed_struct(&self.type_name) {
            return Some(self);
        }
        let message = self.message("TypedStruct")?;
        let url = message.required("type_url")?;
        let type_name = type_name(&url, &url.string()?)?;
        let empty = || Place { node: &EMPTY_MAP, path: member(&self.body.path, "value"), ..self.body.clone() };
        let body = message.get("value").unwrap_or_else(empty);
        message.done();
        Some(Any { type_name, body, is_direct: false })
    }

    pub(super) fn message(&self, name: &'static str) -> Option<Message<'a>> {
        let message = self.body.message(name)?;
        if self.is_direct {
            message.get("@type");
        }
        Some(message)
    }
}

static EMPTY_MAP: Node = Node { line: 0, value: Value::Map(Vec::new()), is_literal: false, plain: None };
static NOTHING: Node = Node { line: 0, value: Value::Null, is_literal: false, plain: None };

pub(super) fn is_typed_struct(type_name: &str) -> bool {
    matches!(type_name, "xds.type.v3.TypedStruct" | "udpa.type.v1.TypedStruct")
}

fn type_name(place: &Place<'_>, url: &str) -> Option<String> {
    match url.rsplit_once('/') {
        Some((host, name)) if !host.is_empty() && !name.is_empty() => Some(name.to_owned()),
        _ => {
            place.error(format!("{url:?} is not a type: write \"type.googleapis.com/{}\"", url.trim_matches('/')));
            None
        }
    }
}
