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

    /// Decides whether a message may go out: see `emit.lua`.
    pub const EMIT: Script = Script {
        text: include_str!(concat!(env!("OUT_DIR"), "/emit.lua")),
        sha1: include_str!(concat!(env!("OUT_DIR"), "/emit.sha1")),
    };

    /// Ends a message: see `end.lua`.
    pub const END: Script = Script {
        text: include_str!(concat!(env!("OUT_DIR"), "/end.lua")),
        sha1: include_str!(concat!(env!("OUT_DIR"), "/end.sha1")),
    };

    /// Takes a member's part of a digest: see `tally.lua`.
    pub const TALLY: Script = Script {
        text: include_str!(concat!(env!("OUT_DIR"), "/tally.lua")),
        sha1: include_str!(concat!(env!("OUT_DIR"), "/tally.sha1")),
    };

    /// Returns a piece of what a member was given: see `fetch.lua`.
    pub const FETCH: Script = Script {
        text: include_str!(concat!(env!("OUT_DIR"), "/fetch.lua")),
        sha1: include_str!(concat!(env!("OUT_DIR"), "/fetch.sha1")),
    };

    /// Tells that a member lives, and gives it messages: see `beat.lua`.
    pub const BEAT: Script = Script {
        text: include_str!(concat!(env!("OUT_DIR"), "/beat.lua")),
        sha1: include_str!(concat!(env!("OUT_DIR"), "/beat.sha1")),
    };
}
