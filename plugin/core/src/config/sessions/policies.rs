//! Merges a session with its policies, as Tyk does.
//!
//! Tyk's rules, from its documentation and, where that says nothing, from its code (`internal/policy`):
//! - A policy's values replace the session's: its limits, and, if any policy of the session names APIs, the session's
//!   access rights.
//! - If several policies have a value, the larger one wins: the higher rate, the larger quota, the longer window. A
//!   negative value is unlimited and larger than any other. A policy with partitions sets only those parts.
//! - The limits of policies apply to the APIs that they name. If more than one policy gave rights, each API is counted
//!   with the limits of the last policy that names it. Otherwise all APIs are counted together.
//! - The limit of a policy's right counts only if the policy is `per_api`. Its `allowance_scope` never counts.
//! - A `per_api` policy gives each of its APIs its own counter if the right has limits, and all other APIs one counter
//!   together. It cannot be mixed with a partitioned policy.
//! - If several policies have rights to one API, their versions and `allowed_urls` are added, even if one of them has
//!   no `allowed_urls`. A `per_api` policy replaces them.
//! - An inactive policy makes its keys inactive. Tags and metadata are added.
//!
//! Thresholds of a policy's monitor are added, too; Tyk's policies have none.

use std::collections::BTreeSet;

use litemap::LiteMap;
use serde_json::{Map, Value};

use crate::access::UrlRule;
use crate::config::raw::{AccessRight, AllowedUrl, Limit, Named, Partitions, Policy, Session};

/// A session merged with its policies.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    pub limit: Limit,
    /// The APIs that the session may call; `None` means every API.
    pub rights: Option<LiteMap<String, MergedRight>>,
    pub is_inactive: bool,
    pub trigger_limits: Vec<f64>,
    pub tags: BTreeSet<String>,
    pub meta_data: Map<String, Value>,
    /// Whether a fleet reads ahead; `None` means as the store says.
    pub reads_ahead: Option<bool>,
}

/// A right merged with the policies of its session.
#[derive(Clone, Debug, Default)]
pub struct MergedRight {
    /// The limit; `None` means the session's.
    pub limit: Option<Limit>,
    /// The scope; empty means the session's own.
    pub scope: String,
    /// The versions, if the API has versions.
    pub versions: Vec<String>,
    /// The paths and methods; empty means all.
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

/// The setting `counting`; `None` means as the store says.
pub fn reads_ahead(counting: &str) -> Option<bool> {
    match counting {
        "leased" => Some(true),
        "exact" => Some(false),
        _ => None,
    }
}

/// Merges a session with its policies.
///
/// # Errors
/// A policy does not exist, belongs to another organisation, or cannot be mixed with the others.
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
        // One policy that asks for exact counting is enough. The session's own setting wins.
        let own = reads_ahead(&session.counting);
        merge.merged.reads_ahead = own.or(match (merge.merged.reads_ahead, reads_ahead(&policy.counting)) {
            (Some(one), Some(other)) => Some(one && other),
            (one, other) => one.or(other),
        });
    }
    Ok(merge.finish(session))
}

impl Partitions {
    fn is_partitioned(self) -> bool {
        self.quota || self.rate_limit || self.acl || self.complexity
    }

    /// True if the policy sets this part. Without partitions it sets all parts.
    pub fn says(self, part: bool) -> bool {
        part || !self.is_partitioned()
    }
}

impl Policy {
    /// True if the policy's rights replace those of its keys.
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

    /// Seconds between two requests; 0 for an unlimited rate, which is faster than any other.
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

/// Compares two values; -1 is unlimited.
fn is_larger(a: i64, b: i64) -> bool {
    b != -1 && (a == -1 || a > b)
}

/// The values from the policies so far.
#[derive(Default)]
struct Merge {
    merged: Merged,
    rights: LiteMap<String, Given>,
    has_per_api: bool,
}

/// The values that policies have given for an API.
#[derive(Default)]
struct Given {
    limit: Limit,
    scope: String,
    /// The policy, or the scope, that gave the right last; empty if none did.
    by: String,
    quota: bool,
    rate: bool,
    versions: Vec<String>,
    urls: Vec<UrlRule>,
}

impl Given {
    /// Adds the rights of another policy.
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
            reads_ahead: reads_ahead(&session.counting),
            ..Merged::default()
        };
        Merge { merged, ..Merge::default() }
    }

    /// Removes the parts of the session that a policy will set.
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
            // An empty limit means the session's, as in Tyk.
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
