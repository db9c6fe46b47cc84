//! `proxy_continue_stream`, `proxy_close_stream`, `proxy_send_local_response`, `proxy_get_status`.

use wasmtime::Linker;

use super::{Answer, Call, hostcalls};
use crate::base::{MapKind, Status};
use crate::guest::codes::{AbiVersion, StreamType};
use crate::guest::effects::{Effect, StreamEffect};
use crate::guest::pairs;
use crate::guest::state::VmState;
use crate::traffic::LocalReply;

pub(super) fn offer(linker: &mut Linker<VmState>, abi: AbiVersion) -> wasmtime::Result<()> {
    hostcalls! { linker;
        fn proxy_send_local_response(
            call, status: u32, details: u32, details_length: u32, body: u32, body_length: u32, headers: u32,
            headers_length: u32, grpc_status: u32
        ) {
            let details = call.bytes(details, details_length)?;
            let body = call.bytes(body, body_length)?;
            let headers = pairs::decode(MapKind::Response, &call.bytes(headers, headers_length)?);
            let details = String::from_utf8_lossy(&details).replace(|c: char| c.is_ascii_whitespace(), "_");
            let grpc_status = grpc_status.cast_signed();
            let reply = LocalReply { status, headers, body, grpc_status, details, ..LocalReply::default() };
            ask(call, StreamEffect::Reply(reply));
            call.state_mut().stops_iteration = true;
            Ok(())
        }

        fn proxy_get_status(call, code: u32, message: u32, length: u32) {
            let acting = call.state().acting();
            let status = call.state().contexts.root(acting).map(|root| root.status.clone()).unwrap_or_default();
            call.write_u32(code, status.0)?;
            call.give(status.1.as_bytes(), message, length)
        }
    }
    if abi == AbiVersion::V0_1_0 {
        hostcalls! { linker;
            fn proxy_continue_request(call) { resume(call, StreamType::Request) }
            fn proxy_continue_response(call) { resume(call, StreamType::Response) }
            fn proxy_clear_route_cache(call) {
                if let Some(stream) = call.state().contexts.stream(call.state().acting()) {
                    stream.data.borrow_mut().route_is_stale = true;
                }
                Ok(())
            }
        }
    } else {
        hostcalls! { linker;
            fn proxy_continue_stream(call, stream: u32) { resume(call, StreamType::from_code(stream)?) }
            fn proxy_close_stream(call, stream: u32) {
                ask(call, StreamEffect::Close(StreamType::from_code(stream)?));
                Ok(())
            }
        }
    }
    Ok(())
}

fn resume(call: &mut Call<'_>, half: StreamType) -> Answer {
    match half {
        StreamType::Request => ask(call, StreamEffect::ContinueRequest),
        StreamType::Response => ask(call, StreamEffect::ContinueResponse),
        // Envoy returns these statuses in an HTTP stream.
        StreamType::Downstream => return Ok(()),
        StreamType::Upstream => return Err(Status::Unimplemented.into()),
    }
    let acting = call.state().acting();
    if let Some(stream) = call.state_mut().contexts.stream_mut(acting) {
        // Envoy removes the maps of the request when either half continues.
        stream.visible.request_headers = false;
        stream.visible.request_trailers = false;
    }
    Ok(())
}

/// Outside a stream the call has no effect, and Envoy reports no error.
fn ask(call: &mut Call<'_>, ask: StreamEffect) {
    let state = call.state_mut();
    if let Some(context) = state.contexts.stream(state.acting()) {
        let (stream, filter) = (context.stream, context.filter);
        state.effects.push(Effect::Stream { stream, filter, ask });
    }
}
