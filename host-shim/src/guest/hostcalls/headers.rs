//! The header maps: requests, responses, replies to callouts.

use wasmtime::Linker;

use super::{Answer, Call, hostcalls};
use crate::base::{Headers, Status};
use crate::guest::codes::{AbiVersion, MapType};
use crate::guest::context::StreamContext;
use crate::guest::memory::word;
use crate::guest::pairs;
use crate::guest::state::VmState;

pub(super) fn offer(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    hostcalls! { linker;
        fn proxy_get_header_map_size(call, map: u32, size: u32) {
            let bytes = change(call, MapType::from_code(map)?, |headers| headers.byte_size())?;
            call.write_u32(size, word(bytes))
        }

        fn proxy_get_header_map_pairs(call, map: u32, data: u32, length: u32) {
            let encoded = read(call, MapType::from_code(map)?, |headers| pairs::encode(headers.iter()));
            // As in Envoy, an absent map looks empty.
            call.give(&encoded.unwrap_or_default(), data, length)
        }

        fn proxy_set_header_map_pairs(call, map: u32, data: u32, length: u32) {
            let map = MapType::from_code(map)?;
            let new = pairs::decode(map.kind(), &call.bytes(data, length)?);
            change(call, map, |headers| {
                *headers = new;
            })
        }

        fn proxy_get_header_map_value(call, map: u32, name: u32, name_length: u32, data: u32, length: u32) {
            let map = MapType::from_code(map)?;
            let name = call.bytes(name, name_length)?;
            // In the log phase, an absent map looks like an absent header.
            let in_log = call.state().contexts.stream(call.state().acting()).is_some_and(|stream| stream.visible.log);
            let absent = if in_log { Status::NotFound } else { Status::BadArgument };
            let value = read(call, map, |headers| headers.get(&name).map(<[u8]>::to_vec)).ok_or(absent)?;
            match value {
                Some(value) => call.give(&value, data, length),
                None if call.state().abi == AbiVersion::V0_1_0 => call.give(b"", data, length),
                None => Err(Status::NotFound.into()),
            }
        }

        fn proxy_add_header_map_value(call, map: u32, name: u32, name_length: u32, value: u32, value_length: u32) {
            let map = MapType::from_code(map)?;
            let (name, value) = (call.bytes(name, name_length)?, call.bytes(value, value_length)?);
            change(call, map, |headers| headers.append(map.kind(), &name, &value))
        }

        fn proxy_replace_header_map_value(call, map: u32, name: u32, name_length: u32, value: u32, value_length: u32) {
            let map = MapType::from_code(map)?;
            let (name, value) = (call.bytes(name, name_length)?, call.bytes(value, value_length)?);
            change(call, map, |headers| headers.set(&name, &value))
        }

        fn proxy_remove_header_map_value(call, map: u32, name: u32, name_length: u32) {
            let map = MapType::from_code(map)?;
            let name = call.bytes(name, name_length)?;
            change(call, map, |headers| {
                headers.remove(&name);
            })
        }
    }
    Ok(())
}

/// Reads a map. Returns `None` if it is not available now.
fn read<T>(call: &Call<'_>, map: MapType, look: impl FnOnce(&Headers) -> T) -> Option<T> {
    let state = call.state();
    let acting = state.acting();
    let stream = state.contexts.stream(acting);
    let response = || state.contexts.root(acting).and_then(|root| root.call_response.as_ref());
    match map {
        MapType::RequestHeaders => {
            let stream = stream.filter(|stream| stream.visible.request_headers || stream.visible.log)?;
            Some(look(&stream.data.borrow().request_headers))
        }
        MapType::RequestTrailers => {
            let stream = stream.filter(|stream| stream.visible.request_trailers)?;
            stream.data.borrow().request_trailers.as_ref().map(look)
        }
        MapType::ResponseHeaders => {
            let stream = stream.filter(|stream| stream.visible.response_headers || stream.visible.log)?;
            stream.data.borrow().response_headers.as_ref().map(look)
        }
        MapType::ResponseTrailers => {
            let stream = stream.filter(|stream| stream.visible.response_trailers || stream.visible.log)?;
            stream.data.borrow().response_trailers.as_ref().map(look)
        }
        MapType::CallResponseHeaders => response().map(|response| look(&response.headers)),
        MapType::CallResponseTrailers => {
            response().filter(|response| !response.trailers.is_empty()).map(|response| look(&response.trailers))
        }
        // Only gRPC streams have these maps.
        MapType::GrpcInitialMetadata | MapType::GrpcTrailingMetadata => None,
    }
}

/// Changes a map. It must be a map of the stream that is available now.
fn change<T>(call: &mut Call<'_>, map: MapType, edit: impl FnOnce(&mut Headers) -> T) -> Answer<T> {
    let acting = call.state().acting();
    let stream = call.state_mut().contexts.stream_mut(acting).ok_or(Status::BadArgument)?;
    add_trailers(stream, map);
    let visible = stream.visible;
    let mut data = stream.data.borrow_mut();
    let headers = match map {
        MapType::RequestHeaders if visible.request_headers => {
            data.route_is_stale = true;
            Some(&mut data.request_headers)
        }
        MapType::RequestTrailers if visible.request_trailers => data.request_trailers.as_mut(),
        MapType::ResponseHeaders if visible.response_headers => data.response_headers.as_mut(),
        MapType::ResponseTrailers if visible.response_trailers => data.response_trailers.as_mut(),
        _ => None,
    };
    Ok(edit(headers.ok_or(Status::BadArgument)?))
}

/// Like Envoy, creates trailers after a body that ended without trailers.
fn add_trailers(stream: &mut StreamContext, map: MapType) {
    let mut data = stream.data.borrow_mut();
    let visible = &mut stream.visible;
    let (may_add, trailers, is_visible) = match map {
        MapType::RequestTrailers => {
            (visible.may_add_request_trailers, &mut data.request_trailers, &mut visible.request_trailers)
        }
        MapType::ResponseTrailers => {
            (visible.may_add_response_trailers, &mut data.response_trailers, &mut visible.response_trailers)
        }
        _ => return,
    };
    if may_add && trailers.is_none() {
        *trailers = Some(Headers::default());
        *is_visible = true;
    }
}
