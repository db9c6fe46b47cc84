//! `proxy_get_buffer_bytes`, `proxy_get_buffer_status`, `proxy_set_buffer_bytes`.

use wasmtime::Linker;

use super::{Answer, Call, hostcalls};
use crate::base::Status;
use crate::guest::codes::{AbiVersion, BufferType};
use crate::guest::memory::{index, word};
use crate::guest::state::VmState;
use crate::traffic::{Body, StreamData};

pub(super) fn offer(linker: &mut Linker<VmState>, abi: AbiVersion) -> wasmtime::Result<()> {
    hostcalls! { linker;
        fn proxy_get_buffer_bytes(call, buffer: u32, start: u32, max: u32, data: u32, length: u32) {
            let buffer = BufferType::from_code(buffer)?;
            let Some(all) = content(call, buffer)? else { return Err(Status::NotFound.into()) };
            let end = index(start).saturating_add(index(max)).min(all.len());
            // If the start is after the end, the result is empty.
            let part = all.get(index(start)..end).unwrap_or_default();
            call.give(part, data, length)
        }

        fn proxy_get_buffer_status(call, buffer: u32, length: u32, flags: u32) {
            let buffer = BufferType::from_code(buffer)?;
            let Some(all) = content(call, buffer)? else { return Err(Status::NotFound.into()) };
            call.write_u32(length, word(all.len()))?;
            call.write_u32(flags, 0)
        }

        fn proxy_set_buffer_bytes(call, buffer: u32, start: u32, size: u32, data: u32, data_length: u32) {
            let buffer = BufferType::from_code(buffer)?;
            if content(call, buffer)?.is_none() {
                return Err(Status::NotFound.into());
            }
            let data = call.bytes(data, data_length)?;
            let acting = call.state().acting();
            let Some(stream) = call.state().contexts.stream(acting) else { return Err(Status::BadArgument.into()) };
            let mut stream_data = stream.data.borrow_mut();
            let body = match buffer {
                BufferType::RequestBody => stream_data.request_body.of_mut(stream.filter),
                BufferType::ResponseBody => stream_data.response_body.of_mut(stream.filter),
                _ => None,
            };
            let Some(body) = body else { return Err(Status::BadArgument.into()) };
            Ok(edit(body, index(start), index(size), &data)?)
        }
    }
    if abi == AbiVersion::V0_1_0 {
        hostcalls! { linker;
            fn proxy_get_configuration(call, data: u32, length: u32) {
                let plugin = content(call, BufferType::PluginConfiguration)?;
                let bytes = match plugin {
                    Some(bytes) => bytes,
                    None => content(call, BufferType::VmConfiguration)?.unwrap_or_default(),
                };
                call.give(&bytes, data, length)
            }
        }
    }
    Ok(())
}

/// Returns the bytes of a buffer, or `None` if the buffer is not available now.
fn content(call: &Call<'_>, buffer: BufferType) -> Answer<Option<Vec<u8>>> {
    let state = call.state();
    let acting = state.acting();
    let root = state.contexts.root(acting);
    let body = |body: fn(&StreamData) -> &Body| {
        let stream = state.contexts.stream(acting)?;
        Some(body(&stream.data.borrow()).of(stream.filter)?.to_vec())
    };
    Ok(match buffer {
        BufferType::RequestBody => Some(body(|data| &data.request_body).unwrap_or_default()),
        BufferType::ResponseBody => Some(body(|data| &data.response_body).unwrap_or_default()),
        BufferType::DownstreamData | BufferType::UpstreamData | BufferType::CallData => Some(Vec::new()),
        BufferType::CallResponseBody => root.and_then(|root| Some(root.call_response.as_ref()?.body.clone())),
        BufferType::GrpcMessage => Some(root.and_then(|root| root.grpc_message.clone()).unwrap_or_default()),
        BufferType::VmConfiguration => Some(state.spec.configuration.clone()),
        BufferType::PluginConfiguration => {
            root.filter(|root| root.is_configuring).map(|root| root.plugin.configuration.clone())
        }
    })
}

/// Edits a buffer by Envoy's rule: a start of 0 prepends or replaces, a start at the end or after it appends, and any
/// other start is refused.
fn edit(body: &mut Vec<u8>, start: usize, size: usize, data: &[u8]) -> Result<(), Status> {
    if start == 0 {
        body.splice(..size.min(body.len()), data.iter().copied());
    } else if start >= body.len() {
        body.extend_from_slice(data);
    } else {
        return Err(Status::BadArgument);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_edited_by_the_rule_of_envoy() {
        let edited = |start, size, data: &[u8]| {
            let mut body = b"body".to_vec();
            edit(&mut body, start, size, data).map(|()| String::from_utf8(body).unwrap())
        };
        assert_eq!(edited(0, 0, b"new "), Ok("new body".to_owned()));
        assert_eq!(edited(0, 2, b"X"), Ok("Xdy".to_owned()));
        assert_eq!(edited(0, 100, b"X"), Ok("X".to_owned()));
        assert_eq!(edited(4, 0, b"!"), Ok("body!".to_owned()));
        assert_eq!(edited(9, 9, b"!"), Ok("body!".to_owned()));
        assert_eq!(edited(1, 1, b"!"), Err(Status::BadArgument));
    }
}
