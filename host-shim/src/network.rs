//! What a thread's VMs ask of the network. The gateway answers with sockets, a test with closures.

use std::sync::Arc;
use std::time::Duration;

use crate::abi::types::Status;
use crate::headers::Headers;
use crate::stream::data::Node;
use crate::vm::context::CallResponse;

/// Names a callout: its VM, root context and token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ticket {
    pub(crate) instance: u64,
    pub(crate) root: u32,
    pub(crate) token: u32,
}

/// An HTTP callout.
#[derive(Clone, Debug)]
pub(crate) struct Callout {
    pub(crate) cluster: String,
    /// With `:method`, `:path` and `:authority`.
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    /// None waits for ever.
    pub(crate) timeout: Option<Duration>,
    /// Whether the body is one gRPC message, and the reply's is to be.
    pub(crate) is_grpc: bool,
}

/// How a callout ended.
#[derive(Clone, Debug)]
pub(crate) enum CalloutOutcome {
    /// An answer, the target's or (503, 504) the gateway's.
    Response(CallResponse),
    /// The stream was reset after the answer had begun.
    Reset,
}

/// The network of a thread. It must not call a VM before the hostcall has returned.
pub(crate) trait Network {
    /// The node that this process says it is.
    fn node(&self) -> Arc<Node>;

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
