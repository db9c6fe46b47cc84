//! From a request to a verdict: which API it is for, who sends it, whether it may pass, and what it is counted on.

pub mod allowed_urls;
pub mod answer;
pub mod caller;
pub mod challenge;
pub mod hosts;
pub mod identity;
pub mod key_location;
pub mod limit_headers;
pub mod origin;
pub mod pass;
pub mod paths;
pub mod preflight;
pub mod quota;
pub mod request;
pub mod route;
pub mod session;
pub mod tyk_tokens;
pub mod versioning;

pub use allowed_urls::{AllowedUrls, CompiledUrls, UrlRule};
pub use answer::{AUTH_FAILURE, Answer, RATE_LIMITED, RequestOutcome};
pub use caller::{Asked, Caller, KnownKeys};
pub use challenge::Challenge;
pub use hosts::HostName;
pub use identity::IdentitySource;
pub use key_location::KeyLocation;
pub use limit_headers::LimitHeaders;
pub use pass::{CountedOn, Pass, Passing};
pub use paths::{Prefix, Readings};
pub use preflight::is_preflight;
pub use quota::{
    Charge, ChargeResult, Charged, Counters, Crossing, LimitScope, LocalCounters, MAX_ENTRIES, Quota, Usage, Usages,
    usages,
};
pub use request::{Request, decode_query_part, split_once};
pub use route::{Api, ApiIndex, Route, Routes, Versioned};
pub use session::{
    About, AllowanceScope, Directory, Grant, KeyHash, Limits, OrgIndex, Plan, Right, Session, Sessions, Shared,
};
pub use tyk_tokens::TykTokens;
pub use versioning::{Location, ROUTE_HEADER, Version, Versioning};

/// Everything of a configuration that decides on a request, but for the sessions, which may be fetched.
pub struct Access {
    /// The APIs.
    pub routes: Routes,
    /// The session of identities that have none of their own; `None`: they may do anything.
    pub default_session: Option<Session>,
    /// The pages of the table that counts such identities; at least 1.
    pub identity_pages: u32,
    /// The pages of the table that counts fetched sessions; at least 1.
    pub fetched_pages: u32,
    /// Which headers tell a client of its limits.
    pub limit_headers: LimitHeaders,
    /// Tyk's names for keys.
    pub tyk_tokens: TykTokens,
}
