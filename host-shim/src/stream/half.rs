//! One half of a stream, request or response, on its way through the filters.

use std::collections::VecDeque;
use std::rc::Rc;

use super::{Routed, Stream};
use crate::abi::memory::word;
use crate::abi::types::{DataStatus, HeadersStatus};
use crate::headers::Headers;
use crate::vm::context::Visible;
use crate::vm::state::{AfterCall, Ask, LocalReply};

/// The most that a filter can hold of a body: Envoy's `per_connection_buffer_limit_bytes`.
pub(super) const BUFFER_LIMIT: usize = 1 << 20;

/// Where a half stands.
pub(super) struct Half {
    stages: Vec<Stage>,
    stopped: bool,
    /// The last of it has come in.
    pub(super) end_seen: bool,
}

/// A filter on the way.
struct Stage {
    filter: usize,
    hold: Hold,
    /// The headers wait here, while bodies are shown to the filter.
    holds_headers: bool,
    /// They were the last of the half.
    headers_end: bool,
    /// What came while everything was held: the filter has not seen it.
    unseen: VecDeque<Piece>,
    /// What waits behind this filter without being shown to it again: Envoy's StopIterationAndWatermark.
    unshown: Vec<u8>,
    /// Whether what the filter holds of the body is the last of it.
    body_end: bool,
    holds_trailers: bool,
    /// The filter let its half go on while it was called.
    goes_on: bool,
    is_called: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    Nothing,
    /// Bodies and trailers still reach this filter.
    Single,
    /// Nothing reaches it.
    All,
}

enum Piece {
    Data(Vec<u8>, bool),
    Trailers,
}

/// Which half a function is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Request,
    Response,
}

impl Half {
    pub(super) fn new(filters: impl Iterator<Item = usize>) -> Self {
        let stage = |filter| Stage {
            filter,
            hold: Hold::Nothing,
            holds_headers: false,
            headers_end: false,
            unseen: VecDeque::new(),
            unshown: Vec::new(),
            body_end: false,
            holds_trailers: false,
            goes_on: false,
            is_called: false,
        };
        Half { stages: filters.map(stage).collect(), stopped: false, end_seen: false }
    }

    /// Nothing goes on any more.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    pub(super) fn held_bytes(&self, bodies: &[Option<Vec<u8>>]) -> usize {
        let unseen = self.stages.iter().flat_map(|stage| &stage.unseen).map(|piece| match piece {
            Piece::Data(data, _) => data.len(),
            Piece::Trailers => 0,
        });
        let unshown = self.stages.iter().map(|stage| stage.unshown.len());
        unseen.chain(unshown).sum::<usize>() + bodies.iter().flatten().map(Vec::len).sum::<usize>()
    }

    fn stage_of(&self, filter: usize) -> Option<usize> {
        self.stages.iter().position(|stage| stage.filter == filter)
    }
}

impl Stream {
    /// The request's headers, which are in the stream's data.
    pub(crate) fn request_headers(&mut self, end: bool) {
        self.request.end_seen = end;
        self.headers(Way::Request, 0, end);
        self.send_reply();
    }

    /// More of the request's body.
    pub(crate) fn request_data(&mut self, data: Vec<u8>, end: bool) {
        self.request.end_seen |= end;
        self.body(Way::Request, 0, data, end);
        self.send_reply();
    }

    /// The request's trailers.
    pub(crate) fn request_trailers(&mut self, trailers: Headers) {
        self.request.end_seen = true;
        self.data.borrow_mut().request_trailers = Some(trailers);
        self.trailers(Way::Request, 0);
        self.send_reply();
    }

    /// The response's headers, the upstream's or a local reply's.
    pub(crate) fn response_headers(&mut self, headers: Headers, end: bool) {
        if self.ended {
            return;
        }
        self.has_response = true;
        self.data.borrow_mut().response_headers = Some(headers);
        self.headers(Way::Response, 0, end);
        self.send_reply();
    }

    /// More of the response's body.
    pub(crate) fn response_data(&mut self, data: Vec<u8>, end: bool) {
        self.body(Way::Response, 0, data, end);
        self.send_reply();
    }

