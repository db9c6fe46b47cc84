//! Access to the guest's memory with checked bounds. As in Envoy, a bad pointer gives a status.

use wasmtime::{AsContext, AsContextMut, Memory};

use crate::base::Status;

pub fn read(memory: Memory, store: impl AsContext, address: u32, length: u32) -> Result<Vec<u8>, Status> {
    let (address, length) = (index(address), index(length));
    let data = memory.data(&store);
    let end = address.checked_add(length).ok_or(Status::InvalidMemoryAccess)?;
    data.get(address..end).map(<[u8]>::to_vec).ok_or(Status::InvalidMemoryAccess)
}

pub fn write(memory: Memory, store: impl AsContextMut, address: u32, bytes: &[u8]) -> Result<(), Status> {
    memory.write(store, index(address), bytes).map_err(|_| Status::InvalidMemoryAccess)
}

/// Converts a 32-bit number to an index. This crate runs on 64-bit and 32-bit machines.
pub fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Converts a length of a 32-bit memory.
pub fn word(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
