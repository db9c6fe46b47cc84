//! `proxy_get_property` and `proxy_set_property`.

use wasmtime::Linker;

use super::hostcalls;
use crate::base::Status;
use crate::guest::properties::{self, Missing};
use crate::guest::state::VmState;

pub(super) fn offer(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    hostcalls! { linker;
        fn proxy_get_property(call, path: u32, path_length: u32, data: u32, length: u32) {
            let path = call.bytes(path, path_length)?;
            let value = properties::get(call.state(), &path).map_err(|missing| match missing {
                Missing::NotFound => Status::NotFound,
                Missing::NotAValue => Status::SerializationFailure,
            })?;
            call.give(&value, data, length)
        }

        fn proxy_set_property(call, path: u32, path_length: u32, data: u32, length: u32) {
            let (path, value) = (call.bytes(path, path_length)?, call.bytes(data, length)?);
            let state = call.state();
            let stream = state.contexts.stream(state.acting()).ok_or(Status::NotFound)?;
            stream.data.borrow_mut().info.state.insert(path, value);
            Ok(())
        }
    }
    Ok(())
}
