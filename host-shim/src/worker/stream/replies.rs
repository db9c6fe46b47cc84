//! Local replies: those of filters, and those of the stream itself.

use super::Stream;
use super::half::Way;
use crate::traffic::{LocalReply, reply_message};

impl Stream {
    /// Stores a local reply. The first one is sent.
    pub(super) fn local_reply(&mut self, reply: LocalReply) {
        if self.ended {
            return;
        }
        match &mut self.reply {
            // Envoy sends the first reply with the details of the second.
            Some(first) => first.details = reply.details,
            // A filter can replace a local reply, as it can replace an upstream's answer.
            None if !self.replied || (self.has_response && !self.response_sent) => self.reply = Some(reply),
            None => {}
        }
    }

    /// Sends the local reply of a filter after its callback has returned.
    pub(super) fn send_reply(&mut self) {
        let Some(reply) = self.reply.take() else { return };
        if self.ended {
            return;
        }
        self.replied = true;
        self.is_bad_request |= reply.status == 400;
        self.request.stop();
        {
            let mut data = self.data.borrow_mut();
            data.info.details = Some(reply.details.clone());
            data.info.flags |= reply.flags;
            if let Some(reason) = reply.transport_failure() {
                data.info.upstream_failure = Some(reason);
            }
        }
        if self.response_sent {
            self.reset();
            return;
        }
        let (headers, body) = reply_message(&reply, &self.data.borrow().request_headers);
        let end = body.is_empty();
        if self.has_response {
            // The reply replaces the upstream's response. The filters have seen its headers, and see no others.
            self.response.stop();
            self.data.borrow_mut().response_headers = Some(headers.clone());
            self.send_headers(end);
            if !end {
                self.send_data(body, true);
            }
            return;
        }
        self.response_headers(headers, end);
        if !end {
            self.response_data(body, true);
        }
    }

    /// Refuses a request before its headers pass the filters, which get only its end. `closes` is true if the connection
    /// cannot be used again.
    pub fn refuse(&mut self, reply: LocalReply, closes: bool) {
        self.request.end_seen = true;
        self.is_bad_request |= closes;
        self.local_reply(reply);
        self.send_reply();
    }

    /// Handles an upstream that did not answer, or that broke its answer off.
    pub fn upstream_failed(&mut self, reply: LocalReply) {
        self.local_reply(reply);
        self.send_reply();
    }

    /// Sends the reply for a body that is too large for the buffer: 413 for a request, and 500 for a response.
    pub(super) fn check_limit(&mut self, way: Way) {
        let held = self.data.borrow().body(way).held_bytes();
        if self.buffer_limit(way).is_none_or(|limit| held <= limit) {
            return;
        }
        let (status, body, details) = match way {
            Way::Request => (413, "Payload Too Large", "request_payload_too_large"),
            Way::Response => (500, "Internal Server Error", "response_payload_too_large"),
        };
        let body = body.as_bytes().to_vec();
        self.local_reply(LocalReply {
            status,
            body,
            grpc_status: -1,
            details: details.to_owned(),
            ..LocalReply::default()
        });
    }

    /// Refuses a request because the VM of a filter has failed. A reply that is already being sent does not change.
    pub(super) fn refuse_failed(&mut self) {
        if !self.replied {
            self.reply = Some(LocalReply {
                status: 503,
                grpc_status: 14,
                details: "wasm_fail_stream".to_owned(),
                ..LocalReply::default()
            });
        }
    }
}
