//! One request through a simulated gateway, with the sides of the client and of the upstream.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex};

use super::Shared;
use super::message::{Request, Response};
use super::network::raw_head;
use super::thread::SimThread;
use crate::base::{Headers, lock};
use crate::router::{self, Site, Target};
use crate::state::clock::nanos;
use crate::traffic::{StreamData, flags};
use crate::worker::{Exchange, Routed};

/// The response that a client waits for.
#[derive(Default)]
pub(super) struct AnswerSlot {
    state: Mutex<(Response, bool)>,
    changed: Condvar,
}

impl AnswerSlot {
    fn edit(&self, edit: impl FnOnce(&mut Response), is_whole: bool) {
        let mut state = lock(&self.state);
        edit(&mut state.0);
        state.1 |= is_whole;
        self.changed.notify_all();
    }

    /// Returns the response if it is complete.
    pub(super) fn get(&self) -> Option<Response> {
        let state = lock(&self.state);
        state.1.then(|| state.0.clone())
    }
}

pub(super) struct SimExchange {
    id: u64,
    thread: usize,
    shared: Arc<Shared>,
    pub(super) site: Arc<Site>,
    answer: Arc<AnswerSlot>,
    upstream: RefCell<Option<(Request, Target)>>,
    /// Whether an upstream has answered. A filter that continues the request twice sends it to two upstreams.
    is_answered: Cell<bool>,
    is_over: Cell<bool>,
}

impl SimExchange {
    pub(super) fn new(id: u64, thread: &SimThread, site: Arc<Site>, answer: Arc<AnswerSlot>) -> Self {
        SimExchange {
            id,
            thread: thread.worker.thread(),
            shared: Arc::clone(thread.shared()),
            site,
            answer,
            upstream: RefCell::default(),
            is_answered: Cell::new(false),
            is_over: Cell::new(false),
        }
    }

    /// The upstream has the complete request, and answers now or later.
    fn send_upstream(&self) {
        let Some((request, target)) = self.upstream.borrow_mut().take() else { return };
        let reply = self.shared.upstreams.answer(&request, &target.cluster);
        let (id, host) = (self.id, &self.shared.host);
        let timeout = target.plan.timeout;
        let delay = timeout.map_or(reply.delay, |timeout| timeout.min(reply.delay));
        let timed_out = timeout.is_some_and(|timeout| reply.delay > timeout);
        let is_raw = target.cluster.tcp_pool;
        let event = Box::new(move |thread: &SimThread| deliver(thread, id, reply.response, timed_out, is_raw));
        if delay.is_zero() {
            self.shared.events.push(self.thread, event);
        } else {
            self.shared.events.push_at(host.clock.now().saturating_add(nanos(delay)), self.thread, event);
        }
    }

    fn over(&self) {
        self.is_over.set(true);
        let id = self.id;
        self.shared.events.push(
            self.thread,
            Box::new(move |thread| {
                thread.streams.borrow_mut().remove(&id);
            }),
        );
    }
}

/// Passes an upstream's answer, or its failure (`None`), to the stream.
fn deliver(thread: &SimThread, id: u64, response: Option<Response>, timed_out: bool, is_raw: bool) {
    let Some((stream, exchange)) = thread.streams.borrow().get(&id).cloned() else { return };
    if exchange.is_over.get() || exchange.is_answered.replace(true) {
        return;
    }
    let mut stream = stream.borrow_mut();
    match response {
        // With the TCP connection pool, the connection alone makes the head of the answer.
        Some(_) if timed_out && is_raw => {
            stream.response_headers(raw_head(), false);
            stream.reset();
        }
        _ if timed_out => stream.upstream_failed(router::reply(
            504,
            router::TIMEOUT_BODY,
            "response_timeout",
            flags::UPSTREAM_REQUEST_TIMEOUT,
        )),
        None => stream.upstream_failed(router::connection_refused()),
        Some(Response { headers, body, trailers, .. }) => {
            let mut headers = if is_raw { raw_head() } else { headers };
            let data = stream.data();
            headers.set("x-envoy-upstream-service-time", "0");
            exchange.site.change_response(&data.borrow(), &mut headers);
            let has_trailers = !trailers.is_empty();
            stream.response_headers(headers, body.is_empty() && !has_trailers);
            if !body.is_empty() {
                stream.response_data(body, !has_trailers);
            }
            if has_trailers {
                stream.response_trailers(trailers);
            }
        }
    }
}

impl Exchange for SimExchange {
    fn request_headers(&self, stream: &Rc<RefCell<StreamData>>, end: bool) -> Routed {
        let program = self.shared.program();
        let mut data = stream.borrow_mut();
        let target = match self.site.route(&mut data, |name| program.clusters.get(name).cloned()) {
            Ok(target) => target,
            Err(reply) => return Routed::Answered(reply),
        };
        if router::lacks_destination(&target.cluster, &data.request_headers) {
            let flag = flags::NO_HEALTHY_UPSTREAM;
            return Routed::Answered(router::reply(503, router::NO_HOST_BODY, "no_healthy_upstream", flag));
        }
        if !target.cluster.tcp_pool
            && let Some(refused) = router::unsendable(&data.request_headers)
        {
            return Routed::Answered(refused);
        }
        let cluster = target.cluster.name.clone();
        let request = Request { headers: data.request_headers.clone(), cluster, ..Request::default() };
        data.info.attempts = 1;
        data.info.request_sent = Some(self.shared.host.clock.now());
        drop(data);
        *self.upstream.borrow_mut() = Some((request, target));
        if end {
            self.send_upstream();
        }
        Routed::Forwarded
    }

    fn request_data(&self, data: Vec<u8>, end: bool) {
        if let Some((request, _)) = self.upstream.borrow_mut().as_mut() {
            match request.body.first_mut() {
                Some(body) => body.extend_from_slice(&data),
                None => request.body.push(data),
            }
        }
        if end {
            self.send_upstream();
        }
    }

    fn request_trailers(&self, trailers: Headers) {
        if let Some((request, _)) = self.upstream.borrow_mut().as_mut() {
            request.trailers = trailers;
        }
        self.send_upstream();
    }

    fn response_headers(&self, headers: Headers, end: bool) {
        self.answer.edit(|response| response.headers = headers, end);
        if end {
            self.over();
        }
    }

    fn response_data(&self, data: Vec<u8>, end: bool) {
        self.answer.edit(|response| response.body.extend_from_slice(&data), end);
        if end {
            self.over();
        }
    }

    fn response_trailers(&self, trailers: Headers) {
        self.answer.edit(|response| response.trailers = trailers, true);
        self.over();
    }

    fn reset(&self) {
        self.answer.edit(|response| response.is_reset = true, true);
        self.over();
    }

    fn finish_response(&self, headers: &mut Headers, request: &Headers, closes: bool) {
        if headers.get("date").is_none() {
            headers.add("date", self.shared.host.clock.http_date());
        }
        self.site.finish_response(headers, request);
        if closes {
            headers.set("connection", "close");
        }
    }
}
