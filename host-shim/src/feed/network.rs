//! Callouts of a feed: a closure answers them at once.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::Status;
use crate::config::model::Cluster;
use crate::gateway::{Request, Response};
use crate::state::Host;
use crate::traffic::{CallResponse, Callout, CalloutOutcome, Network, ProxyNode, Ticket};
use crate::worker::Program;

type Answer = Box<dyn Fn(&Request, u64) -> Response>;

pub(super) struct FedNetwork {
    host: Arc<Host>,
    program: Arc<Program>,
    answer: Answer,
    answers: RefCell<VecDeque<(Ticket, CalloutOutcome)>>,
}

impl FedNetwork {
    pub(super) fn new(host: &Arc<Host>, program: &Arc<Program>, answer: Answer) -> Self {
        FedNetwork { host: Arc::clone(host), program: Arc::clone(program), answer, answers: RefCell::default() }
    }

    /// Removes and returns the oldest answer that its VM has not got.
    pub(super) fn next_answer(&self) -> Option<(Ticket, CalloutOutcome)> {
        self.answers.borrow_mut().pop_front()
    }
}

impl Network for FedNetwork {
    fn node(&self) -> Arc<ProxyNode> {
        Arc::clone(&self.program.node)
    }

    fn has_cluster(&self, name: &str) -> bool {
        self.program.clusters.contains_key(name)
    }

    fn cluster(&self, name: &str) -> Option<Arc<Cluster>> {
        self.program.clusters.get(name).cloned()
    }

    fn call(&self, ticket: Ticket, callout: Callout) -> Result<(), Status> {
        let body = if callout.body.is_empty() { Vec::new() } else { vec![callout.body] };
        let request = Request { headers: callout.headers, body, cluster: callout.cluster, ..Request::default() };
        let Response { headers, body, trailers, is_reset } = (self.answer)(&request, self.host.clock.now());
        let outcome = match is_reset {
            true => CalloutOutcome::Reset,
            false => CalloutOutcome::Response(CallResponse { headers, body, trailers, details: None }),
        };
        self.answers.borrow_mut().push_back((ticket, outcome));
        Ok(())
    }

    fn cancel(&self, ticket: Ticket) {
        self.answers.borrow_mut().retain(|(other, _)| *other != ticket);
    }
}
