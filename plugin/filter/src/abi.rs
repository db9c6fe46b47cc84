//! The part of the proxy-wasm ABI 0.2.1 that the filter uses, as safe functions.
//!
//! Every status is returned as a value. The proxy-wasm Rust SDK panics on unexpected ones, such as that of a restricted
//! capability, and a panic would kill the VM. The SDK also exports all callbacks, and looks up a boxed context in each.
//! ARCHITECTURE.md has the measurements.
#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::ptr::null_mut;

use tollbell_core::host::Headers;

/// A status other than OK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) u32);

impl Status {
    pub(crate) const NOT_FOUND: Status = Status(1);
    pub(crate) const BAD_ARGUMENT: Status = Status(2);
    pub(crate) const EMPTY: Status = Status(7);
    pub(crate) const CAS_MISMATCH: Status = Status(8);
}

type Result<T> = std::result::Result<T, Status>;

/// A map of headers.
#[derive(Clone, Copy)]
pub(crate) enum Map {
    Request = 0,
    Response = 2,
    CallResponse = 6,
}

#[derive(Clone, Copy)]
pub(crate) enum LogLevel {
    Trace = 0,
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
    Critical = 5,
}

/// A body that the host can show.
#[derive(Clone, Copy)]
pub(crate) enum Body {
    Request = 0,
    Response = 1,
    Reply = 4,
}

const PLUGIN_CONFIGURATION: u32 = 7;
const NO_GRPC_STATUS: i32 = -1;

/// The type of a statistic.
#[derive(Clone, Copy)]
pub(crate) enum MetricType {
    Counter = 0,
    Gauge = 1,
}

mod imports {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        pub(super) fn proxy_log(level: u32, text: *const u8, len: usize) -> u32;
        pub(super) fn proxy_get_log_level(level: *mut u32) -> u32;
        pub(super) fn proxy_get_current_time_nanoseconds(nanos: *mut u64) -> u32;
        pub(super) fn proxy_set_tick_period_milliseconds(millis: u32) -> u32;
        pub(super) fn proxy_get_buffer_bytes(
            kind: u32,
            start: usize,
            max: usize,
            data: *mut *mut u8,
            len: *mut usize,
        ) -> u32;
        pub(super) fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, len: *mut usize) -> u32;
        pub(super) fn proxy_get_header_map_value(
            map: u32,
            name: *const u8,
            name_len: usize,
            data: *mut *mut u8,
            len: *mut usize,
        ) -> u32;
        pub(super) fn proxy_replace_header_map_value(
            map: u32,
            name: *const u8,
            name_len: usize,
            value: *const u8,
            value_len: usize,
        ) -> u32;
        pub(super) fn proxy_remove_header_map_value(map: u32, name: *const u8, name_len: usize) -> u32;
        pub(super) fn proxy_send_local_response(
            status: u32,
            details: *const u8,
            details_len: usize,
            body: *const u8,
            body_len: usize,
            headers: *const u8,
            headers_len: usize,
            grpc_status: i32,
        ) -> u32;
        pub(super) fn proxy_http_call(
            upstream: *const u8,
            upstream_len: usize,
            headers: *const u8,
            headers_len: usize,
            body: *const u8,
            body_len: usize,
            trailers: *const u8,
            trailers_len: usize,
            timeout_ms: u32,
            call: *mut u32,
        ) -> u32;
        pub(super) fn proxy_get_shared_data(
            key: *const u8,
            key_len: usize,
            data: *mut *mut u8,
            len: *mut usize,
            cas: *mut u32,
        ) -> u32;
        pub(super) fn proxy_set_shared_data(
            key: *const u8,
            key_len: usize,
            value: *const u8,
            value_len: usize,
            cas: u32,
        ) -> u32;
        pub(super) fn proxy_register_shared_queue(name: *const u8, name_len: usize, queue: *mut u32) -> u32;
        pub(super) fn proxy_resolve_shared_queue(
            vm: *const u8,
            vm_len: usize,
            name: *const u8,
            name_len: usize,
            queue: *mut u32,
        ) -> u32;
        pub(super) fn proxy_enqueue_shared_queue(queue: u32, data: *const u8, len: usize) -> u32;
        pub(super) fn proxy_dequeue_shared_queue(queue: u32, data: *mut *mut u8, len: *mut usize) -> u32;
        pub(super) fn proxy_define_metric(kind: u32, name: *const u8, name_len: usize, metric: *mut u32) -> u32;
        pub(super) fn proxy_increment_metric(metric: u32, n: i64) -> u32;
        pub(super) fn proxy_record_metric(metric: u32, value: u64) -> u32;
        pub(super) fn proxy_continue_stream(stream_type: u32) -> u32;
        pub(super) fn proxy_set_effective_context(context: u32) -> u32;
        pub(super) fn proxy_get_property(path: *const u8, path_len: usize, data: *mut *mut u8, len: *mut usize) -> u32;
        pub(super) fn proxy_set_property(path: *const u8, path_len: usize, value: *const u8, value_len: usize) -> u32;
        pub(super) fn proxy_call_foreign_function(
            name: *const u8,
            name_len: usize,
            arguments: *const u8,
            arguments_len: usize,
            data: *mut *mut u8,
            len: *mut usize,
        ) -> u32;
    }
}

