//! A module at work: its instance and contexts, the callbacks that it has, the hostcalls that it makes.

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
