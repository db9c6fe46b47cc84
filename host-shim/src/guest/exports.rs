//! The callbacks that a module exports, with checked signatures.

use anyhow::{Result, anyhow};
use wasmtime::{AsContextMut, Instance, TypedFunc, WasmParams, WasmResults};

use super::codes::AbiVersion;

/// `proxy_on_request_headers` and `proxy_on_response_headers` have no end-of-stream flag in ABI 0.1.0.
pub enum HeadersCallback {
    V1(TypedFunc<(u32, u32), u32>),
    V2(TypedFunc<(u32, u32, u32), u32>),
}

/// The callbacks. A missing callback is not called.
#[derive(Default)]
pub struct Exports {
    pub on_context_create: Option<TypedFunc<(u32, u32), ()>>,
    pub on_vm_start: Option<TypedFunc<(u32, u32), u32>>,
    pub on_configure: Option<TypedFunc<(u32, u32), u32>>,
    pub validate_configuration: Option<TypedFunc<(u32, u32), u32>>,
    pub on_tick: Option<TypedFunc<u32, ()>>,
    pub on_request_headers: Option<HeadersCallback>,
    pub on_request_body: Option<TypedFunc<(u32, u32, u32), u32>>,
    pub on_request_trailers: Option<TypedFunc<(u32, u32), u32>>,
    pub on_response_headers: Option<HeadersCallback>,
    pub on_response_body: Option<TypedFunc<(u32, u32, u32), u32>>,
    pub on_response_trailers: Option<TypedFunc<(u32, u32), u32>>,
    pub on_http_call_response: Option<TypedFunc<(u32, u32, u32, u32, u32), ()>>,
    pub on_grpc_receive_initial_metadata: Option<TypedFunc<(u32, u32, u32), ()>>,
    pub on_grpc_receive: Option<TypedFunc<(u32, u32, u32), ()>>,
    pub on_grpc_receive_trailing_metadata: Option<TypedFunc<(u32, u32, u32), ()>>,
    pub on_grpc_close: Option<TypedFunc<(u32, u32, u32), ()>>,
    pub on_queue_ready: Option<TypedFunc<(u32, u32), ()>>,
    pub on_done: Option<TypedFunc<u32, u32>>,
    pub on_log: Option<TypedFunc<u32, ()>>,
    pub on_delete: Option<TypedFunc<u32, ()>>,
}

impl Exports {
    /// Finds the callbacks of an instance. A callback for which `allowed` returns false counts as missing.
    ///
    /// # Errors
    /// An export does not have the signature of the ABI.
    pub fn of(
        instance: &Instance,
        store: &mut impl AsContextMut,
        abi: AbiVersion,
        allowed: impl Fn(&str) -> bool,
    ) -> Result<Self> {
        let mut exports = Exports::default();
        macro_rules! find {
            ($($field:ident),*) => { $(
                let name = concat!("proxy_", stringify!($field));
                if allowed(name) {
                    exports.$field = function(instance, store, name)?;
                }
            )* };
        }
        find!(
            on_context_create,
            on_vm_start,
            on_configure,
            validate_configuration,
            on_tick,
            on_request_body,
            on_request_trailers,
            on_response_body,
            on_response_trailers,
            on_http_call_response,
            on_grpc_receive_initial_metadata,
            on_grpc_receive,
            on_grpc_receive_trailing_metadata,
            on_grpc_close,
            on_queue_ready,
            on_done,
            on_log,
            on_delete
        );
        exports.on_request_headers = headers(instance, store, abi, "proxy_on_request_headers", &allowed)?;
        exports.on_response_headers = headers(instance, store, abi, "proxy_on_response_headers", &allowed)?;
        Ok(exports)
    }
}

fn headers(
    instance: &Instance,
    store: &mut impl AsContextMut,
    abi: AbiVersion,
    name: &str,
    allowed: impl Fn(&str) -> bool,
) -> Result<Option<HeadersCallback>> {
    if !allowed(name) {
        return Ok(None);
    }
    if abi == AbiVersion::V0_1_0 {
        return Ok(function(instance, store, name)?.map(HeadersCallback::V1));
    }
    Ok(function(instance, store, name)?.map(HeadersCallback::V2))
}

/// Finds an exported function. Returns `None` if there is no function with this name.
///
/// # Errors
/// The function has another signature.
pub fn function<P: WasmParams, R: WasmResults>(
    instance: &Instance,
    store: &mut impl AsContextMut,
    name: &str,
) -> Result<Option<TypedFunc<P, R>>> {
    let Some(function) = instance.get_func(&mut *store, name) else { return Ok(None) };
    let typed = function.typed(&*store).map_err(|error| anyhow!("Bad function signature for: {name} ({error})"))?;
    Ok(Some(typed))
}
