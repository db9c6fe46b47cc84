//! The simulated network. Upstreams and targets of callouts are closures. Faults of callouts are injected here.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Shared;
use super::message::{Request, Response};
use super::thread::SimThread;
use crate::base::{Headers, Status, lock};
use crate::config::model::Cluster;
use crate::router::{self, Plan};
use crate::state::clock::nanos;
use crate::state::faults::CalloutFault;
use crate::state::timers::TimerId;
use crate::traffic::{CallResponse, Callout, CalloutOutcome, LocalReply, Network, ProxyNode, Ticket, reply_message};

/// The reaction of an upstream to a request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// `None` if the connection cannot be made.
    pub response: Option<Response>,
    /// The delay.
    pub delay: Duration,
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Reply { response: Some(response), delay: Duration::ZERO }
    }
}

impl Reply {
    /// Refuses the connection.
    pub fn refused() -> Self {
        Reply { response: None, delay: Duration::ZERO }
    }

    /// Delays the reaction.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// A closure that answers the requests to an upstream.
pub type Handler = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

/// The upstreams by cluster or authority, and the requests that they received.
#[derive(Default)]
pub(super) struct SimUpstreams {
    handlers: Mutex<HashMap<String, Handler>>,
    received: Mutex<Vec<Request>>,
    callouts: Mutex<Vec<Request>>,
}

impl SimUpstreams {
    pub(super) fn set(&self, name: &str, handler: Handler) {
        lock(&self.handlers).insert(name.to_owned(), handler);
    }

    pub(super) fn has(&self, name: &str) -> bool {
        lock(&self.handlers).contains_key(name)
    }

    pub(super) fn received(&self) -> Vec<Request> {
        lock(&self.received).clone()
    }

    pub(super) fn callouts(&self) -> Vec<Request> {
        lock(&self.callouts).clone()
    }

    /// Returns the answer to a client's request that was forwarded.
    pub(super) fn answer(&self, request: &Request, cluster: &Cluster) -> Reply {
        lock(&self.received).push(request.clone());
        self.handle(request, &cluster.name, Some(cluster))
    }

    /// Uses the handler of the address in the request, or of the authority, or of the cluster, or answers 200.
    fn handle(&self, request: &Request, cluster: &str, known: Option<&Cluster>) -> Reply {
        let destination = known.and_then(|cluster| router::destination(cluster, &request.headers));
        let handler = {
            let handlers = lock(&self.handlers);
            let by_address = destination.and_then(|address| handlers.get(&address.to_string()));
            by_address
                .or_else(|| handlers.get(request.authority()))
                .or_else(|| handlers.get(cluster))
                .or_else(|| handlers.get("*"))
                .cloned()
        };
        handler.map_or_else(|| Response::ok("").into(), |handler| handler(request))
    }
}

/// The head of the answer of a cluster with the TCP connection pool.
pub(super) fn raw_head() -> Headers {
    [(":status", "200"), ("x-envoy-upstream-service-time", "0")].into_iter().collect()
}

pub(super) struct SimNetwork {
    thread: usize,
    shared: Arc<Shared>,
    waiting: RefCell<HashMap<Ticket, Option<TimerId>>>,
}

impl SimNetwork {
    pub(super) fn new(thread: usize, shared: &Arc<Shared>) -> Self {
        SimNetwork { thread, shared: Arc::clone(shared), waiting: RefCell::default() }
    }

