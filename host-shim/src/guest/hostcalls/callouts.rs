//! HTTP and gRPC callouts. They always belong to the root context.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use wasmtime::Linker;

use super::{Answer, Call, hostcalls};
use crate::base::{Headers, LogLevel, MapKind, Status};
use crate::guest::effects::Effect;
use crate::guest::pairs;
use crate::guest::state::VmState;
use crate::traffic::{Callout, Ticket};

pub(super) fn offer(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    hostcalls! { linker;
        fn proxy_http_call(
            call, cluster: u32, cluster_length: u32, headers: u32, headers_length: u32, body: u32, body_length: u32,
            trailers: u32, trailers_length: u32, timeout: u32, token: u32
        ) {
            let cluster = String::from_utf8_lossy(&call.bytes(cluster, cluster_length)?).into_owned();
            let body = call.bytes(body, body_length)?;
            let mut headers = pairs::decode(MapKind::Request, &call.bytes(headers, headers_length)?);
            call.bytes(trailers, trailers_length)?;
            call.write_u32(token, 0)?;
            let timeout = u64::try_from(timeout.cast_signed()).map_err(|_| Status::BadArgument)?;
            if !call.state().network.has_cluster(&cluster) {
                return Err(Status::BadArgument.into());
            }
            if [":path", ":method", ":authority"].iter().any(|name| headers.get(name).is_none()) {
                return Err(Status::BadArgument.into());
            }
            if !body.is_empty() {
                headers.set("content-length", body.len().to_string());
            }
            let timeout = (timeout > 0).then(|| Duration::from_millis(timeout));
            headers.set_in_place("x-envoy-internal", "true");
            let id = call.state_mut().next_call_id();
            start(call, id, Callout { cluster, headers, body, timeout, is_grpc: false })?;
            call.write_u32(token, id)
        }

        fn proxy_grpc_call(
            call, service: u32, service_length: u32, name: u32, name_length: u32, method: u32, method_length: u32,
            metadata: u32, metadata_length: u32, message: u32, message_length: u32, timeout: u32, token: u32
        ) {
            let service = call.bytes(service, service_length)?;
            let name = String::from_utf8_lossy(&call.bytes(name, name_length)?).into_owned();
            let method = String::from_utf8_lossy(&call.bytes(method, method_length)?).into_owned();
            let metadata = pairs::decode(MapKind::Request, &call.bytes(metadata, metadata_length)?);
            let message = call.bytes(message, message_length)?;
            let (cluster, id) = grpc_cluster(call, &service, VmState::next_grpc_call_id)?;
            let timeout = (timeout > 0).then(|| Duration::from_millis(u64::from(timeout)));
            let mut headers: Headers = [
                (":method", "POST"),
                (":path", &format!("/{name}/{method}")),
                (":authority", &cluster),
                ("te", "trailers"),
            ]
            .into_iter()
            .collect();
            if let Some(timeout) = timeout {
                headers.add("grpc-timeout", format!("{}m", timeout.as_millis()));
            }
            headers.add("content-type", "application/grpc");
            for (name, value) in metadata.iter() {
                headers.append(MapKind::Request, name, value);
            }
            encode_binary(&mut headers);
            headers.set_in_place("x-envoy-internal", "true");
            start(call, id, Callout { cluster, headers, body: message, timeout, is_grpc: true })?;
            call.write_u32(token, id)
        }

        fn proxy_grpc_stream(
            call, service: u32, service_length: u32, name: u32, name_length: u32, method: u32, method_length: u32,
            metadata: u32, metadata_length: u32, _token: u32
        ) {
            let service = call.bytes(service, service_length)?;
            for (address, length) in [(name, name_length), (method, method_length), (metadata, metadata_length)] {
                call.bytes(address, length)?;
            }
            grpc_cluster(call, &service, VmState::next_grpc_stream_id)?;
            call.state().log(LogLevel::Error, "host-shim: gRPC streams are not supported, only unary calls");
            Err(Status::InternalFailure.into())
        }

        fn proxy_grpc_send(call, token: u32, message: u32, length: u32, _end: u32) {
            call.bytes(message, length)?;
            Err(if is_grpc_stream(token) { Status::NotFound } else { Status::BadArgument }.into())
        }

        fn proxy_grpc_cancel(call, token: u32) { end_grpc(call, token) }

        fn proxy_grpc_close(call, token: u32) { end_grpc(call, token) }
    }
    Ok(())
}

/// Encodes binary metadata in Base64. As in Envoy, only the first value of each name is sent.
fn encode_binary(headers: &mut Headers) {
    let binary: Headers = headers.iter().filter(|(name, _)| name.ends_with(b"-bin")).collect();
    for (name, value) in binary.iter() {
        if headers.get(name).is_some_and(|present| present == value) {
            headers.set(name, BASE64_STANDARD.encode(value));
        }
    }
}

fn start(call: &mut Call<'_>, token: u32, callout: Callout) -> Answer {
    let state = call.state_mut();
    let root = state.contexts.root_id(state.acting());
    state.network.call(Ticket { instance: state.instance, root, token }, callout)?;
    if let Some(root) = state.contexts.root_mut(root) {
        root.calls.insert(token);
    }
    Ok(())
}

fn is_grpc_call(token: u32) -> bool {
    token & 3 == 1
}

fn is_grpc_stream(token: u32) -> bool {
    token & 3 == 2
}

fn end_grpc(call: &mut Call<'_>, token: u32) -> Answer {
    let state = call.state_mut();
    let id = state.contexts.root_id(state.acting());
    let was_waiting = is_grpc_call(token) && state.contexts.root_mut(id).is_some_and(|root| root.calls.remove(&token));
    if !was_waiting {
        let is_grpc = is_grpc_call(token) || is_grpc_stream(token);
        return Err(if is_grpc { Status::NotFound } else { Status::BadArgument }.into());
    }
    state.network.cancel(Ticket { instance: state.instance, root: id, token });
    Ok(())
}

/// Finds the cluster of a service. A service is the name of a cluster, or a serialized
/// `envoy.config.core.v3.GrpcService` with the name of a cluster.
///
/// A message with an unknown cluster closes the call immediately, and fails the hostcall too.
fn grpc_cluster(call: &mut Call<'_>, service: &[u8], next_token: fn(&mut VmState) -> u32) -> Answer<(String, u32)> {
    #[derive(Clone, PartialEq, prost::Message)]
    struct GrpcService {
        #[prost(message, optional, tag = "1")]
        envoy_grpc: Option<EnvoyGrpc>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct EnvoyGrpc {
        #[prost(string, tag = "1")]
        cluster_name: String,
    }
    let network = std::rc::Rc::clone(&call.state().network);
    if let Some(name) = std::str::from_utf8(service).ok().filter(|name| network.has_cluster(name)) {
        let name = name.to_owned();
        return Ok((name, next_token(call.state_mut())));
    }
    let parsed = <GrpcService as prost::Message>::decode(service).map_err(|_| Status::ParseFailure)?;
    let cluster = parsed.envoy_grpc.map(|grpc| grpc.cluster_name).ok_or(Status::ParseFailure)?;
    if network.has_cluster(&cluster) {
        return Ok((cluster, next_token(call.state_mut())));
    }
    let state = call.state_mut();
    let (root, token) = (state.contexts.root_id(state.acting()), next_token(state));
    state.effects.push(Effect::GrpcUnavailable { root, token });
    Err(Status::InternalFailure.into())
}
