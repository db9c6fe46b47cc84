//! A running module: its instance and contexts, its callbacks and its hostcalls.

mod callbacks;
pub mod codes;
pub mod context;
pub mod effects;
mod exports;
mod failure;
mod hostcalls;
pub mod memory;
mod module;
mod pairs;
mod properties;
mod protobuf;
mod replies;
mod state;
mod vm;

pub use callbacks::Misconfigured;
pub use hostcalls::HOSTCALLS;
pub use module::LoadedModule;
pub use state::VmSpec;
pub use vm::Vm;
