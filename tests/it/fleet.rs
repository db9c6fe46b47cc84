//! A fleet: members that count as one in a real Redis.

/// Random schedules in the shim.
mod schedules;
