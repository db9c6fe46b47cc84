//! Moves each half through the filters: continues it, holds it, resumes it. The functions are those of Envoy's filter
//! manager, so that a filter that continues its half during a callback has the same effects.

use super::Stream;
use super::half::{Half, Hold, Stage, Way};
use crate::base::Headers;
use crate::guest::codes::{DataStatus, HeadersStatus};
use crate::traffic::Seen;

impl Stream {
    /// Passes the request's headers, which are in the stream's data, through the filters.
    pub fn request_headers(&mut self, end: bool) {
        self.request.end_seen = end;
        self.headers(Way::Request, 0, end);
        self.send_reply();
    }

    pub fn request_data(&mut self, data: Vec<u8>, end: bool) {
        self.request.end_seen |= end;
        self.body(Way::Request, 0, Some(data), end);
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
        self.response_end(end);
        self.data.borrow_mut().response_headers = Some(headers);
        self.headers(Way::Response, 0, end);
        self.send_reply();
    }

    pub fn response_data(&mut self, data: Vec<u8>, end: bool) {
        self.response_end(end);
        self.body(Way::Response, 0, Some(data), end);
        self.send_reply();
    }

    pub fn response_trailers(&mut self, trailers: Headers) {
        self.response_end(true);
        self.data.borrow_mut().response_trailers = Some(trailers);
        self.trailers(Way::Response, 0);
        self.send_reply();
    }

    fn response_end(&mut self, end: bool) {
        self.response.end_seen |= end;
        if end && !self.replied {
            let mut data = self.data.borrow_mut();
            data.info.response_received = Some(data.info.clock.now());
        }
    }

    pub(super) fn half(&mut self, way: Way) -> &mut Half {
        match way {
            Way::Request => &mut self.request,
            Way::Response => &mut self.response,
        }
    }

    fn stage(&mut self, way: Way, index: usize) -> Option<&mut Stage> {
        self.half(way).stages.get_mut(index)
    }

    fn is_over(&mut self, way: Way) -> bool {
        self.ended || self.half(way).stopped || self.reply.is_some()
    }

    fn headers(&mut self, way: Way, from: usize, end: bool) {
        let mut index = from;
        while let Some(stage) = self.stage(way, index) {
            stage.end_shown = end;
            let filter = stage.filter;
            let status = self.call_headers(way, filter, end);
            if self.is_over(way) {
                return;
            }
            let Some(stage) = self.stage(way, index) else { return };
            match status {
                HeadersStatus::Continue => stage.headers_passed = true,
                HeadersStatus::StopIteration => stage.hold = Hold::Single,
                HeadersStatus::StopAll => stage.hold = Hold::All,
            }
            if status != HeadersStatus::Continue {
                return;
            }
            index += 1;
        }
        self.half(way).end_passed = end;
        self.headers_passed(way, end);
    }

    /// Passes a piece of the body through the filters, or the data that waits if `piece` is `None`.
    fn body(&mut self, way: Way, from: usize, mut piece: Option<Vec<u8>>, mut end: bool) {
        let had_trailers = self.data.borrow().has_trailers(way);
        let mut adder = None;
        let mut index = from;
        loop {
            if self.is_over(way) {
                return;
            }
            let Some(stage) = self.stage(way, index) else {
                self.body_passed(way, piece, end);
                break;
            };
            if stage.hold == Hold::All {
                self.hold(way, &mut piece);
                return;
            }
            if stage.end_shown {
                return;
            }
            let filter = stage.filter;
            if !self.is_started(filter) {
                index += 1;
                continue;
            }
            let shows_end = end && !self.data.borrow().has_trailers(way);
            if let Some(stage) = self.stage(way, index) {
                stage.end_shown = shows_end;
            }
            let status = self.call_body(way, filter, &mut piece, shows_end);
            if self.is_over(way) {
                return;
            }
            if adder.is_none() && !had_trailers && self.data.borrow().has_trailers(way) {
                end = false;
                adder = Some(index);
            }
            if !self.body_handled(way, index, status, &mut piece) {
                break;
            }
            index += 1;
        }
        // A filter has added trailers at the end. They go to the filters after it.
        if let Some(adder) = adder {
            self.trailers(way, adder + 1);
        }
    }

