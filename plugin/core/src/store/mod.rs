//! The store of a fleet: Redis or Valkey, in its own protocol, through an Envoy cluster.
//!
//! Envoy turns a callout into a raw TCP exchange if the cluster has the TCP connection pool as its upstream. The
//! callout's body is what goes out, and the reply's body is what Redis answers. [`protocol`] writes commands and reads
//! replies, and [`client`] has one call in flight and sends what is due meanwhile together in the next. [`pipeline`] is
//! one callout of a call, and [`cluster`] spreads a call over the nodes of a Redis Cluster. [`outbox`] asks about messages.

pub mod client;
mod cluster;
mod health;
pub mod outbox;
mod pipeline;
pub mod protocol;
mod scripts;
mod slots;

pub use client::{Call, Client, Outcome, Settings};
#[cfg(feature = "fuzzing")]
pub use cluster::{Redirect, Topology};
pub use outbox::{
    Cause, Ended, FleetOutbox, GivenBody, MessageCap, Offer, OutboxCall, Part, PartVerdict, Verdict, shown_members,
};
pub use protocol::{Protocol, Reply};
pub use scripts::Script;
