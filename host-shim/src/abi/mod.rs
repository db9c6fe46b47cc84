//! The proxy-wasm ABI: numbers, guest memory, header pairs, what the host offers, what the module offers.

pub(crate) mod exports;
pub(crate) mod imports;
pub(crate) mod memory;
pub(crate) mod pairs;
pub(crate) mod types;
