//! Which fields of Tyk's sessions, policies, rights and limits restrict a key. One that is not known could do so, too.
//!
//! These are the filter's own lists, on which the shim does not depend: `tests/it/rights.rs` compares the two.

use super::source::{At, says_something};

/// The fields of an object.
pub(super) struct Fields {
    /// Those that are carried over, or restrict nothing.
    harmless: &'static [&'static str],
    /// Those that restrict, with what they do.
    restricting: &'static [(&'static str, &'static str)],
}

const GRAPHQL: &str = "it restricts GraphQL queries";
const MCP: &str = "it restricts JSON-RPC or MCP calls";
const DEPTH: (&str, &str) = ("max_query_depth", "it limits the depth of GraphQL queries");
const SMOOTHING: (&str, &str) = ("smoothing", "it lowers the rate for a time");

/// Sessions, without what says how their owners authenticate.
pub(super) const SESSION: Fields = Fields {
    harmless: &[
        "org_id",
        "alias",
        "quota_max",
        "quota_renewal_rate",
        "rate",
        "per",
        "expires",
        "is_inactive",
        "monitor",
        "access_rights",
        "apply_policies",
        "apply_policy_id",
        "meta_data",
        "tags",
        "allowance",
        "last_check",
        "quota_remaining",
        "quota_renews",
        "throttle_interval",
        "throttle_retry_limit",
        "date_created",
        "last_updated",
        "data_expires",
        "enable_detail_recording",
        "enable_detailed_recording",
        "session_lifetime",
        "post_expiry_action",
        "post_expiry_grace_period",
        "id_extractor_deadline",
        "key_id",
        "key_hash",
        // Of the dashboard.
        "access_rights_array",
        "auth_type",
        "auth_types",
    ],
    restricting: &[DEPTH, SMOOTHING, ("allowed_ips", "only some addresses may use the key")],
};

/// Policies.
pub(super) const POLICY: Fields = Fields {
    harmless: &[
        "name",
        "org_id",
        "quota_max",
        "quota_renewal_rate",
        "rate",
        "per",
        "is_inactive",
        "access_rights",
        "partitions",
        "tags",
        "meta_data",
        "monitor",
        "key_expires_in",
        "_id",
        "id",
        "active",
        "last_updated",
        "post_expiry_action",
        "post_expiry_grace_period",
        "throttle_interval",
        "throttle_retry_limit",
        "graphql_access_rights",
        // Of the dashboard.
        "access_rights_array",
        "auth_type",
        "auth_types",
        "date_created",
        "graphql_enabled",
        "quota_remaining",
        "quota_renews",
        "state",
    ],
    restricting: &[DEPTH, SMOOTHING],
};

/// The partitions of a policy.
pub(super) const PARTITIONS: Fields =
    Fields { harmless: &["quota", "rate_limit", "complexity", "acl", "per_api"], restricting: &[] };

/// Rights to an API.
pub(super) const RIGHT: Fields = Fields {
    harmless: &["versions", "allowed_urls", "limit", "allowance_scope", "api_id", "api_name", "apiid", "apiname"],
    restricting: &[
        ("endpoints", "it limits single endpoints"),
        ("restricted_types", GRAPHQL),
        ("allowed_types", GRAPHQL),
        ("field_access_rights", GRAPHQL),
        ("disable_introspection", GRAPHQL),
        ("json_rpc_methods", MCP),
        ("json_rpc_methods_access_rights", MCP),
        ("mcp_primitives", MCP),
        ("mcp_access_rights", MCP),
    ],
};

/// The limits of a right.
pub(super) const LIMIT: Fields = Fields {
    harmless: &[
        "quota_max",
        "quota_renewal_rate",
        "rate",
        "per",
        "quota_remaining",
        "quota_renews",
        "throttle_interval",
        "throttle_retry_limit",
        "set_by",
    ],
    restricting: &[DEPTH, SMOOTHING],
};

/// An entry of `allowed_urls`.
pub(super) const RULE: Fields = Fields { harmless: &["url", "methods"], restricting: &[] };

impl Fields {
    /// The first field that says something and restricts, or could, with why. `others`: names that are looked at
    /// elsewhere.
    pub(super) fn restriction<'f>(&self, at: &At<'f>, others: &[(&str, &str)]) -> Option<(&'f str, &'static str)> {
        for (name, value) in at.entries() {
            let is_known = |known: &[(&str, &str)]| known.iter().any(|(known, _)| *known == name);
            if !value.value().is_some_and(says_something) || self.harmless.contains(&name) || is_known(others) {
                continue;
            }
            let why = self.restricting.iter().find(|(field, _)| *field == name);
            let unknown = "tollbell does not know this field, which could restrict a key";
            return Some((name, why.map_or(unknown, |(_, why)| why)));
        }
        None
    }
}
