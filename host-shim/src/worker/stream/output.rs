//! Sends data that has passed all filters to the upstream or to the client.

use super::Stream;
use super::half::Way;
use crate::worker::Routed;

impl Stream {
    pub(super) fn headers_passed(&mut self, way: Way, end: bool) {
        match way {
            Way::Request => match self.exchange.clone().request_headers(&self.data, end) {
                Routed::Forwarded => {}
                Routed::Answered(reply) => self.local_reply(reply),
            },
            Way::Response => self.send_headers(end),
        }
    }

    pub(super) fn data_passed(&mut self, way: Way, data: Vec<u8>, end: bool) {
        match way {
            Way::Request => self.exchange.request_data(data, end),
            Way::Response => self.send_data(data, end),
        }
    }

    pub(super) fn trailers_passed(&mut self, way: Way) {
        match way {
            Way::Request => {
                let trailers = self.data.borrow().request_trailers.clone().unwrap_or_default();
                self.exchange.request_trailers(trailers);
            }
            Way::Response => {
                let trailers = self.data.borrow().response_trailers.clone().unwrap_or_default();
                self.exchange.response_trailers(trailers);
                self.end();
            }
        }
    }

    pub(super) fn send_headers(&mut self, end: bool) {
        self.response_sent = true;
        let mut replaced = None;
        let headers = {
            let mut data = self.data.borrow_mut();
            let mut headers = data.response_headers.clone().unwrap_or_default();
            // The codec decides how the body is sent.
            headers.remove("transfer-encoding");
            if headers.get_str(":status").and_then(|status| status.parse::<u16>().ok()).is_none() {
                // Envoy's codec sends this instead of a response without a status.
                headers = [(":status", "502"), ("content-length", "32"), ("content-type", "text/plain")]
                    .into_iter()
                    .collect();
                replaced = Some(b"missing required header: :status".to_vec());
                let details = "filter_removed_required_response_headers{missing_required_header:_:status}";
                data.info.details = Some(details.to_owned());
            }
            let closes = self.replied && (self.is_bad_request || !self.request.end_seen);
            self.exchange.finish_response(&mut headers, &data.request_headers, closes);
            data.info.response_code = headers.get_str(":status").and_then(|status| status.parse().ok());
            data.response_headers = Some(headers.clone());
            headers
        };
        self.exchange.response_headers(headers, end && replaced.is_none());
        if let Some(body) = replaced {
            self.send_data(body, true);
        } else if end {
            self.end();
        }
    }

    pub(super) fn send_data(&mut self, data: Vec<u8>, end: bool) {
        self.data.borrow_mut().info.response_bytes += u64::try_from(data.len()).unwrap_or_default();
        self.exchange.response_data(data, end);
        if end {
            self.end();
        }
    }
}