fn check(status: u32) -> Result<()> {
    if status == 0 { Ok(()) } else { Err(Status(status)) }
}

/// Memory for the host to write to. It is taken back with [`returned_bytes`].
pub(crate) fn allocate(size: usize) -> *mut u8 {
    ManuallyDrop::new(Vec::with_capacity(size)).as_mut_ptr()
}

/// The bytes that a hostcall returned through a pointer and a length.
fn returned_bytes(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>> {
    let (mut data, mut len) = (null_mut(), 0);
    check(call(&raw mut data, &raw mut len))?;
    if data.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: the host got `data` from `allocate(len)` and filled `len` bytes, or returned null.
    Ok(unsafe { Vec::from_raw_parts(data, len, len) })
}

fn returned_u32(call: impl FnOnce(*mut u32) -> u32) -> Result<u32> {
    let mut value = 0;
    check(call(&raw mut value))?;
    Ok(value)
}

pub(crate) fn log(level: LogLevel, text: &str) {
    // SAFETY: the host reads `text` during the call. The same holds for every pointer to a slice below.
    unsafe { imports::proxy_log(level as u32, text.as_ptr(), text.len()) };
}

pub(crate) fn log_level() -> Result<u32> {
    // SAFETY: the host writes one u32.
    returned_u32(|level| unsafe { imports::proxy_get_log_level(level) })
}

pub(crate) fn now_nanos() -> Result<u64> {
    let mut nanos = 0;
    // SAFETY: the host writes one u64.
    check(unsafe { imports::proxy_get_current_time_nanoseconds(&raw mut nanos) })?;
    Ok(nanos)
}

pub(crate) fn set_tick_period(millis: u32) -> Result<()> {
    // SAFETY: no pointers.
    check(unsafe { imports::proxy_set_tick_period_milliseconds(millis) })
}

pub(crate) fn plugin_configuration(size: usize) -> Result<Vec<u8>> {
    // SAFETY: see `returned_bytes`.
    returned_bytes(|data, len| unsafe { imports::proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, size, data, len) })
}

/// The part of a body that the host holds now, from its beginning.
pub(crate) fn body(body: Body, most: usize) -> Result<Vec<u8>> {
    // SAFETY: see `returned_bytes`.
    returned_bytes(|data, len| unsafe { imports::proxy_get_buffer_bytes(body as u32, 0, most, data, len) })
}

/// Makes further calls apply to this stream.
pub(crate) fn set_effective_context(context: u32) -> Result<()> {
    // SAFETY: no pointers.
    check(unsafe { imports::proxy_set_effective_context(context) })
}

/// All headers, serialized; see [`Headers`].
pub(crate) fn header_pairs(map: Map) -> Result<Vec<u8>> {
    // SAFETY: see `returned_bytes`.
    returned_bytes(|data, len| unsafe { imports::proxy_get_header_map_pairs(map as u32, data, len) })
}

pub(crate) fn header(map: Map, name: &str) -> Result<Vec<u8>> {
    // SAFETY: see `returned_bytes`.
    returned_bytes(|data, len| unsafe {
        imports::proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), data, len)
    })
}

