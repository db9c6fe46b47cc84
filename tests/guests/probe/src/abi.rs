//! Every hostcall of the proxy-wasm ABI 0.2.1, by name, with its parameters and results.
//!
//! Numbers and pointers both are `u32` here, because a script may pass any value for either.
#![allow(unsafe_code)]

/// A hostcall: its name without `proxy_`, the function, its parameters and its results.
pub(crate) struct Hostcall {
    pub(crate) name: &'static str,
    function: Function,
    pub(crate) takes: &'static [Take],
    pub(crate) returns: &'static [Return],
}

/// A parameter of a script's operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// A 32-bit number.
    Number,
    /// A 64-bit number.
    Long,
    /// A pointer and a length.
    Bytes,
}

/// A result that the host writes through pointers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Return {
    /// A pointer and a length.
    Bytes,
    /// A pointer and a length, of serialized pairs.
    Pairs,
    /// A u32.
    Number,
    /// A u64.
    Long,
    /// A u32 that numbers something in the whole process. It is shown as `c1`, `c2`, … in the order of first use.
    Cas,
    /// The same, shown as `q1`, `q2`, ….
    Queue,
}

#[derive(Clone, Copy)]
enum Function {
    F0(unsafe extern "C" fn() -> u32),
    F1(unsafe extern "C" fn(u32) -> u32),
    F2(unsafe extern "C" fn(u32, u32) -> u32),
    F3(unsafe extern "C" fn(u32, u32, u32) -> u32),
    F4(unsafe extern "C" fn(u32, u32, u32, u32) -> u32),
    F5(unsafe extern "C" fn(u32, u32, u32, u32, u32) -> u32),
    F6(unsafe extern "C" fn(u32, u32, u32, u32, u32, u32) -> u32),
    F8(unsafe extern "C" fn(u32, u32, u32, u32, u32, u32, u32, u32) -> u32),
    F9(unsafe extern "C" fn(u32, u32, u32, u32, u32, u32, u32, u32, u32) -> u32),
    F10(unsafe extern "C" fn(u32, u32, u32, u32, u32, u32, u32, u32, u32, u32) -> u32),
    F12(unsafe extern "C" fn(u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32) -> u32),
    Metric(unsafe extern "C" fn(u32, i64) -> u32),
}

macro_rules! hostcalls {
    ($($function:ident $name:ident($($parameter:ident: $type:ty),*), $takes:expr => $returns:expr;)*) => {
        mod imports {
            #[link(wasm_import_module = "env")]
            unsafe extern "C" {
                $(pub(super) fn $name($($parameter: $type),*) -> u32;)*
            }
        }

        static HOSTCALLS: &[Hostcall] = {
            use Return as R;
            use Take::{Bytes, Long, Number};
            &[$(Hostcall {
                name: stringify!($name),
                function: Function::$function(imports::$name),
                takes: &$takes,
                returns: &$returns,
            }),*]
        };
    };
}

