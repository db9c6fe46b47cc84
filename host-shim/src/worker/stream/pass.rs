//! Moves each half through the filters: continues it, holds it, resumes it.

use std::collections::VecDeque;

use super::Stream;
use super::half::{Half, Hold, Piece, Stage, Way};
use crate::base::Headers;
use crate::guest::codes::{DataStatus, HeadersStatus};

impl Stream {
    /// Passes the request's headers, which are in the stream's data, through the filters.
    pub fn request_headers(&mut self, end: bool) {
        self.request.end_seen = end;
        self.headers(Way::Request, 0, end);
        self.send_reply();
    }

    pub fn request_data(&mut self, data: Vec<u8>, end: bool) {
        self.request.end_seen |= end;
        self.body(Way::Request, 0, data, end);
        self.send_reply();
    }

    pub fn request_trailers(&mut self, trailers: Headers) {
        self.request.end_seen = true;
        self.data.borrow_mut().request_trailers = Some(trailers);
        self.trailers(Way::Request, 0);
        self.send_reply();
    }

    /// Passes the response's headers, of the upstream or of a local reply, through the filters.
    pub fn response_headers(&mut self, headers: Headers, end: bool) {
        if self.ended {
            return;
        }
        self.has_response = true;
        self.data.borrow_mut().response_headers = Some(headers);
        self.headers(Way::Response, 0, end);
        self.send_reply();
    }

    pub fn response_data(&mut self, data: Vec<u8>, end: bool) {
        self.body(Way::Response, 0, data, end);
        self.send_reply();
    }

    pub fn response_trailers(&mut self, trailers: Headers) {
        self.data.borrow_mut().response_trailers = Some(trailers);
        self.trailers(Way::Response, 0);
        self.send_reply();
    }

    pub(super) fn half(&mut self, way: Way) -> &mut Half {
        match way {
            Way::Request => &mut self.request,
            Way::Response => &mut self.response,
        }
    }

    pub(super) fn stage(&mut self, way: Way, index: usize) -> Option<&mut Stage> {
        self.half(way).stages.get_mut(index)
    }

    pub(super) fn is_over(&mut self, way: Way) -> bool {
        self.ended || self.half(way).stopped || self.reply.is_some()
    }

    pub(super) fn headers(&mut self, way: Way, from: usize, end: bool) {
        let mut index = from;
        while let Some(stage) = self.stage(way, index) {
            stage.headers_end = end;
            let filter = stage.filter;
            let status = self.call_headers(way, index, filter, end);
            if self.is_over(way) {
                return;
            }
            let Some(stage) = self.stage(way, index) else { return };
            let goes_on = std::mem::take(&mut stage.goes_on);
            if status != HeadersStatus::Continue && !goes_on {
                stage.hold = if status == HeadersStatus::StopAll { Hold::All } else { Hold::Single };
                stage.holds_headers = true;
                return;
            }
            index += 1;
        }
        self.headers_passed(way, end);
    }

    pub(super) fn body(&mut self, way: Way, from: usize, data: Vec<u8>, end: bool) {
        let mut adder = None;
        self.body_until_held(way, from, data, end, &mut adder);
        // A filter has added trailers at the end. They go to the filters after it.
        if let Some(adder) = adder {
            self.trailers(way, adder + 1);
        }
    }

    fn body_until_held(&mut self, way: Way, from: usize, data: Vec<u8>, end: bool, adder: &mut Option<usize>) {
        let (mut data, mut end) = (data, end);
        let mut index = from;
        loop {
            if self.is_over(way) {
                return;
            }
            let Some(stage) = self.stage(way, index) else { break };
            if stage.hold == Hold::All {
                stage.unseen.push_back(Piece::Data(data, end));
                return;
            }
            let filter = stage.filter;
            if !self.is_started(filter) {
                index += 1;
                continue;
            }
            let shown = match self.take_body(way, filter) {
                Some(mut held) => {
                    held.append(&mut data);
                    held
                }
                None => std::mem::take(&mut data),
            };
            self.put_body(way, filter, Some(shown));
            let had_trailers = self.has_trailers(way);
            let status = self.call_body(way, index, filter, end);
            if self.is_over(way) {
                return;
            }
            if end && !had_trailers && self.has_trailers(way) {
                *adder = Some(index);
                end = false;
            }
            let Some(stage) = self.stage(way, index) else { return };
            let goes_on = std::mem::take(&mut stage.goes_on);
            match status {
                _ if goes_on => {}
                DataStatus::Continue => {}
                DataStatus::Buffer => {
                    stage.hold = Hold::Single;
                    stage.body_end = end;
                    self.check_limit(way, filter);
                    return;
                }
                DataStatus::Watermark => {
                    stage.hold = Hold::Single;
                    stage.body_end = end;
                    let mut shown = self.take_body(way, filter).unwrap_or_default();
                    if let Some(stage) = self.stage(way, index) {
                        stage.unshown.append(&mut shown);
                    }
                    return;
                }
                DataStatus::NoBuffer => {
                    stage.hold = Hold::Single;
                    stage.body_end = end;
                    self.put_body(way, filter, None);
                    return;
                }
            }
            stage.hold = Hold::Nothing;
            let releases_headers = std::mem::take(&mut stage.holds_headers);
            let mut shown = self.take_body(way, filter).unwrap_or_default();
            data = self.take_unshown(way, index);
            data.append(&mut shown);
            if releases_headers {
                self.headers(way, index + 1, false);
            }
            index += 1;
        }
        self.data_passed(way, data, end);
    }

