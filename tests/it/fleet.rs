//! A fleet: members that count as one in a real Redis.

/// Three Envoys.
mod envoys;
/// The messages of three Envoys.
mod messages;
/// Random schedules in the shim.
mod schedules;
