//! The network of a serving thread, which sends callouts on real connections.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Response;
use http_body_util::BodyExt;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::body::{Sink, UpstreamSink};
use super::convert;
use super::upstream::{AnswerBody, Load, Manner, Open, Upstreams};
use crate::base::{Headers, MapKind, Status};
use crate::config::model::Cluster;
use crate::router::{self, Plan};
use crate::traffic::{CallResponse, Callout, CalloutOutcome, LocalReply, Network, ProxyNode, Ticket, reply_message};
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
    /// The clusters to which the last callout has left an idle connection.
    idle: RefCell<HashSet<String>>,
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
            idle: RefCell::default(),
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

    fn cluster(&self, name: &str) -> Option<Arc<Cluster>> {
        self.program.borrow().clusters.get(name).cloned()
    }

    fn call(&self, ticket: Ticket, callout: Callout) -> Result<(), Status> {
        let cluster = self.cluster(&callout.cluster).ok_or(Status::BadArgument)?;
        if self.upstreams.has_no_host(&cluster, &callout.headers) {
            return Err(Status::InternalFailure);
        }
        // On an idle connection, the codec refuses a callout before the hostcall returns. It closes the connection.
        let is_idle = self.idle.borrow_mut().remove(&cluster.name) && !cluster.http2 && !cluster.tcp_pool;
        if is_idle && router::unsendable(&callout.headers).is_some() {
            return Err(Status::InternalFailure);
        }
        let open = self.begin(&cluster).ok_or(Status::InternalFailure)?;
        let me = self.me.clone();
        let upstreams = Rc::clone(&self.upstreams);
        let task = tokio::task::spawn_local(async move {
            let name = cluster.name.clone();
            let outcome = exchange(upstreams, cluster, callout).await;
            drop(open);
            if let Some(me) = me.upgrade() {
                if leaves_connection(&outcome) {
                    me.idle.borrow_mut().insert(name);
                }
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

/// Whether the connection of a callout can be used again. The gateway's own answers have no service time.
fn leaves_connection(outcome: &CalloutOutcome) -> bool {
    let CalloutOutcome::Response(response) = outcome else { return false };
    response.headers.get("x-envoy-upstream-service-time").is_some()
}

/// Sends a callout, and collects the complete answer.
async fn exchange(upstreams: Rc<Upstreams>, cluster: Arc<Cluster>, mut callout: Callout) -> CalloutOutcome {
    let plan = router::plan(&mut callout.headers, callout.timeout);
    let (has_begun, is_grpc) = (Cell::new(false), callout.is_grpc);
    let answer = whole_answer(upstreams, cluster, callout, &plan, &has_begun);
    match plan.timeout {
        None => answer.await,
        Some(timeout) => match tokio::time::timeout(timeout, answer).await {
            Ok(outcome) => outcome,
            Err(_) if has_begun.get() => CalloutOutcome::Reset,
            Err(_) => made(&plan.timed_out(), is_grpc),
        },
    }
}

/// Notes in `has_begun` that the head of the answer has arrived.
async fn whole_answer(
    upstreams: Rc<Upstreams>,
    cluster: Arc<Cluster>,
    mut callout: Callout,
    plan: &Plan,
    has_begun: &Cell<bool>,
) -> CalloutOutcome {
    let started = Instant::now();
    let mut retries = 0;
    let (response, took) = loop {
        let passed = if retries > 0 { started.elapsed() } else { Duration::ZERO };
        plan.tell(&mut callout.headers, passed);
        let sent = Instant::now();
        let head = send(Rc::clone(&upstreams), Arc::clone(&cluster), &callout, retries > 0);
        let head = match plan.try_timeout {
            None => head.await,
            Some(limit) => tokio::time::timeout(limit, head).await.unwrap_or_else(|_| Err(plan.timed_out())),
        };
        let may_retry = retries < plan.retries.most;
        match head {
            Ok(response) if !may_retry || !plan.retries.after_answer(&response_headers(&response)) => {
                break (response, sent.elapsed().as_millis());
            }
            Err(reply) if !may_retry || !plan.retries.after_failure(&reply) => {
                return made(&if retries > 0 { router::retried(reply) } else { reply }, callout.is_grpc);
            }
            _ => {}
        }
        retries += 1;
        tokio::time::sleep(router::backoff(retries)).await;
    };
    has_begun.set(true);
    let mut headers = response_headers(&response);
    let takes_trailers = cluster.trailers || cluster.http2;
    match collect(response.into_body()).await {
        Some((body, trailers)) => {
            headers.set("x-envoy-upstream-service-time", took.to_string());
            let trailers = if takes_trailers { trailers } else { Headers::new() };
            CalloutOutcome::Response(CallResponse { headers, body, trailers, details: None })
        }
        None => CalloutOutcome::Reset,
    }
}

fn response_headers<B>(response: &Response<B>) -> Headers {
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = response.status();
    parts.headers = response.headers().clone();
    convert::response(&parts)
}

/// Sends a callout, and waits for the head of the answer.
///
/// # Errors
/// The gateway's answer to a callout that failed before.
async fn send(
    upstreams: Rc<Upstreams>,
    cluster: Arc<Cluster>,
    callout: &Callout,
    is_retry: bool,
) -> Result<Response<AnswerBody>, LocalReply> {
    let (sink, body) = UpstreamSink::new();
    let mut headers = callout.headers.clone();
    let is_empty = callout.body.is_empty() && !callout.is_grpc;
    if callout.is_grpc {
        sink.data(grpc_frame(&callout.body));
    } else if !is_empty {
        sink.has_length();
        sink.data(callout.body.clone());
    }
    // Envoy sends the head of a retry without its end, so that an empty body is chunked.
    if !is_empty || !is_retry {
        sink.end();
        if is_empty && !cluster.http2 && router::needs_length(&headers) {
            headers.add("content-length", "0");
        }
    }
    let ending = async {
        tokio::task::yield_now().await;
        sink.end();
        std::future::pending().await
    };
    tokio::select! {
        answer = upstreams.send(cluster, &headers, Manner::default(), |_| {}, body) => answer,
        never = ending => never,
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
            Err(frame) => {
                trailers = frame
                    .into_trailers()
                    .map(|map| convert::trailers(MapKind::ResponseTrailers, &map))
                    .unwrap_or_default()
            }
        }
        if bytes.len() > MAX_RESPONSE {
            return None;
        }
    }
    Some((bytes, trailers))
}

/// Makes an answer of the gateway itself.
fn made(reply: &LocalReply, is_grpc: bool) -> CalloutOutcome {
    let request = if is_grpc { vec![("content-type", "application/grpc")] } else { Vec::new() };
    let (headers, body) = reply_message(reply, &request.into_iter().collect());
    let details = Some(reply.details.clone());
    CalloutOutcome::Response(CallResponse { headers, body, details, ..CallResponse::default() })
}
