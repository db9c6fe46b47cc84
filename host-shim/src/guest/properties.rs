//! The properties of `proxy_get_property`, with Envoy's attribute names.
//!
//! The encodings are those of Envoy. Numbers and times have 8 bytes in little-endian order (times and durations in
//! nanoseconds), and booleans have one byte. Strings are raw, maps and lists are header pairs, and messages are
//! serialized protobuf.

use std::net::SocketAddr;

use serde_json::{Map, Value as Json};

use super::context::StreamContext;
use super::state::VmState;
use super::{pairs, protobuf};
use crate::base::Headers;
use crate::config::model::{Discovery, RouteAction};
use crate::traffic::{Info, ProxyNode, StreamData};

/// A property's value, before it is encoded.
enum Value {
    Bytes(Vec<u8>),
    Int(i64),
    Bool(bool),
    Headers(Headers),
    Json(Json),
    /// A value without bytes. Most attributes of the top level are such values, for example `request`.
    Whole,
}

impl Value {
    fn text(text: impl Into<String>) -> Option<Self> {
        Some(Value::Bytes(text.into().into_bytes()))
    }

    fn count(number: impl TryInto<i64>) -> Option<Self> {
        Some(Value::Int(number.try_into().unwrap_or(i64::MAX)))
    }
}

/// The reason why a property has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    NotFound,
    /// The path leads to a container of values, and not to a value: Envoy's SerializationFailure.
    NotAValue,
}

/// Returns the bytes of a property. The parts of `path` are separated by zero bytes, and there can be one at the end.
///
/// # Errors
/// There is no such property, or it has no bytes.
pub fn get(state: &VmState, path: &[u8]) -> Result<Vec<u8>, Missing> {
    if path.is_empty() {
        return Err(Missing::NotAValue);
    }
    let trimmed = path.strip_suffix(b"\0").unwrap_or(path);
    let parts: Vec<&str> =
        trimmed.split(|byte| *byte == 0).map(|part| std::str::from_utf8(part).unwrap_or("\u{fffd}")).collect();
    let stream = state.contexts.stream(state.acting());
    let root = state.contexts.root(state.acting());
    let value = match (parts.as_slice(), root) {
        (["plugin_name"], Some(root)) => Value::text(&root.plugin.name),
        (["plugin_root_id"], Some(root)) => Value::text(&root.plugin.root_id),
        (["plugin_vm_id"], _) => Value::text(&state.vm_id.id),
        (["xds"], _) => Some(Value::Whole),
        (["xds", "node", rest @ ..], _) => node(&state.network.node(), rest),
        // This property exists only during a check of a configuration. Envoy does not have it.
        (["clusters", name], _) if state.network.tells_clusters() => Some(Value::Bool(state.network.has_cluster(name))),
        (parts, _) => stream.and_then(|stream| of_stream(state, stream, parts)),
    };
    let own = || stream.and_then(|stream| stream.data.borrow().info.state.get(trimmed).cloned());
    match value {
        Some(value) => encode(value).ok_or(Missing::NotAValue),
        // A property of the guest has a path with one part, which is not a name of Envoy.
        None if parts.len() == 1 => own().ok_or(Missing::NotFound),
        None => Err(Missing::NotFound),
    }
}

fn of_stream(state: &VmState, stream: &StreamContext, parts: &[&str]) -> Option<Value> {
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
        ["connection_id"] => Value::count(info.connection_id),
        ["connection", rest @ ..] => connection(info, rest),
        ["upstream", rest @ ..] => upstream(state, info, rest),
        ["xds", rest @ ..] => xds(info, rest),
        // No filter of the shim sets dynamic metadata.
        ["metadata", rest @ ..] => metadata(&Map::new(), rest),
        ["filter_state"] => Some(Value::Whole),
        ["filter_state", name] => {
            let key = name.strip_prefix("wasm.")?.as_bytes();
            info.state.get(key).cloned().map(Value::Bytes)
        }
        ["upstream_filter_state"] => info.upstream_address.as_ref().map(|_| Value::Whole),
        _ => None,
    }
}

