//! The state that all VMs of a process share. It does not depend on wasmtime or HTTP.

pub mod clock;
pub mod faults;
pub mod host;
pub mod logs;
pub mod metrics;
pub mod quirks;
pub mod shared_data;
pub mod shared_queue;
pub mod timers;

pub use host::{Host, Limits, QueueReady, VmId};