pub(crate) fn replace_header(map: Map, name: &str, value: &[u8]) -> Result<()> {
    // SAFETY: slices.
    check(unsafe {
        imports::proxy_replace_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

pub(crate) fn remove_header(map: Map, name: &str) -> Result<()> {
    // SAFETY: slices.
    check(unsafe { imports::proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

pub(crate) fn send_local_response<'h>(
    status: u32,
    details: &str,
    headers: impl Iterator<Item = (&'h str, &'h str)> + Clone,
    body: &str,
) -> Result<()> {
    let headers = serialized(headers);
    // SAFETY: slices.
    check(unsafe {
        imports::proxy_send_local_response(
            status,
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            NO_GRPC_STATUS,
        )
    })
}

pub(crate) fn http_call<'h>(
    cluster: &str,
    headers: impl Iterator<Item = (&'h str, &'h str)> + Clone,
    body: &[u8],
    timeout_ms: u32,
) -> Result<u32> {
    let headers = serialized(headers);
    let no_trailers = serialized(std::iter::empty());
    // SAFETY: slices, and the host writes one u32.
    returned_u32(|call| unsafe {
        imports::proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            no_trailers.as_ptr(),
            no_trailers.len(),
            timeout_ms,
            call,
        )
    })
}

pub(crate) fn shared_data(key: &str) -> Result<(Vec<u8>, u32)> {
    let mut cas = 0;
    // SAFETY: see `returned_bytes`; the host writes one u32 more.
    let value = returned_bytes(|data, len| unsafe {
        imports::proxy_get_shared_data(key.as_ptr(), key.len(), data, len, &raw mut cas)
    })?;
    Ok((value, cas))
}

pub(crate) fn set_shared_data(key: &str, value: &[u8], cas: u32) -> Result<()> {
    // SAFETY: slices.
    check(unsafe { imports::proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) })
}

pub(crate) fn register_queue(name: &str) -> Result<u32> {
    // SAFETY: a slice, and the host writes one u32. The same holds below.
    returned_u32(|queue| unsafe { imports::proxy_register_shared_queue(name.as_ptr(), name.len(), queue) })
}

/// The queue with this name in the VMs with this id.
pub(crate) fn resolve_queue(vm_id: &[u8], name: &str) -> Result<u32> {
    // SAFETY: slices, and the host writes one u32.
    returned_u32(|queue| unsafe {
        imports::proxy_resolve_shared_queue(vm_id.as_ptr(), vm_id.len(), name.as_ptr(), name.len(), queue)
    })
}

pub(crate) fn enqueue(queue: u32, message: &[u8]) -> Result<()> {
    // SAFETY: slices.
    check(unsafe { imports::proxy_enqueue_shared_queue(queue, message.as_ptr(), message.len()) })
}

pub(crate) fn dequeue(queue: u32) -> Result<Vec<u8>> {
    // SAFETY: see `returned_bytes`.
    returned_bytes(|data, len| unsafe { imports::proxy_dequeue_shared_queue(queue, data, len) })
}

pub(crate) fn define_metric(kind: MetricType, name: &str) -> Result<u32> {
    // SAFETY: a slice, and the host writes one u32.
    returned_u32(|metric| unsafe { imports::proxy_define_metric(kind as u32, name.as_ptr(), name.len(), metric) })
}

pub(crate) fn record_metric(metric: u32, value: u64) -> Result<()> {
    // SAFETY: no pointers.
    check(unsafe { imports::proxy_record_metric(metric, value) })
}

pub(crate) fn increment_metric(metric: u32, n: i64) -> Result<()> {
    // SAFETY: no pointers.
    check(unsafe { imports::proxy_increment_metric(metric, n) })
}

/// Traps if a test's receiver asks the VM that called it to die.
#[cfg(feature = "faults")]
pub(crate) fn trap_if_asked() {
    if header(Map::CallResponse, "x-test-trap").is_ok() {
        core::arch::wasm32::unreachable();
    }
}

/// A property; `path` has its parts joined by NUL.
pub(crate) fn property(path: &str) -> Result<Vec<u8>> {
    // SAFETY: see `returned_bytes`.
    returned_bytes(|data, len| unsafe { imports::proxy_get_property(path.as_ptr(), path.len(), data, len) })
}

pub(crate) fn set_property(path: &str, value: &[u8]) -> Result<()> {
    // SAFETY: slices.
    check(unsafe { imports::proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) })
}

/// Declares a property of the filter that lives as long as the client's request, which may last longer than a stream.
/// The property is read and set by its name.
pub(crate) fn declare_request_property(name: &str) -> Result<()> {
    const FUNCTION: &str = "declare_property";
    // `envoy.source.extensions.common.wasm.DeclarePropertyArguments`: field 1 is the name, field 5 the life span, whose
    // value 1 is DownstreamRequest. The type is Bytes by default.
    let Ok(length @ 0..=0x7f) = u8::try_from(name.len()) else { return Err(Status::BAD_ARGUMENT) };
    let arguments = [&[0x0a, length], name.as_bytes(), &[0x28, 1]].concat();
    // SAFETY: see `returned_bytes`; slices.
    returned_bytes(|data, len| unsafe {
        imports::proxy_call_foreign_function(
            FUNCTION.as_ptr(),
            FUNCTION.len(),
            arguments.as_ptr(),
            arguments.len(),
            data,
            len,
        )
    })
    .map(drop)
}

fn serialized<'h>(pairs: impl Iterator<Item = (&'h str, &'h str)> + Clone) -> Vec<u8> {
    Headers::serialize(pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes()))).0
}

/// Resumes a paused request.
pub(crate) fn continue_request() -> Result<()> {
    // SAFETY: no pointers.
    check(unsafe { imports::proxy_continue_stream(0) })
}