    pub(super) fn trailers(&mut self, way: Way, from: usize) {
        let mut index = from;
        loop {
            if self.is_over(way) {
                return;
            }
            let Some(stage) = self.stage(way, index) else { break };
            if stage.hold == Hold::All {
                stage.unseen.push_back(Piece::Trailers);
                return;
            }
            let filter = stage.filter;
            if !self.is_started(filter) {
                index += 1;
                continue;
            }
            let passes = self.call_trailers(way, index, filter);
            if self.is_over(way) {
                return;
            }
            let Some(stage) = self.stage(way, index) else { return };
            let goes_on = std::mem::take(&mut stage.goes_on);
            if !passes && !goes_on {
                stage.hold = Hold::Single;
                stage.holds_trailers = true;
                return;
            }
            stage.hold = Hold::Nothing;
            let releases_headers = std::mem::take(&mut stage.holds_headers);
            if releases_headers {
                self.headers(way, index + 1, false);
            }
            let mut held = self.take_unshown(way, index);
            held.append(&mut self.take_body(way, filter).unwrap_or_default());
            if !held.is_empty() {
                self.body(way, index + 1, held, false);
            }
            index += 1;
        }
        self.trailers_passed(way);
    }

    /// Continues a half that a filter held.
    pub(super) fn resume(&mut self, way: Way, filter: usize) {
        let Some(index) = self.half(way).stage_of(filter) else { return };
        let Some(stage) = self.stage(way, index) else { return };
        if stage.is_called {
            stage.goes_on = true;
            return;
        }
        let held = std::mem::replace(&mut stage.hold, Hold::Nothing);
        if held == Hold::Nothing {
            return;
        }
        let unseen = std::mem::take(&mut stage.unseen);
        let releases_headers = std::mem::take(&mut stage.holds_headers);
        let headers_end = stage.headers_end;
        let body_end = std::mem::take(&mut stage.body_end);
        let releases_trailers = std::mem::take(&mut stage.holds_trailers);
        let mut body = self.take_unshown(way, index);
        body.append(&mut self.take_body(way, filter).unwrap_or_default());
        if releases_headers {
            self.headers(way, index + 1, headers_end);
        }
        if !body.is_empty() || body_end {
            self.body(way, index + 1, body, body_end);
        }
        self.show_unseen(way, index, unseen);
        if releases_trailers {
            self.trailers(way, index + 1);
        }
    }

    /// Passes on the data that arrived while a filter held everything: the body in one piece, then the trailers.
    fn show_unseen(&mut self, way: Way, index: usize, unseen: VecDeque<Piece>) {
        let (mut body, mut body_end, mut has_body, mut has_trailers) = (Vec::new(), false, false, false);
        for piece in unseen {
            match piece {
                Piece::Data(mut data, end) => {
                    body.append(&mut data);
                    body_end |= end;
                    has_body = true;
                }
                Piece::Trailers => has_trailers = true,
            }
        }
        if has_body {
            self.body(way, index, body, body_end);
        }
        if has_trailers {
            self.trailers(way, index);
        }
    }

    fn take_unshown(&mut self, way: Way, index: usize) -> Vec<u8> {
        self.stage(way, index).map(|stage| std::mem::take(&mut stage.unshown)).unwrap_or_default()
    }

    fn has_trailers(&self, way: Way) -> bool {
        let data = self.data.borrow();
        let trailers = if way == Way::Request { &data.request_trailers } else { &data.response_trailers };
        trailers.is_some()
    }

    fn take_body(&mut self, way: Way, filter: usize) -> Option<Vec<u8>> {
        let mut data = self.data.borrow_mut();
        let bodies = if way == Way::Request { &mut data.request_bodies } else { &mut data.response_bodies };
        bodies.get_mut(filter).and_then(Option::take)
    }

    fn put_body(&mut self, way: Way, filter: usize, body: Option<Vec<u8>>) {
        let mut data = self.data.borrow_mut();
        let bodies = if way == Way::Request { &mut data.request_bodies } else { &mut data.response_bodies };
        if let Some(slot) = bodies.get_mut(filter) {
            *slot = body;
        }
    }
}
