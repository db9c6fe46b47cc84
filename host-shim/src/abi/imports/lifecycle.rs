//! `proxy_done`, `proxy_set_effective_context`, `proxy_call_foreign_function`, and what Emscripten's modules import.

use wasmtime::{Caller, Linker};

use super::hostcalls;
use crate::abi::types::Status;
use crate::vm::state::{AfterCall, VmState};

pub(super) fn offer(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    hostcalls! { linker;
        fn proxy_done(call) {
            let state = call.state_mut();
            let root = state.contexts.root_id(state.acting());
            if !state.contexts.root(root).is_some_and(|root| root.is_closing) {
                return Err(Status::NotFound.into());
            }
            state.after_call.push(AfterCall::Done { root });
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
            call, name: u32, name_length: u32, args: u32, args_length: u32, _result: u32, _result_length: u32
        ) {
            let name = call.bytes(name, name_length)?;
            call.bytes(args, args_length)?;
            let text = format!("host-shim: there is no foreign function {:?}", String::from_utf8_lossy(&name));
            call.state().log(crate::abi::types::LogLevel::Debug, &text);
            Err(Status::NotFound.into())
        }
    }
    linker.func_wrap("env", "pthread_equal", |left: u32, right: u32| u32::from(left == right))?;
    linker.func_wrap("env", "emscripten_notify_memory_growth", |_: Caller<'_, VmState>, _memory: u32| {})?;
    Ok(())
}
