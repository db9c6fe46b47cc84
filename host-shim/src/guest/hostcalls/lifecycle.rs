//! `proxy_done`, `proxy_set_effective_context`, `proxy_call_foreign_function`, and the imports of Emscripten's modules.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use wasmtime::{Caller, Linker};

use super::hostcalls;
use crate::base::Status;
use crate::guest::effects::Effect;
use crate::guest::state::VmState;

pub(super) fn offer(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    hostcalls! { linker;
        fn proxy_done(call) {
            let state = call.state_mut();
            let root = state.contexts.root_id(state.acting());
            if !state.contexts.root(root).is_some_and(|root| root.is_closing) {
                return Err(Status::NotFound.into());
            }
            state.effects.push(Effect::Done { root });
            Ok(())
        }

        fn proxy_set_effective_context(call, context: u32) {
            let state = call.state_mut();
            if !state.contexts.contains(context) {
                return Err(Status::BadArgument.into());
            }
            state.effective = context;
            Ok(())
        }

        fn proxy_call_foreign_function(
            call, name: u32, name_length: u32, args: u32, args_length: u32, result: u32, result_length: u32
        ) {
            let name = call.bytes(name, name_length)?;
            let args = call.bytes(args, args_length)?;
            let answer = match name.as_slice() {
                b"compress" => compressed(&args)?,
                b"uncompress" => uncompressed(&args)?,
                b"clear_route_cache" => {
                    if let Some(stream) = call.state().contexts.stream(call.state().acting()) {
                        stream.data.borrow_mut().route_is_stale = true;
                    }
                    Vec::new()
                }
                // A request has only one stream here, so the life span of a property makes no difference.
                b"declare_property" => Vec::new(),
                other => {
                    let name = String::from_utf8_lossy(other);
                    let text = format!("the host has no foreign function {name:?}: the call returns NotFound");
                    call.state().host.warn_once(call.state().thread, text);
                    return Err(Status::NotFound.into());
                }
            };
            call.give(&answer, result, result_length)
        }
    }
    linker.func_wrap("env", "pthread_equal", |left: u32, right: u32| u32::from(left == right))?;
    linker.func_wrap("env", "emscripten_notify_memory_growth", |_: Caller<'_, VmState>, _memory: u32| {})?;
    Ok(())
}

const MAX_UNCOMPRESSED: u64 = 64 * 1024 * 1024;

/// Compresses with zlib, like Envoy's `compress`.
fn compressed(data: &[u8]) -> Result<Vec<u8>, Status> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).and_then(|()| encoder.finish()).map_err(|_| Status::InternalFailure)
}

fn uncompressed(data: &[u8]) -> Result<Vec<u8>, Status> {
    let mut plain = Vec::new();
    let read = ZlibDecoder::new(data).take(MAX_UNCOMPRESSED).read_to_end(&mut plain);
    read.map_err(|_| Status::SerializationFailure)?;
    Ok(plain)
}
