//! The host's two calls for shared data.

use tollbell_core::host::{Entry, HostError, RawData, Stored};

use crate::abi::{self, Status};
use crate::host::refused;

pub(crate) struct RawSharedData;

impl RawData for RawSharedData {
    fn get(&self, key: &str) -> Result<Entry, HostError> {
        match abi::shared_data(key) {
            Ok((value, cas)) if value.is_empty() => Ok(Entry::Emptied { cas }),
            Ok((value, cas)) => Ok(Entry::Present(Stored { value, cas })),
            Err(Status::NOT_FOUND) => Ok(Entry::Absent),
            Err(status) => Err(refused("get_shared_data")(status)),
        }
    }

    fn set(&self, key: &str, value: &[u8], cas: u32) -> Result<bool, HostError> {
        match abi::set_shared_data(key, value, cas) {
            Ok(()) => Ok(true),
            Err(Status::CAS_MISMATCH) => Ok(false),
            Err(status) => Err(refused("set_shared_data")(status)),
        }
    }
}
