//! What a session may do, by itself and by its policies: merged as Tyk merges them.
//!
//! Tyk's rules, as its documentation has them and, where that is silent, its code (`internal/policy`):
//! - What a policy says replaces what the session says: its limits, and, if any policy of the session names APIs, the
//!   session's access rights.
//! - Of several policies the larger value wins: the higher rate, the larger quota, the longer window; a negative one is
//!   unlimited, and larger than any. A policy with partitions takes part only with those.
//! - The limits of policies stand with the APIs that these name. Where more than one policy gave rights, each API is
//!   counted with those of its own policy, by the last one that names it; else all APIs count together.
//! - The limit of a policy's right counts only where the policy is `per_api`, and its `allowance_scope` never.
//! - A policy `per_api` gives each of its APIs a counter of its own where the right has limits, and one for all others. It
//!   cannot be mixed with a partitioned one.
//! - Of several policies with rights to one API the versions and the `allowed_urls` are added, also where one of them
//!   has no `allowed_urls`; a policy `per_api` replaces them.
//! - One that is switched off switches its keys off. Tags and metadata are added.
//!
//! Thresholds of a policy's monitor are added too; Tyk's policies have none.

use std::collections::BTreeSet;

use litemap::LiteMap;
use serde_json::{Map, Value};

use crate::access::UrlRule;
use crate::config::raw::{AccessRight, AllowedUrl, Limit, Named, Partitions, Policy, Session};

/// A session after its policies.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    pub limit: Limit,
    /// The APIs that it may call. `None`: every API.
    pub rights: Option<LiteMap<String, MergedRight>>,
    pub is_inactive: bool,
    pub trigger_limits: Vec<f64>,
    pub tags: BTreeSet<String>,
    pub meta_data: Map<String, Value>,
}

/// A right after the policies of its session.
#[derive(Clone, Debug, Default)]
pub struct MergedRight {
    /// `None` for the session's.
    pub limit: Option<Limit>,
    /// Empty for the session's own.
    pub scope: String,
    /// The versions, where the API has some.
    pub versions: Vec<String>,
    /// None: every path and method.
    pub urls: Vec<UrlRule>,
}

/// A policy that cannot apply to a session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("no policy has the id {0:?}")]
    Unknown(String),
    #[error("the policy {id:?} belongs to the organisation {org:?}")]
    OtherOrganisation { id: String, org: String },
    #[error("the policy {0:?} has per_api and another partition, which cannot be mixed")]
    MixedPartitions(String),
    #[error("the policy {0:?} cannot be mixed with those before: some are per_api, some partitioned")]
    MixedPolicies(String),
}

/// Merges a session with its policies.
pub fn merge(session: &Session, policies: &Named<Policy>) -> Result<Merged, PolicyError> {
    let mut merge = Merge::new(session);
    let mut applied = Vec::new();
    for id in session.policies() {
        let policy = policies.get(id).ok_or_else(|| PolicyError::Unknown(id.to_owned()))?;
        if !policy.org_id.is_empty() && !session.org_id.is_empty() && policy.org_id != session.org_id {
            return Err(PolicyError::OtherOrganisation { id: id.to_owned(), org: policy.org_id.clone() });
        }
        if policy.partitions.per_api && policy.partitions.is_partitioned() {
            return Err(PolicyError::MixedPartitions(id.to_owned()));
        }
        applied.push((id, policy));
    }
    for (_, policy) in &applied {
        merge.clear(policy);
    }
    let mut after_partitioned = false;
    for (id, policy) in applied {
        let mixes = if policy.partitions.per_api {
            after_partitioned
        } else {
            policy.partitions.is_partitioned() && merge.has_per_api
        };
        if mixes {
            return Err(PolicyError::MixedPolicies(id.to_owned()));
        }
        if policy.partitions.per_api {
            merge.add_per_api(id, policy);
        } else {
            merge.add(id, policy);
            after_partitioned = policy.partitions.is_partitioned();
        }
        merge.merged.is_inactive |= policy.is_inactive;
        merge.merged.trigger_limits.extend(policy.monitor.trigger_limits.iter().map(|limit| limit.0));
        merge.merged.tags.extend(policy.tags.iter().cloned());
        merge.merged.meta_data.extend(policy.meta_data.clone());
    }
    Ok(merge.finish(session))
}

impl Partitions {
    fn is_partitioned(self) -> bool {
        self.quota || self.rate_limit || self.acl || self.complexity
    }

    /// Whether a part is said: all are, where there are no partitions.
    pub fn says(self, part: bool) -> bool {
        part || !self.is_partitioned()
    }
}

impl Policy {
    /// Whether its keys have its rights, and none of their own.
    pub fn says_rights(&self) -> bool {
        let parts = self.partitions;
        !self.access_rights.is_empty() && (parts.per_api || parts.says(parts.acl))
    }
}

impl Limit {
    fn is_empty(self) -> bool {
        self == Limit::default()
    }

    fn says_no_rate(self) -> bool {
        self.rate == 0.0 || self.per == 0.0
    }

    /// Seconds from one request to the next; 0 for an unlimited rate, which is faster than any.
    fn pace(self) -> f64 {
        if self.rate <= 0.0 || self.per <= 0.0 { 0.0 } else { self.per / self.rate }
    }

    fn raise_quota(&mut self, other: Limit) {
        if is_larger(other.quota_max, self.quota_max) {
            self.quota_max = other.quota_max;
        }
        self.quota_renewal_rate = self.quota_renewal_rate.max(other.quota_renewal_rate);
    }

    fn raise_rate(&mut self, other: Limit) {
        if !other.says_no_rate() && (self.says_no_rate() || self.pace() > other.pace()) {
            (self.rate, self.per) = (other.rate, other.per);
        }
    }
}

