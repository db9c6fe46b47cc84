//! Properties: what `proxy_get_property` tells, by Envoy's attribute names.
//!
//! Encodings are Envoy's: numbers and times are 8 bytes little-endian (times and durations in nanoseconds), booleans one
//! byte, strings raw, maps and lists as header pairs, messages as serialized protobuf.

use std::net::SocketAddr;

use serde_json::{Map, Value as Json};

use crate::abi::pairs;
use crate::config::model::RouteAction;
use crate::headers::Headers;
use crate::protobuf;
use crate::stream::data::{Info, Node, StreamData};
use crate::vm::context::StreamContext;
use crate::vm::state::VmState;

/// A property's value, before it is encoded.
enum Value {
    Bytes(Vec<u8>),
    Int(i64),
    Bool(bool),
    Headers(Headers),
    Json(Json),
}

impl Value {
    fn text(text: impl Into<String>) -> Option<Self> {
        Some(Value::Bytes(text.into().into_bytes()))
    }

    fn count(number: impl TryInto<i64>) -> Option<Self> {
        Some(Value::Int(number.try_into().unwrap_or(i64::MAX)))
    }
}

/// The bytes of a property, or None where it is not found; `path` has its parts separated by zero bytes.
pub(crate) fn get(state: &VmState, path: &[u8]) -> Option<Vec<u8>> {
    let trimmed = path.strip_suffix(b"\0").unwrap_or(path);
    let parts: Vec<&str> =
        trimmed.split(|byte| *byte == 0).map(|part| std::str::from_utf8(part).unwrap_or("\u{fffd}")).collect();
    let stream = state.contexts.stream(state.acting());
    let root = state.contexts.root(state.acting());
    let value = match (parts.as_slice(), root) {
        (["plugin_name"], Some(root)) => Value::text(&root.plugin.name),
        (["plugin_root_id"], Some(root)) => Value::text(&root.plugin.root_id),
        (["plugin_vm_id"], _) => Value::text(&state.vm_id.id),
        (["node", rest @ ..] | ["xds", "node", rest @ ..], _) => node(&state.network.node(), rest),
        (["listener_direction"] | ["xds", "listener_direction"], Some(root)) => Value::count(root.listener.direction),
        (["listener_metadata", rest @ ..] | ["xds", "listener_metadata", rest @ ..], Some(root)) => {
            metadata(&root.listener.metadata, rest)
        }
        (parts, _) => stream.and_then(|stream| of_stream(stream, parts)),
    };
    match value {
        Some(value) => Some(encode(value)),
        None => stream?.data.borrow().info.state.get(trimmed).cloned(),
    }
}

fn of_stream(stream: &StreamContext, parts: &[&str]) -> Option<Value> {
    let data = stream.data.borrow();
    let info = &data.info;
    match parts {
        ["request", rest @ ..] => {
            let headers = (stream.visible.request_headers || stream.visible.log).then_some(&data.request_headers);
            request(&data, headers, rest)
        }
        ["response", rest @ ..] => {
            let is_visible = stream.visible.response_headers || stream.visible.log;
            response(&data, data.response_headers.as_ref().filter(|_| is_visible), rest)
        }
        ["source", rest @ ..] => peer(info.source, rest),
        ["destination", rest @ ..] => peer(info.destination, rest),
        ["connection_id"] | ["connection", "id"] => Value::count(info.connection_id),
        ["connection", rest @ ..] => connection(info, rest),
        ["upstream", rest @ ..] => upstream(info, rest),
        ["cluster_name"] | ["xds", "cluster_name"] => Value::text(cluster_name(info)?),
        ["cluster_metadata", rest @ ..] | ["xds", "cluster_metadata", rest @ ..] => {
            metadata(&info.cluster.as_ref()?.metadata, rest)
        }
        ["route_name"] => Value::text(info.route.as_ref().map_or("", |route| &route.name)),
        ["xds", "route_name"] => Value::text(&info.route.as_ref()?.name),
        ["route_metadata", rest @ ..] | ["xds", "route_metadata", rest @ ..] => {
            metadata(&info.route.as_ref()?.metadata, rest)
        }
        ["xds", "virtual_host_name"] => Value::text(&**info.virtual_host.as_ref()?),
        ["xds", "filter_chain_name"] => Value::text(""),
        // Filters of the shim set no dynamic metadata.
        ["metadata", rest @ ..] => metadata(&Map::new(), rest),
        ["filter_state", name] => {
            let key = name.strip_prefix("wasm.")?.as_bytes();
            info.state.get(key).cloned().map(Value::Bytes)
        }
        _ => None,
    }
}

fn cluster_name(info: &Info) -> Option<String> {
    if let Some(cluster) = &info.cluster {
        return Some(cluster.name.clone());
    }
    match &info.route.as_ref()?.action {
        RouteAction::Forward(forward) => forward.clusters.first().map(|(name, _)| name.clone()),
        _ => None,
    }
}

