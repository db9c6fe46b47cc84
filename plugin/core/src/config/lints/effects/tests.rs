use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::config::Config;

/// A configuration in which everything has an effect.
fn base() -> Value {
    let hook = |url: &str| json!({ "handler_name": "eh_web_hook_handler", "handler_meta": { "target_path": url } });
    json!({
        "apis": [
            {
                "api_id": "orders", "org_id": "acme", "listen_path": "/orders/", "observe_failures": true, "observe_upstream": true,
                "auth": { "use_param": true, "param_name": "k", "use_cookie": true, "cookie_name": "c" },
                "event_handlers": { "events": {
                    "AuthFailure": [hook("http://a.test/")], "KeyExpired": [hook("http://a.test/")], "QuotaExceeded": [hook("http://a.test/")],
                    "OrgQuotaExceeded": [hook("http://a.test/")], "OrgRateLimitExceeded": [hook("http://a.test/")],
                    "RatelimitExceeded": [hook("http://a.test/")], "TriggerExceeded": [hook("http://a.test/")],
                    "HostDown": [hook("http://a.test/")],
                } },
                "server": { "eventHandlers": [
                    { "enabled": true, "trigger": "HostUp", "type": "webhook", "url": "http://a.test/", "bodyTemplate": "t.json" }
                ] }
            },
            { "api_id": "people", "listen_path": "/people/", "identity": ["key", { "header": "x-consumer" }] },
            { "api_id": "open", "listen_path": "/open/", "use_keyless": true },
            {
                "api_id": "portal", "listen_path": "/portal/", "use_keyless": true, "observe": { "preset": "tyk-portal" },
                "event_handlers": { "events": { "UserRegistered": [{ "handler_name": "eh_log_handler", "handler_meta": { "prefix": "x" } }] } }
            }
        ],
        "keys": {
            "k": { "org_id": "acme", "quota_max": 5, "rate": 5, "per": 1, "expires": 4_000_000_000_u64, "monitor": { "trigger_limits": [50] } },
            "p": { "org_id": "acme", "apply_policies": ["gold"] },
            "header:partner": { "org_id": "acme" }
        },
        "policies": {
            "gold": { "quota_max": 9, "monitor": { "trigger_limits": [60] }, "partitions": { "per_api": true },
                "access_rights": { "orders": { "limit": { "quota_max": 3 } } } },
            "plain": { "quota_max": 9 }
        },
        "default_policy": "plain", "identities": { "capacity": 64 },
        "orgs": { "acme": { "quota_max": 50, "rate": 50, "per": 1, "monitor": { "trigger_limits": [70] } } },
        "enforce_org_quotas": true,
        "monitor": {
            "enable_trigger_monitors": true, "monitor_user_keys": true, "monitor_org_keys": true,
            "configuration": { "webhook": "named" }
        },
        "templates": { "t.json": "{}", "templates/default_webhook.json": "{}" },
        "webhooks": [{ "name": "named", "target_url": "http://n.test/" }, { "name": "own", "target_url": "http://n.test/", "events": ["UserRegistered"] }],
        "callouts": { "clusters": { "A.test": "x", "n.test": "y" } }
    })
}

/// The values to set, by JSON pointer, and the beginnings of the warnings that they must cause.
type Case<'c> = (&'c [(&'c str, &'c str)], &'c [&'c str]);

const TRIGGER: &str = "apis[0].event_handlers.events.TriggerExceeded: this event never fires here: ";

