//! Says whose the counters in shared data are, for a program that watches a host: without a host.
//!
//! It repeats the decisions of [`Engine::judge`](super::Engine) up to the counters, natively, on the same request.

use super::version;
use crate::access::{
    Asked, Caller, ChargeLine, CompiledUrls, Home, IdentitySource, KnownKeys, LimitScope, PageName, Readings, Request,
    Route, changed,
};
use crate::base::{UnixMillis, client_text};
use crate::config::{Config, ConfigError};
use crate::host::HeaderPair;

/// A configuration whose counters are named.
pub struct Owners {
    config: Config,
    known: KnownKeys,
    urls: CompiledUrls,
}

/// A counter of one limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CounterId {
    /// The key of its page in shared data; empty if the number alone is unique.
    pub page: String,
    /// Its number on the page.
    pub subject: u64,
}

impl CounterId {
    fn new(page: &str, subject: u64) -> Self {
        // The first two numbers are the page's own. Others are hashes of keys and identities.
        let page = if subject <= 1 { page } else { "" };
        CounterId { page: page.to_owned(), subject }
    }
}

/// Who a limit belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// An organisation, by its id.
    Organisation(String),
    /// A key, by its fingerprint.
    Key(String),
    /// Any other identity: its source and its name.
    Identity(String),
    /// All callers of an API, by its id.
    Api(String),
}

/// A limit that a request counts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedLimit {
    /// Its counter.
    pub counter: CounterId,
    /// Its owner.
    pub owner: Owner,
    /// The fingerprint of the key or identity, as events show it; empty for an organisation and an API.
    pub fingerprint: String,
    /// The session's alias; empty if there is none.
    pub alias: String,
    /// The organisation's id; empty if there is none.
    pub org: String,
    /// The API, if the limit is of one right only; empty otherwise.
    pub api: String,
    /// True for a rate, false for a quota.
    pub is_rate: bool,
    /// Requests per window.
    pub max: u64,
    /// The window in milliseconds; `None` means that it never renews.
    pub window_ms: Option<u64>,
    /// The thresholds in percent, and the counts at which they are crossed, in ascending order.
    pub thresholds: Vec<(String, u64)>,
}

/// A counter after a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The counter.
    pub counter: CounterId,
    /// The start of its window in Unix milliseconds.
    pub started: u64,
    /// The requests counted in it.
    pub count: u64,
}

impl Owners {
    /// Loads the configuration in the form that a proxy passes to the plugin.
    ///
    /// # Errors
    /// All errors of the configuration.
    pub fn load(bytes: &[u8]) -> Result<Self, Vec<ConfigError>> {
        let (config, _) = Config::load(bytes)?;
        Ok(Owners { config, known: KnownKeys::default(), urls: CompiledUrls::default() })
    }

    /// The headers that name an identity or the client's address, lower case.
    pub fn headers(&self) -> Vec<String> {
        let sources = self.config.access.routes.iter().flat_map(|(_, api)| &api.identity);
        let of_identity = sources.filter_map(|source| match source {
            IdentitySource::Header(name) => Some(name.clone()),
            _ => None,
        });
        let mut names: Vec<String> = of_identity.chain(self.config.notifications.origin_headers.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The limits that a request counts on if none refuses it; empty if it is refused before.
    pub fn limits(
        &mut self,
        headers: &[HeaderPair<'_>],
        property: &dyn Fn(&str) -> Option<Vec<u8>>,
        now: UnixMillis,
    ) -> Vec<OwnedLimit> {
        let request = Request { headers, property };
        let Owners { config, known, urls } = self;
        let (access, directory) = (&config.access, &config.directory);
        let Ok(readings) = Readings::of(request.path()) else { return Vec::new() };
        let Route::Api { index, api, doubt: None } = access.routes.find(&readings, request.authority()) else {
            return Vec::new();
        };
        let version = version::of_request(access, (index, api), &request, None, now);
        let (_, api) = version::api(access, &version).unwrap_or((index, api));
        let Ok(version) = version else { return Vec::new() };
        let caller = Caller::identify(access, directory, api, known, &request, None);
        let in_rights = version.and_then(|version| version.name_in_rights());
        let asked = Asked { request: &request, readings: &readings, version: in_rights };
        let Ok(grant) = caller.check(directory, api, &asked, urls, now) else { return Vec::new() };
        let charge = caller.charge(access, api, grant);
        let of_right = grant.and_then(|grant| grant.right?.limits.as_ref()).is_some();
        let owned = |line: &ChargeLine<'_>| {
            let page = match line.home {
                Home::Org => charge.org_page.unwrap_or_default().to_owned(),
                Home::OrgOr(page) | Home::Own(page) => page.key().into_owned(),
            };
            let is_own = matches!(line.scope, LimitScope::KeyQuota | LimitScope::KeyRate);
            OwnedLimit {
                counter: CounterId::new(&page, line.subject),
                owner: owner(line.scope, &caller, &api.id),
                fingerprint: if is_own { caller.fingerprint() } else { String::new() },
                alias: if is_own { caller.about().map(|about| about.alias.clone()) } else { None }.unwrap_or_default(),
                org: caller.org_id().to_owned(),
                api: if is_own && of_right { api.id.clone() } else { String::new() },
                is_rate: line.scope.is_rate(),
                max: line.quota.max,
                window_ms: line.quota.window_ms,
                thresholds: line.quota.thresholds().map(|(limit, at)| (limit.to_string(), at)).collect(),
            }
        };
        charge.lines.iter().map(owned).collect()
    }
}

fn owner(scope: LimitScope, caller: &Caller<'_>, api: &str) -> Owner {
    match scope {
        LimitScope::OrgRate | LimitScope::OrgQuota => Owner::Organisation(caller.org_id().to_owned()),
        LimitScope::ApiRate => Owner::Api(api.to_owned()),
        LimitScope::KeyRate | LimitScope::KeyQuota => match caller.name() {
            (IdentitySource::Key, _) => Owner::Key(caller.fingerprint()),
            (source, name) => Owner::Identity(format!("{}:{}", source.label(), client_text(name))),
        },
    }
}

/// The counters that a write to shared data changes: `before` is the value that it replaces, or empty.
pub fn counted(key: &[u8], before: &[u8], after: &[u8], mut each: impl FnMut(Counted)) {
    let Some(name) = std::str::from_utf8(key).ok().filter(|key| PageName::is_page(key)) else { return };
    for (subject, counter) in changed(before, after) {
        each(Counted { counter: CounterId::new(name, subject), started: counter.started.0, count: counter.count });
    }
}

#[cfg(test)]
mod tests;
