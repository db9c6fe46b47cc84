//! The cool-down that a message holds.

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use crate::base::UnixMillis;
use crate::store::Cause;

/// Identifies the cause of a cool-down: a handler and the checksum of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseDigest(pub(crate) [u8; 16]);

impl CauseDigest {
    /// Made from a handler's name, the group of the event, and the checksum of the message.
    pub fn new(handler: &str, group: u64, checksum: [u8; 16]) -> Self {
        let md5 = Md5::new().chain_update(checksum).chain_update(group.to_le_bytes());
        CauseDigest(md5.chain_update(handler).finalize().into())
    }
}

/// A cool-down that was started for a message. It is released if the message fails for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub digest: [u8; 16],
    pub at: u64,
    /// The end of its period.
    pub until: u64,
    /// The cause as all members of a fleet know it.
    pub shared: [u8; 16],
}

impl Claim {
    /// The cause in the store of a fleet.
    pub fn shared_cause(&self) -> Cause {
        Cause { digest: self.shared, until: UnixMillis(self.until) }
    }
}