#[rustfmt::skip]
hostcalls! {
    F3 proxy_log(a: u32, b: u32, c: u32), [Number, Bytes] => [];
    F1 proxy_get_log_level(a: u32), [] => [R::Number];
    F1 proxy_get_current_time_nanoseconds(a: u32), [] => [R::Long];
    F1 proxy_set_tick_period_milliseconds(a: u32), [Number] => [];
    F0 proxy_done(), [] => [];
    F1 proxy_set_effective_context(a: u32), [Number] => [];
    F3 proxy_get_buffer_status(a: u32, b: u32, c: u32), [Number] => [R::Number, R::Number];
    F5 proxy_get_buffer_bytes(a: u32, b: u32, c: u32, d: u32, e: u32), [Number, Number, Number] => [R::Bytes];
    F5 proxy_set_buffer_bytes(a: u32, b: u32, c: u32, d: u32, e: u32), [Number, Number, Number, Bytes] => [];
    F2 proxy_get_header_map_size(a: u32, b: u32), [Number] => [R::Number];
    F3 proxy_get_header_map_pairs(a: u32, b: u32, c: u32), [Number] => [R::Pairs];
    F3 proxy_set_header_map_pairs(a: u32, b: u32, c: u32), [Number, Bytes] => [];
    F5 proxy_get_header_map_value(a: u32, b: u32, c: u32, d: u32, e: u32), [Number, Bytes] => [R::Bytes];
    F5 proxy_add_header_map_value(a: u32, b: u32, c: u32, d: u32, e: u32), [Number, Bytes, Bytes] => [];
    F5 proxy_replace_header_map_value(a: u32, b: u32, c: u32, d: u32, e: u32), [Number, Bytes, Bytes] => [];
    F3 proxy_remove_header_map_value(a: u32, b: u32, c: u32), [Number, Bytes] => [];
    F1 proxy_continue_stream(a: u32), [Number] => [];
    F1 proxy_close_stream(a: u32), [Number] => [];
    F3 proxy_get_status(a: u32, b: u32, c: u32), [] => [R::Number, R::Bytes];
    F8 proxy_send_local_response(a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32), [Number, Bytes, Bytes, Bytes, Number] => [];
    F10 proxy_http_call(a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32, i: u32, j: u32), [Bytes, Bytes, Bytes, Bytes, Number] => [R::Number];
    F12 proxy_grpc_call(a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32, i: u32, j: u32, k: u32, l: u32), [Bytes, Bytes, Bytes, Bytes, Bytes, Number] => [R::Number];
    F9 proxy_grpc_stream(a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32, i: u32), [Bytes, Bytes, Bytes, Bytes] => [R::Number];
    F4 proxy_grpc_send(a: u32, b: u32, c: u32, d: u32), [Number, Bytes, Number] => [];
    F1 proxy_grpc_cancel(a: u32), [Number] => [];
    F1 proxy_grpc_close(a: u32), [Number] => [];
    F5 proxy_set_shared_data(a: u32, b: u32, c: u32, d: u32, e: u32), [Bytes, Bytes, Number] => [];
    F5 proxy_get_shared_data(a: u32, b: u32, c: u32, d: u32, e: u32), [Bytes] => [R::Bytes, R::Cas];
    F3 proxy_register_shared_queue(a: u32, b: u32, c: u32), [Bytes] => [R::Queue];
    F5 proxy_resolve_shared_queue(a: u32, b: u32, c: u32, d: u32, e: u32), [Bytes, Bytes] => [R::Queue];
    F3 proxy_enqueue_shared_queue(a: u32, b: u32, c: u32), [Number, Bytes] => [];
    F3 proxy_dequeue_shared_queue(a: u32, b: u32, c: u32), [Number] => [R::Bytes];
    F4 proxy_define_metric(a: u32, b: u32, c: u32, d: u32), [Number, Bytes] => [R::Number];
    Metric proxy_record_metric(a: u32, b: i64), [Number, Long] => [];
    Metric proxy_increment_metric(a: u32, b: i64), [Number, Long] => [];
    F2 proxy_get_metric(a: u32, b: u32), [Number] => [R::Long];
    F4 proxy_get_property(a: u32, b: u32, c: u32, d: u32), [Bytes] => [R::Bytes];
    F4 proxy_set_property(a: u32, b: u32, c: u32, d: u32), [Bytes, Bytes] => [];
    F6 proxy_call_foreign_function(a: u32, b: u32, c: u32, d: u32, e: u32, f: u32), [Bytes, Bytes] => [R::Bytes];
}

impl Hostcall {
    /// The hostcall with this name, without `proxy_`.
    pub(crate) fn named(name: &str) -> Option<&'static Hostcall> {
        HOSTCALLS.iter().find(|hostcall| hostcall.name.strip_prefix("proxy_") == Some(name))
    }

    /// Calls it. `None` if the count of `numbers` is wrong.
    pub(crate) fn call(&self, numbers: &[u32], long: i64) -> Option<u32> {
        // SAFETY: the host must accept any value. It writes to the places that the script names: the slots of `run`, or
        // an address that tests the host.
        let status = unsafe {
            match (self.function, numbers) {
                (Function::F0(f), &[]) => f(),
                (Function::F1(f), &[a]) => f(a),
                (Function::F2(f), &[a, b]) => f(a, b),
                (Function::F3(f), &[a, b, c]) => f(a, b, c),
                (Function::F4(f), &[a, b, c, d]) => f(a, b, c, d),
                (Function::F5(f), &[a, b, c, d, e]) => f(a, b, c, d, e),
                (Function::F6(f), &[a, b, c, d, e, g]) => f(a, b, c, d, e, g),
                (Function::F8(f), &[a, b, c, d, e, g, h, i]) => f(a, b, c, d, e, g, h, i),
                (Function::F9(f), &[a, b, c, d, e, g, h, i, j]) => f(a, b, c, d, e, g, h, i, j),
                (Function::F10(f), &[a, b, c, d, e, g, h, i, j, k]) => f(a, b, c, d, e, g, h, i, j, k),
                (Function::F12(f), &[a, b, c, d, e, g, h, i, j, k, l, m]) => f(a, b, c, d, e, g, h, i, j, k, l, m),
                (Function::Metric(f), &[a]) => f(a, long),
                _ => return None,
            }
        };
        Some(status)
    }
}

const INFO: u32 = 2;

/// Logs a line at level info.
pub(crate) fn log(line: &str) {
    // SAFETY: the host reads `line` during the call.
    unsafe { imports::proxy_log(INFO, address(line.as_ptr()), size(line.len())) };
}

/// The address of a value in the guest's memory.
#[allow(clippy::cast_possible_truncation)]
pub(crate) fn address<T>(pointer: *const T) -> u32 {
    pointer as usize as u32
}

/// A length in the ABI's type.
#[allow(clippy::cast_possible_truncation)]
pub(crate) fn size(len: usize) -> u32 {
    len as u32
}
