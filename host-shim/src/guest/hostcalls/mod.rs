//! The hostcalls, with one file for each family. Each hostcall decodes its arguments, uses the state, and encodes the
//! result.

mod buffers;
mod callouts;
mod headers;
mod lifecycle;
mod log_and_time;
mod metrics;
mod properties;
mod shared;
mod streams;
mod wasi;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use wasmtime::{AsContextMut, Caller, Engine, Linker};

use super::failure::InjectedDeath;
use super::memory;
use crate::base::Status;
use crate::guest::codes::AbiVersion;
use crate::guest::state::VmState;

/// The early end of a hostcall: a status for the guest, or a trap that ends the VM.
pub enum CallFault {
    Status(Status),
    Trap(wasmtime::Error),
}

impl From<Status> for CallFault {
    fn from(status: Status) -> Self {
        CallFault::Status(status)
    }
}

/// The hostcalls of all ABI versions. A fault can name any of them.
pub const HOSTCALLS: [&str; 43] = [
    "proxy_add_header_map_value",
    "proxy_call_foreign_function",
    "proxy_clear_route_cache",
    "proxy_close_stream",
    "proxy_continue_request",
    "proxy_continue_response",
    "proxy_continue_stream",
    "proxy_define_metric",
    "proxy_dequeue_shared_queue",
    "proxy_done",
    "proxy_enqueue_shared_queue",
    "proxy_get_buffer_bytes",
    "proxy_get_buffer_status",
    "proxy_get_configuration",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_header_map_size",
    "proxy_get_header_map_value",
    "proxy_get_log_level",
    "proxy_get_metric",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_get_status",
    "proxy_grpc_call",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_grpc_send",
    "proxy_grpc_stream",
    "proxy_http_call",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_record_metric",
    "proxy_register_shared_queue",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_resolve_shared_queue",
    "proxy_send_local_response",
    "proxy_set_buffer_bytes",
    "proxy_set_effective_context",
    "proxy_set_header_map_pairs",
    "proxy_set_property",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
];

pub type Answer<T = ()> = Result<T, CallFault>;

/// Defines all functions that a module of this ABI can import. As in Envoy, an `env.proxy_*` function that the
/// capabilities do not allow returns InternalFailure.
///
/// # Errors
/// A function is defined twice, which is a bug in this crate.
fn offer(linker: &mut Linker<VmState>, abi: AbiVersion) -> wasmtime::Result<()> {
    log_and_time::offer(linker, abi)?;
    lifecycle::offer(linker)?;
    buffers::offer(linker, abi)?;
    headers::offer(linker)?;
    streams::offer(linker, abi)?;
    callouts::offer(linker)?;
    shared::offer(linker)?;
    metrics::offer(linker)?;
    properties::offer(linker)?;
    wasi::offer(linker)
}

/// Returns the linker for modules of an ABI. Each thread makes it once.
///
/// # Errors
/// A function is defined twice, which is a bug in this crate.
pub fn linker(engine: &Engine, abi: AbiVersion) -> wasmtime::Result<Rc<Linker<VmState>>> {
    thread_local! {
        static LINKERS: RefCell<HashMap<AbiVersion, Rc<Linker<VmState>>>> = RefCell::default();
    }
    if let Some(linker) = LINKERS.with_borrow(|linkers| linkers.get(&abi).cloned()) {
        return Ok(linker);
    }
    let mut linker = Linker::new(engine);
    offer(&mut linker, abi)?;
    let linker = Rc::new(linker);
    LINKERS.with_borrow_mut(|linkers| linkers.insert(abi, Rc::clone(&linker)));
    Ok(linker)
}

/// Defines `env.proxy_…` functions. Each gets a [`Call`] and returns a status.
macro_rules! hostcalls {
    ($linker:expr; $(fn $name:ident($call:ident $(, $arg:ident: $type:ty)*) $body:block)*) => { $(
        $linker.func_wrap(
            "env",
            stringify!($name),
            |caller: wasmtime::Caller<'_, crate::guest::state::VmState> $(, $arg: $type)*| -> wasmtime::Result<u32> {
                let mut call = match crate::guest::hostcalls::Call::begin(caller, stringify!($name)) {
                    Ok(call) => call,
                    Err(fault) => return crate::guest::hostcalls::status_code(Err(fault)),
                };
                fn carry_out($call: &mut crate::guest::hostcalls::Call<'_> $(, $arg: $type)*) -> crate::guest::hostcalls::Answer $body
                crate::guest::hostcalls::status_code(carry_out(&mut call $(, $arg)*))
            },
        )?;
    )* };
}
pub(crate) use hostcalls;

