//! Who a counter belongs to, for alerts that come without a request.

use std::collections::BTreeMap;
use std::fmt;

use super::QuotaNews;
use crate::event::Subject;

/// The owner of a counter, and the API of the request that counted on it first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The API whose handlers are notified.
    pub api_id: String,
    /// The key in the form for events.
    pub key: String,
    /// The key's fingerprint.
    pub fingerprint: String,
    pub org_id: String,
    pub alias: String,
    pub tags: Vec<String>,
    pub meta_data: BTreeMap<String, String>,
    /// What the key's counters are of.
    pub subject: Subject,
}

/// What a store reports of a quota, for a request of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The same whichever VM gets the notice, so that the fleet sends its message once.
    pub id: String,
    pub owner: Owner,
    pub news: QuotaNews,
}

/// Makes the owner of a charge's counters, if a store needs it.
#[derive(Clone, Copy)]
pub struct MakeOwner<'c>(pub &'c dyn Fn() -> Owner);

impl fmt::Debug for MakeOwner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MakeOwner")
    }
}
