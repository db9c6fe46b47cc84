//! A fleet: members that count as one in a real Redis.

/// A Redis Cluster, with a failover and with slots that move.
mod cluster;
/// Three Envoys.
mod envoys;
/// A Redis that is killed, and a member that is cut off.
mod failures;
/// The configuration of a member, and its clients.
pub mod member;
/// The memory of Redis.
mod memory;
/// The messages of three Envoys.
mod messages;
/// The model of `lease.lua`.
mod model;
/// Random schedules in the shim.
mod schedules;
/// A real Redis with a clock of its own and faults.
mod store;
/// The use of a key, and forecasts.
mod usage;
