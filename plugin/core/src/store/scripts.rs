//! The scripts that run in the store. The build removes their comments, and computes the SHA-1 by which the store knows
//! them.

/// A script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script {
    /// The text, for `EVAL`.
    pub text: &'static str,
    /// The SHA-1 in hex, for `EVALSHA`.
    pub sha1: &'static str,
}

impl Script {
    /// Settles leases: see `lease.lua`.
    pub const LEASE: Script = Script {
        text: include_str!(concat!(env!("OUT_DIR"), "/lease.lua")),
        sha1: include_str!(concat!(env!("OUT_DIR"), "/lease.sha1")),
    };

    /// Claims causes: see `claim.lua`.
    pub const CLAIM: Script = Script {
        text: include_str!(concat!(env!("OUT_DIR"), "/claim.lua")),
        sha1: include_str!(concat!(env!("OUT_DIR"), "/claim.sha1")),
    };
}
