//! The store of a fleet: Redis or Valkey, in its own protocol, through an Envoy cluster.
//!
//! Envoy turns a callout into a raw TCP exchange if the cluster has the TCP connection pool as its upstream. The
//! callout's body is what goes out, and the reply's body is what Redis answers. [`protocol`] writes commands and reads
//! replies, and [`client`] has one call in flight and sends what is due meanwhile together in the next. [`pipeline`] is
//! one callout of a call, and [`cluster`] spreads a call over the nodes of a Redis Cluster. [`claims`] are the cool-downs
//! of a fleet.

pub mod claims;
pub mod client;
mod cluster;
mod health;
mod pipeline;
pub mod protocol;
mod scripts;
mod slots;

pub use claims::{Cause, ClaimCall, Claims, StoreClaims};
pub use client::{Call, Client, Outcome, Settings};
#[cfg(feature = "fuzzing")]
pub use cluster::{Redirect, Topology};
pub use protocol::{Protocol, Reply};
pub use scripts::Script;
