//! Tyk's documented behaviours, row by row. Each is the same in tollbell, or better on purpose.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::notify::admission::cooldown::tests::tyks_checksum;

/// Whether the behaviour is the same here.
enum Verdict {
    Same,
    /// Why it differs from Tyk.
    Better(&'static str),
}

use Verdict::{Better, Same};

type Check = fn();

/// Tyk's behaviour, the comparison, and the check that proves it.
const ROWS: &[(&str, Verdict, Check)] = &[
    // Quotas.
    ("a limit on an API replaces the session's", Same, api_limit_replaces),
    ("rights with one allowance_scope share a counter", Same, allowance_scope_is_shared),
    ("quota_max of 0 or -1 is unlimited, and not counted", Same, no_quota_is_unlimited),
    ("a quota's window is fixed, from its first request", Same, window_from_first_request),
    ("a request is refused when the count would exceed the maximum", Same, refused_above_maximum),
    (
        "a refused request counts, too",
        Better("a client that retries does not lengthen its own wait, and uses up no one's quota"),
        refused_does_not_count,
    ),
    ("quota_renewal_rate of 0 or less never renews", Same, never_renews),
    (
        "a counter that cannot be read refuses",
        Better("it answers 503, because it is not the client's mistake"),
        unreadable_counter_refuses,
    ),
    (
        "an update of the key resets its counter",
        Better("a configuration update returns no used quota"),
        update_keeps_counter,
    ),
    (
        "meta_data.rate_limit_pattern names another subject to count",
        Better(
            "identity decides who is counted, by claim, header, certificate or address, and no key can name another's counter",
        ),
        identity_names_subject,
    ),
    ("the rate is checked first, and costs no quota", Same, rate_costs_no_quota),
    (
        "the organisation comes before authentication",
        Better("bad keys never use up an organisation's quota"),
        bad_keys_cost_no_org_quota,
    ),
    ("organisations are limited with enforce_org_quotas only", Same, enforce_org_quotas),
    (
        "X-RateLimit headers are on proxied responses only, without Retry-After",
        Better("a refused client gets Retry-After"),
        refusals_carry_headers,
    ),
    (
        "rate_limit_response_headers chooses the source of the headers",
        Better("rate_limit_headers: ietf shows every limit by name"),
        all_limits_in_headers,
    ),
    ("the headers of a key with a rate and no quota are -1, 0 and 0", Same, no_quota_in_headers),
    (
        "the body of an error is XML if the request's content type is XML",
        Better("one documented form, whatever the request's content type is"),
        errors_are_json,
    ),
    // Refusals.
    ("key quota: 403 Quota exceeded, QuotaExceeded", Same, refusal_key_quota),
    ("key rate: 429 Rate Limit Exceeded, RatelimitExceeded", Same, refusal_key_rate),
    ("API rate: 429 API Rate Limit Exceeded, RatelimitExceeded of apilimiter-<org><api>", Same, refusal_api_rate),
    ("organisation quota: 403, OrgQuotaExceeded of the organisation", Same, refusal_org_quota),
    ("organisation rate: 403, OrgRateLimitExceeded of the organisation", Same, refusal_org_rate),
    ("organisation inactive: 403, no event", Same, refusal_org_inactive),
    // Monitors.
    ("enable_trigger_monitors, monitor_user_keys and monitor_org_keys are gates", Same, monitor_gates),
    ("only an admitted request crosses a threshold", Same, refused_never_rings),
    ("a quota without a maximum has no thresholds", Same, no_quota_is_unlimited),
    (
        "every request above the threshold fires, except in the cool-down",
        Better("a threshold fires once in a window, decided by the update that counted"),
        rings_once,
    ),
    ("global_trigger_limit masks the key's own", Better("the highest crossed threshold fires"), highest_rings),
    ("limits are compared in their order", Better("their order does not matter"), order_does_not_matter),
    ("trigger_limit is a string", Same, trigger_limit_is_text),
    (
        "the monitor shows the raw key even with hash_keys",
        Better("hash_keys applies to every event"),
        hashed_keys_in_monitor,
    ),
    ("an organisation's crossing has an empty key", Same, org_crossing_has_no_key),
    (
        "one event at most for a request, of a random API",
        Better("each quota that a request crosses fires"),
        each_quota_rings,
    ),
    ("a quota that never renews never alerts", Better("it alerts like any other"), never_renews_rings),
    // Webhooks.
    ("an unknown method becomes GET", Better("it is an error in the configuration"), unknown_method_is_refused),
    ("GET has a body", Better("none, as Tyk's documentation says"), get_has_no_body),
    ("an attempt may take 30 s", Same, timeout_30s),
    (
        "User-Agent is Tyk-Hookshot, unless header_map has one",
        Better("it names the real sender; header_map still wins"),
        user_agent,
    ),
    (
        "Content-Type comes from header_map; otherwise it is JSON for a .json template or no template, else missing",
        Better("other templates have the type of their ending"),
        content_type,
    ),
    ("the checksum is the MD5 of the request in Go's form", Same, tyks_checksum),
    (
        "the cool-down is checked, and set after sending, even if sending failed",
        Better("it is claimed before, so that only one is sent, and released if sending fails for good"),
        claim_before_sending,
    ),
    ("a cool-down of 0 fires once ever", Better("0 means none, as in the OAS documentation"), no_cool_down),
    ("one attempt", Better("eight, with back-off"), attempts_are_repeated),
    ("the default template depends on the type", Same, default_templates),
    ("old and new variable names", Same, variable_names),
    ("functions work in the default template only", Better("in every template"), functions_everywhere),
    (
        "a custom template that does not parse becomes the default, silently",
        Better("it is an error with line and column"),
        bad_template_is_refused,
    ),
    ("an invalid URL is logged", Better("it is an error in the configuration"), bad_url_is_refused),
    ("hostile text breaks the JSON, or is HTML", Better("it is escaped as JSON"), hostile_text),
    (
        "two handlers with one target and body suppress each other",
        Better("each has its own cool-downs"),
        handlers_apart,
    ),
    (
        "rotating the path or key defeats the cool-down",
        Better("max_per_minute limits it, and a digest counts the rest"),
        flood_is_capped,
    ),
    // Failures.
    ("unknown key: 403, AuthFailure", Same, unknown_key),
    ("no key: 401, no event", Same, no_key),
    ("no right to the API: 403, no event", Better("a client tries to use another's API: AuthFailure"), no_right),
    ("key inactive: 403, expired: 401, KeyExpired", Same, expired_and_inactive),
    ("the id of a custom key is a key in its organisation", Same, custom_keys_have_short_names),
    (
        "a key that equals another key's id in the organisation means that other key",
        Better("a configured key means itself on every API"),
        a_key_is_itself,
    ),
    ("the origin is X-Real-IP, else X-Forwarded-For, if either is an address", Same, origin_of_two_headers),
    (
        "JWT refused: AuthFailure, but none if it has expired",
        Better("jwt_authn refuses; every refusal is an AuthFailure, with the reason"),
        jwt_refused,
    ),
    ("IP denied: 403, AuthFailure", Same, ip_denied),
    (
        "basic auth refused: AuthFailure with the header as key",
        Better("no credentials in the event"),
        basic_auth_refused,
    ),
    ("an unknown version: 403, VersionFailure without a key, with a reason", Same, version_failure),
    (
        "OriginatingRequest holds the whole request",
        Better("it would leak bodies and credentials; path, origin and key are available"),
        no_originating_request,
    ),
    // Definitions.
    ("classic handlers: webhook and log", Same, classic_handlers),
    ("classic handlers: scripts", Better("refused with an alternative, not ignored"), scripts_are_refused),
    ("OAS handlers: webhook and log", Same, oas_handlers),
    ("cooldownPeriod that does not parse is 0", Better("it is an error"), bad_cooldown_is_refused),
    ("policies replace the session's limits, the larger of several wins", Same, policies_merge),
];

#[test]
fn every_documented_behaviour_is_the_same_or_better_on_purpose() {
    for (name, verdict, check) in ROWS {
        match verdict {
            Same => println!("same    {name}"),
            Better(why) => println!("better  {name}: {why}"),
        }
        check();
    }
    let names: std::collections::BTreeSet<_> = ROWS.iter().map(|(name, ..)| name).collect();
    assert_eq!(names.len(), ROWS.len());
}

/// An API `/`, a key `k` with this session, and further settings. Every event goes to the receiver.
fn world(session: Value, more: Value) -> World {
    let events =
        EventKind::of_gateway().map(|kind| (kind.name().to_owned(), json!([hook(&format!("/{}", kind.name()), 5)])));
    let mut config = json!({
        "apis": [{ "api_id": "a", "org_id": "acme" }], "keys": { "k": session },
        "event_handlers": { "events": events.into_iter().collect::<serde_json::Map<_, _>>() },
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        config[name] = value.clone();
    }
    World::new(&config)
}

fn monitored(session: Value, more: Value) -> World {
    let monitor = json!({ "enable_trigger_monitors": true, "monitor_user_keys": true, "monitor_org_keys": true });
    let mut all = json!({ "monitor": monitor });
    for (name, value) in more.as_object().into_iter().flatten() {
        all[name] = value.clone();
    }
    world(session, all)
}

fn statuses(world: &mut World, count: usize) -> Vec<u16> {
    (0..count).map(|_| world.status("/x", "k")).collect()
}

/// The thresholds that were reported.
fn rung(world: &mut World) -> Vec<String> {
    let crossed = world.bodies().into_iter().filter(|body| body["event"] == "TriggerExceeded");
    crossed.map(|body| body["trigger_limit"].as_str().expect("a string").to_owned()).collect()
}

fn refusal(world: &mut World, key: &str) -> (u16, String) {
    match world.get("/x", key) {
        Decision::Refuse(answer) => (answer.status, answer.body),
        Decision::Continue { .. } => (200, String::new()),
        other => panic!("{other:?}"),
    }
}

fn error(text: &str) -> String {
    format!(r#"{{"error": "{text}"}}"#)
}

/// The type, message and key of the only event.
fn told(world: &mut World) -> [String; 3] {
    let [body] = &world.bodies()[..] else { panic!("not one event") };
    ["event", "message", "key"].map(|field| body[field].as_str().unwrap_or_default().to_owned())
}

fn config_errors(config: Value) -> String {
    let errors = Config::load(config.to_string().as_bytes()).err().expect("an error");
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn with_handler(handler: Value) -> Value {
    json!({ "apis": [{ "api_id": "a" }], "event_handlers": { "events": { "AuthFailure": [handler] } } })
}

/// The request that a webhook handler with these settings sends for a bad key.
fn sent(meta: Value, templates: Value) -> Callout {
    let mut handler = hook("/in", 0);
    for (name, value) in meta.as_object().into_iter().flatten() {
        handler["handler_meta"][name] = value.clone();
    }
    let mut config = with_handler(handler);
    config["templates"] = templates;
    let mut world = World::new(&config);
    world.get("/x", "bad");
    world.deliver(10, 200).pop().expect("a message")
}

fn header<'c>(callout: &'c Callout, name: &str) -> Option<&'c str> {
    callout.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn api_limit_replaces() {
    let mut world =
        world(json!({ "quota_max": 9, "access_rights": { "a": { "limit": { "quota_max": 1 } } } }), json!({}));
    assert_eq!(statuses(&mut world, 2), [200, 403]);
}

fn allowance_scope_is_shared() {
    let limit = json!({ "limit": { "quota_max": 1 }, "allowance_scope": "both" });
    let apis = json!([{ "api_id": "a", "listen_path": "/x" }, { "api_id": "b", "listen_path": "/y" }]);
    let mut world = world(json!({ "access_rights": { "a": limit, "b": limit } }), json!({ "apis": apis }));
    assert_eq!([world.status("/x", "k"), world.status("/y", "k")], [200, 403]);
}

fn no_quota_is_unlimited() {
    for max in [0, -1] {
        let mut world = monitored(json!({ "quota_max": max, "monitor": { "trigger_limits": [1] } }), json!({}));
        let before = world.host.key_count();
        assert_eq!(statuses(&mut world, 3), [200; 3]);
        assert_eq!((world.host.key_count(), rung(&mut world).len()), (before, 0));
    }
}

fn window_from_first_request() {
    let mut world = world(json!({ "quota_max": 1, "quota_renewal_rate": 60 }), json!({}));
    world.now = world.now.plus(30_000);
    assert_eq!(statuses(&mut world, 2), [200, 403]);
    world.now = world.now.plus(59_999);
    assert_eq!(statuses(&mut world, 1), [403]);
    world.now = world.now.plus(1);
    assert_eq!(statuses(&mut world, 1), [200]);
}

fn refused_above_maximum() {
    let mut world = world(json!({ "quota_max": 3, "quota_renewal_rate": 60 }), json!({}));
    assert_eq!(statuses(&mut world, 5), [200, 200, 200, 403, 403]);
}

fn refused_does_not_count() {
    let mut world = world(
        json!({ "org_id": "acme", "quota_max": 1 }),
        json!({ "orgs": { "acme": { "quota_max": 2 } }, "enforce_org_quotas": true, "keys": { "k": { "org_id": "acme", "quota_max": 1 }, "l": { "org_id": "acme" } } }),
    );
    statuses(&mut world, 10);
    assert_eq!([world.status("/x", "l"), world.status("/x", "l")], [200, 403]);
}

fn never_renews() {
    let mut world = world(json!({ "quota_max": 1, "quota_renewal_rate": 0 }), json!({}));
    statuses(&mut world, 1);
    world.now = world.now.plus(10_u64.pow(11));
    assert_eq!(statuses(&mut world, 1), [403]);
}

fn unreadable_counter_refuses() {
    let mut world = world(json!({ "quota_max": 9 }), json!({}));
    world.host.break_shared_data(true);
    assert_eq!(statuses(&mut world, 1), [503]);
}

fn update_keeps_counter() {
    let mut world = world(json!({ "quota_max": 1 }), json!({}));
    statuses(&mut world, 1);
    let updated = json!({ "apis": [{ "api_id": "a" }], "keys": { "k": { "quota_max": 1, "alias": "renamed" } } });
    let (config, _) = Config::load(updated.to_string().as_bytes()).unwrap();
    world.vms[0] = world.engine(config, 1);
    assert_eq!(statuses(&mut world, 1), [403]);
}

fn identity_names_subject() {
    let more = json!({
        "apis": [{ "api_id": "a", "identity": [{ "header": "authorization" }] }],
        "policies": { "p": { "quota_max": 1 } }, "default_policy": "p", "keys": {}
    });
    let mut world = world(json!({}), more);
    assert_eq!(["x", "y", "x"].map(|who| world.status("/x", who)), [200, 200, 403]);
}

fn rate_costs_no_quota() {
    let mut world = world(json!({ "rate": 1, "per": 10, "quota_max": 2 }), json!({}));
    assert_eq!(statuses(&mut world, 5), [200, 429, 429, 429, 429]);
    world.now = world.now.plus(10_000);
    assert_eq!(statuses(&mut world, 1), [200]);
    world.now = world.now.plus(10_000);
    assert_eq!(statuses(&mut world, 1), [403]);
}

fn acme(limits: Value) -> Value {
    json!({ "orgs": { "acme": limits }, "enforce_org_quotas": true })
}

fn bad_keys_cost_no_org_quota() {
    let mut world = world(json!({}), acme(json!({ "quota_max": 1 })));
    for _ in 0..5 {
        world.get("/x", "bad");
    }
    assert_eq!(statuses(&mut world, 2), [200, 403]);
}

fn enforce_org_quotas() {
    let mut more = acme(json!({ "quota_max": 1, "rate": 1, "per": 60 }));
    more["enforce_org_quotas"] = json!(false);
    assert_eq!(statuses(&mut world(json!({}), more), 3), [200; 3]);
}

fn refusals_carry_headers() {
    let mut world = world(json!({ "quota_max": 1, "quota_renewal_rate": 60 }), json!({}));
    statuses(&mut world, 1);
    let Decision::Refuse(answer) = world.get("/x", "k") else { panic!() };
    let names: Vec<_> = answer.headers.iter().map(|(name, _)| *name).collect();
    for name in ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "retry-after"] {
        assert!(names.contains(&name), "{name}");
    }
}

fn all_limits_in_headers() {
    let session = json!({ "quota_max": 9, "quota_renewal_rate": 60, "rate": 5, "per": 1 });
    let mut world = world(session, json!({ "rate_limit_headers": "ietf" }));
    let Decision::Continue { followup: Some(followup), .. } = world.get("/x", "k") else { panic!() };
    let headers = world.limits(&followup);
    assert_eq!(headers[0], ("ratelimit-policy", "\"rate\";q=5;w=1, \"quota\";q=9;w=60".to_owned()));
}

fn no_quota_in_headers() {
    for (form, expected) in [("legacy", "-1 0 0"), ("legacy_rates", "5 4 1800000001"), ("none", "")] {
        let mut world = world(json!({ "rate": 5, "per": 1 }), json!({ "rate_limit_headers": form }));
        let Decision::Continue { followup, .. } = world.get("/x", "k") else { panic!() };
        let headers = followup.map(|followup| world.limits(&followup)).unwrap_or_default();
        let of = |wanted: &str| headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str());
        let names = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"];
        assert_eq!(names.into_iter().filter_map(of).collect::<Vec<_>>().join(" "), expected, "{form}");
    }
}

fn errors_are_json() {
    let mut world = world(json!({}), json!({}));
    let xml = world.on_vm(0, &[(":path", b"/x"), ("content-type", b"application/xml"), ("authorization", b"bad")]);
    let Decision::Refuse(answer) = xml else { panic!() };
    assert!(answer.headers.contains(&("content-type", "application/json".to_owned())));
}

fn refusal_key_quota() {
    let mut world = world(json!({ "quota_max": 1 }), json!({}));
    statuses(&mut world, 1);
    assert_eq!(refusal(&mut world, "k"), (403, error("Quota exceeded")));
    assert_eq!(told(&mut world), ["QuotaExceeded", "Key Quota Limit Exceeded", "k"]);
}

fn refusal_key_rate() {
    let mut world = world(json!({ "rate": 1, "per": 60 }), json!({}));
    statuses(&mut world, 1);
    assert_eq!(refusal(&mut world, "k"), (429, error("Rate Limit Exceeded")));
    assert_eq!(told(&mut world), ["RatelimitExceeded", "Rate Limit Exceeded", "k"]);
}

fn refusal_api_rate() {
    let apis = json!([{ "api_id": "a", "org_id": "acme", "global_rate_limit": { "rate": 1, "per": 60 } }]);
    let mut world = world(json!({}), json!({ "apis": apis }));
    statuses(&mut world, 1);
    assert_eq!(refusal(&mut world, "k"), (429, error("API Rate Limit Exceeded")));
    assert_eq!(told(&mut world), ["RatelimitExceeded", "API Rate Limit Exceeded", "apilimiter-acmea"]);
}

fn refusal_org_quota() {
    let mut world = world(json!({}), acme(json!({ "quota_max": 1 })));
    statuses(&mut world, 1);
    let text = "This organisation quota has been exceeded, please contact your API administrator";
    assert_eq!(refusal(&mut world, "k"), (403, error(text)));
    assert_eq!(told(&mut world), ["OrgQuotaExceeded", "Organisation quota has been exceeded", "acme"]);
}

fn refusal_org_rate() {
    let mut world = world(json!({}), acme(json!({ "rate": 1, "per": 60 })));
    statuses(&mut world, 1);
    let text = "This organisation rate limit has been exceeded, please contact your API administrator";
    assert_eq!(refusal(&mut world, "k"), (403, error(text)));
    assert_eq!(told(&mut world), ["OrgRateLimitExceeded", "Organisation rate limit has been exceeded", "acme"]);
}

fn refusal_org_inactive() {
    let mut world = world(json!({}), acme(json!({ "is_inactive": true })));
    assert_eq!(refusal(&mut world, "k").0, 403);
    assert!(world.bodies().is_empty());
}

fn monitor_gates() {
    let gates = ["enable_trigger_monitors", "monitor_user_keys", "monitor_org_keys"];
    for (closed, expected) in [(None, 2), (Some(gates[0]), 0), (Some(gates[1]), 1), (Some(gates[2]), 1)] {
        let mut more = acme(json!({ "quota_max": 1, "monitor": { "trigger_limits": [100] } }));
        for gate in gates {
            more["monitor"][gate] = json!(Some(gate) != closed);
        }
        let mut world = world(json!({ "quota_max": 1, "monitor": { "trigger_limits": [100] } }), more);
        statuses(&mut world, 1);
        assert_eq!(rung(&mut world).len(), expected, "without {closed:?}");
    }
}

fn refused_never_rings() {
    let session = json!({ "quota_max": 10, "rate": 4, "per": 60, "monitor": { "trigger_limits": [50] } });
    let mut world = monitored(session, json!({}));
    statuses(&mut world, 20);
    assert!(rung(&mut world).is_empty());
}

fn rings_once() {
    let mut world = monitored(json!({ "quota_max": 10, "monitor": { "trigger_limits": [80] } }), json!({}));
    for _ in 0..10 {
        world.get("/x", "k");
        world.now = world.now.plus(10_000);
    }
    assert_eq!(rung(&mut world), ["80"]);
}

fn highest_rings() {
    let mut world = monitored(
        json!({ "quota_max": 100, "monitor": { "trigger_limits": [95] } }),
        json!({ "monitor": {
        "enable_trigger_monitors": true, "monitor_user_keys": true, "global_trigger_limit": 80
    } }),
    );
    statuses(&mut world, 100);
    assert_eq!(rung(&mut world), ["80", "95"]);
}

fn order_does_not_matter() {
    for limits in [[50, 80, 60], [80, 60, 50]] {
        let mut world = monitored(json!({ "quota_max": 10, "monitor": { "trigger_limits": limits } }), json!({}));
        statuses(&mut world, 10);
        assert_eq!(rung(&mut world), ["50", "60", "80"]);
    }
}

fn trigger_limit_is_text() {
    let mut world = monitored(json!({ "quota_max": 1, "monitor": { "trigger_limits": [80.0] } }), json!({}));
    statuses(&mut world, 1);
    assert_eq!(world.bodies()[0]["trigger_limit"], json!("80"));
}

fn hashed_keys_in_monitor() {
    let session = json!({ "quota_max": 1, "monitor": { "trigger_limits": [80.0] } });
    let mut world = monitored(session, json!({ "hash_keys": true }));
    statuses(&mut world, 1);
    assert!(world.bodies()[0]["key"].as_str().unwrap().starts_with("sha256:"));
}

fn org_crossing_has_no_key() {
    let mut world = monitored(json!({}), acme(json!({ "quota_max": 1, "monitor": { "trigger_limits": [80] } })));
    statuses(&mut world, 1);
    let body = &world.bodies()[0];
    assert_eq!([&body["org"], &body["key"]], ["acme", ""]);
}

fn each_quota_rings() {
    let limits = json!({ "quota_max": 1, "monitor": { "trigger_limits": [100] } });
    let mut world = monitored(limits.clone(), acme(limits));
    statuses(&mut world, 1);
    assert_eq!(rung(&mut world).len(), 2);
}

fn never_renews_rings() {
    let session = json!({ "quota_max": 2, "quota_renewal_rate": -1, "monitor": { "trigger_limits": [50] } });
    let mut world = monitored(session, json!({}));
    statuses(&mut world, 1);
    assert_eq!(rung(&mut world), ["50"]);
}

fn unknown_method_is_refused() {
    let handler = json!({ "handler_name": "eh_web_hook_handler", "handler_meta": { "target_path": "http://h.test", "method": "BREW" } });
    assert!(config_errors(with_handler(handler)).contains("\"BREW\" is not one of"));
}

fn get_has_no_body() {
    assert!(sent(json!({ "method": "GET" }), json!({})).body.is_empty());
    for method in ["PUT", "POST", "PATCH", "DELETE", "post"] {
        assert!(!sent(json!({ "method": method }), json!({})).body.is_empty(), "{method}");
    }
}

fn timeout_30s() {
    assert_eq!(sent(json!({}), json!({})).timeout_ms, 30_000);
}

fn user_agent() {
    assert!(header(&sent(json!({}), json!({})), "user-agent").unwrap().starts_with("tollbell/"));
    let own = sent(json!({ "header_map": { "User-Agent": "mine" } }), json!({}));
    assert_eq!(header(&own, "user-agent"), Some("mine"));
}

fn content_type() {
    let of = |meta: Value| {
        let templates = json!({ "t.json": "{}", "t.xml": "<a/>" });
        header(&sent(meta, templates), "content-type").unwrap_or_default().to_owned()
    };
    assert_eq!(of(json!({})), "application/json");
    assert_eq!(of(json!({ "template_path": "t.json" })), "application/json");
    assert_eq!(of(json!({ "template_path": "t.xml" })), "application/xml");
    assert_eq!(of(json!({ "template_path": "t.json", "header_map": { "content-type": "text/x" } })), "text/x");
}

fn claim_before_sending() {
    let mut world = World::with_vms(&with_handler(hook("/in", 60)), 3);
    for n in 0..30 {
        world.on_vm(n % 3, &[(":path", b"/x"), ("authorization", b"bad")]);
    }
    assert_eq!(world.deliver(10, 400).len(), 1, "one message is sent");
    world.get("/x", "bad");
    assert_eq!(world.deliver(10, 200).len(), 1, "the next one is sent, too, because the first failed for good");
    world.get("/x", "bad");
    assert!(world.deliver(10, 200).is_empty());
}

fn no_cool_down() {
    let mut world = World::new(&with_handler(hook("/in", 0)));
    for _ in 0..3 {
        world.get("/x", "bad");
    }
    assert_eq!(world.bodies().len(), 3);
}

fn attempts_are_repeated() {
    let mut world = World::new(&with_handler(hook("/in", 60)));
    world.get("/x", "bad");
    let mut attempts = world.deliver(10, 500).len();
    for _ in 0..20 {
        attempts += world.deliver(600_000, 500).len();
    }
    assert_eq!(attempts, 8);
}

fn default_templates() {
    let mut world = world(json!({ "quota_max": 1 }), json!({}));
    world.get("/x", "bad");
    let fields = |body: &Value| body.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(fields(&world.bodies()[0]), "event key message origin path");
    let mut world = monitored(json!({ "quota_max": 1, "monitor": { "trigger_limits": [100] } }), json!({}));
    statuses(&mut world, 1);
    assert_eq!(fields(&world.bodies()[0]), "event key message org trigger_limit");
}

fn variable_names() {
    let text = "{{.Type}} {{.EventType}} {{.Meta.Key}} {{.EventMetaData.Key}}";
    let body = sent(json!({ "template_path": "t.txt" }), json!({ "t.txt": text })).body;
    assert_eq!(String::from_utf8(body).unwrap(), "AuthFailure AuthFailure bad bad");
}

fn functions_everywhere() {
    let text = "{{if eq .Type \"AuthFailure\"}}{{as_rfc3339 .TimeStamp}}{{end}}";
    let body = sent(json!({ "template_path": "t.txt" }), json!({ "t.txt": text })).body;
    assert_eq!(String::from_utf8(body).unwrap(), "2027-01-15T08:00:00Z");
}

fn bad_template_is_refused() {
    let errors = config_errors(json!({ "apis": [], "templates": { "t.json": "{\n {{if .Type}}" } }));
    assert!(errors.contains("templates[\"t.json\"]: line 2, column 2"), "{errors}");
}

fn bad_url_is_refused() {
    let handler = json!({ "handler_name": "eh_web_hook_handler", "handler_meta": { "target_path": "/relative" } });
    assert!(config_errors(with_handler(handler)).contains("is not an absolute http or https URL"));
}

fn hostile_text() {
    let mut world = world(json!({}), json!({}));
    world.on_vm(0, &[(":path", b"/\"\\\n<&"), ("authorization", b"bad")]);
    assert_eq!(world.bodies()[0]["path"], "/\"\\\n<&");
}

fn handlers_apart() {
    let mut config = with_handler(hook("/in", 60));
    config["event_handlers"]["events"]["AuthFailure"] = json!([hook("/in", 60), hook("/in", 30)]);
    let mut world = World::new(&config);
    world.get("/x", "bad");
    assert_eq!(world.bodies().len(), 2);
}

fn flood_is_capped() {
    let mut handler = hook("/in", 60);
    handler["handler_meta"]["max_per_minute"] = json!(3);
    let mut world = World::new(&with_handler(handler));
    for n in 0..50 {
        world.get(&format!("/{n}"), &format!("bad-{n}"));
    }
    assert_eq!(world.bodies().len(), 3);
    let mut digests = Vec::new();
    for _ in 0..200 {
        digests.extend(world.deliver(500, 200));
    }
    let digest: Value = serde_json::from_slice(&digests[0].body).unwrap();
    assert_eq!((digests.len(), &digest["suppressed"]), (1, &json!(47)));
}

fn unknown_key() {
    let mut world = world(json!({}), json!({}));
    assert_eq!(refusal(&mut world, "bad"), (403, error("Access to this API has been disallowed")));
    assert_eq!(told(&mut world), ["AuthFailure", "Auth Failure", "bad"]);
}

fn no_key() {
    let mut world = world(json!({}), json!({}));
    assert_eq!(refusal(&mut world, ""), (401, error("Authorization field missing")));
    assert!(world.bodies().is_empty());
}

fn no_right() {
    let apis = json!([{ "api_id": "a" }, { "api_id": "b", "listen_path": "/b" }]);
    let mut world = world(json!({ "access_rights": { "b": {} } }), json!({ "apis": apis }));
    assert_eq!(refusal(&mut world, "k"), (403, error("Access to this API has been disallowed")));
    assert_eq!(told(&mut world), ["AuthFailure", "Auth Failure", "k"]);
}

fn expired_and_inactive() {
    let mut inactive = world(json!({ "is_inactive": true }), json!({}));
    assert_eq!(refusal(&mut inactive, "k"), (403, error("Key is inactive, please renew")));
    assert_eq!(told(&mut inactive), ["KeyExpired", "Attempted access from inactive key.", "k"]);
    let mut expired = world(json!({ "expires": 1 }), json!({}));
    assert_eq!(refusal(&mut expired, "k"), (401, error("Key has expired, please renew")));
    assert_eq!(told(&mut expired), ["KeyExpired", "Attempted access from expired key.", "k"]);
}

/// The APIs of two organisations, and a key that each of Tyk's forms names.
fn custom(form: &str, name: &[u8]) -> World {
    let apis = json!([
        { "api_id": "a", "org_id": "acme", "listen_path": "/a/" },
        { "api_id": "g", "org_id": "globex", "listen_path": "/g/" },
        { "api_id": "n", "listen_path": "/n/" },
    ]);
    let key = crate::access::KeyHash::of(name).fingerprint();
    let keys = json!({ key: { "org_id": "acme", "quota_max": 3, "quota_renewal_rate": 60 } });
    world(json!({}), json!({ "apis": apis, "keys": keys, "tyk_tokens": { "forms": [form], "min_token_length": 3 } }))
}

fn custom_keys_have_short_names() {
    use base64::Engine as _;
    let token = |function: &str| {
        let json = format!(r#"{{"org":"acme","id":"ten","h":"{function}"}}"#);
        base64::engine::general_purpose::STANDARD.encode(json)
    };
    for (form, name) in [("sha256", token("sha256")), ("murmur64", token("murmur64")), ("legacy", "acmeten".to_owned())]
    {
        for (path, key, status) in [
            ("/a/x", "ten", 200),
            ("/a/x", "acmeten", 200),
            ("/a/x", &name, 200),
            ("/g/x", &name, 200),
            ("/g/x", "ten", 403),
            ("/n/x", "ten", 403),
            ("/a/x", "te", 403),
            ("/a/x", "other", 403),
            ("/a/x", "ten\0", 403),
        ] {
            let mut world = custom(form, name.as_bytes());
            for _ in 0..2 {
                assert_eq!(world.status(path, key), status, "{form}: {path} {key}");
            }
        }
        // All names mean one key with one quota, and events show its complete name.
        let mut world = custom(form, name.as_bytes());
        let statuses = ["ten", &name, "acmeten", "ten"].map(|key| world.status("/a/x", key));
        assert_eq!(statuses, [200, 200, 200, 403], "{form}");
        assert_eq!(told(&mut world), ["QuotaExceeded", "Key Quota Limit Exceeded", &name]);
        let mut elsewhere = custom(form, name.as_bytes());
        assert_eq!(
            [elsewhere.status("/a/x", "ten"), elsewhere.status("/g/x", "ten")],
            [200, 403],
            "{form}: remembered"
        );
    }
    let mut without = custom("legacy", token("sha256").as_bytes());
    assert_eq!(without.status("/a/x", "ten"), 403, "another form");
}

fn a_key_is_itself() {
    let keys = json!({ "ten": { "quota_max": 1, "quota_renewal_rate": 60 }, "acmeten": {} });
    let mut world = world(json!({}), json!({ "keys": keys, "tyk_tokens": { "forms": ["legacy"] } }));
    assert_eq!([world.status("/x", "ten"), world.status("/x", "ten"), world.status("/x", "acmeten")], [200, 403, 200]);
}

fn origin_of_two_headers() {
    for (real, forwarded, expected) in [
        ("192.0.2.1", "192.0.2.2, 10.0.0.1", "192.0.2.1"),
        ("unknown", "192.0.2.2, 10.0.0.1", "192.0.2.2"),
        ("", "192.0.2.2", "192.0.2.2"),
    ] {
        let mut world = world(json!({}), json!({ "origin_header": ["X-Real-IP", "x-forwarded-for"] }));
        let headers = [
            (":path", &b"/x"[..]),
            ("authorization", b"bad"),
            ("x-real-ip", real.as_bytes()),
            ("x-forwarded-for", forwarded.as_bytes()),
        ];
        world.on_vm(0, &headers);
        assert_eq!(world.bodies()[0]["origin"], expected, "{real} {forwarded}");
    }
}

/// The event of a response that another filter made.
fn observed(status: u16, details: &str) -> Value {
    let mut handler = hook("/in", 0);
    handler["handler_meta"]["template_path"] = json!("t.json");
    let mut config = with_handler(handler);
    config["apis"][0]["use_keyless"] = json!(true);
    config["apis"][0]["observe_failures"] = json!(true);
    config["templates"] =
        json!({ "t.json": "{\"type\": \"{{Type}}\", \"key\": \"{{Meta.Key}}\", \"reason\": \"{{Meta.Reason}}\"}" });
    let mut world = World::new(&config);
    let headers = [(":path", &b"/x"[..]), ("authorization", b"Basic dXNlcjpwYXNz")];
    let Decision::Continue { followup: Some(followup), .. } = world.on_vm(0, &headers) else { panic!() };
    followup.properties.borrow_mut().insert("response\0code_details".into(), details.as_bytes().to_vec());
    world.respond(0, &followup, status);
    world.bodies().pop().expect("an event")
}

fn jwt_refused() {
    for reason in ["Jwt_is_expired", "Jwt_verification_fails"] {
        let event = observed(401, &format!("jwt_authn_access_denied{{{reason}}}"));
        assert_eq!([&event["type"], &event["reason"]], ["AuthFailure", reason]);
    }
}

fn ip_denied() {
    let event = observed(403, "rbac_access_denied_matched_policy[ip]");
    assert_eq!([&event["type"], &event["reason"]], ["AuthFailure", "rbac_access_denied_matched_policy[ip]"]);
}

fn basic_auth_refused() {
    let event = observed(401, "invalid_credential_for_basic_auth");
    assert_eq!([&event["type"], &event["key"]], ["AuthFailure", ""]);
}

fn version_failure() {
    let versioning = json!({ "location": "header", "key": "x-version", "versions": { "v1": {} } });
    let event = json!({ "handler_name": "eh_web_hook_handler", "handler_meta": {
        "target_path": "http://h.test/in", "template_path": "t.json" } });
    let mut world = World::new(&json!({
        "apis": [{ "api_id": "a", "versioning": versioning, "event_handlers": { "events": { "VersionFailure": [event] } } }],
        "keys": { "k": {} },
        "templates": { "t.json": "[\"{{.Type}}\", \"{{.Meta.Message}}\", \"{{.Meta.Reason}}\", \"{{.Meta.Key}}\"]" },
    }));
    assert_eq!(refusal(&mut world, "k"), (403, error("Version information not found")));
    let body = world.bodies().pop().unwrap();
    let message = "Attempted access to disallowed version / path.";
    assert_eq!(body, json!(["VersionFailure", message, "Version information not found", ""]));
}

fn no_originating_request() {
    let body = sent(json!({ "template_path": "t.txt" }), json!({ "t.txt": "[{{.Meta.OriginatingRequest}}]" })).body;
    assert_eq!(String::from_utf8(body).unwrap(), "[]");
}

fn classic_handlers() {
    let config = json!({ "apis": [{ "api_id": "a" }], "event_handlers": { "events": { "AuthFailure": [
        { "handler_name": "eh_web_hook_handler", "handler_meta": {
            "disabled": false, "id": "i", "name": "n", "method": "post", "target_path": "http://h.test/in",
            "template_path": "", "header_map": { "x": "y" }, "event_timeout": 10 } },
        { "handler_name": "eh_web_hook_handler", "handler_meta": { "disabled": true, "target_path": "http://h.test/in" } },
        { "handler_name": "eh_log_handler", "handler_meta": { "prefix": "p" } }
    ] } } });
    let mut world = World::new(&config);
    world.get("/x", "bad");
    assert_eq!(world.bodies().len(), 1);
}

fn scripts_are_refused() {
    for name in ["eh_dynamic_handler", "cp_dynamic_handler"] {
        let errors = config_errors(with_handler(json!({ "handler_name": name })));
        assert!(errors.contains("runs scripts") && errors.contains("eh_web_hook_handler"), "{errors}");
    }
    let custom = json!({ "apis": [{ "api_id": "a", "server": { "eventHandlers": [{ "enabled": true, "trigger": "AuthFailure", "type": "custom", "functionName": "f", "path": "p" }] } }] });
    assert!(config_errors(custom).contains("apis[0].server.eventHandlers[0].type: \"custom\" runs scripts"));
}

fn oas_handlers() {
    let handlers = json!([
        { "enabled": true, "trigger": "AuthFailure", "type": "webhook", "id": "i", "name": "n", "url": "http://h.test/in",
          "method": "PUT", "cooldownPeriod": "1m30s", "bodyTemplate": "t.txt", "headers": [{ "name": "X-A", "value": "b" }] },
        { "enabled": false, "trigger": "AuthFailure", "type": "webhook", "url": "http://h.test/off", "method": "POST" },
        { "enabled": true, "trigger": "AuthFailure", "type": "log", "logPrefix": "p" }
    ]);
    for api in [
        json!({ "api_id": "a", "server": { "eventHandlers": handlers } }),
        json!({ "api_id": "a", "event_handlers": handlers }),
    ] {
        let mut world = World::new(&json!({ "apis": [api], "templates": { "t.txt": "{{.Type}}" } }));
        world.get("/x", "bad");
        let [callout] = &world.deliver(10, 200)[..] else { panic!("not one") };
        assert_eq!([header(callout, ":method"), header(callout, "x-a")], [Some("PUT"), Some("b")]);
        assert_eq!(callout.body, b"AuthFailure");
        world.get("/x", "bad");
        assert!(world.deliver(89_000, 200).is_empty());
        world.now = world.now.plus(1000);
        world.get("/x", "bad");
        assert_eq!(world.deliver(10, 200).len(), 1);
    }
}

fn bad_cooldown_is_refused() {
    let handler = json!([{ "enabled": true, "trigger": "AuthFailure", "type": "webhook", "url": "http://h.test", "cooldownPeriod": "soon" }]);
    let errors = config_errors(json!({ "apis": [{ "api_id": "a", "event_handlers": handler }] }));
    assert!(errors.contains("event_handlers[0].cooldownPeriod: \"soon\" is not a duration"), "{errors}");
}

fn policies_merge() {
    let policies = json!({
        "small": { "quota_max": 1, "access_rights": { "a": {} } }, "large": { "quota_max": 3, "access_rights": { "a": {} } }
    });
    let session = json!({ "quota_max": 99, "apply_policies": ["small", "large"] });
    assert_eq!(statuses(&mut world(session, json!({ "policies": policies })), 4), [200, 200, 200, 403]);
}
