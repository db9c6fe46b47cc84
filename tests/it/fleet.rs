//! A fleet: members that count as one in a real Redis.

/// A Redis Cluster, with a failover and with slots that move.
mod cluster;
/// Three Envoys.
mod envoys;
/// Random schedules in the shim.
mod schedules;
