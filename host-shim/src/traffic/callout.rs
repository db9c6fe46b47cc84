//! The interface between the VMs of a thread and the network. A server implements it with sockets, and a test with
//! closures.

use std::sync::Arc;
use std::time::Duration;

use super::ProxyNode;
use crate::base::{Headers, Status};
use crate::config::model::Cluster;

/// Identifies a callout by its VM, root context and token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    pub instance: u64,
    pub root: u32,
    pub token: u32,
}

#[derive(Clone, Debug)]
pub struct Callout {
    pub cluster: String,
    /// The headers, with `:method`, `:path` and `:authority`.
    pub headers: Headers,
    pub body: Vec<u8>,
    /// The timeout. `None` means no timeout.
    pub timeout: Option<Duration>,
    /// Whether the bodies of the request and of the reply are one gRPC message.
    pub is_grpc: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallResponse {
    /// The headers, with `:status`.
    pub headers: Headers,
    pub body: Vec<u8>,
    /// The trailers, which can be empty.
    pub trailers: Headers,
    /// `response.code_details` of an answer that the gateway has made itself.
    pub details: Option<String>,
}

#[derive(Clone, Debug)]
pub enum CalloutOutcome {
    /// An answer of the target, or a 503 or 504 of the gateway.
    Response(CallResponse),
    /// The stream was reset after the answer had begun.
    Reset,
}

/// The network of a thread. It must not call a VM before the hostcall has returned.
pub trait Network {
    /// Returns the node of this process.
    fn node(&self) -> Arc<ProxyNode>;

    /// Whether there is a cluster with this name.
    fn has_cluster(&self, name: &str) -> bool;

    /// Returns a cluster by its name.
    fn cluster(&self, _name: &str) -> Option<Arc<Cluster>> {
        None
    }

    /// Whether a module can read [`Network::has_cluster`], which Envoy does not support.
    fn tells_clusters(&self) -> bool {
        false
    }

    /// Starts a callout. The worker gets its outcome later.
    ///
    /// # Errors
    /// InternalFailure if the callout fails immediately. The worker then gets no outcome.
    fn call(&self, ticket: Ticket, callout: Callout) -> Result<(), Status>;

    /// Ends a callout without an outcome.
    fn cancel(&self, ticket: Ticket);

    /// Reports that a tick was set. A thread that waits for the next tick must check the time again.
    fn tick_set(&self) {}
}
