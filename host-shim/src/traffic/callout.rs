//! What a thread's VMs ask of the network. The gateway answers with sockets, a test with closures.

use std::sync::Arc;
use std::time::Duration;

use super::ProxyNode;
use crate::base::{Headers, Status};

/// Names a callout: its VM, root context and token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    pub instance: u64,
    pub root: u32,
    pub token: u32,
}

#[derive(Clone, Debug)]
pub struct Callout {
    pub cluster: String,
    /// With `:method`, `:path` and `:authority`.
    pub headers: Headers,
    pub body: Vec<u8>,
    /// None waits for ever.
    pub timeout: Option<Duration>,
    /// Whether the body is one gRPC message, and the reply's is to be.
    pub is_grpc: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallResponse {
    /// With `:status`.
    pub headers: Headers,
    pub body: Vec<u8>,
    /// The trailers; may be empty.
    pub trailers: Headers,
}

#[derive(Clone, Debug)]
pub enum CalloutOutcome {
    /// An answer, the target's or (503, 504) the gateway's.
    Response(CallResponse),
    /// The stream was reset after the answer had begun.
    Reset,
}

/// The network of a thread. It must not call a VM before the hostcall has returned.
pub trait Network {
    /// The node that this process says it is.
    fn node(&self) -> Arc<ProxyNode>;

    /// Whether there is a cluster of that name.
    fn has_cluster(&self, name: &str) -> bool;

    /// Whether a module may ask for [`Network::has_cluster`], as Envoy never lets it.
    fn tells_clusters(&self) -> bool {
        false
    }

    /// Starts a callout, whose outcome is told to the worker later.
    ///
    /// # Errors
    /// InternalFailure where it fails at once; then no outcome follows.
    fn call(&self, ticket: Ticket, callout: Callout) -> Result<(), Status>;

    /// Ends a callout without telling anyone.
    fn cancel(&self, ticket: Ticket);

    /// A tick was set: whoever waits for the next one has to look again.
    fn tick_set(&self) {}
}