    /// Returns the outcome of a callout and its delay, or `None` if the callout fails immediately.
    fn outcome(
        &self,
        callout: &Callout,
        request: &Request,
        plan: &Plan,
        cluster: Option<&Cluster>,
    ) -> Option<(CalloutOutcome, Duration)> {
        let is_raw = cluster.is_some_and(|cluster| cluster.tcp_pool);
        let made = |reply: &LocalReply| made(reply, callout.is_grpc);
        // With the TCP connection pool, the connection alone makes the head of the answer.
        let timed_out = |after: Duration| {
            let outcome = if is_raw { CalloutOutcome::Reset } else { made(&plan.timed_out()) };
            Some((outcome, after))
        };
        let late = match self.shared.host.faults.next_callout() {
            Some(CalloutFault::RefusedAtOnce) => return None,
            Some(CalloutFault::Reset) => return Some((CalloutOutcome::Reset, Duration::ZERO)),
            Some(CalloutFault::ConnectFailure) => return Some((made(&router::connection_refused()), Duration::ZERO)),
            Some(CalloutFault::TimesOut) => return timed_out(plan.timeout.unwrap_or(Duration::MAX)),
            Some(CalloutFault::Status(status)) => {
                lock(&self.shared.upstreams.callouts).push(request.clone());
                return Some((made(&router::reply(status.into(), "", "", 0)), Duration::ZERO));
            }
            Some(CalloutFault::Late(delay)) => delay,
            None => Duration::ZERO,
        };
        let (mut passed, mut retries) = (late, 0);
        let outcome = loop {
            lock(&self.shared.upstreams.callouts).push(request.clone());
            let reply = self.shared.upstreams.handle(request, &callout.cluster, cluster);
            let limit = plan.try_timeout.filter(|limit| !is_raw && *limit < reply.delay);
            passed = passed.saturating_add(limit.unwrap_or(reply.delay));
            let answer = match limit {
                Some(_) => Err(plan.timed_out()),
                None => reply.response.ok_or_else(router::connection_refused),
            };
            let wants = match &answer {
                Ok(response) => !is_raw && !response.is_reset && plan.retries.after_answer(&response.headers),
                Err(failure) => plan.retries.after_failure(failure),
            };
            if !wants || retries >= plan.retries.most {
                break match answer {
                    Ok(response) => answered(response, is_raw),
                    Err(failure) if retries > 0 => made(&router::retried(failure)),
                    Err(failure) => made(&failure),
                };
            }
            retries += 1;
            passed = passed.saturating_add(router::backoff(retries));
        };
        match plan.timeout.filter(|timeout| *timeout < passed) {
            Some(timeout) => timed_out(timeout),
            None => Some((outcome, passed)),
        }
    }
}

/// Makes an answer of the gateway itself.
fn made(reply: &LocalReply, is_grpc: bool) -> CalloutOutcome {
    let request = if is_grpc { vec![("content-type", "application/grpc")] } else { Vec::new() };
    let (headers, body) = reply_message(reply, &request.into_iter().collect());
    let details = Some(reply.details.clone());
    CalloutOutcome::Response(CallResponse { headers, body, details, ..CallResponse::default() })
}

fn answered(response: Response, is_raw: bool) -> CalloutOutcome {
    if response.is_reset {
        return CalloutOutcome::Reset;
    }
    if is_raw {
        return CalloutOutcome::Response(CallResponse {
            headers: raw_head(),
            body: response.body,
            ..CallResponse::default()
        });
    }
    let mut headers = response.headers;
    if headers.get("content-length").is_none() {
        headers.add("content-length", response.body.len().to_string());
    }
    headers.set("x-envoy-upstream-service-time", "0");
    CalloutOutcome::Response(CallResponse { headers, body: response.body, trailers: response.trailers, details: None })
}

impl Network for SimNetwork {
    fn node(&self) -> Arc<ProxyNode> {
        Arc::clone(&self.shared.program().node)
    }

    fn has_cluster(&self, name: &str) -> bool {
        self.shared.program().clusters.contains_key(name) || self.shared.upstreams.has(name)
    }

    fn cluster(&self, name: &str) -> Option<Arc<Cluster>> {
        self.shared.program().clusters.get(name).cloned()
    }

    fn call(&self, ticket: Ticket, mut callout: Callout) -> Result<(), Status> {
        let plan = router::plan(&mut callout.headers, callout.timeout);
        plan.tell(&mut callout.headers, Duration::ZERO);
        let request = Request {
            headers: callout.headers.clone(),
            body: if callout.body.is_empty() { Vec::new() } else { vec![callout.body.clone()] },
            cluster: callout.cluster.clone(),
            ..Request::default()
        };
        let cluster = self.shared.program().clusters.get(&callout.cluster).cloned();
        if cluster.as_ref().is_some_and(|cluster| router::lacks_destination(cluster, &callout.headers)) {
            return Err(Status::InternalFailure);
        }
        let is_raw = cluster.as_ref().is_some_and(|cluster| cluster.tcp_pool);
        let refused = if is_raw { None } else { router::unsendable(&callout.headers) };
        let (outcome, delay) = match refused {
            Some(refused) => (made(&refused, callout.is_grpc), Duration::ZERO),
            None => self.outcome(&callout, &request, &plan, cluster.as_deref()).ok_or(Status::InternalFailure)?,
        };
        let event = Box::new(move |thread: &SimThread| {
            if thread.network.waiting.borrow_mut().remove(&ticket).is_some() {
                thread.worker.callout_done(ticket, outcome);
            }
        });
        let timer = if delay.is_zero() {
            self.shared.events.push(self.thread, event);
            None
        } else {
            let due = self.shared.host.clock.now().saturating_add(nanos(delay));
            Some(self.shared.events.push_at(due, self.thread, event))
        };
        self.waiting.borrow_mut().insert(ticket, timer);
        Ok(())
    }

    fn cancel(&self, ticket: Ticket) {
        if let Some(Some(timer)) = self.waiting.borrow_mut().remove(&ticket) {
            self.shared.events.cancel(timer);
        }
    }
}