/// Returns the properties of the listener, the route and the cluster. Envoy 1.40 has them only below `xds`.
fn xds(info: &Info, parts: &[&str]) -> Option<Value> {
    match parts {
        ["cluster_name"] => Value::text(cluster_name(info)?),
        ["cluster_metadata", rest @ ..] => match &info.cluster {
            Some(cluster) => metadata(&cluster.metadata, rest),
            // The cluster is known from the route, but the router has not looked it up yet.
            None => cluster_name(info).and_then(|_| metadata(&Map::new(), rest)),
        },
        ["route_name"] => Value::text(&info.route.as_ref()?.name),
        ["route_metadata", rest @ ..] => metadata(&info.route.as_ref()?.metadata, rest),
        ["virtual_host_name"] => Value::text(&**info.virtual_host.as_ref()?),
        ["virtual_host_metadata", rest @ ..] => {
            info.virtual_host.as_ref()?;
            metadata(&Map::new(), rest)
        }
        ["listener_direction"] => Value::count(info.listener.direction),
        ["listener_metadata", rest @ ..] => metadata(&info.listener.metadata, rest),
        ["filter_chain_name"] => Value::text(""),
        ["upstream_host_metadata" | "upstream_host_locality_metadata"] => {
            info.upstream_address.as_ref().map(|_| Value::Whole)
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
    // Without a path, the parts of the path are empty.
    let path = || headers.map(|headers| String::from_utf8_lossy(headers.get(":path").unwrap_or_default()).into_owned());
    let info = &data.info;
    match parts {
        [] => Some(Value::Whole),
        ["path"] => header(":path"),
        ["url_path"] => Value::text(path()?.split('?').next()?),
        ["query"] => {
            let path = path()?;
            let query = path.split_once('?').map_or("", |(_, query)| query);
            Value::text(query.split('#').next()?)
        }
        ["host"] => header(":authority"),
        ["scheme"] => header(":scheme"),
        ["method"] => header(":method"),
        ["referer"] => header("referer"),
        ["useragent"] => header("user-agent"),
        ["id"] => header("x-request-id"),
        ["headers", rest @ ..] => map(headers, rest),
        ["time"] => Value::count(info.started),
        ["protocol"] => Value::text(info.protocol),
        ["size"] => match headers.and_then(|headers| headers.get("content-length")) {
            Some(length) => Some(Value::Int(std::str::from_utf8(length).ok()?.parse().ok()?)),
            None => Value::count(info.request_bytes),
        },
        ["headers_bytes"] => Value::count(size(headers)),
        ["total_size"] => Value::count(info.request_bytes + size(headers)),
        ["duration"] => Value::count(info.ended?.saturating_sub(info.started)),
        _ => None,
    }
}

fn response(data: &StreamData, headers: Option<&Headers>, parts: &[&str]) -> Option<Value> {
    let info = &data.info;
    match parts {
        [] => Some(Value::Whole),
        ["code"] => Value::count(response_code(data)?),
        ["code_details"] => Value::text(info.details.as_ref()?),
        ["flags"] => Value::count(info.flags),
        ["headers", rest @ ..] => map(headers, rest),
        ["trailers", rest @ ..] => map(data.response_trailers.as_ref(), rest),
        ["grpc_status"] => {
            let trailers = data.response_trailers.as_ref().and_then(|trailers| trailers.get_str("grpc-status"));
            let status = trailers.or_else(|| headers?.get_str("grpc-status")).and_then(|status| status.parse().ok());
            // Without a gRPC status, Envoy converts the HTTP status.
            Some(Value::Int(status.or_else(|| response_code(data).map(grpc_status_of))?))
        }
        ["size"] => Value::count(info.response_bytes),
        ["headers_bytes"] => Value::count(size(headers)),
        ["total_size"] => Value::count(info.response_bytes + size(headers) + size(data.response_trailers.as_ref())),
        ["backend_latency"] => Value::count(info.response_received?.saturating_sub(info.request_sent?)),
        _ => None,
    }
}

/// Returns the status of the response. It is known before the client gets the response.
fn response_code(data: &StreamData) -> Option<u16> {
    let status = || data.response_headers.as_ref()?.get_str(":status")?.parse().ok();
    data.info.response_code.or_else(status)
}

fn grpc_status_of(status: u16) -> i64 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// Returns a header map, which is empty if it is not visible now, or the values of one name.
fn map(headers: Option<&Headers>, parts: &[&str]) -> Option<Value> {
    match parts {
        [] => Some(Value::Headers(headers.cloned().unwrap_or_default())),
        [name] => joined(headers?, name).map(Value::Bytes),
        _ => None,
    }
}

fn joined(headers: &Headers, name: &str) -> Option<Vec<u8>> {
    let name = name.to_ascii_lowercase();
    let values: Vec<&[u8]> = headers.get_all(&name).collect();
    (!values.is_empty()).then(|| values.join(&b","[..]))
}

fn size(headers: Option<&Headers>) -> u64 {
    u64::try_from(headers.map_or(0, Headers::byte_size)).unwrap_or_default()
}

fn peer(address: SocketAddr, parts: &[&str]) -> Option<Value> {
    match parts {
        [] => Some(Value::Whole),
        ["address"] => Value::text(address.to_string()),
        ["port"] => Value::count(address.port()),
        _ => None,
    }
}

fn connection(info: &Info, parts: &[&str]) -> Option<Value> {
    match parts {
        [] => Some(Value::Whole),
        ["id"] => Value::count(info.connection_id),
        ["mtls"] => Some(Value::Bool(false)),
        ["requested_server_name"] => Value::text(info.sni.clone().unwrap_or_default()),
        _ => None,
    }
}

fn upstream(state: &VmState, info: &Info, parts: &[&str]) -> Option<Value> {
    match parts {
        [] => Some(Value::Whole),
        ["address"] => Value::text(info.upstream_address.as_ref()?.to_string()),
        ["port"] => Value::count(info.upstream_address.as_ref()?.ip()?.port()),
        // The shim's clusters have no localities.
        ["locality"] => info.upstream_address.as_ref().and_then(|_| Value::text("")),
        ["cx_pool_ready_duration"] => Value::count(info.pool_ready?),
        ["num_endpoints"] => match &state.network.cluster(&cluster_name(info)?)?.discovery {
            Discovery::Static(addresses) => Value::count(addresses.len()),
            Discovery::StrictDns(hosts) => Value::count(hosts.len()),
            Discovery::LogicalDns(_) => Value::count(1),
            Discovery::DynamicForwardProxy | Discovery::OriginalDestination { .. } => None,
        },
        ["request_attempt_count"] => Value::count(info.attempts),
        ["transport_failure_reason"] => match &info.upstream_failure {
            Some(failure) => Value::text(failure),
            None => info.upstream_address.as_ref().and_then(|_| Value::text("")),
        },
        _ => None,
    }
}

fn node(node: &ProxyNode, parts: &[&str]) -> Option<Value> {
    match parts {
        [] => Some(Value::Bytes(protobuf::node(node))),
        ["id"] => Value::text(&node.id),
        ["cluster"] => Value::text(&node.cluster),
        ["metadata", rest @ ..] => walk(&Json::Object(node.metadata.clone()), rest),
        _ => None,
    }
}

/// Returns a value of a `Metadata` message. Its `filter_metadata` is a map of structs.
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

fn encode(value: Value) -> Option<Vec<u8>> {
    Some(match value {
        Value::Bytes(bytes) => bytes,
        Value::Int(number) => number.to_le_bytes().to_vec(),
        Value::Bool(flag) => vec![u8::from(flag)],
        Value::Headers(headers) => encode_headers(&headers),
        Value::Json(json) => encode_json(&json),
        Value::Whole => return None,
    })
}

/// Serializes a map. Each name is unique, and even an empty map has its count.
fn encode_headers(headers: &Headers) -> Vec<u8> {
    let mut seen: Vec<(&[u8], Vec<u8>)> = Vec::new();
    for (name, value) in headers.iter() {
        match seen.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => {
                values.push(b',');
                values.extend_from_slice(value);
            }
            None => seen.push((name, value.to_vec())),
        }
    }
    encode_pairs(seen.iter().map(|(name, value)| (*name, value.as_slice())))
}

fn encode_pairs<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Vec<u8> {
    let bytes = pairs::encode(pairs);
    if bytes.is_empty() { vec![0; 4] } else { bytes }
}

/// Converts a value of a struct as CEL does: numbers are doubles.
fn encode_json(json: &Json) -> Vec<u8> {
    let pairs_of = |pairs: Vec<(Vec<u8>, Vec<u8>)>| encode_pairs(pairs.iter().map(|(name, value)| (&**name, &**value)));
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