    /// The response's trailers.
    pub(crate) fn response_trailers(&mut self, trailers: Headers) {
        self.data.borrow_mut().response_trailers = Some(trailers);
        self.trailers(Way::Response, 0);
        self.send_reply();
    }

    pub(super) fn continue_request(&mut self, filter: usize) {
        self.resume(Way::Request, filter);
    }

    pub(super) fn continue_response(&mut self, filter: usize) {
        self.resume(Way::Response, filter);
    }

    fn half(&mut self, way: Way) -> &mut Half {
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

    fn body(&mut self, way: Way, from: usize, data: Vec<u8>, end: bool) {
        let mut adder = None;
        self.body_until_held(way, from, data, end, &mut adder);
        // A filter has put trailers behind the end: they go to the filters that follow.
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
            if !self.is_started(way, filter) {
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

    fn trailers(&mut self, way: Way, from: usize) {
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
            if !self.is_started(way, filter) {
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

    /// A filter lets its half go on.
    fn resume(&mut self, way: Way, filter: usize) {
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

    /// What came while a filter held everything: the body in one piece, then the trailers.
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

    /// More than a buffer takes is 413 for a request, and 500 for a response.
    fn check_limit(&mut self, way: Way, filter: usize) {
        let data = self.data.borrow();
        let bodies = if way == Way::Request { &data.request_bodies } else { &data.response_bodies };
        let length = bodies.get(filter).and_then(|body| body.as_ref().map(Vec::len)).unwrap_or_default();
        drop(data);
        if length <= BUFFER_LIMIT {
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

    /// A filter that has not seen the request's headers sees nothing of the stream.
    fn is_started(&self, way: Way, filter: usize) -> bool {
        let _ = way;
        self.filters.get(filter).is_some_and(|filter| filter.started)
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

    fn call_headers(&mut self, way: Way, stage: usize, filter: usize, end: bool) -> HeadersStatus {
        if way == Way::Request {
            self.create_context(filter);
            if let Some(filter) = self.filters.get_mut(filter) {
                filter.started = true;
            }
        } else if !self.is_started(way, filter) {
            return HeadersStatus::Continue;
        }
        let count = {
            let data = self.data.borrow();
            match way {
                Way::Request => data.request_headers.len(),
                Way::Response => data.response_headers.as_ref().map_or(0, Headers::len),
            }
        };
        let show = |visible: &mut Visible, is_shown: bool| match way {
            Way::Request => visible.request_headers = is_shown,
            Way::Response => visible.response_headers = is_shown,
        };
        let answer = self.call(way, stage, filter, show, |vm, context| match way {
            Way::Request => {
                let status = vm.request_headers(context, word(count), end);
                (status, status == HeadersStatus::Continue)
            }
            Way::Response => {
                let status = vm.response_headers(context, word(count), end);
                (status, status == HeadersStatus::Continue)
            }
        });
        answer.unwrap_or(HeadersStatus::Continue)
    }

    fn call_body(&mut self, way: Way, stage: usize, filter: usize, end: bool) -> DataStatus {
        let size = {
            let data = self.data.borrow();
            let bodies = if way == Way::Request { &data.request_bodies } else { &data.response_bodies };
            word(bodies.get(filter).and_then(|body| body.as_ref().map(Vec::len)).unwrap_or_default())
        };
        let show = |visible: &mut Visible, _is_shown: bool| match way {
            Way::Request => visible.may_add_request_trailers |= end,
            Way::Response => visible.may_add_response_trailers |= end,
        };
        let answer = self.call(way, stage, filter, show, |vm, context| {
            let status = match way {
                Way::Request => vm.request_body(context, size, end),
                Way::Response => vm.response_body(context, size, end),
            };
            (status, status == DataStatus::Continue)
        });
        answer.unwrap_or(DataStatus::Continue)
    }

    fn call_trailers(&mut self, way: Way, stage: usize, filter: usize) -> bool {
        let count = {
            let data = self.data.borrow();
            let trailers = if way == Way::Request { &data.request_trailers } else { &data.response_trailers };
            word(trailers.as_ref().map_or(0, Headers::len))
        };
        let show = |visible: &mut Visible, is_shown: bool| match way {
            Way::Request => visible.request_trailers = is_shown,
            Way::Response => visible.response_trailers = is_shown,
        };
        let answer = self.call(way, stage, filter, show, |vm, context| {
            let passes = match way {
                Way::Request => vm.request_trailers(context, count),
                Way::Response => vm.response_trailers(context, count),
            };
            (passes, passes)
        });
        answer.unwrap_or(true)
    }

    /// Calls a filter's VM, with a map in sight while it runs, and afterwards unless it continues. None where the
    /// filter is to be passed by.
    fn call<T>(
        &mut self,
        way: Way,
        stage: usize,
        filter: usize,
        show: impl Fn(&mut Visible, bool),
        run: impl FnOnce(&mut crate::vm::Vm, u32) -> (T, bool),
    ) -> Option<T> {
        let Some((cell, context)) = self.context_of(filter).filter(|(cell, _)| !cell.has_failed()) else {
            if !self.passes_failures(filter) {
                self.refuse_failed();
            }
            return None;
        };
        if let Some(stage) = self.stage(way, stage) {
            stage.is_called = true;
        }
        let (answer, asks) = {
            let mut vm = cell.vm.borrow_mut();
            let set = |vm: &mut crate::vm::Vm, is_shown: bool| {
                if let Some(stream) = vm.state_mut().contexts.stream_mut(context) {
                    show(&mut stream.visible, is_shown);
                }
            };
            set(&mut vm, true);
            let (answer, continues) = run(&mut vm, context);
            if continues {
                set(&mut vm, false);
            }
            (answer, vm.take_after_call())
        };
        self.after_call(&cell, asks);
        if let Some(stage) = self.stage(way, stage) {
            stage.is_called = false;
        }
        if cell.has_failed() {
            // The stream in which a VM fails is refused, whatever the policy is for those that follow.
            self.refuse_failed();
            return None;
        }
        Some(answer)
    }

    /// Does what a VM's guest asked for: what is for this stream here, the rest by the worker.
    fn after_call(&mut self, cell: &Rc<crate::plugin::VmCell>, asks: Vec<AfterCall>) {
        for ask in asks {
            match ask {
                AfterCall::Stream { stream, filter, ask } if stream.ptr_eq(&self.me) => match ask {
                    Ask::ContinueRequest => self.continue_request(filter),
                    Ask::ContinueResponse => self.continue_response(filter),
                    Ask::Reply(reply) => self.local_reply(reply),
                    close @ Ask::Close(_) => self.asked(filter, close),
                },
                other => self.worker.after_call(cell, other),
            }
        }
    }

    fn passes_failures(&self, filter: usize) -> bool {
        self.filters.get(filter).is_some_and(|filter| filter.plugin.passes_failures())
    }

    /// Refuses a request that a failed VM should have seen. A reply that is on its way passes by.
    fn refuse_failed(&mut self) {
        if !self.replied {
            self.reply = Some(LocalReply {
                status: 503,
                grpc_status: 14,
                details: "wasm_fail_stream".to_owned(),
                ..LocalReply::default()
            });
        }
    }

    fn headers_passed(&mut self, way: Way, end: bool) {
        match way {
            Way::Request => match self.exchange.clone().request_headers(&self.data, end) {
                Routed::Forwarded => {}
                Routed::Answered(reply) => self.local_reply(reply),
            },
            Way::Response => self.send_headers(end),
        }
    }

    fn data_passed(&mut self, way: Way, data: Vec<u8>, end: bool) {
        match way {
            Way::Request => self.exchange.request_data(data, end),
            Way::Response => self.send_data(data, end),
        }
    }

    fn trailers_passed(&mut self, way: Way) {
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
            if headers.get_str(":status").and_then(|status| status.parse::<u16>().ok()).is_none() {
                // What Envoy's codec makes of a response without a status.
                headers = [(":status", "502"), ("content-length", "32"), ("content-type", "text/plain")]
                    .into_iter()
                    .collect();
                replaced = Some(b"missing required header: :status".to_vec());
            }
            self.exchange
                .finish_response(&mut headers, self.replied && (self.is_bad_request || !self.request.end_seen));
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
