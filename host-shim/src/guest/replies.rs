//! Passes the outcomes of HTTP and gRPC callouts to a guest.

use std::rc::Rc;

use super::codes::BROKEN_CONNECTION;
use super::memory::word;
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
        let (code, message, body) = grpc_result(outcome);
        if let (0, Some(on_receive)) = (code, &exports.on_grpc_receive) {
            let size = word(body.len());
            if let Some(root) = self.state_mut().contexts.root_mut(root_id) {
                root.grpc_message = Some(body);
            }
            self.call("proxy_on_grpc_receive", root_id, on_receive, (root_id, token, size));
            if let Some(root) = self.state_mut().contexts.root_mut(root_id) {
                root.grpc_message = None;
            }
        } else if code > 0 {
            self.grpc_closed(root_id, token, code, message);
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

/// gRPC's UNAVAILABLE.
const UNAVAILABLE: u32 = 14;

/// Returns the status, the message and the reply of a unary call. Only the status 0 has a reply.
fn grpc_result(outcome: CalloutOutcome) -> (u32, String, Vec<u8>) {
    const UNKNOWN: u32 = 2;
    const INTERNAL: u32 = 13;
    let CalloutOutcome::Response(CallResponse { headers, body, trailers }) = outcome else {
        return (UNAVAILABLE, "reset".to_owned(), Vec::new());
    };
    let find = |name: &str| trailers.get_str(name).or_else(|| headers.get_str(name)).map(str::to_owned);
    let message = find("grpc-message").unwrap_or_default();
    match (find("grpc-status").map(|code| code.parse()), headers.get_str(":status")) {
        (Some(Ok(0)), _) => match body.split_at_checked(5) {
            // The prefix of a frame: not compressed, and the length.
            Some(([0, length @ ..], message))
                if length.try_into().is_ok_and(|l| u32::from_be_bytes(l) == word(message.len())) =>
            {
                (0, String::new(), message.to_vec())
            }
            _ => (INTERNAL, "the reply is not one message".to_owned(), Vec::new()),
        },
        (Some(Ok(code)), _) => (code, message, Vec::new()),
        (Some(Err(_)), _) => (UNKNOWN, message, Vec::new()),
        (None, Some("503" | "504")) => (UNAVAILABLE, String::from_utf8_lossy(&body).into_owned(), Vec::new()),
        (None, _) => (INTERNAL, "via_upstream".to_owned(), Vec::new()),
    }
}