const CASES: &[Case<'_>] = &[
    // Keyless APIs.
    (&[("/apis/2/identity", r#"["key"]"#)], &["apis[2].identity: has no effect: the API is keyless"]),
    (
        &[("/apis/2/strip_authorization_data", "true")],
        &["apis[2].strip_authorization_data: has no effect: the API is keyless"],
    ),
    (
        &[(
            "/apis/2/auth",
            r#"{"use_param": true, "use_cookie": true, "cookie_name": "c", "fire_on_missing_key": true, "allow_preflight": true}"#,
        )],
        &[
            "apis[2].auth.use_param: has no effect: the API is keyless",
            "apis[2].auth.use_cookie: has no effect: the API is keyless",
            "apis[2].auth.fire_on_missing_key: has no effect: the API is keyless",
            "apis[2].auth.allow_preflight: has no effect: the API is keyless",
        ],
    ),
    (&[("/apis/2/auth", r#"{"auth_header_name": "x-key"}"#)], &[]),
    // Enforcement.
    (
        &[("/enforcement", r#""observe""#)],
        &["enforcement: requests that would be refused are admitted, also without a valid key"],
    ),
    (
        &[("/apis/1/enforcement", r#""observe""#)],
        &["apis[1].enforcement: requests that would be refused are admitted, also without a valid key"],
    ),
    (
        &[("/apis/2/enforcement", r#""enforce""#)],
        &["apis[2].enforcement: has no effect: the API is keyless and has no limits"],
    ),
    (&[("/apis/1/enforcement", r#""enforce""#)], &[]),
    // Conditions.
    (
        &[("/apis/0/event_handlers/events/HostDown/0/handler_meta/when", r#"{"trigger_limit": ">= 90"}"#)],
        &[
            "apis[0].event_handlers.events.HostDown[0].handler_meta.when.trigger_limit: no event meets this condition: only",
        ],
    ),
    (
        &[("/apis/0/event_handlers/events/TriggerExceeded/0/handler_meta/when", r#"{"trigger_limit": "> 70"}"#)],
        &[
            "apis[0].event_handlers.events.TriggerExceeded[0].handler_meta.when.trigger_limit: no event meets this condition: no",
        ],
    ),
    (
        &[(
            "/apis/0/event_handlers/events/TriggerExceeded/0/handler_meta/when",
            r#"{"trigger_limit": ">= 70", "api_id": "people", "tag": "x"}"#,
        )],
        &[
            "apis[0].event_handlers.events.TriggerExceeded[0].handler_meta.when.api_id: no event meets this condition: the handler",
            "apis[0].event_handlers.events.TriggerExceeded[0].handler_meta.when.tag: no event meets this condition: no key",
        ],
    ),
    (&[("/webhooks/1/when", r#"{"api_id": ["orders", "portal"]}"#)], &[]),
    (
        &[
            ("/apis/3/observe", "{}"),
            ("/apis/3/event_handlers", "{}"),
            ("/apis/1/identity", r#"["key"]"#),
            ("/default_policy", r#""""#),
            ("/identities", "{}"),
            ("/keys/header:partner", r#"{"org_id": "acme"}"#),
            ("/webhooks/1/events", r#"["AuthFailure"]"#),
            ("/webhooks/1/when", r#"{"org_id": "acmo"}"#),
        ],
        &[
            "keys[\"header:partner\"]: no API identifies callers by header",
            "policies.plain: no key has this policy",
            "webhooks[1].when.org_id: no event meets this condition: no key",
        ],
    ),
    // Forecasts.
    (&[("/monitor/forecast", r#"{"min_used": 30}"#)], &["monitor.forecast.min_used: has no effect: within is missing"]),
    (
        &[("/monitor/forecast", r#"{"within": 3600}"#)],
        &["monitor.forecast: has no effect: no monitored quota has a window that ends"],
    ),
    (&[("/monitor/forecast", r#"{"within": 3600}"#), ("/orgs/acme/quota_renewal_rate", "60")], &[]),
    (
        &[("/apis/0/event_handlers/events/QuotaForecast", r#"[{"handler_name": "eh_log_handler"}]"#)],
        &["apis[0].event_handlers.events.QuotaForecast: this event never fires here: monitor.forecast.within"],
    ),
    // Places of keys.
    (&[("/apis/0/auth/use_param", "false")], &["apis[0].auth.param_name: has no effect: use_param is not true"]),
    (&[("/apis/0/auth/use_cookie", "false")], &["apis[0].auth.cookie_name: has no effect: use_cookie is not true"]),
    (
        &[("/apis/1/identity", r#"[{"header": "x-consumer"}]"#), ("/apis/1/auth", r#"{"use_param": true}"#)],
        &["apis[1].auth: has no effect: identity does not include key"],
    ),
    // Keys.
    (
        &[
            ("/apis", r#"[{"api_id": "orders", "org_id": "acme", "use_keyless": true}]"#),
            ("/callouts", "{}"),
            ("/templates", "{}"),
            ("/webhooks/1/events", r#"["OrgQuotaExceeded"]"#),
        ],
        &[
            "keys: no API asks for a key",
            "keys[\"header:partner\"]: no API identifies callers by header",
            "default_policy: has no effect",
            "identities.capacity: has no effect",
            "policies.gold.access_rights.orders.limit: has no effect",
        ],
    ),
    (
        &[("/apis/1/identity", r#"["key", {"source_address": true}]"#)],
        &["keys[\"header:partner\"]: no API identifies callers by header"],
    ),
    (&[("/keys/metadata:x", "{}")], &["keys[\"metadata:x\"]: no API identifies callers by metadata"]),
    // A session may belong to an identity with its name, too.
    (
        &[
            ("/apis/0/identity", r#"[{"header": "x-user"}]"#),
            ("/apis/0/auth", "{}"),
            ("/apis/1/identity", r#"[{"header": "x-user"}]"#),
        ],
        &[],
    ),
    (
        &[("/keys_from", r#"{"interval_s": 5, "headers": {"a": "b"}, "max_bytes": 2000}"#)],
        &[
            "keys_from.interval_s: has no effect: without url",
            "keys_from.headers: has no effect: without url",
            "keys_from.max_bytes: has no effect: without url",
        ],
    ),
    // Policies, identities, organisations.
    (&[("/policies/silver", r#"{"quota_max": 5}"#)], &["policies.silver: no key has this policy"]),
    (&[("/policies/silver", "{}"), ("/keys_from", r#"{"url": "http://n.test/k"}"#)], &[]),
    (&[("/keys/p/apply_policies", "[]"), ("/keys/p/apply_policy_id", "\"gold\"")], &[]),
    (
        &[
            ("/apis/1/identity", "[]"),
            (
                "/keys",
                r#"{"k": {"org_id": "acme", "expires": 4000000000, "rate": 1, "per": 1, "apply_policies": ["gold"]}}"#,
            ),
        ],
        &[
            "default_policy: has no effect",
            "identities.capacity: has no effect",
            "keys[\"sha256:8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a\"].rate: has no effect: the key's",
        ],
    ),
    (&[("/orgs/other", r#"{"quota_max": 5}"#)], &["orgs.other: no API and no key belongs to this organisation"]),
    (&[("/orgs/other", r#"{"event_options": {"api_event": {"webhook": "http://n.test/"}}}"#)], &[]),
    (
        &[
            ("/orgs/acme", r#"{}"#),
            ("/monitor/monitor_org_keys", "false"),
            ("/apis/0/event_handlers/events/OrgQuotaExceeded", "[]"),
            ("/apis/0/event_handlers/events/OrgRateLimitExceeded", "[]"),
        ],
        &["enforce_org_quotas: has no effect: no organisation has a quota or a rate"],
    ),
    (
        &[("/enforce_org_quotas", "false")],
        &[
            "orgs.acme.quota_max: has no effect: enforce_org_quotas is not true",
            "orgs.acme.rate: has no effect: enforce_org_quotas is not true",
            "monitor.monitor_org_keys: has no effect: enforce_org_quotas is not true",
            "orgs.acme.monitor.trigger_limits: has no effect: enforce_org_quotas is not true",
            "apis[0].event_handlers.events.OrgQuotaExceeded: this event never fires here: enforce_org_quotas is not true",
            "apis[0].event_handlers.events.OrgRateLimitExceeded: this event never fires here: enforce_org_quotas is not true",
        ],
    ),
    (
        &[("/policies/gold/access_rights/open", r#"{"limit": {"rate": 5, "per": 1}}"#)],
        &["policies.gold.access_rights.open.limit: has no effect: the API is keyless"],
    ),
    (
        &[("/policies/gold/partitions", "{}")],
        &["policies.gold.access_rights.orders.limit: has no effect: partitions.per_api is not true"],
    ),
    (
        &[
            ("/policies/plain/partitions", r#"{"rate_limit": true}"#),
            ("/policies/plain/access_rights", r#"{"orders": {}}"#),
        ],
        &["policies.plain.quota_max: has no effect: its partitions leave quota out"],
    ),
    (
        &[("/policies/plain", r#"{"rate": 5, "per": 1, "partitions": {"acl": true}}"#)],
        &["policies.plain.rate: has no effect: its partitions leave rate_limit out"],
    ),
    (
        &[
            ("/policies/gold/access_rights/orders", r#"{"limit": {"quota_max": -1}, "allowance_scope": "x"}"#),
            ("/policies/gold/partitions", "{}"),
        ],
        &[
            "policies.gold.access_rights.orders.limit: has no effect: partitions.per_api is not true",
            "policies.gold.access_rights.orders.allowance_scope: has no effect: a policy's rights are counted by policy",
        ],
    ),
    (
        &[(
            "/keys/k/access_rights",
            r#"{"orders": {"allowance_scope": "x"}, "people": {"limit": {"rate": 1, "per": 1}, "allowance_scope": "x"}}"#,
        )],
        &[
            "keys[\"sha256:8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a\"].access_rights.orders.allowance_scope: has no effect: the right has no limit",
        ],
    ),
    // Settings that policies replace, and settings that stay the key's.
    (
        &[(
            "/keys/p",
            r#"{"org_id": "acme", "apply_policies": ["gold"], "quota_max": 10, "rate": 1, "per": 1, "access_rights": {"people": {}}}"#,
        )],
        &[
            "keys[\"sha256:148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940\"].access_rights: has no effect: the key's policies",
            "keys[\"sha256:148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940\"].quota_max: has no effect: the key's policies",
            "keys[\"sha256:148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940\"].rate: has no effect: the key's policies",
        ],
    ),
    (
        &[
            ("/policies/quota", r#"{"quota_max": 5, "partitions": {"quota": true}, "access_rights": {"orders": {}}}"#),
            ("/keys/p", r#"{"org_id": "acme", "apply_policies": ["gold"]}"#),
            (
                "/keys/q",
                r#"{"org_id": "acme", "apply_policies": ["quota"], "rate": 1, "per": 1, "access_rights": {"orders": {"limit": {"quota_max": 5}}}}"#,
            ),
        ],
        &[],
    ),
    // A policy that names no API.
    (&[("/keys/p", r#"{"org_id": "acme", "apply_policies": ["gold", "plain"]}"#)], &[]),
    (
        &[("/keys/q", r#"{"org_id": "acme", "apply_policies": ["plain"]}"#)],
        &[
            "keys[\"sha256:8e35c2cd3bf6641bdb0e2050b76932cbb2e6034a0ddacc1d9bea82a6ba57f7cf\"].apply_policies: none of the policies gives a right to an API",
        ],
    ),
    // Monitors.
    (
        &[("/policies/plain/monitor", r#"{"trigger_limits": [50]}"#), ("/policies/plain/quota_max", "0")],
        &["policies.plain.monitor.trigger_limits: has no effect: there is no quota"],
    ),
    (
        &[
            ("/policies/plain", r#"{"monitor": {"trigger_limits": [50]}}"#),
            ("/keys/p", r#"{"org_id": "acme", "apply_policies": ["plain", "gold"]}"#),
        ],
        &[],
    ),
    (
        &[
            ("/policies/gold", r#"{"access_rights": {"orders": {}}}"#),
            ("/keys/p", r#"{"org_id": "acme", "apply_policies": ["gold"], "monitor": {"trigger_limits": [50]}}"#),
        ],
        &[
            "keys[\"sha256:148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940\"].monitor.trigger_limits: has no effect: there is no quota",
        ],
    ),
    (
        &[("/monitor/enable_trigger_monitors", "false"), ("/monitor/global_trigger_limit", "80")],
        &[
            "monitor.monitor_user_keys: has no effect: monitor.enable_trigger_monitors is not true",
            "monitor.monitor_org_keys: has no effect: monitor.enable_trigger_monitors is not true",
            "monitor.global_trigger_limit: has no effect: monitor.enable_trigger_monitors is not true",
            "keys[\"sha256:",
            "policies.gold.monitor.trigger_limits: has no effect",
            "orgs.acme.monitor.trigger_limits: has no effect",
            TRIGGER,
        ],
    ),
    (
        &[("/monitor/monitor_user_keys", "false")],
        &[
            "keys[\"sha256:",
            "policies.gold.monitor.trigger_limits: has no effect: monitor.monitor_user_keys is not true",
        ],
    ),
    (
        &[("/monitor/monitor_org_keys", "false")],
        &["orgs.acme.monitor.trigger_limits: has no effect: monitor.monitor_org_keys is not true"],
    ),
    (&[("/keys/k/quota_max", "-1")], &["keys[\"sha256:"]),
    (
        &[("/orgs/acme/quota_max", "-1")],
        &[
            "monitor.monitor_org_keys: has no effect: no organisation has a quota",
            "orgs.acme.monitor.trigger_limits: has no effect: there is no quota",
            "apis[0].event_handlers.events.OrgQuotaExceeded: this event never fires here: no organisation has a quota",
        ],
    ),
    (
        &[
            ("/keys/k/quota_max", "0"),
            ("/keys/k/monitor", "{}"),
            ("/policies/plain/quota_max", "0"),
            ("/policies/gold/access_rights", "{}"),
            ("/policies/gold/quota_max", "0"),
        ],
        &[
            "monitor.monitor_user_keys: has no effect: no key has a quota",
            "policies.gold.monitor.trigger_limits: has no effect: there is no quota",
            "keys[\"sha256:148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940\"].apply_policies: none of the policies",
            "apis[0].event_handlers.events.QuotaExceeded: this event never fires here: no key has a quota",
        ],
    ),
    (
        &[("/keys/k/monitor", "{}"), ("/policies/gold/monitor", "{}")],
        &["monitor.monitor_user_keys: has no effect: there is no threshold"],
    ),
    (&[("/orgs/acme/monitor", "{}")], &["monitor.monitor_org_keys: has no effect: there is no threshold"]),
    (&[("/orgs/acme/monitor", "{}"), ("/monitor/global_trigger_limit", "80")], &[]),
    // Events.
    (
        &[("/keys/k/expires", "0")],
        &["apis[0].event_handlers.events.KeyExpired: this event never fires here: no key has expires or is_inactive"],
    ),
    (&[("/keys/k/expires", "0"), ("/policies/gold/is_inactive", "true")], &[]),
    (
        &[("/apis/0/observe_upstream", "false")],
        &[
            "apis[0].event_handlers.events.HostDown: this event never fires here: observe_upstream is not set",
            "apis[0].server.eventHandlers[0].trigger: this event never fires here: observe_upstream is not set",
        ],
    ),
    (&[("/apis/0/observe_upstream", r#"{"failures": 5}"#)], &[]),
    (
        &[("/apis/0/observe_failures", "false"), ("/keys/k/rate", "0"), ("/keys/k/per", "0")],
        &["apis[0].event_handlers.events.RatelimitExceeded: this event never fires here: no key and no API has a rate"],
    ),
    (
        &[
            ("/apis/0/observe_failures", "false"),
            ("/keys/k/rate", "0"),
            ("/keys/k/per", "0"),
            ("/apis/0/global_rate_limit", r#"{"rate": 1, "per": 1}"#),
        ],
        &[],
    ),
    (
        &[("/orgs/acme/rate", "0"), ("/orgs/acme/per", "0")],
        &[
            "apis[0].event_handlers.events.OrgRateLimitExceeded: this event never fires here: no organisation has a rate",
        ],
    ),
    (
        &[(
            "/apis/2/event_handlers",
            r#"{"events": {"AuthFailure": [{"handler_name": "eh_log_handler"}], "QuotaExceeded": [{"handler_name": "eh_log_handler"}]}}"#,
        )],
        &[
            "apis[2].event_handlers.events.AuthFailure: this event never fires here: every request may pass (use_keyless)",
            "apis[2].event_handlers.events.QuotaExceeded: this event never fires here: every request may pass without a key",
        ],
    ),
    (
        &[(
            "/apis/2/event_handlers",
            r#"{"events": {"AuthFailure": [{"handler_name": "eh_log_handler", "handler_meta": {"disabled": true}}]}}"#,
        )],
        &[],
    ),
    (
        &[
            ("/apis/0/event_handlers/events/ApiEvent", "[]"),
            ("/apis/0/event_handlers/events/api_event", r#"[{"handler_name": "eh_log_handler"}]"#),
            ("/apis/0/event_handlers/events/ApiEvent", "null"),
        ],
        &[
            "apis[0].event_handlers.events.api_event: this event never fires here: the API has neither a preset nor rules",
        ],
    ),
    (
        &[
            ("/apis/3/observe", "{}"),
            ("/apis/3/event_handlers", "{}"),
            ("/orgs/acme/event_options", r#"{"api_event": {"webhook": "http://n.test/"}, "key_event": {}}"#),
        ],
        &[
            "webhooks[1].events[0]: this event never fires here: no API has observe, and admin is off",
            "orgs.acme.event_options.api_event: has no effect: no API has observe, and admin is off",
        ],
    ),
    (
        &[
            ("/apis/3/observe", "{}"),
            ("/apis/3/event_handlers", "{}"),
            ("/admin", r#"{"token_sha256": "9d8db2a67d146638c07fbb5652ad998062e2e2fa857eef026c40c444b07e3872"}"#),
        ],
        &[],
    ),
    // Events without a recipient.
    (
        &[("/apis/1/observe_failures", "true"), ("/apis/1/observe_upstream", "true")],
        &[
            "apis[1].observe_failures: has no effect: no handler is for AuthFailure",
            "apis[1].observe_upstream: has no effect: no handler is for an event of the upstream",
        ],
    ),
    (
        &[("/apis/3/event_handlers", "{}"), ("/webhooks/1/events", r#"["AuthFailure"]"#)],
        &["apis[3].observe: has no effect: no one is notified of management events"],
    ),
    // Templates, webhooks, handlers.
    (&[("/templates/u.json", "\"{}\"")], &["templates[\"u.json\"]: no handler uses this template"]),
    (
        &[("/webhooks/2", r#"{"name": "w", "target_url": "http://n.test/"}"#)],
        &["webhooks[2]: no handler names this webhook"],
    ),
    (
        &[
            ("/monitor/configuration", r#"{"target_path": "http://n.test/", "method": "GET"}"#),
            ("/webhooks/0/events", r#"["UserRegistered"]"#),
            ("/monitor/configuration/template_path", "\"t.json\""),
            ("/monitor/configuration/secret", "\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\""),
        ],
        &["monitor.configuration.template_path: has no effect: GET sends no body"],
    ),
    (
        &[(
            "/apis/0/server/eventHandlers/0",
            r#"{"enabled": true, "trigger": "HostUp", "type": "webhook", "method": "GET", "url": "http://a.test/", "bodyTemplate": "t.json", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}"#,
        )],
        &["apis[0].server.eventHandlers[0].bodyTemplate: has no effect: GET sends no body"],
    ),
    (
        &[(
            "/apis/0/server/eventHandlers/0",
            r#"{"enabled": true, "trigger": "HostUp", "type": "webhook", "method": "GET", "url": "http://a.test/", "bodyTemplate": "t.json", "cooldownPeriod": "1m"}"#,
        )],
        &[],
    ),
    (
        &[(
            "/apis/3/event_handlers/events/UserRegistered/0/handler_meta",
            r#"{"method": "PUT", "target_path": "http://n.test/", "webhook": "own", "template_path": "t.json", "header_map": {"a": "b"}, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "digest": true, "event_timeout": 5, "max_per_minute": 1, "timeout": 1}"#,
        )],
        &[
            "apis[3].event_handlers.events.UserRegistered[0].handler_meta.method: has no effect",
            "apis[3].event_handlers.events.UserRegistered[0].handler_meta.target_path: has no effect",
            "apis[3].event_handlers.events.UserRegistered[0].handler_meta.webhook: has no effect",
            "apis[3].event_handlers.events.UserRegistered[0].handler_meta.template_path: has no effect",
            "apis[3].event_handlers.events.UserRegistered[0].handler_meta.header_map: has no effect",
            "apis[3].event_handlers.events.UserRegistered[0].handler_meta.secret: has no effect",
            "apis[3].event_handlers.events.UserRegistered[0].handler_meta.digest: has no effect",
            "apis[3].event_handlers.events.UserRegistered[0].handler_meta.event_timeout: has no effect",
            "apis[3].event_handlers.events.UserRegistered[0].handler_meta.max_per_minute: has no effect",
            "apis[3].event_handlers.events.UserRegistered[0].handler_meta.timeout: has no effect",
        ],
    ),
    (
        &[("/apis/0/event_handlers/events/HostDown/0/handler_meta/prefix", "\"x\"")],
        &["apis[0].event_handlers.events.HostDown[0].handler_meta.prefix: has no effect: it is for an eh_log_handler"],
    ),
    (
        &[("/apis/0/server/eventHandlers/0/logPrefix", "\"x\""), ("/apis/0/server/eventHandlers/0/path", "\"x.js\"")],
        &[
            "apis[0].server.eventHandlers[0].path: has no effect",
            "apis[0].server.eventHandlers[0].logPrefix: has no effect",
        ],
    ),
    (
        &[(
            "/apis/0/server/eventHandlers/1",
            r#"{"enabled": true, "trigger": "HostUp", "type": "log", "url": "http://a.test/", "cooldownPeriod": "1s"}"#,
        )],
        &[
            "apis[0].server.eventHandlers[1].url: has no effect",
            "apis[0].server.eventHandlers[1].cooldownPeriod: has no effect",
        ],
    ),
    // E-mail, clusters, delivery.
    (
        &[("/callouts/clusters/other.test", "\"z\"")],
        &["callouts.clusters[\"other.test\"]: nothing is sent to this host"],
    ),
    (
        &[("/delivery", r#"{"max_in_flight_per_target": 90}"#)],
        &["delivery.max_in_flight_per_target: has no effect: max_in_flight is less"],
    ),
    (
        &[("/delivery", r#"{"max_in_flight": 90, "capacity": 80}"#)],
        &["delivery.max_in_flight: has no effect: capacity is less"],
    ),
    (
        &[("/delivery", r#"{"max_attempts": 1, "base_delay_ms": 5}"#)],
        &["delivery.base_delay_ms: has no effect: max_attempts is 1"],
    ),
    (
        &[(
            "/email_backend",
            r#"{"enable_email_notifications": true, "code": "mandrill", "settings": {"ClientKey": "k"}, "default_from_email": "a@acme.test"}"#,
        )],
        &[],
    ),
    (
        &[(
            "/email_backend",
            r#"{"enable_email_notifications": true, "code": "mandrill", "settings": {"ClientKey": "k"}, "default_from_email": "a@acme.test", "notify_users": false, "event_timeout": 5}"#,
        )],
        &[
            "email_backend.event_timeout: has no effect: notify_users is false",
            "email_backend: has no effect: no handler and no event_options names an address",
        ],
    ),
];

fn set(config: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match config.pointer_mut(parent).unwrap_or_else(|| panic!("{parent}")) {
        Value::Object(members) => drop(members.insert(name.to_owned(), value)),
        Value::Array(items) if name.parse::<usize>().unwrap() == items.len() => items.push(value),
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = value,
        _ => panic!("{pointer}"),
    }
}

fn warnings(config: &Value) -> Vec<String> {
    let (_, warnings) = Config::load(config.to_string().as_bytes()).unwrap_or_else(|errors| panic!("{errors:?}"));
    warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn settings_with_an_effect_cause_no_warning() {
    assert_eq!(warnings(&base()), Vec::<String>::new());
}

#[test]
fn each_setting_without_an_effect_is_a_warning_with_its_path() {
    let mut bad = Vec::new();
    for (changes, expected) in CASES {
        let mut config = base();
        for (pointer, value) in *changes {
            set(&mut config, pointer, serde_json::from_str(value).unwrap());
        }
        let found = warnings(&config);
        let fits = found.len() == expected.len()
            && expected.iter().all(|begins| found.iter().any(|said| said.starts_with(begins)));
        if !fits {
            bad.push(format!("{changes:?}\n  found {found:#?}\n  expected {expected:#?}"));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn the_place_of_an_internal_api_has_no_effect() {
    let versions = json!({ "location": "header", "key": "x-version", "versions": { "v1": { "api_id": "a" }, "v2": { "api_id": "b" } } });
    let inner = json!({ "api_id": "b", "internal": true, "domain": "b.test", "listen_path": "/b/", "strict_listen_path": true });
    let config = json!({ "apis": [{ "api_id": "a", "versioning": versions }, inner] });
    let expected = ["domain", "listen_path", "strict_listen_path"].map(|field| {
        format!("apis[1].{field}: has no effect: the API is internal: it is reachable only as a version of another API")
    });
    assert_eq!(warnings(&config), expected);
}

#[test]
fn repeated_warnings_are_counted() {
    let mut config = base();
    for n in 0..1000 {
        config["keys"][format!("k{n}")] = json!({ "org_id": "acme", "monitor": { "trigger_limits": [50] } });
    }
    let found = warnings(&config);
    assert_eq!(found.len(), 21, "{found:#?}");
    assert!(found[20].starts_with("keys[\"sha256:"), "{}", found[20]);
    assert!(
        found[20].ends_with(".monitor.trigger_limits: 980 more warnings of this kind are not shown"),
        "{}",
        found[20]
    );
    assert!(!found.iter().any(|said| said.contains("k1")), "no raw key is shown");
    // Other warnings are counted, too.
    let mut config = base();
    for n in 0..1000 {
        config["keys"][format!("k{n}")] = json!({ "expires": n + 1, "apply_policies": ["plain"] });
    }
    let found = warnings(&config);
    let of = |part: &str| found.iter().filter(|said| said.contains(part)).count();
    assert_eq!((of("before the year 2001"), of("gives a right to an API")), (20, 20), "{found:#?}");
    assert_eq!(of("980 more warnings of this kind are not shown"), 2, "{found:#?}");
}
