//! Envoy's response flags, as bits of `response.flags`.

pub const NO_HEALTHY_UPSTREAM: u64 = 0x2;
pub const UPSTREAM_REQUEST_TIMEOUT: u64 = 0x4;
pub const UPSTREAM_REMOTE_RESET: u64 = 0x10;
pub const UPSTREAM_CONNECTION_FAILURE: u64 = 0x20;
pub const UPSTREAM_CONNECTION_TERMINATION: u64 = 0x40;
pub const UPSTREAM_PROTOCOL_ERROR: u64 = 0x80_0000;
pub const UPSTREAM_OVERFLOW: u64 = 0x80;
pub const NO_ROUTE_FOUND: u64 = 0x100;
pub const DOWNSTREAM_CONNECTION_TERMINATION: u64 = 0x4000;
pub const STREAM_IDLE_TIMEOUT: u64 = 0x1_0000;
pub const UPSTREAM_RETRY_LIMIT_EXCEEDED: u64 = 0x8000;
pub const UPSTREAM_MAX_STREAM_DURATION_REACHED: u64 = 0x8_0000;
pub const DOWNSTREAM_PROTOCOL_ERROR: u64 = 0x4_0000;
pub const NO_CLUSTER_FOUND: u64 = 0x1000_0000;

/// The bits of flags as `%RESPONSE_FLAGS%` shows them, such as `UH,URX`. Unknown names are left out.
pub fn response_flags(names: &str) -> u64 {
    names.split(',').fold(0, |bits, name| {
        bits | match name.trim() {
            "UH" => NO_HEALTHY_UPSTREAM,
            "UT" => UPSTREAM_REQUEST_TIMEOUT,
            "UR" => UPSTREAM_REMOTE_RESET,
            "UF" => UPSTREAM_CONNECTION_FAILURE,
            "UC" => UPSTREAM_CONNECTION_TERMINATION,
            "UPE" => UPSTREAM_PROTOCOL_ERROR,
            "UO" => UPSTREAM_OVERFLOW,
            "NR" => NO_ROUTE_FOUND,
            "DC" => DOWNSTREAM_CONNECTION_TERMINATION,
            "SI" => STREAM_IDLE_TIMEOUT,
            "URX" => UPSTREAM_RETRY_LIMIT_EXCEEDED,
            "UMSDR" => UPSTREAM_MAX_STREAM_DURATION_REACHED,
            "DPE" => DOWNSTREAM_PROTOCOL_ERROR,
            "NC" => NO_CLUSTER_FOUND,
            _ => 0,
        }
    })
}
