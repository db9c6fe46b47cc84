//! The traffic between clients, filters and upstreams: the data of streams, local replies, callouts.

mod callout;
mod data;
pub mod flags;
mod reply;

pub use callout::{CallResponse, Callout, CalloutOutcome, Network, Ticket};
pub use data::{Body, Info, ProxyNode, Seen, StreamData, StreamId};
pub use reply::{LocalReply, is_grpc, reply_message};