/// -1 is unlimited.
fn is_larger(a: i64, b: i64) -> bool {
    b != -1 && (a == -1 || a > b)
}

/// What the policies so far have given.
#[derive(Default)]
struct Merge {
    merged: Merged,
    rights: LiteMap<String, Given>,
    has_per_api: bool,
}

/// What policies have given for an API.
#[derive(Default)]
struct Given {
    limit: Limit,
    scope: String,
    /// The policy, or the scope, that gave the right last; empty: none gave it.
    by: String,
    quota: bool,
    rate: bool,
    versions: Vec<String>,
    urls: Vec<UrlRule>,
}

impl Given {
    /// Adds what a right allows.
    fn add(&mut self, right: &AccessRight) {
        add_missing(&mut self.versions, &right.versions);
        for AllowedUrl { url, methods } in &right.allowed_urls {
            match self.urls.iter_mut().find(|known| known.url == *url) {
                Some(known) => add_missing(&mut known.methods, methods),
                None => self.urls.push(UrlRule { url: url.clone(), methods: methods.clone() }),
            }
        }
    }
}

fn add_missing(to: &mut Vec<String>, from: &[String]) {
    for text in from {
        if !to.contains(text) {
            to.push(text.clone());
        }
    }
}

impl Merge {
    fn new(session: &Session) -> Self {
        let merged = Merged {
            limit: session.limit(),
            is_inactive: session.is_inactive,
            trigger_limits: session.monitor.trigger_limits.iter().map(|limit| limit.0).collect(),
            tags: session.tags.iter().cloned().collect(),
            meta_data: session.meta_data.clone(),
            ..Merged::default()
        };
        Merge { merged, ..Merge::default() }
    }

    /// What a policy is going to say, the session says no longer.
    fn clear(&mut self, policy: &Policy) {
        let limit = &mut self.merged.limit;
        if policy.partitions.says(policy.partitions.quota) {
            limit.quota_max = 0;
        }
        if policy.partitions.says(policy.partitions.rate_limit) {
            (limit.rate, limit.per) = (0.0, 0.0);
        }
    }

    fn add(&mut self, id: &str, policy: &Policy) {
        let parts = policy.partitions;
        let said = policy.limit();
        for (api, right) in &policy.access_rights {
            let given = self.rights.entry(api.clone()).or_default();
            if parts.says(parts.acl) {
                id.clone_into(&mut given.by);
                given.add(right);
            }
            if parts.says(parts.quota) {
                given.quota = true;
                given.limit.raise_quota(said);
                self.merged.limit.raise_quota(said);
            }
            if parts.says(parts.rate_limit) {
                given.rate = true;
                given.limit.raise_rate(said);
                self.merged.limit.raise_rate(said);
            }
        }
        if policy.access_rights.is_empty() {
            let limit = &mut self.merged.limit;
            if parts.says(parts.quota) {
                (limit.quota_max, limit.quota_renewal_rate) = (said.quota_max, said.quota_renewal_rate);
            }
            if parts.says(parts.rate_limit) {
                (limit.rate, limit.per) = (said.rate, said.per);
            }
        }
    }

    fn add_per_api(&mut self, id: &str, policy: &Policy) {
        for (api, right) in &policy.access_rights {
            let (mut limit, scope) =
                if right.limit.is_empty() { (policy.limit(), id) } else { (right.limit, api.as_str()) };
            if let Some(before) = self.rights.get(api) {
                limit.raise_quota(before.limit);
                if limit.pace() > before.limit.pace() {
                    (limit.rate, limit.per) = (before.limit.rate, before.limit.per);
                }
            }
            let (scope, by) = (scope.to_owned(), scope.to_owned());
            let mut given = Given { limit, scope, by, quota: true, rate: true, ..Given::default() };
            given.add(right);
            self.rights.insert(api.clone(), given);
            self.has_per_api = true;
        }
    }

    fn finish(mut self, session: &Session) -> Merged {
        self.rights.retain(|_, given| !given.by.is_empty());
        let givers: BTreeSet<&str> = self.rights.values().map(|given| given.by.as_str()).collect();
        let several = givers.len() > 1;
        let root = self.merged.limit;
        let mut rights = LiteMap::new();
        for (api, given) in &self.rights {
            let mut limit = given.limit;
            if !given.rate {
                (limit.rate, limit.per) = (root.rate, root.per);
            }
            if !given.quota {
                (limit.quota_max, limit.quota_renewal_rate) = (root.quota_max, root.quota_renewal_rate);
            }
            let scope = if given.scope.is_empty() && several { given.by.clone() } else { given.scope.clone() };
            // One that says nothing is the session's, as in Tyk.
            let (limit, scope) = if limit.is_empty() { (None, String::new()) } else { (Some(limit), scope) };
            let (versions, urls) = (given.versions.clone(), given.urls.clone());
            rights.insert(api.clone(), MergedRight { limit, scope, versions, urls });
        }
        self.merged.rights = if rights.is_empty() { own_rights(&session.access_rights) } else { Some(rights) };
        self.merged
    }
}

fn own_rights(rights: &Named<AccessRight>) -> Option<LiteMap<String, MergedRight>> {
    let mut own = LiteMap::new();
    for (api, right) in rights {
        let mut given = Given::default();
        given.add(right);
        let scope = if right.allowance_scope.is_empty() { api } else { &right.allowance_scope };
        let (limit, scope) =
            if right.limit.is_empty() { (None, String::new()) } else { (Some(right.limit), scope.clone()) };
        own.insert(api.clone(), MergedRight { limit, scope, versions: given.versions, urls: given.urls });
    }
    (!own.is_empty()).then_some(own)
}

#[cfg(test)]
mod tests;
