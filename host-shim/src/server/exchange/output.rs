//! What the filters pass on: the request to the upstream, and the response to the client.

use std::cell::RefCell;
use std::rc::Rc;

use http::Response;

use super::{HEAD_FIRST, ServerExchange, head};
use crate::base::Headers;
use crate::router;
use crate::server::body::Sink;
use crate::server::{convert, wire};
use crate::traffic::{Network as _, StreamData};
use crate::worker::{Exchange, Routed};

impl Exchange for ServerExchange {
    fn request_headers(&self, stream: &Rc<RefCell<StreamData>>, end: bool) -> Routed {
        let mut data = stream.borrow_mut();
        let had_route = !data.route_is_stale;
        let target = match self.site.route(&mut data, |name| self.network.cluster(name)) {
            Ok(target) => target,
            Err(reply) => return Routed::Answered(reply),
        };
        data.info.attempts = 1;
        if !had_route && data.info.longest.is_some() {
            self.watch_longest();
        }
        data.info.request_sent = Some(self.worker.host().clock.now());
        let headers = data.request_headers.clone();
        drop(data);
        self.start_upstream(headers, target, end);
        Routed::Forwarded
    }

    fn request_data(&self, data: Vec<u8>, end: bool) {
        if let Some(sink) = self.upstream.borrow().as_ref() {
            if let Some(record) = self.record.borrow_mut().as_mut() {
                record.data(&data);
            }
            sink.data(data);
            if end {
                sink.end();
                self.request_is_whole();
            }
        }
    }

    fn request_trailers(&self, trailers: Headers) {
        if let Some(sink) = self.upstream.borrow().as_ref() {
            let trailers = match (self.upstream_is_http2.get(), self.upstream_trailers.get()) {
                (true, _) => Some(convert::to_map(&trailers)),
                (false, true) => Some(wire::trailers(&trailers)),
                (false, false) => None,
            };
            if let (Some(record), Some(trailers)) = (self.record.borrow_mut().as_mut(), &trailers) {
                record.trailers(trailers.clone());
            }
            match trailers {
                Some(trailers) => sink.trailers(trailers),
                None => sink.end(),
            }
            self.request_is_whole();
        }
    }

    fn response_headers(&self, headers: Headers, end: bool) {
        let (Some(head), Some(body)) = (self.head.borrow_mut().take(), self.body.borrow_mut().take()) else { return };
        let (status, plain) = match &self.http1 {
            Some(wire) => {
                let request =
                    head::Asked { is_head: self.is_head.get(), is_http10: wire.is_http10(), tunnel: self.tunnel.get() };
                head::http1(&headers, end, &request)
            }
            None => head::http2(&headers),
        };
        if headers.get("content-length").is_some() || (self.http1.is_some() && !end) {
            self.client.has_length();
        }
        if end {
            self.client.end();
            self.over();
        }
        self.stats.response(status);
        let mut response = Response::new(body);
        (*response.status_mut(), *response.headers_mut()) = plain;
        // The client can have disconnected.
        let _ = head.send(response);
    }

    fn response_data(&self, data: Vec<u8>, end: bool) {
        self.touch();
        self.client.data(data);
        if end {
            self.client.end();
            self.over();
        }
    }

    fn response_trailers(&self, trailers: Headers) {
        if let Some(wire) = &self.http1 {
            if self.site.listener.manager.http1.trailers {
                let mut lines = Vec::new();
                wire::push_lines(&mut lines, &trailers);
                wire.set_trailers(lines);
            }
            self.client.end();
        } else {
            self.client.trailers(convert::to_map(&trailers));
        }
        self.over();
    }

    fn reset(&self) {
        if self.head.borrow_mut().take().is_some() {
            self.client.cut();
        } else {
            // hyper must write the headers before it gets the error of the body.
            let client = self.client.clone();
            tokio::task::spawn_local(async move {
                tokio::time::sleep(HEAD_FIRST).await;
                client.cut();
            });
        }
        self.over();
    }

    fn finish_response(&self, headers: &mut Headers, request: &Headers, closes: bool) {
        if headers.get("date").is_none() {
            headers.add("date", self.worker.host().clock.http_date());
        }
        self.site.finish_response(headers, request);
        self.is_head.set(request.get_str(":method") == Some("HEAD"));
        let Some(wire) = &self.http1 else { return };
        if self.tunnel.get().is_some() && router::stays_open(request, headers) {
            return;
        }
        // In HTTP/1.0, only a length shows the end of a body on a connection that stays open.
        let has_no_end = wire.is_http10() && headers.get("content-length").is_none();
        if closes || !self.is_received.get() || wire.closes() || has_no_end {
            headers.set("connection", "close");
        } else if wire.is_http10() {
            headers.set("connection", "keep-alive");
        }
    }
}
