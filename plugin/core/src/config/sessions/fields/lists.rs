//! The lists: the fields of Tyk 5's `user.SessionState`, `user.AccessDefinition`, `user.APILimit` and `user.Policy`,
//! and additional ones of older releases and exports.

use crate::config::sessions::fields::Use::{Closes, Honoured, Ignored};
use crate::config::sessions::fields::{SessionField, Use};

const fn field(name: &'static str, usage: Use) -> SessionField {
    SessionField { name, usage }
}

const QUOTA_MAX: SessionField = field("quota_max", Honoured("requests per window; -1 and 0 mean unlimited"));
const QUOTA_RENEWAL_RATE: SessionField =
    field("quota_renewal_rate", Honoured("the window in seconds; -1 and 0 mean that it never renews"));
const RATE: SessionField = field("rate", Honoured("requests per period; -1 and 0 mean unlimited"));
const PER: SessionField = field("per", Honoured("the period in seconds; -1 and 0 mean no rate limit"));
const COUNTING: Use = Ignored("Tyk's counter state; counting starts again");
const THROTTLE: Use = Ignored("Tyk delays a refused request and repeats it; tollbell tells the client when to retry");
const DEPTH: Use = Closes("it limits GraphQL queries");
const GRAPHQL: Use = Closes("it restricts GraphQL queries");
const MCP: Use = Closes("it restricts JSON-RPC or MCP calls");
const SMOOTHING: Use = Closes("when enabled, it lowers the rate for a time");
const SIGNATURE: Use = Closes("the owner signs requests");
const CERTIFICATE: Use = Closes("the owner shows a certificate");
const OAUTH: Use = Closes("the owner has an OAuth token");
const RECORDS: Use = Ignored("it controls what Tyk records of requests");
const EXPIRED: Use = Ignored("it controls what Tyk does with an expired session");
const LIFETIME: Use =
    Ignored("Tyk deletes the session after this time; in tollbell it stays until it expires: set expires");
const WRITTEN: Use = Ignored("it says when Tyk wrote the object");
const NAME_AGAIN: Use = Ignored("repeats the object's name");

/// `user.SessionState`.
pub const SESSION: &[SessionField] = &[
    field("org_id", Honoured("the organisation that the key belongs to")),
    field("alias", Honoured("a name for people")),
    QUOTA_MAX,
    QUOTA_RENEWAL_RATE,
    RATE,
    PER,
    field("expires", Honoured("Unix seconds; -1 and 0 mean never")),
    field("is_inactive", Honoured("the key is inactive")),
    field("monitor", Honoured("trigger_limits: thresholds of the key's own")),
    field(
        "access_rights",
        Honoured("the APIs that the key may call, by id; none means every API, but no API for a key with policies"),
    ),
    field("apply_policies", Honoured("the policies of the key, by id")),
    field("apply_policy_id", Honoured("one policy, where apply_policies is empty")),
    field("meta_data", Honoured("for templates; `policies` and `rate_limit_pattern` in it close the key")),
    field("tags", Honoured("for templates")),
    field("counting", Honoured("how a fleet counts its limits; Tyk's sessions have none")),
    field("allowance", COUNTING),
    field("last_check", COUNTING),
    field("quota_remaining", COUNTING),
    field("quota_renews", COUNTING),
    field("throttle_interval", THROTTLE),
    field("throttle_retry_limit", THROTTLE),
    field("date_created", WRITTEN),
    field("last_updated", WRITTEN),
    field("data_expires", RECORDS),
    field("enable_detail_recording", RECORDS),
    field("enable_detailed_recording", RECORDS),
    field("session_lifetime", LIFETIME),
    field("post_expiry_action", EXPIRED),
    field("post_expiry_grace_period", EXPIRED),
    field("id_extractor_deadline", Ignored("it is the time of a cache for plugins")),
    field("key_id", NAME_AGAIN),
    field("key_hash", NAME_AGAIN),
    field("max_query_depth", DEPTH),
    field("smoothing", SMOOTHING),
    field("basic_auth_data", Closes("the owner has a password")),
    field("jwt_data", Closes("the owner has a JWT")),
    field("hmac_enabled", SIGNATURE),
    field("hmac_string", SIGNATURE),
    field("enable_http_signature_validation", SIGNATURE),
    field("rsa_certificate_id", SIGNATURE),
    field("certificate", CERTIFICATE),
    field("mtls_static_certificate_bindings", CERTIFICATE),
    field("oauth_client_id", OAUTH),
    field("oauth_keys", OAUTH),
    field("allowed_ips", Closes("only some addresses may use the key")),
];

