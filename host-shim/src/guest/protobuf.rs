//! The protobuf messages of properties.

use prost::Message;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde_json::{Map, Value as Json};

use crate::traffic::ProxyNode;

/// `envoy.config.core.v3.Node`, with the fields that the shim supports.
#[derive(Clone, PartialEq, Message)]
struct NodeMessage {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    cluster: String,
    #[prost(message, optional, tag = "3")]
    metadata: Option<Struct>,
}

/// `envoy.config.core.v3.Metadata`.
#[derive(Clone, PartialEq, Message)]
struct MetadataMessage {
    #[prost(btree_map = "string, message", tag = "1")]
    filter_metadata: std::collections::BTreeMap<String, Struct>,
}

pub fn node(node: &ProxyNode) -> Vec<u8> {
    let metadata = (!node.metadata.is_empty()).then(|| to_struct(&node.metadata));
    NodeMessage { id: node.id.clone(), cluster: node.cluster.clone(), metadata }.encode_to_vec()
}

pub fn metadata(filter_metadata: &Map<String, Json>) -> Vec<u8> {
    let structs = filter_metadata.iter().map(|(name, value)| {
        let fields = value.as_object().map(to_struct).unwrap_or_default();
        (name.clone(), fields)
    });
    MetadataMessage { filter_metadata: structs.collect() }.encode_to_vec()
}

pub fn to_struct(map: &Map<String, Json>) -> Struct {
    Struct { fields: map.iter().map(|(name, value)| (name.clone(), to_value(value))).collect() }
}

fn to_value(json: &Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(flag) => Kind::BoolValue(*flag),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(list) => Kind::ListValue(ListValue { values: list.iter().map(to_value).collect() }),
        Json::Object(map) => Kind::StructValue(to_struct(map)),
    };
    Value { kind: Some(kind) }
}
