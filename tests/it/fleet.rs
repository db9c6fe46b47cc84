//! A fleet: members that count as one in a real Redis.

/// Three Envoys.
mod envoys;
/// Random schedules in the shim.
mod schedules;