fn request(data: &StreamData, headers: Option<&Headers>, parts: &[&str]) -> Option<Value> {
    let header = |name: &str| headers?.get(name).map(|value| Value::Bytes(value.to_vec()));
    let path = || headers?.get(":path").map(|path| String::from_utf8_lossy(path).into_owned());
    let info = &data.info;
    match parts {
        ["path"] => header(":path"),
        ["url_path"] => Value::text(path()?.split('?').next()?),
        ["query"] => Value::text(path()?.split_once('?').map_or("", |(_, query)| query)),
        ["host"] => header(":authority"),
        ["scheme"] => header(":scheme"),
        ["method"] => header(":method"),
        ["referer"] => header("referer"),
        ["useragent"] => header("user-agent"),
        ["id"] => header("x-request-id"),
        ["headers"] => Some(Value::Headers(headers?.clone())),
        ["headers", name] => {
            let values: Vec<&[u8]> = headers?.get_all(name).collect();
            (!values.is_empty()).then(|| Value::Bytes(values.join(&b","[..])))
        }
        ["time"] => Value::count(info.started),
        ["protocol"] => Value::text(info.protocol),
        ["size"] => match headers?.get_str("content-length").and_then(|length| length.parse::<i64>().ok()) {
            Some(length) => Some(Value::Int(length)),
            None => Value::count(info.request_bytes),
        },
        ["total_size"] => Value::count(info.request_bytes + size(headers)),
        ["duration"] => info.response_code.and_then(|_| Value::count(info.clock.now().saturating_sub(info.started))),
        _ => None,
    }
}

fn response(data: &StreamData, headers: Option<&Headers>, parts: &[&str]) -> Option<Value> {
    let info = &data.info;
    match parts {
        ["code"] => Value::count(info.response_code?),
        ["code_details"] => Value::text(info.details.as_ref()?),
        ["flags"] => Value::count(info.flags),
        ["headers"] => Some(Value::Headers(headers?.clone())),
        ["headers", name] => headers?.get(name).map(|value| Value::Bytes(value.to_vec())),
        ["trailers"] => Some(Value::Headers(data.response_trailers.clone().unwrap_or_default())),
        ["trailers", name] => data.response_trailers.as_ref()?.get(name).map(|value| Value::Bytes(value.to_vec())),
        ["grpc_status"] => {
            let trailers = data.response_trailers.as_ref().and_then(|trailers| trailers.get_str("grpc-status"));
            let status = trailers.or_else(|| headers?.get_str("grpc-status"))?;
            Value::count(status.parse::<i64>().ok()?)
        }
        ["size"] => Value::count(info.response_bytes),
        ["total_size"] => Value::count(info.response_bytes + size(headers)),
        ["backend_latency"] => Value::count(info.clock.now().saturating_sub(info.request_sent?)),
        _ => None,
    }
}

fn size(headers: Option<&Headers>) -> u64 {
    u64::try_from(headers.map_or(0, Headers::byte_size)).unwrap_or_default()
}

fn peer(address: SocketAddr, parts: &[&str]) -> Option<Value> {
    match parts {
        ["address"] => Value::text(address.to_string()),
        ["port"] => Value::count(address.port()),
        _ => None,
    }
}

fn connection(info: &Info, parts: &[&str]) -> Option<Value> {
    match parts {
        ["mtls"] => Some(Value::Bool(false)),
        ["requested_server_name"] => Value::text(info.sni.clone().unwrap_or_default()),
        _ => None,
    }
}

fn upstream(info: &Info, parts: &[&str]) -> Option<Value> {
    match parts {
        ["address"] => Value::text(info.upstream_address?.to_string()),
        ["port"] => Value::count(info.upstream_address?.port()),
        ["transport_failure_reason"] => Value::text(info.upstream_failure.as_ref()?),
        _ => None,
    }
}

fn node(node: &Node, parts: &[&str]) -> Option<Value> {
    match parts {
        [] => Some(Value::Bytes(protobuf::node(node))),
        ["id"] => Value::text(&node.id),
        ["cluster"] => Value::text(&node.cluster),
        ["metadata", rest @ ..] => walk(&Json::Object(node.metadata.clone()), rest),
        _ => None,
    }
}

/// A `Metadata` message, of which `filter_metadata` is a map of structs.
fn metadata(filter_metadata: &Map<String, Json>, parts: &[&str]) -> Option<Value> {
    match parts {
        [] => Some(Value::Bytes(protobuf::metadata(filter_metadata))),
        ["filter_metadata", rest @ ..] => walk(&Json::Object(filter_metadata.clone()), rest),
        _ => None,
    }
}

fn walk(json: &Json, parts: &[&str]) -> Option<Value> {
    let Some((first, rest)) = parts.split_first() else { return Some(Value::Json(json.clone())) };
    let next = match json {
        Json::Object(map) => map.get(*first),
        Json::Array(list) => list.get(first.parse::<usize>().ok()?),
        _ => None,
    };
    walk(next?, rest)
}

fn encode(value: Value) -> Vec<u8> {
    match value {
        Value::Bytes(bytes) => bytes,
        Value::Int(number) => number.to_le_bytes().to_vec(),
        Value::Bool(flag) => vec![u8::from(flag)],
        Value::Headers(headers) => pairs::encode(headers.iter()),
        Value::Json(json) => encode_json(&json),
    }
}

/// As CEL sees a struct's values: numbers are doubles.
fn encode_json(json: &Json) -> Vec<u8> {
    let pairs_of = |pairs: Vec<(Vec<u8>, Vec<u8>)>| {
        if pairs.is_empty() { vec![0; 4] } else { pairs::encode(pairs.iter().map(|(name, value)| (&**name, &**value))) }
    };
    match json {
        Json::Null => Vec::new(),
        Json::Bool(flag) => vec![u8::from(*flag)],
        Json::Number(number) => number.as_f64().unwrap_or_default().to_le_bytes().to_vec(),
        Json::String(text) => text.clone().into_bytes(),
        Json::Array(list) => pairs_of(list.iter().map(|item| (encode_json(item), Vec::new())).collect()),
        Json::Object(map) => {
            pairs_of(map.iter().map(|(key, value)| (key.clone().into_bytes(), encode_json(value))).collect())
        }
    }
}
