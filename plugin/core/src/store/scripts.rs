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

/// The script of this name, as the build made it.
macro_rules! script {
    ($name:literal) => {
        Script {
            text: include_str!(concat!(env!("OUT_DIR"), "/", $name, ".lua")),
            sha1: include_str!(concat!(env!("OUT_DIR"), "/", $name, ".sha1")),
        }
    };
}

impl Script {
    /// Settles leases: see `lease.lua`.
    pub const LEASE: Script = script!("lease");

    /// Decides whether a message may go out: see `emit.lua`.
    pub const EMIT: Script = script!("emit");

    /// Ends a message: see `end.lua`.
    pub const END: Script = script!("end");

    /// Takes a member's part of a digest: see `tally.lua`.
    pub const TALLY: Script = script!("tally");

    /// Returns a piece of what a member was given: see `fetch.lua`.
    pub const FETCH: Script = script!("fetch");

    /// Tells that a member lives, and gives it messages: see `beat.lua`.
    pub const BEAT: Script = script!("beat");
}
