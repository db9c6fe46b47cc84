//! Converts values to protobuf bytes and to JSON, as a module gets them.

use prost::Message as _;
use prost_types::value::Kind;

use super::any::{Any, WITH_VALUE, is_typed_struct};
use super::node::{Node, Value};
use super::place::Place;
use super::report::hint;

/// Makes a `google.protobuf.Struct` like Envoy. A YAML number is a string if it has a fraction or does not fit in 32
/// bits. Returns `None` if the node is not a map.
pub fn to_struct(node: &Node) -> Option<prost_types::Struct> {
    match kind(node) {
        Kind::StructValue(fields) => Some(fields),
        Kind::NullValue(_) => Some(prost_types::Struct::default()),
        _ => None,
    }
}

/// Like [`to_struct`], but as JSON.
pub fn to_json(node: &Node) -> serde_json::Value {
    use serde_json::Value as Json;
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(number) if i32::try_from(*number).is_ok() => Json::from(*number),
        Value::Int(number) => Json::String(number.to_string()),
        Value::Float(number) => Json::from(*number),
        Value::String(text) => Json::String(text.clone()),
        Value::List(items) => Json::Array(items.iter().map(to_json).collect()),
        Value::Map(entries) => {
            Json::Object(entries.iter().map(|(key, node)| (key.name.clone(), to_json(node))).collect())
        }
    }
}

/// Returns the bytes of an `Any` for a module: the value of a string or of bytes, and any other message serialized.
/// Also returns the node of the value.
pub(super) fn configuration(place: &Place<'_>) -> Option<(Vec<u8>, Option<Node>)> {
    let any = place.any()?;
    let source = Some(any.body.node.clone()).filter(|node| node.value != Value::Null);
    Some((serialize(&any)?, source.filter(|_| !any.type_name.is_empty())))
}

fn serialize(any: &Any<'_>) -> Option<Vec<u8>> {
    let body = &any.body;
    let Some(name) = any.type_name.strip_prefix("google.protobuf.") else {
        return if any.type_name.is_empty() { Some(Vec::new()) } else { unnamed(any) };
    };
    Some(match name {
        "StringValue" => body.string()?.into_bytes(),
        "BytesValue" => body.bytes()?,
        "Struct" => match to_struct(body.node) {
            Some(fields) => fields.encode_to_vec(),
            None => return body.expected("a map"),
        },
        "Value" => value(body.node).encode_to_vec(),
        "ListValue" => match kind(body.node) {
            Kind::ListValue(list) => list.encode_to_vec(),
            Kind::NullValue(_) => Vec::new(),
            _ => return body.expected("a list"),
        },
        "Empty" => Vec::new(),
        "BoolValue" => body.bool()?.encode_to_vec(),
        "UInt32Value" => body.u32()?.encode_to_vec(),
        "Int32Value" => number::<i32>(body)?.encode_to_vec(),
        "Int64Value" => number::<i64>(body)?.encode_to_vec(),
        "UInt64Value" => number::<u64>(body)?.encode_to_vec(),
        "DoubleValue" => number::<f64>(body)?.encode_to_vec(),
        "FloatValue" => number::<f32>(body)?.encode_to_vec(),
        "Duration" => prost_types::Duration::try_from(body.duration()?).ok()?.encode_to_vec(),
        _ => return unsupported(any),
    })
}

fn unnamed(any: &Any<'_>) -> Option<Vec<u8>> {
    if !is_typed_struct(&any.type_name) {
        return unsupported(any);
    }
    let message = any.message("TypedStruct")?;
    let fields = message.get("value").and_then(|place| {
        let fields = to_struct(place.node);
        if fields.is_none() { place.expected("a map") } else { fields }
    });
    let type_url = message.string("type_url");
    message.done();
    // A typed struct has the same field numbers and wire types as an Any.
    Some(prost_types::Any { type_url, value: fields.unwrap_or_default().encode_to_vec() }.encode_to_vec())
}

fn unsupported(any: &Any<'_>) -> Option<Vec<u8>> {
    let name = any.type_name.strip_prefix("google.protobuf.").unwrap_or(&any.type_name);
    let near = hint(name, WITH_VALUE.iter().copied());
    any.body.error(format!(
        "the shim cannot serialize a {}{near}: use google.protobuf.Struct, StringValue or BytesValue",
        any.type_name
    ));
    None
}

fn number<T: std::str::FromStr + Default>(place: &Place<'_>) -> Option<T> {
    let text = match &place.node.value {
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Null => return Some(T::default()),
        _ => return place.expected("a number"),
    };
    let number = text.parse().ok();
    if number.is_none() {
        place.error(format!("{text:?} is not a number of this type"));
    }
    number
}

fn value(node: &Node) -> prost_types::Value {
    prost_types::Value { kind: Some(kind(node)) }
}

fn kind(node: &Node) -> Kind {
    match &node.value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Int(number) => match i32::try_from(*number) {
            Ok(number) => Kind::NumberValue(f64::from(number)),
            Err(_) => Kind::StringValue(number.to_string()),
        },
        Value::Float(number) => Kind::NumberValue(*number),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::List(items) => Kind::ListValue(prost_types::ListValue { values: items.iter().map(value).collect() }),
        Value::Map(entries) => {
            let fields = entries.iter().map(|(key, node)| (key.name.clone(), value(node))).collect();
            Kind::StructValue(prost_types::Struct { fields })
        }
    }
}
