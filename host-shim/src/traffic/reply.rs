//! Local replies, which the gateway makes itself.

use crate::base::{Headers, MapKind};

#[derive(Clone, Debug, Default)]
pub struct LocalReply {
    pub status: u32,
    pub headers: Headers,
    pub body: Vec<u8>,
    /// The gRPC status. Negative means none.
    pub grpc_status: i32,
    /// `response.code_details`.
    pub details: String,
    /// `response.flags`.
    pub flags: u64,
}

impl LocalReply {
    /// Returns `upstream.transport_failure_reason` if a connection failed: `…{remote_connection_failure|reason}`.
    pub fn transport_failure(&self) -> Option<String> {
        let (_, reason) = self.details.strip_suffix('}')?.split_once("{remote_connection_failure|")?;
        Some(reason.replace('_', " "))
    }
}

/// Makes Envoy's response for a local reply.
pub fn reply_message(reply: &LocalReply, request: &Headers) -> (Headers, Vec<u8>) {
    let mut headers = Headers::default();
    if is_grpc(request) {
        // gRPC clients read only the trailers.
        headers.add(":status", "200");
        for (name, value) in reply.headers.iter() {
            headers.append(MapKind::Response, name, value);
        }
        headers.set_in_place("content-type", "application/grpc");
        let status = if reply.grpc_status >= 0 { reply.grpc_status } else { grpc_status_of(reply.status) };
        headers.add("grpc-status", status.to_string());
        if !reply.body.is_empty() {
            headers.add("grpc-message", percent_encode(&reply.body));
        }
        return (headers, Vec::new());
    }
    // A status in Envoy has 16 bits.
    headers.add(":status", (reply.status & 0xffff).to_string());
    for (name, value) in reply.headers.iter().filter(|(name, _)| *name != b":status") {
        headers.append(MapKind::Response, name, value);
    }
    if !reply.body.is_empty() {
        headers.set_in_place("content-length", reply.body.len().to_string());
        if headers.get("content-type").is_none() {
            headers.add("content-type", "text/plain");
        }
    }
    let is_head = request.get_str(":method") == Some("HEAD");
    (headers, if is_head { Vec::new() } else { reply.body.clone() })
}

/// Whether a request or a response says that it is gRPC.
pub fn is_grpc(headers: &Headers) -> bool {
    headers
        .get_str("content-type")
        .is_some_and(|kind| kind == "application/grpc" || kind.starts_with("application/grpc+"))
}

fn grpc_status_of(status: u32) -> i32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// Encodes a `grpc-message`: escapes the percent sign and everything that is not printable ASCII.
fn percent_encode(text: &[u8]) -> String {
    use std::fmt::Write;
    let mut encoded = String::new();
    for byte in text {
        if (b' '..=b'~').contains(byte) && *byte != b'%' {
            encoded.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
