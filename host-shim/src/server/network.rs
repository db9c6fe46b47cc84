//! The network of a serving thread, which sends callouts on real connections.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use http_body_util::BodyExt;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::body::{Sink, UpstreamSink};
use super::convert;
use super::upstream::{AnswerBody, Load, Open, Upstreams};
use crate::base::{Headers, Status};
use crate::config::model::Cluster;
use crate::router;
use crate::traffic::{CallResponse, Callout, CalloutOutcome, LocalReply, Network, ProxyNode, Ticket};
use crate::worker::{Program, Worker};

/// Envoy's limit for the body of the answer to a callout.
const MAX_RESPONSE: usize = 32 * 1024 * 1024;

pub(super) struct ServerNetwork {
    program: RefCell<Arc<Program>>,
    load: RefCell<Arc<Load>>,
    pub(super) upstreams: Rc<Upstreams>,
    me: Weak<ServerNetwork>,
    worker: RefCell<Weak<Worker>>,
    calls: RefCell<HashMap<Ticket, AbortHandle>>,
    /// Notified when a tick was set.
    pub(super) tick_set: Notify,
}

impl ServerNetwork {
    pub(super) fn new(program: &Arc<Program>, load: &Arc<Load>) -> Rc<Self> {
        Rc::new_cyclic(|me| ServerNetwork {
            me: me.clone(),
            program: RefCell::new(Arc::clone(program)),
            load: RefCell::new(Arc::clone(load)),
            upstreams: Upstreams::new(load),
            worker: RefCell::default(),
            calls: RefCell::default(),
            tick_set: Notify::new(),
        })
    }

    /// The channel for the outcomes of callouts.
    pub(super) fn set_worker(&self, worker: &Rc<Worker>) {
        *self.worker.borrow_mut() = Rc::downgrade(worker);
    }

    pub(super) fn program(&self) -> Arc<Program> {
        Arc::clone(&self.program.borrow())
    }

    /// Replaces the configuration, with new connections. Returns the old one.
    pub(super) fn set_program(&self, program: &Arc<Program>, load: &Arc<Load>) -> (Arc<Program>, Arc<Load>) {
        self.upstreams.renew(load);
        (self.program.replace(Arc::clone(program)), self.load.replace(Arc::clone(load)))
    }

    pub(super) fn cluster(&self, name: &str) -> Option<Arc<Cluster>> {
        self.program.borrow().clusters.get(name).cloned()
    }

    /// Counts a request to a cluster. Returns `None` if the cluster is at its limit.
    pub(super) fn begin(&self, cluster: &Cluster) -> Option<Open> {
        self.load.borrow().begin(cluster)
    }

    fn done(&self, ticket: Ticket, outcome: CalloutOutcome) {
        if self.calls.borrow_mut().remove(&ticket).is_some()
            && let Some(worker) = self.worker.borrow().upgrade()
        {
            worker.callout_done(ticket, outcome);
        }
    }
}

impl Network for ServerNetwork {
    fn node(&self) -> Arc<ProxyNode> {
        Arc::clone(&self.program.borrow().node)
    }

    fn has_cluster(&self, name: &str) -> bool {
        self.program.borrow().clusters.contains_key(name)
    }

    fn call(&self, ticket: Ticket, callout: Callout) -> Result<(), Status> {
        let cluster = self.cluster(&callout.cluster).ok_or(Status::BadArgument)?;
        if self.upstreams.has_no_host(&cluster, &callout.headers) {
            return Err(Status::InternalFailure);
        }
        let open = self.begin(&cluster).ok_or(Status::InternalFailure)?;
        let me = self.me.clone();
        let upstreams = Rc::clone(&self.upstreams);
        let task = tokio::task::spawn_local(async move {
            let outcome = exchange(upstreams, cluster, callout).await;
            drop(open);
            if let Some(me) = me.upgrade() {
                me.done(ticket, outcome);
            }
        });
        self.calls.borrow_mut().insert(ticket, task.abort_handle());
        Ok(())
    }

    fn cancel(&self, ticket: Ticket) {
        if let Some(task) = self.calls.borrow_mut().remove(&ticket) {
            task.abort();
        }
    }

    fn tick_set(&self) {
        self.tick_set.notify_one();
    }
}

/// Sends a callout, and collects the complete answer.
async fn exchange(upstreams: Rc<Upstreams>, cluster: Arc<Cluster>, callout: Callout) -> CalloutOutcome {
    let timeout = callout.timeout;
    let has_begun = Cell::new(false);
    let answer = whole_answer(upstreams, cluster, callout, &has_begun);
    match timeout {
        None => answer.await,
        Some(timeout) => match tokio::time::timeout(timeout, answer).await {
            Ok(outcome) => outcome,
            Err(_) if has_begun.get() => CalloutOutcome::Reset,
            Err(_) => made(&router::reply(504, router::TIMEOUT_BODY, "", 0)),
        },
    }
}

/// Notes in `has_begun` that the head of the answer has arrived.
async fn whole_answer(
    upstreams: Rc<Upstreams>,
    cluster: Arc<Cluster>,
    callout: Callout,
    has_begun: &Cell<bool>,
) -> CalloutOutcome {
    let (sink, body) = UpstreamSink::new();
    if !callout.body.is_empty() && callout.headers.get("content-length").is_some() {
        sink.has_length();
    }
    if callout.is_grpc {
        sink.data(grpc_frame(&callout.body));
    } else {
        sink.data(callout.body);
    }
    sink.end();
    let started = std::time::Instant::now();
    let response = match upstreams.send(cluster, &callout.headers, false, body).await {
        Ok(response) => response,
        Err(reply) => return made(&reply),
    };
    has_begun.set(true);
    let took = started.elapsed().as_millis();
    let (parts, body) = response.into_parts();
    match collect(body).await {
        Some((body, trailers)) => {
            let mut headers = convert::response(&parts);
            headers.set("x-envoy-upstream-service-time", took.to_string());
            CalloutOutcome::Response(CallResponse { headers, body, trailers })
        }
        None => CalloutOutcome::Reset,
    }
}

/// Adds the prefix of a gRPC message: not compressed, and the length.
fn grpc_frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0], length.to_be_bytes().as_slice(), message].concat()
}

/// Collects the body and the trailers of an answer. Returns `None` if it breaks off or is too large.
async fn collect(mut body: AnswerBody) -> Option<(Vec<u8>, Headers)> {
    let (mut bytes, mut trailers) = (Vec::new(), Headers::new());
    while let Some(frame) = body.frame().await {
        match frame.ok()?.into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().map(|map| convert::trailers(&map)).unwrap_or_default(),
        }
        if bytes.len() > MAX_RESPONSE {
            return None;
        }
    }
    Some((bytes, trailers))
}

/// Makes an answer of the gateway itself.
fn made(reply: &LocalReply) -> CalloutOutcome {
    let headers = [
        (":status", reply.status.to_string()),
        ("content-length", reply.body.len().to_string()),
        ("content-type", "text/plain".to_owned()),
    ];
    let headers = headers.into_iter().collect();
    CalloutOutcome::Response(CallResponse { headers, body: reply.body.clone(), trailers: Headers::new() })
}
