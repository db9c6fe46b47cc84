//! Passes the outcomes of HTTP and gRPC callouts to a guest.

use std::rc::Rc;

use super::codes::BROKEN_CONNECTION;
use super::memory::{index, word};
use super::vm::Vm;
use crate::traffic::{CallResponse, CalloutOutcome};

impl Vm {
    /// Reports the end of a callout: calls `proxy_on_http_call_response` or the gRPC callbacks.
    pub fn callout_done(&mut self, root_id: u32, token: u32, outcome: CalloutOutcome) {
        let exports = Rc::clone(&self.exports);
        let Some(root) = self.state_mut().contexts.root_mut(root_id) else { return };
        if !root.calls.remove(&token) {
            return;
        }
        // The low two bits of a token identify a gRPC call.
        if token & 3 == 1 {
            return self.grpc_done(root_id, token, outcome);
        }
        let Some(on_response) = &exports.on_http_call_response else { return };
        let (counts, response) = match outcome {
            CalloutOutcome::Response(response) => {
                let counts = (word(response.headers.len()), word(response.body.len()), word(response.trailers.len()));
                (counts, Some(response))
            }
            CalloutOutcome::Reset => {
                root.status = (BROKEN_CONNECTION, "reset".to_owned());
                ((0, 0, 0), None)
            }
        };
        root.call_response = response;
        let (headers, body, trailers) = counts;
        self.call("proxy_on_http_call_response", root_id, on_response, (root_id, token, headers, body, trailers));
        if let Some(root) = self.state_mut().contexts.root_mut(root_id) {
            root.call_response = None;
            root.status.1.clear();
        }
    }

    fn grpc_done(&mut self, root_id: u32, token: u32, outcome: CalloutOutcome) {
        let exports = Rc::clone(&self.exports);
        match grpc_result(outcome) {
            Ok(message) => {
                let Some(on_receive) = &exports.on_grpc_receive else { return };
                let size = word(message.len());
                if let Some(root) = self.state_mut().contexts.root_mut(root_id) {
                    root.grpc_message = Some(message);
                }
                self.call("proxy_on_grpc_receive", root_id, on_receive, (root_id, token, size));
                if let Some(root) = self.state_mut().contexts.root_mut(root_id) {
                    root.grpc_message = None;
                }
            }
            Err((code, message)) => self.grpc_closed(root_id, token, code, message),
        }
    }

    /// Reports that the cluster of a gRPC call does not exist.
    pub fn grpc_unavailable(&mut self, root_id: u32, token: u32) {
        self.grpc_closed(root_id, token, UNAVAILABLE, "Cluster not available".to_owned());
    }

    fn grpc_closed(&mut self, root_id: u32, token: u32, code: u32, message: String) {
        let exports = Rc::clone(&self.exports);
        let Some(on_close) = &exports.on_grpc_close else { return };
        if let Some(root) = self.state_mut().contexts.root_mut(root_id) {
            root.status = (code, message);
        }
        self.call("proxy_on_grpc_close", root_id, on_close, (root_id, token, code));
        if let Some(root) = self.state_mut().contexts.root_mut(root_id) {
            root.status.1.clear();
        }
    }
}

const UNKNOWN: u32 = 2;
const INTERNAL: u32 = 13;
const UNAVAILABLE: u32 = 14;
/// Envoy's number for a status that is not one of gRPC.
const INVALID: u32 = u32::MAX;

/// Returns the message of a unary call.
///
/// # Errors
/// The status and the text with which the call ends without a message.
fn grpc_result(outcome: CalloutOutcome) -> Result<Vec<u8>, (u32, String)> {
    let CalloutOutcome::Response(CallResponse { headers, body, trailers, details }) = outcome else {
        return Err((INTERNAL, "via_upstream".to_owned()));
    };
    let details = details.unwrap_or_else(|| "via_upstream".to_owned());
    // A status in the headers counts only if they are the whole answer.
    let is_head_only = body.is_empty() && trailers.is_empty();
    let end = if is_head_only { &headers } else { &trailers };
    let status = end.get_str("grpc-status").map(|code| code.parse().ok().filter(|code| *code <= 16).unwrap_or(INVALID));
    if headers.get_str(":status") != Some("200") && !(is_head_only && status.is_some()) {
        return Err((status_of_http(headers.get_str(":status")), details));
    }
    let Ok(message) = last_message(&body) else { return Err((INTERNAL, details)) };
    match status.unwrap_or(UNKNOWN) {
        0 => message.ok_or((INTERNAL, String::new())),
        code => Err((
            code,
            match end.get_str("grpc-message") {
                Some(text) if !text.is_empty() => format!("{text}{{{details}}}"),
                _ => details,
            },
        )),
    }
}

fn status_of_http(status: Option<&str>) -> u32 {
    match status {
        Some("400") => INTERNAL,
        Some("401") => 16,
        Some("403") => 7,
        Some("404") => 12,
        Some("429" | "502" | "503" | "504") => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

/// Returns the last complete message of a body. Before each message are a flag, which must be 0, and its length.
fn last_message(mut body: &[u8]) -> Result<Option<Vec<u8>>, ()> {
    let mut last = None;
    loop {
        match body {
            [0, ..] => {}
            [] => return Ok(last),
            _ => return Err(()),
        }
        let Some(([_, length @ ..], rest)) = body.split_first_chunk::<5>() else { return Ok(last) };
        let Some((message, rest)) = rest.split_at_checked(index(u32::from_be_bytes(*length))) else { return Ok(last) };
        last = Some(message.to_vec());
        body = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_message_counts() {
        assert_eq!(last_message(b""), Ok(None));
        assert_eq!(last_message(b"\0\0\0\0\x02ok"), Ok(Some(b"ok".to_vec())));
        assert_eq!(last_message(b"\0\0\0\0\x01a\0\0\0\0\x01b"), Ok(Some(b"b".to_vec())));
        assert_eq!(last_message(b"\0\0\0\0\x01a\0\0\0"), Ok(Some(b"a".to_vec())));
        assert_eq!(last_message(b"\0\xff\xff\xff\xffa"), Ok(None));
        assert_eq!(last_message(b"\x01\0\0\0\x01a"), Err(()));
    }
}
