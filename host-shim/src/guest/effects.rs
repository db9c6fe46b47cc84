//! The effects of hostcalls, which the worker carries out after the callback has returned.

use super::codes::StreamType;
use crate::traffic::{LocalReply, StreamId};

/// An effect of a hostcall, which the worker carries out after the callback has returned.
pub enum Effect {
    /// An effect on the stream of a filter.
    Stream { stream: StreamId, filter: usize, ask: StreamEffect },
    /// Sets the tick period of a root context in milliseconds. 0 ends the ticks.
    Tick { root: u32, period: u32 },
    /// A gRPC call or stream failed because its cluster does not exist.
    GrpcUnavailable { root: u32, token: u32 },
    /// A root context has finished its shutdown.
    Done { root: u32 },
}

/// An effect on the stream of a filter.
#[derive(Debug)]
pub enum StreamEffect {
    ContinueRequest,
    ContinueResponse,
    Reply(LocalReply),
    Close(StreamType),
}