pub fn status_code(answer: Answer) -> wasmtime::Result<u32> {
    match answer {
        Ok(()) => Ok(0),
        Err(CallFault::Status(status)) => Ok(status.code()),
        Err(CallFault::Trap(error)) => Err(error),
    }
}

pub struct Call<'c> {
    pub caller: Caller<'c, VmState>,
}

impl<'c> Call<'c> {
    fn begin(caller: Caller<'c, VmState>, name: &'static str) -> Answer<Self> {
        let state = caller.data();
        if state.is_restricted && name != "proxy_log" {
            let text = format!("{name} must not be called while the module starts or allocates (restricted_callback)");
            return Err(CallFault::Trap(wasmtime::Error::msg(text)));
        }
        if !state.spec.allows(name) {
            state.log(crate::base::LogLevel::Debug, &format!("Attempted call to restricted capability: {name}"));
            return Err(Status::InternalFailure.into());
        }
        if state.host.faults.strikes_hostcall(name, state.thread) {
            return Err(CallFault::Trap(wasmtime::Error::new(InjectedDeath(name))));
        }
        if let Some(status) = state.host.quirks.refusal(name) {
            return Err(status.into());
        }
        let mut call = Call { caller };
        call.find_memory();
        Ok(call)
    }

    pub fn state(&self) -> &VmState {
        self.caller.data()
    }

    pub fn state_mut(&mut self) -> &mut VmState {
        self.caller.data_mut()
    }

    fn memory(&self) -> Answer<wasmtime::Memory> {
        Ok(self.state().memory.ok_or(Status::InvalidMemoryAccess)?)
    }

    /// The start section runs before the instance is known. The memory is then found by name.
    fn find_memory(&mut self) {
        if self.state().memory.is_none() {
            self.state_mut().memory = self.caller.get_export("memory").and_then(wasmtime::Extern::into_memory);
        }
    }

    /// Reads bytes of the guest.
    pub fn bytes(&self, address: u32, length: u32) -> Answer<Vec<u8>> {
        Ok(memory::read(self.memory()?, &self.caller, address, length)?)
    }

    pub fn write(&mut self, address: u32, bytes: &[u8]) -> Answer {
        Ok(memory::write(self.memory()?, &mut self.caller, address, bytes)?)
    }

    pub fn write_u32(&mut self, address: u32, value: u32) -> Answer {
        self.write(address, &value.to_le_bytes())
    }

    pub fn write_u64(&mut self, address: u32, value: u64) -> Answer {
        self.write(address, &value.to_le_bytes())
    }

    /// Passes bytes to the guest in memory that the guest allocates. Empty bytes are a null pointer without an
    /// allocation.
    pub fn give(&mut self, bytes: &[u8], address: u32, length: u32) -> Answer {
        let pointer = if bytes.is_empty() { 0 } else { self.allocate(bytes)? };
        self.write_u32(address, pointer)?;
        self.write_u32(length, memory::word(bytes.len()))
    }

    fn allocate(&mut self, bytes: &[u8]) -> Answer<u32> {
        let malloc = self.state().malloc.clone().ok_or(Status::InvalidMemoryAccess)?;
        let was_restricted = std::mem::replace(&mut self.state_mut().is_restricted, true);
        let (was_current, was_effective) = (self.state().current, self.state().effective);
        let pointer = malloc.call(self.caller.as_context_mut(), memory::word(bytes.len()));
        let state = self.state_mut();
        state.is_restricted = was_restricted;
        (state.current, state.effective) = (was_current, was_effective);
        let pointer = pointer.unwrap_or_else(|error| {
            // As in Envoy, the guest continues with a status, and its VM fails after the callback has returned.
            self.state_mut().allocation_trap.get_or_insert(error);
            0
        });
        match pointer {
            0 => Err(Status::InvalidMemoryAccess.into()),
            pointer => {
                self.write(pointer, bytes)?;
                Ok(pointer)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_list_of_names_has_all_hostcalls() {
        let offered = regex::Regex::new(r"fn (proxy_\w+)\(\s*call\b").unwrap();
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guest/hostcalls");
        let mut names = std::collections::BTreeSet::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            names.extend(offered.captures_iter(&text).map(|found| found[1].to_owned()));
        }
        assert!(names.iter().eq(HOSTCALLS.iter()), "{names:?}");
    }
}