/// `user.AccessDefinition`.
pub const RIGHT: &[SessionField] = &[
    field("versions", Honoured("the versions of the API that the key may call, where the API has versions")),
    field("allowed_urls", Honoured("the paths and methods that the key may call; none means all")),
    field("limit", Honoured("limits for this API instead of the session's; in a policy only with partitions.per_api")),
    field(
        "allowance_scope",
        Honoured("rights of a session with the same scope share a counter; in a policy it has no effect"),
    ),
    field("api_id", NAME_AGAIN),
    field("api_name", NAME_AGAIN),
    field("apiid", NAME_AGAIN),
    field("apiname", NAME_AGAIN),
    field("endpoints", Closes("it limits single endpoints")),
    field("restricted_types", GRAPHQL),
    field("allowed_types", GRAPHQL),
    field("field_access_rights", GRAPHQL),
    field("disable_introspection", GRAPHQL),
    field("json_rpc_methods", MCP),
    field("json_rpc_methods_access_rights", MCP),
    field("mcp_primitives", MCP),
    field("mcp_access_rights", MCP),
];

/// `user.AccessSpec`, an entry of a right's `allowed_urls`.
pub const RULE: &[SessionField] = &[
    field("url", Honoured("a regular expression that must match somewhere in the path")),
    field("methods", Honoured("the methods that may be called")),
];

/// `user.APILimit`.
pub const LIMIT: &[SessionField] = &[
    QUOTA_MAX,
    QUOTA_RENEWAL_RATE,
    RATE,
    PER,
    field("quota_remaining", COUNTING),
    field("quota_renews", COUNTING),
    field("throttle_interval", THROTTLE),
    field("throttle_retry_limit", THROTTLE),
    field("set_by", Ignored("it says which policy wrote the limit")),
    field("max_query_depth", DEPTH),
    field("smoothing", SMOOTHING),
];

/// `user.Policy`.
pub const POLICY: &[SessionField] = &[
    field("name", Honoured("a name for people")),
    field("org_id", Honoured("keys of another organisation cannot have the policy")),
    QUOTA_MAX,
    QUOTA_RENEWAL_RATE,
    RATE,
    PER,
    field("is_inactive", Honoured("its keys are inactive")),
    field("access_rights", Honoured("the APIs that its keys may call, by id")),
    field("partitions", Honoured("the parts of a key that the policy sets")),
    field("tags", Honoured("added to its keys' tags")),
    field("counting", Honoured("how a fleet counts the limits of its keys; Tyk's policies have none")),
    field("meta_data", Honoured("added to its keys' metadata")),
    field("monitor", Honoured("thresholds of its keys; Tyk's policies have none")),
    field("key_expires_in", Ignored("used only when Tyk creates a key")),
    field("_id", NAME_AGAIN),
    field("id", NAME_AGAIN),
    field("active", Ignored("Tyk uses is_inactive")),
    field("last_updated", WRITTEN),
    field("post_expiry_action", EXPIRED),
    field("post_expiry_grace_period", EXPIRED),
    field("throttle_interval", THROTTLE),
    field("throttle_retry_limit", THROTTLE),
    field("graphql_access_rights", Ignored("it is always empty in Tyk 5")),
    field("max_query_depth", DEPTH),
    field("smoothing", SMOOTHING),
    field("hmac_enabled", SIGNATURE),
    field("enable_http_signature_validation", SIGNATURE),
];

/// `user.PolicyPartitions`.
pub const PARTITIONS: &[SessionField] = &[
    field("quota", Honoured("the policy sets the quota")),
    field("rate_limit", Honoured("the policy sets the rate")),
    field("acl", Honoured("the policy sets the access rights")),
    field("per_api", Honoured("each API's right has its own limits, or the policy's")),
    field("complexity", Honoured("the policy sets only a limit of GraphQL queries")),
];
