//! The probe: a guest that runs a script of hostcalls and logs the result of each.
//!
//! The script is the configuration of the plugin or of the VM. `tests/conformance/README.md` describes it. The probe
//! uses the bare ABI, so that it can pass any value to any hostcall, and exports every callback. It does not panic.
#![allow(unsafe_code)]

mod abi;
mod memory;
mod op;
mod script;
mod state;
mod text;

use abi::{Hostcall, address, log};
use op::Outcome;
use script::Script;

const VM_CONFIGURATION: u32 = 6;
const PLUGIN_CONFIGURATION: u32 = 7;
const REQUEST_HEADERS: u32 = 0;

/// The marker of the ABI's version.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_abi_version_0_2_1() {}

/// Memory for the host to write to.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    memory::allocate(size)
}

macro_rules! callbacks {
    ($($export:ident($($argument:ident),*) $name:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`")]
            #[unsafe(no_mangle)]
            pub extern "C" fn $export($($argument: u32),*) {
                callback($name, &[$($argument),*], 0);
            }
        )*
    };
}

macro_rules! callbacks_that_answer {
    ($($export:ident($($argument:ident),*) $name:literal $default:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`")]
            #[unsafe(no_mangle)]
            pub extern "C" fn $export($($argument: u32),*) -> u32 {
                callback($name, &[$($argument),*], $default)
            }
        )*
    };
}

callbacks! {
    proxy_on_log(id) "on_log";
    proxy_on_delete(id) "on_delete";
    proxy_on_tick(id) "on_tick";
    proxy_on_queue_ready(id, queue) "on_queue_ready";
    proxy_on_http_call_response(id, call, headers, body, trailers) "on_http_call_response";
    proxy_on_grpc_receive_initial_metadata(id, call, headers) "on_grpc_receive_initial_metadata";
    proxy_on_grpc_receive(id, call, size) "on_grpc_receive";
    proxy_on_grpc_receive_trailing_metadata(id, call, trailers) "on_grpc_receive_trailing_metadata";
    proxy_on_grpc_close(id, call, status) "on_grpc_close";
    proxy_on_downstream_connection_close(id, peer) "on_downstream_connection_close";
    proxy_on_upstream_connection_close(id, peer) "on_upstream_connection_close";
    proxy_on_foreign_function(id, function, size) "on_foreign_function";
}

callbacks_that_answer! {
    proxy_on_done(id) "on_done" 1;
    proxy_on_new_connection(id) "on_new_connection" 0;
    proxy_on_downstream_data(id, size, end) "on_downstream_data" 0;
    proxy_on_upstream_data(id, size, end) "on_upstream_data" 0;
    proxy_on_request_headers(id, count, end) "on_request_headers" 0;
    proxy_on_request_body(id, size, end) "on_request_body" 0;
    proxy_on_request_trailers(id, count) "on_request_trailers" 0;
    proxy_on_request_metadata(id, count) "on_request_metadata" 0;
    proxy_on_response_headers(id, count, end) "on_response_headers" 0;
    proxy_on_response_body(id, size, end) "on_response_body" 0;
    proxy_on_response_trailers(id, count) "on_response_trailers" 0;
    proxy_on_response_metadata(id, count) "on_response_metadata" 0;
}

/// `on_context_create`
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_context_create(id: u32, parent: u32) {
    state::create_context(id, parent);
    if parent == 0 {
        // The script is known later.
        state::hold(format!("setup on_context_create({id}, {parent})"));
    } else {
        callback("on_context_create", &[id, parent], 0);
    }
}

/// `on_vm_start`
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_vm_start(id: u32, size: u32) -> u32 {
    state::set_script(None, configuration(VM_CONFIGURATION, size));
    callback("on_vm_start", &[id, size], 1)
}

/// `on_configure`
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_configure(id: u32, size: u32) -> u32 {
    state::set_script(Some(id), configuration(PLUGIN_CONFIGURATION, size));
    for line in state::release(id) {
        log(&line);
    }
    callback("on_configure", &[id, size], 1)
}

/// `validate_configuration`
#[unsafe(no_mangle)]
pub extern "C" fn proxy_validate_configuration(id: u32, size: u32) -> u32 {
    callback("validate_configuration", &[id, size], 1)
}

fn configuration(buffer: u32, size: u32) -> Script {
    let bytes = fetch("get_buffer_bytes", &[buffer, 0, size]).unwrap_or_default();
    Script::parse(&String::from_utf8_lossy(&bytes))
}

/// The bytes that a hostcall returns by pointer and length; nothing if it fails.
fn fetch(hostcall: &str, arguments: &[u32]) -> Option<Vec<u8>> {
    let mut result = [0_u32; 2];
    let [pointer, len] = &mut result;
    let mut numbers = arguments.to_vec();
    numbers.extend([address(&raw mut *pointer), address(&raw mut *len)]);
    let status = Hostcall::named(hostcall)?.call(&numbers, 0)?;
    let [pointer, len] = std::hint::black_box(result);
    memory::returned(pointer, len).filter(|_| status == 0).map(<[u8]>::to_vec)
}

/// The path of the current stream, while its request exists.
fn path() -> Option<String> {
    let ask = |hostcall, prefix: &[u32], name: &str| {
        let mut arguments = prefix.to_vec();
        arguments.extend([address(name.as_ptr()), abi::size(name.len())]);
        fetch(hostcall, &arguments)
    };
    let path = ask("get_header_map_value", &[REQUEST_HEADERS], ":path")
        .or_else(|| ask("get_property", &[], "request\0path"))?;
    Some(String::from_utf8_lossy(&path).into_owned())
}

fn shown_arguments(name: &str, arguments: &[u32]) -> String {
    if let ("on_queue_ready", [id, queue]) = (name, arguments) {
        return format!("{id}, q{}", state::ordinal('q', *queue));
    }
    let list: Vec<String> = arguments.iter().map(u32::to_string).collect();
    list.join(", ")
}

/// Runs the sections for a callback, and returns their result or `default`.
fn callback(name: &'static str, arguments: &[u32], default: u32) -> u32 {
    let context = arguments.first().copied().unwrap_or_default();
    let sections = state::sections(context, name, path);
    let mut ops = sections.iter().flat_map(|ops| ops.iter());
    let setup = if matches!(name, "on_vm_start" | "on_configure" | "validate_configuration") { "setup " } else { "" };
    if state::is_traced(context) || ops.clone().any(|op| !op.silent) {
        log(&format!("{setup}{name}({})", shown_arguments(name, arguments)));
    }
    ops.find_map(|op| {
        let show = |result: &str| {
            if !op.silent {
                log(&format!("{setup}{name}: {}{result}", op.text));
            }
        };
        if op.may_not_return() {
            show("");
        }
        match op::run(op, arguments) {
            Outcome::Returned(value) => {
                show("");
                Some(value)
            }
            Outcome::Shown(result) => {
                show(&format!(" -> {result}"));
                None
            }
        }
    })
    .unwrap_or(default)
}