    /// Returns whether the piece goes to the next filter.
    fn body_handled(&mut self, way: Way, index: usize, status: DataStatus, piece: &mut Option<Vec<u8>>) -> bool {
        let Some(stage) = self.stage(way, index) else { return false };
        let held = std::mem::replace(&mut stage.hold, Hold::Single);
        match status {
            DataStatus::Continue => {
                if held == Hold::Single {
                    self.hold(way, piece);
                    self.go_on(way, index);
                    return false;
                }
                stage.hold = held;
                return true;
            }
            DataStatus::Buffer => {
                self.hold(way, piece);
                self.check_limit(way);
            }
            DataStatus::Watermark => self.hold(way, piece),
            DataStatus::NoBuffer => {
                let end_seen = self.half(way).end_seen;
                let mut data = self.data.borrow_mut();
                if end_seen && !data.has_trailers(way) {
                    data.body_mut(way).hold(Vec::new());
                }
            }
        }
        false
    }

    fn hold(&mut self, way: Way, piece: &mut Option<Vec<u8>>) {
        if let Some(piece) = piece.as_mut() {
            self.data.borrow_mut().body_mut(way).hold(std::mem::take(piece));
        }
    }

    fn body_passed(&mut self, way: Way, piece: Option<Vec<u8>>, end: bool) {
        if self.half(way).end_passed {
            return;
        }
        self.half(way).end_passed = end;
        let data = match piece {
            Some(piece) => piece,
            None => self.data.borrow_mut().body_mut(way).held.as_mut().map(std::mem::take).unwrap_or_default(),
        };
        self.data_passed(way, data, end);
    }

    fn trailers(&mut self, way: Way, from: usize) {
        let mut index = from;
        while let Some(stage) = self.stage(way, index) {
            if stage.hold == Hold::All {
                return;
            }
            let filter = stage.filter;
            if !self.is_started(filter) {
                index += 1;
                continue;
            }
            let passes = self.call_trailers(way, filter);
            if self.is_over(way) {
                return;
            }
            let Some(stage) = self.stage(way, index) else { return };
            stage.end_shown = true;
            match (passes, stage.hold) {
                (true, Hold::Single) => return self.go_on(way, index),
                (true, _) => {}
                (false, Hold::Nothing) => {
                    stage.hold = Hold::Single;
                    return;
                }
                (false, _) => return,
            }
            index += 1;
        }
        if !self.is_over(way) {
            self.trailers_passed(way);
        }
    }

    /// Continues a half at a filter, also during a callback of the filter.
    pub(super) fn resume(&mut self, way: Way, filter: usize) {
        // Envoy does not survive a response that continues before there is one.
        if way == Way::Request || self.has_response {
            let Some(index) = self.half(way).stage_of(filter) else { return };
            self.go_on(way, index);
        }
    }

    fn go_on(&mut self, way: Way, index: usize) {
        if self.is_over(way) || (way == Way::Request && self.replied) {
            return;
        }
        let end_seen = self.half(way).end_seen;
        let Some(stage) = self.stage(way, index) else { return };
        let held = std::mem::replace(&mut stage.hold, Hold::Nothing);
        let filter = stage.filter;
        // A filter that held everything has not seen the body yet.
        let from = if held == Hold::All { index } else { index + 1 };
        let has_body = |stream: &Stream| stream.data.borrow().body(way).held.is_some();
        if !std::mem::replace(&mut stage.headers_passed, true) {
            let end = end_seen && !has_body(self) && !self.data.borrow().has_trailers(way);
            self.headers(way, index + 1, end);
        }
        let had_trailers = self.data.borrow().has_trailers(way);
        if has_body(self) {
            self.data.borrow_mut().body_mut(way).show(filter, Seen::Nothing);
            self.body(way, from, None, end_seen && !had_trailers);
        }
        if had_trailers {
            self.trailers(way, from);
        }
    }
}
