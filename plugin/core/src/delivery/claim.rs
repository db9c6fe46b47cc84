//! What a message holds of its cool-down.

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

/// What a claim is made on: a handler's identity and the checksum of what it would send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseDigest(pub(crate) [u8; 16]);

impl CauseDigest {
    /// Of a handler's name, what tells its groups of events apart, and a request's checksum.
    pub fn new(handler: &str, group: u64, checksum: [u8; 16]) -> Self {
        let md5 = Md5::new().chain_update(checksum).chain_update(group.to_le_bytes());
        CauseDigest(md5.chain_update(handler).finalize().into())
    }
}

/// A claim that was made, to be released should its message fail for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub digest: [u8; 16],
    pub at: u64,
}
