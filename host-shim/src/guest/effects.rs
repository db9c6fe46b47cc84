//! What a guest asks for in a hostcall, and the worker does when the callback has returned.

use super::codes::StreamType;
use crate::traffic::{LocalReply, StreamId};

/// What a guest asked for that happens when its callback has returned.
pub enum Effect {
    /// Something for a filter of a stream.
    Stream { stream: StreamId, filter: usize, ask: StreamEffect },
    /// A root context's tick period, in milliseconds; 0 ends it.
    Tick { root: u32, period: u32 },
    /// A gRPC call or stream to a cluster that is not there.
    GrpcUnavailable { root: u32, token: u32 },
    /// A root context has finished its shutdown.
    Done { root: u32 },
}

/// What a filter asked of its stream.
#[derive(Debug)]
pub enum StreamEffect {
    ContinueRequest,
    ContinueResponse,
    Reply(LocalReply),
    Close(StreamType),
}
