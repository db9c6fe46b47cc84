//! From a request to a verdict: its API, its caller, the checks, and the limits that it counts on.

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
    Charge, ChargeLine, ChargeResult, Charged, Counters, FleetCounters, FleetSettings, Forecast, Home, LimitScope,
    LocalCounters, MAX_ENTRIES, MakeOwner, Notice, OnLoss, Owner, PageName, Quota, QuotaChange, QuotaNews, StoreView,
    Usage, Usages, changed,
};
pub use request::{Request, decode_query_part, split_once};
pub use route::{Api, ApiIndex, Route, Routes, Versioned};
pub use session::{
    About, AllowanceScope, Directory, Grant, KeyHash, Limits, OrgIndex, Plan, Right, Session, Sessions, Shared,
};
pub use tyk_tokens::TykTokens;
pub use versioning::{Location, ROUTE_HEADER, Version, Versioning};

/// The part of a configuration that decides on requests, without the sessions, because sessions may be fetched.
pub struct Access {
    pub routes: Routes,
    /// The session of identities without their own; `None` means that they may do everything.
    pub default_session: Option<Session>,
    /// The number of pages in the table that counts such identities; at least 1.
    pub identity_pages: u32,
    /// The number of pages in the table that counts fetched sessions; at least 1.
    pub fetched_pages: u32,
    /// The headers that show a client its limits.
    pub limit_headers: LimitHeaders,
    /// The forms of Tyk's names for keys.
    pub tyk_tokens: TykTokens,
    /// Requests that belong to no API or may belong to several are admitted, too: see [`Api::is_observed`].
    pub is_observed: bool,
    /// The proxy's access log can show who the caller was and what was decided.
    pub shows_in_access_log: bool,
}
