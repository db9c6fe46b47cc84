//! Which counters belong together in the store.

use std::hash::Hasher;

use rustc_hash::FxHasher;

use crate::access::quota::ledger::{Charge, ChargeLine, Home, LimitScope, PageName};
use crate::access::quota::rate_subject;

/// The hash tag of counters that one call settles together: all of an organisation, of a key, or of an API.
#[derive(Clone, Copy, Debug)]
pub enum Tag<'c> {
    /// The page of an organisation or of an API.
    Page(&'c str),
    /// The number of a key's or an identity's quota.
    Key(u64),
}

impl<'c> Tag<'c> {
    pub fn of(line: &ChargeLine<'c>, charge: &Charge<'c>) -> Self {
        let own = if line.scope == LimitScope::KeyRate { rate_subject(line.subject) } else { line.subject };
        match line.home {
            Home::Org => charge.org_page.map_or(Tag::Key(own), Tag::Page),
            Home::Own(PageName::Kept(page)) | Home::OrgOr(PageName::Kept(page)) => Tag::Page(page),
            Home::Own(_) | Home::OrgOr(_) => Tag::Key(own),
        }
    }

    pub fn text(self) -> String {
        match self {
            Tag::Page(page) => page.trim_start_matches("tb1/").to_owned(),
            Tag::Key(subject) => format!("k/{subject:x}"),
        }
    }

    /// The place of a counter among the leases.
    pub fn place(self, subject: u64) -> u64 {
        let mut hasher = FxHasher::default();
        match self {
            Tag::Page(page) => hasher.write(page.as_bytes()),
            Tag::Key(own) => hasher.write_u64(own),
        }
        hasher.write_u64(subject);
        hasher.finish()
    }
}
