use prost::Message;
use prost_types::value::Kind;
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::access::KeyHash;
use crate::event::EventKind;
use crate::notify::{Channel, Form, Webhook};

fn load(config: &Value) -> Result<(Config, Vec<ConfigError>), Vec<ConfigError>> {
    Config::load(config.to_string().as_bytes())
}

fn errors(config: Value) -> Vec<String> {
    let Err(errors) = load(&config) else { panic!("accepted: {config}") };
    errors.iter().map(ToString::to_string).collect()
}

fn warnings(config: Value) -> Vec<String> {
    load(&config).map(|(_, warnings)| warnings.iter().map(ToString::to_string).collect()).unwrap()
}

fn webhook(meta: Value) -> Value {
    json!({ "handler_name": "eh_web_hook_handler", "handler_meta": meta })
}

fn api_with(handler: Value) -> Value {
    json!({ "apis": [{ "api_id": "a", "event_handlers": { "events": { "AuthFailure": [handler] } } }] })
}

/// A configuration with every part of the main path.
fn full() -> Value {
    json!({
        "apis": [{
            "api_id": "orders", "name": "Orders", "org_id": "acme", "listen_path": "/orders/", "domain": "",
            "use_keyless": false,
            "auth": {
                "auth_header_name": "Authorization", "use_param": false, "param_name": "api_key", "use_cookie": false,
                "cookie_name": "", "fire_on_missing_key": false
            },
            "event_handlers": { "events": {
                "AuthFailure": [webhook(json!({
                    "method": "POST", "target_path": "http://hooks.example.com/tyk?dir=auth",
                    "template_path": "templates/default_webhook.json",
                    "header_map": { "X-Tyk-Test-Header": "Tyk v1.BANANA" }, "event_timeout": 10
                }))],
                "QuotaExceeded": [{ "handler_name": "eh_log_handler", "handler_meta": { "prefix": "[QUOTA]" } }]
            } }
        }],
        "event_handlers": { "events": {} },
        "keys": { "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08": {
            "org_id": "acme", "alias": "billing-batch", "quota_max": 1000, "quota_renewal_rate": 3600, "expires": 0,
            "is_inactive": false, "monitor": { "trigger_limits": [80.0, 60.0, 50.0] }, "access_rights": { "orders": {} }
        } },
        "orgs": { "acme": { "quota_max": 100_000, "quota_renewal_rate": 86400, "monitor": { "trigger_limits": [90, 75] } } },
        "enforce_org_quotas": true,
        "hash_keys": false,
        "monitor": {
            "enable_trigger_monitors": true,
            "configuration": {
                "method": "POST", "target_path": "http://hooks.example.com/monitor",
                "template_path": "templates/monitor_template.json", "header_map": { "x-tyk-monitor-secret": "12345" },
                "event_timeout": 10
            },
            "global_trigger_limit": 80.0, "monitor_user_keys": false, "monitor_org_keys": true
        },
        "templates": { "templates/slack.json": "{\"text\": \"{{Meta.Message}} ({{Type}})\"}" },
        "callouts": {
            "http_cluster": "tollbell_http", "https_cluster": "tollbell_https",
            "clusters": { "hooks.example.com": "hooks" }
        }
    })
}

/// A `Struct` as Envoy makes it from YAML: floats and large integers become strings.
fn as_struct(value: &Value) -> prost_types::Struct {
    fn convert(value: &Value) -> prost_types::Value {
        let kind = match value {
            Value::Null => Kind::NullValue(0),
            Value::Bool(value) => Kind::BoolValue(*value),
            Value::Number(number) => match number.as_i64().and_then(|integer| i32::try_from(integer).ok()) {
                Some(small) => Kind::NumberValue(f64::from(small)),
                None => Kind::StringValue(number.to_string()),
            },
            Value::String(value) => Kind::StringValue(value.clone()),
            Value::Array(items) => {
                Kind::ListValue(prost_types::ListValue { values: items.iter().map(convert).collect() })
            }
            Value::Object(_) => Kind::StructValue(as_struct(value)),
        };
        prost_types::Value { kind: Some(kind) }
    }
    let fields = value.as_object().unwrap().iter().map(|(name, value)| (name.clone(), convert(value))).collect();
    prost_types::Struct { fields }
}

fn summary(config: &Config) -> String {
    format!(
        "{:?} {:?} {:?} {:?}",
        config.notifications.handlers,
        config.notifications.delivery,
        config.notifications.hash_keys,
        config.access.routes
    )
}

fn channel<'c>(config: &'c Config, handler: &str) -> &'c Channel {
    config.notifications.handlers.named(handler).and_then(|handler| handler.action.channel()).unwrap()
}

fn webhook_of(channel: &Channel) -> &Webhook {
    match &channel.form {
        Form::Webhook(webhook) => webhook,
        Form::Email(_) => panic!("{channel:?}"),
    }
}

#[test]
fn the_documented_configuration_loads_in_both_forms() {
    let without_effect = |warnings: &[ConfigError]| {
        let [keys, templates] = warnings else { panic!("{warnings:?}") };
        assert!(keys.path.ends_with("monitor.trigger_limits") && keys.message.contains("monitor_user_keys"), "{keys}");
        assert_eq!(templates.path, "templates[\"templates/slack.json\"]");
    };
    let (from_json, warnings) = load(&full()).unwrap_or_else(|errors| panic!("{errors:?}"));
    without_effect(&warnings);
    let (from_struct, warnings) =
        Config::load(&as_struct(&full()).encode_to_vec()).unwrap_or_else(|errors| panic!("{errors:?}"));
    without_effect(&warnings);
    assert_eq!(summary(&from_json), summary(&from_struct));
    assert_eq!(from_json.notifications.handlers.iter().count(), 3);
}

#[test]
fn numbers_may_be_strings() {
    let key = |value: Value| json!({ "keys": { "k": { "quota_max": value } } });
    for value in
        [json!("1000"), json!("1000.0"), json!(1000.0), json!(" 1000 "), json!("-1"), json!("1000000000000000000")]
    {
        assert!(load(&key(value.clone())).is_ok(), "{value}");
    }
    for (value, expected) in [
        (json!("ten"), r#""ten" is not a whole number"#),
        (json!(1.5), "1.5 is not a whole number"),
        (json!("1.5"), r#""1.5" is not a whole number"#),
        (json!("1e400"), r#""1e400" is not a whole number"#),
        (json!("12345678901234567890"), r#""12345678901234567890" is too large"#),
        (json!(9_223_372_036_854_775_808_u64), "9223372036854775808 is too large"),
        (json!(true), "expected a whole number, found true or false"),
    ] {
        let [error] = &errors(key(value))[..] else { panic!() };
        assert!(error.ends_with(expected), "{error}");
    }
    assert!(load(&json!({ "monitor": { "global_trigger_limit": "80.5" } })).is_ok());
}

#[test]
fn all_errors_are_reported_at_once_with_their_paths() {
    let config = json!({
        "apis": [
            { "api_id": "a", "listen_path": "orders", "evnt_handlers": {} },
            { "api_id": "b", "event_handlers": { "events": {
                "AuthFailure": [
                    webhook(json!({ "method": "FETCH", "target_path": "hooks", "template_path": "nope.json" })),
                    webhook(json!({ "target_path": "http://h.test/", "header_map": { "x a": "1", "x-b": "1\r\n2" } }))
                ],
                "AuthFailed": [],
                "QuotaExceeded": [{ "handler_name": "eh_web_hook" }]
            } } }
        ],
        "monitor": { "global_trigger_limit": 120 },
        "templates": { "t.json": "{{#if}" },
        "keys": { "sha256:12": {}, "k": { "access_rights": { "c": {} }, "quota_max": "many" } }
    });
    let errors = errors(config);
    let expected = [
        r#"apis[0].evnt_handlers: unknown field (did you mean "event_handlers"?)"#,
        r#"apis[0].listen_path: "orders" does not start with /"#,
        r#"apis[1].event_handlers.events.AuthFailure[0].handler_meta.method: "FETCH" is not one of GET, PUT, POST, PATCH, DELETE"#,
        r#"apis[1].event_handlers.events.AuthFailure[0].handler_meta.target_path: "hooks" is not an absolute http or https URL"#,
        r#"apis[1].event_handlers.events.AuthFailure[0].handler_meta.template_path: there is no template "nope.json"; give the name of an entry of templates or of a built-in template"#,
        r#"apis[1].event_handlers.events.AuthFailure[1].handler_meta.header_map["x a"]: not a header name"#,
        r#"apis[1].event_handlers.events.AuthFailure[1].handler_meta.header_map.x-b: its value has characters that a header cannot have (line breaks, NUL, …)"#,
        r#"apis[1].event_handlers.events.AuthFailed: no event has this name (did you mean "AuthFailure"?)"#,
        r#"apis[1].event_handlers.events.QuotaExceeded[0].handler_name: "eh_web_hook" is not one of eh_web_hook_handler, eh_email_handler, eh_log_handler"#,
        "monitor.global_trigger_limit: 120 is more than 100",
        "templates[\"t.json\"]: line 1, column 1: a tag {{ has no end }}\n    {{#if}\n    ^",
        r#"keys["sha256:12"]: "sha256:" must be followed by 64 hex digits"#,
    ];
    for expected in expected {
        assert!(errors.iter().any(|error| error == expected), "{expected}\nnot in {errors:#?}");
    }
    let of_key = errors.iter().filter(|error| error.starts_with("keys[\"sha256:8254c329")).count();
    assert_eq!(of_key, 2, "{errors:#?}");
    assert_eq!(errors.len(), expected.len() + of_key, "{errors:#?}");
}

#[test]
fn missing_required_fields_are_errors() {
    assert_eq!(errors(json!({ "apis": [{}] })), ["apis[0].api_id: missing"]);
    assert_eq!(
        errors(json!({ "apis": [{ "api_id": "", "listen_path": "orders/" }] })),
        ["apis[0].api_id: missing", r#"apis[0].listen_path: "orders/" does not start with /"#]
    );
    let monitor = json!({ "apis": [{ "api_id": "a" }], "monitor": { "enable_trigger_monitors": true, "monitor_user_keys": true } });
    assert_eq!(
        errors(monitor),
        ["monitor.configuration.target_path: missing: no one would be notified of a crossed threshold"]
    );
    let no_target = errors(api_with(webhook(json!({}))));
    assert_eq!(no_target, ["apis[0].event_handlers.events.AuthFailure[0].handler_meta.target_path: missing"]);
    assert_eq!(errors(api_with(json!({}))), ["apis[0].event_handlers.events.AuthFailure[0].handler_name: missing"]);
}

#[test]
fn booleans_of_yaml_are_explained() {
    let [error] = &errors(json!({ "apis": [{ "api_id": false }] }))[..] else { panic!() };
    assert_eq!(
        error,
        "apis[0].api_id: expected a string, found true or false; YAML reads unquoted y, n, yes, no, on and off as booleans: quote it"
    );
    assert_eq!(errors(json!({ "apis": {} })), ["apis: expected a list, found an object"]);
    assert_eq!(errors(json!({ "orgs": { "a": [] } })), ["orgs.a: expected an object, found a list"]);
    assert_eq!(errors(json!([])), ["expected an object, found a list"]);
}

#[test]
fn null_means_the_default() {
    let config = json!({
        "orgs": null,
        "apis": [{ "api_id": "a", "auth": null }],
        "keys": { "k": { "access_rights": { "a": null } }, "all": null }
    });
    let (config, _) = load(&config).unwrap_or_else(|errors| panic!("{errors:?}"));
    let session =
        |key: &[u8]| config.directory.find(&KeyHash::of(key)).and_then(|at| config.directory.session(at)).unwrap();
    assert!(
        session(b"k").plan.grant("a").is_some() && session(b"k").plan.grant("b").is_none(),
        "an empty right is a right to this API only"
    );
    assert!(session(b"all").plan.grant("b").is_some());
}

#[test]
fn percentages_are_over_0_to_100() {
    let limit = |limit: Value| json!({ "orgs": { "a": { "monitor": { "trigger_limits": [50, limit] } } } });
    assert_eq!(errors(limit(json!(0))), ["orgs.a.monitor.trigger_limits[1]: 0 is not more than 0"]);
    assert_eq!(errors(limit(json!("100.5"))), ["orgs.a.monitor.trigger_limits[1]: 100.5 is more than 100"]);
    assert!(load(&limit(json!("80.0"))).is_ok());
}

#[test]
fn two_apis_cannot_share_a_place_or_an_id() {
    let place = json!({ "apis": [{ "api_id": "a", "domain": "X.test" }, { "api_id": "b", "domain": "x.test" }] });
    assert_eq!(errors(place), [r#"apis[1].listen_path: apis[0] has the same domain "x.test" and listen_path "/""#]);
    let id = json!({ "apis": [{ "api_id": "a" }, { "api_id": "a", "listen_path": "/b/" }] });
    assert_eq!(errors(id), [r#"apis[1].api_id: "a" is already the id of apis[0]"#]);
}

#[test]
fn paths_that_could_never_match_are_refused() {
    for domain in ["*.acme.test", "acme.test.", "http://acme.test", "acme.test:80", "a b"] {
        let found = errors(json!({ "apis": [{ "api_id": "a", "domain": domain }] }));
        assert!(found[0].starts_with("apis[0].domain"), "{found:?}");
    }
    for domain in ["acme.test", "localhost", "192.0.2.1", "[2001:db8::1]"] {
        assert!(load(&json!({ "apis": [{ "api_id": "a", "domain": domain }] })).is_ok(), "{domain}");
    }
    for (domain, instead) in [("bücher.example", "xn--bcher-kva.example"), ("BÜCHER.Example", "xn--bcher-kva.example")]
    {
        let found = errors(json!({ "apis": [{ "api_id": "a", "domain": domain }] }));
        assert!(found[0].starts_with("apis[0].domain") && found[0].ends_with(&format!("{instead:?}")), "{found:?}");
    }
    for (listen_path, instead) in [("/a?b", "/a"), ("/a/#b", "/a/"), ("/a/../b/", "/b/"), ("/a%zz/", "/a%25zz/")] {
        let found = errors(json!({ "apis": [{ "api_id": "a", "listen_path": listen_path }] }));
        assert!(
            found[0].starts_with("apis[0].listen_path") && found[0].contains(&format!("write {instead:?}")),
            "{found:?}"
        );
    }
    let admin = |prefix: &str| json!({ "admin": { "path_prefix": prefix, "token_sha256": "00".repeat(32) } });
    for prefix in ["", "/", "ops", "/ops?", "/ops#", "/ops//x", "/ops/..", "/o%2Fps", "/o ps", "/ops;x"] {
        assert!(errors(admin(prefix))[0].starts_with("admin.path_prefix: "), "{prefix}");
    }
    for prefix in ["/ops", "/ops/", "/.tollbell", "/%6fps", "/über"] {
        assert!(load(&admin(prefix)).is_ok(), "{prefix}");
    }
}

#[test]
fn two_apis_cannot_have_paths_that_decode_to_the_same() {
    for (first, second) in
        [("/café/", "/caf%C3%A9/"), ("/@a/", "/%40a/"), ("/%7Ea", "/~a"), ("/caf%c3%a9", "/caf%C3%A9")]
    {
        let apis = json!([{ "api_id": "a", "listen_path": first }, { "api_id": "b", "listen_path": second }]);
        let found = errors(json!({ "apis": apis }));
        assert!(found[0].starts_with("apis[1].listen_path: apis[0] has the same domain"), "{found:?}");
    }
    let hosts = json!([{ "api_id": "a", "domain": "[2001:db8::1]" }, { "api_id": "b", "domain": "[2001:DB8:0::1]" }]);
    assert_eq!(errors(json!({ "apis": hosts })).len(), 1);
    let admin = json!({
        "apis": [{ "api_id": "a", "listen_path": "/%6Fps/" }],
        "admin": { "path_prefix": "/ops", "token_sha256": "00".repeat(32) }
    });
    assert_eq!(errors(admin), [r#"admin.path_prefix: "/ops" is also the listen_path of apis[0]"#]);
}

#[test]
fn a_protected_domain_beside_unprotected_hosts_is_a_warning() {
    let ours = json!({ "api_id": "a", "domain": "api.test", "listen_path": "/orders/" });
    let warned = |apis: Value, unmatched: &str| {
        let (_, warnings) =
            load(&json!({ "apis": apis, "unmatched": unmatched })).unwrap_or_else(|errors| panic!("{errors:?}"));
        warnings.iter().any(|warning| warning.to_string().starts_with("apis[0].domain: requests for other hosts"))
    };
    assert!(warned(json!([ours]), "pass"));
    assert!(!warned(json!([ours]), "refuse"));
    let beside = |path: &str, keyless: bool, domain: &str| json!([ours, { "api_id": "b", "listen_path": path, "use_keyless": keyless, "domain": domain }]);
    assert!(warned(beside("/", true, ""), "pass") && warned(beside("/", true, ""), "refuse"), "it needs no key there");
    assert!(!warned(beside("/orders", false, ""), "pass"));
    assert!(warned(beside("/orders/new/", false, ""), "pass"));
    assert!(warned(beside("/", false, "www.api.test"), "pass"));
    let mut open = ours.clone();
    open["use_keyless"] = true.into();
    assert!(!warned(json!([open]), "pass"));
}

#[test]
fn a_named_organisation_must_exist() {
    let config = json!({
        "apis": [{ "api_id": "a", "org_id": "amce" }],
        "keys": { "k": { "org_id": "acme" }, "l": { "org_id": "umbrella" } },
        "orgs": { "acme": {} }
    });
    let found = errors(config);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].ends_with(r#".org_id: no organisation under orgs has the id "umbrella""#), "{found:?}");
    assert_eq!(found[1], r#"apis[0].org_id: no organisation under orgs has the id "amce" (did you mean "acme"?)"#);
}

#[test]
fn a_handlers_name_does_not_depend_on_the_apis_before_it() {
    let api = |id: &str| {
        json!({ "api_id": id, "listen_path": format!("/{id}"), "event_handlers": { "events": { "AuthFailure": [
        { "handler_name": "eh_log_handler" }, { "handler_name": "eh_log_handler", "handler_meta": { "id": "siem" } }
    ] } } })
    };
    let names = |apis: Value| -> Vec<String> {
        let (config, _) = load(&json!({ "apis": apis })).unwrap_or_else(|errors| panic!("{errors:?}"));
        config.notifications.handlers.iter().map(|handler| handler.name.clone()).collect()
    };
    assert_eq!(names(json!([api("a")])), ["apis[a].AuthFailure[0]", "apis[a].AuthFailure[siem]"]);
    assert_eq!(names(json!([api("b"), api("a")]))[2..], names(json!([api("a")])));
}

#[test]
fn two_keys_cannot_share_a_hash_and_no_error_shows_a_key() {
    let twice = json!({ "keys": {
        "test": { "quota": 1 },
        "sha256:9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08": {}
    } });
    let errors = errors(twice);
    assert!(errors.iter().any(|error| error.contains("the same key occurs twice")), "{errors:?}");
    assert!(errors.iter().all(|error| !error.contains("test")), "{errors:?}");
    assert!(errors[0].starts_with("keys[\"sha256:9f86d081"), "{errors:?}");
}

#[test]
fn scripts_are_refused_with_an_alternative() {
    let [error] = &errors(api_with(json!({ "handler_name": "eh_dynamic_handler" })))[..] else { panic!() };
    assert!(error.contains("runs scripts") && error.contains("eh_web_hook_handler"), "{error}");
}

#[test]
fn an_event_that_never_fires_is_a_warning() {
    let config = json!({
        "apis": [{ "api_id": "a" }],
        "event_handlers": { "events": {
            "TokenCreated": [{ "handler_name": "eh_log_handler" }], "HostDown": [{ "handler_name": "eh_log_handler" }]
        } }
    });
    assert_eq!(
        warnings(config),
        [
            "event_handlers.events.HostDown: this event never fires here: no API has observe_upstream",
            "event_handlers.events.TokenCreated: this event never fires here"
        ]
    );
}

#[test]
fn urls_in_errors_show_no_secret() {
    let [error] = &errors(api_with(webhook(json!({ "target_path": "ftp://me:secret@h/x?token=secret" }))))[..] else {
        panic!()
    };
    assert!(error.contains("ftp://h/…") && !error.contains("secret"), "{error}");
    let [error] = &errors(api_with(webhook(json!({ "target_path": "hooks.test/services/secret" }))))[..] else {
        panic!()
    };
    assert!(error.contains("hooks.test/…") && !error.contains("secret"), "{error}");
}

#[test]
fn an_unescaped_password_is_not_read_as_a_port() {
    for url in [
        "https://bot:s3cr3t/x@hooks.test/in",
        "https://bot:a%20s3cr3t/c@h/",
        "https:\\\\host\\s3cr3t",
        "https://hooks.test:s3cr3t/",
        "s3cr3t@hooks.test",
    ] {
        let errors = errors(api_with(webhook(json!({ "target_path": url }))));
        assert_eq!(errors.len(), 1, "{url}");
        assert!(!errors[0].contains("s3cr3t"), "{}", errors[0]);
    }
    for url in ["https://bot:pass@hooks.test:8443/in", "http://[::1]:80/", "http://[::1]/", "http://a.test:80"] {
        assert!(load(&api_with(webhook(json!({ "target_path": url })))).is_ok(), "{url}");
    }
}

#[test]
fn targets_are_split_into_their_parts() {
    let target = |url: &str| {
        let mut config = api_with(webhook(json!({ "target_path": url, "header_map": { "Host": "ignored" } })));
        config["callouts"] = json!({ "clusters": { "a.test": "by-host", "b.test:8080": "by-port" } });
        let (config, _) = load(&config).unwrap_or_else(|errors| panic!("{errors:?}"));
        let handler = config.notifications.handlers.iter().next().unwrap();
        handler.action.channel().unwrap().clone()
    };
    let plain = target("HTTP://c.test");
    assert_eq!(
        (plain.target.scheme.as_str(), plain.target.authority.as_str(), plain.target.path_and_query.as_str()),
        ("http", "c.test", "/")
    );
    assert_eq!(plain.target.cluster, "tollbell_http");
    assert!(webhook_of(&plain).headers.iter().all(|(name, _)| name != "host"));
    assert!(webhook_of(&plain).headers.contains(&("content-type".into(), "application/json".into())));
    assert_eq!(target("https://c.test?a=b#c").target.path_and_query, "/?a=b");
    assert_eq!(target("https://c.test/").target.cluster, "tollbell_https");
    assert_eq!(target("https://a.test:8443/").target.cluster, "by-host");
    assert_eq!(target("http://b.test:8080/").target.cluster, "by-port");
    assert_eq!(target("http://b.test/").target.cluster, "tollbell_http");
    let with_user = target("http://user:p%40ss@c.test/");
    assert_eq!(with_user.target.authority, "c.test");
    assert!(webhook_of(&with_user).headers.contains(&("authorization".into(), "Basic dXNlcjpwQHNz".into())));
}

#[test]
fn handlers_at_the_top_level_are_for_every_api() {
    let log = json!({ "handler_name": "eh_log_handler" });
    let config = json!({
        "apis": [
            { "api_id": "a", "event_handlers": { "events": { "AuthFailure": [log] } } },
            { "api_id": "b", "listen_path": "/b/" }
        ],
        "event_handlers": { "events": { "AuthFailure": [log] } },
        "monitor": { "enable_trigger_monitors": true, "monitor_org_keys": true, "configuration": { "target_path": "http://m.test/" } }
    });
    let (config, _) = load(&config).unwrap_or_else(|errors| panic!("{errors:?}"));
    let headers = |path: &'static str| [(&b":path"[..], path.as_bytes())];
    let handlers = |path, kind| {
        let headers = headers(path);
        let request = crate::access::Request { headers: &headers, property: &|_| None };
        let readings = crate::access::Readings::of(request.path()).unwrap();
        match config.access.routes.find(&readings, b"a.test") {
            crate::access::Route::Api { api, .. } => api.handlers(kind).len(),
            crate::access::Route::None => panic!("{path} belongs to no API"),
        }
    };
    assert_eq!(handlers("/", EventKind::AuthFailure), 2);
    assert_eq!(handlers("/b/", EventKind::AuthFailure), 1);
    assert_eq!(handlers("/b/", EventKind::TriggerExceeded), 1);
}

#[test]
fn bytes_in_neither_form_are_refused() {
    for bytes in [&b"{"[..], b"hello", b"\xff\xff\xff", b"\n{\n"] {
        let Err(errors) = Config::load(bytes) else { panic!("{bytes:?}") };
        assert!(errors[0].message.contains("neither JSON text"), "{errors:?}");
    }
    assert!(Config::load(b"").is_ok());
    assert!(Config::load(b" {} ").is_ok());
}

#[test]
fn a_struct_that_begins_like_json_text_is_a_struct() {
    // 0x0a is a line break in text, and 123, the length of the first entry, is an opening brace.
    let name = "a".repeat(123 - 6);
    let fields = [(name, prost_types::Value { kind: Some(Kind::BoolValue(true)) })].into_iter().collect();
    let bytes = prost_types::Struct { fields }.encode_to_vec();
    assert_eq!(&bytes[..2], b"\n{");
    let Err(errors) = Config::load(&bytes) else { panic!() };
    assert!(errors[0].to_string().ends_with("unknown field"), "{errors:?}");
}

#[test]
fn secrets_are_one_or_many_and_no_error_shows_one() {
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let signed = |secret: Value| api_with(webhook(json!({ "target_path": "http://a.test/", "secret": secret })));
    let keys = |secret: Value| {
        let (config, warnings) = load(&signed(secret)).unwrap();
        assert_eq!(warnings, []);
        let handler = config.notifications.handlers.iter().next().unwrap();
        let channel = handler.action.channel().unwrap();
        webhook_of(channel).keys.len()
    };
    assert_eq!((keys(json!(SECRET)), keys(json!([SECRET, SECRET])), keys(json!("")), keys(json!([]))), (1, 2, 0, 0));
    let path = "apis[0].event_handlers.events.AuthFailure[0].handler_meta.secret";
    let refused = "not a secret: write \"whsec_\" followed by base64";
    assert_eq!(errors(signed(json!("hunter2"))), [format!("{path}: {refused}")]);
    assert_eq!(errors(signed(json!([SECRET, "hunter2"]))), [format!("{path}[1]: {refused}")]);
    assert_eq!(
        errors(signed(json!(12345))),
        [format!("{path}: expected a string or a list of strings, found a number")]
    );
    assert_eq!(errors(signed(json!([12345]))), [format!("{path}[0]: expected a string, found a number; quote it")]);
    assert_eq!(
        warnings(signed(json!("whsec_c2hvcnQ="))),
        [format!("{path}: Standard Webhooks requires 24 to 64 random bytes")]
    );
}

#[test]
fn a_handler_has_a_cap_unless_it_is_switched_off() {
    let cap = |meta: Value| {
        let mut meta = meta;
        meta["target_path"] = json!("http://a.test/");
        let (config, _) = load(&api_with(webhook(meta))).unwrap();
        channel(&config, "apis[a].AuthFailure[0]").cap.clone()
    };
    let endpoint = crate::delivery::EndpointId::new("http", "a.test", "/");
    let of = |most| crate::notify::Cap::new(&["apis[a].AuthFailure[0]"], endpoint, most);
    assert_eq!(cap(json!({})), of(None));
    assert_eq!(cap(json!({ "max_per_minute": "60" })), of(Some(60)));
    assert_eq!(cap(json!({ "max_per_minute": 0 })), of(Some(0)));
    let meta = json!({ "target_path": "http://a.test/", "header_map": { "Webhook-Id": "x" }, "digest": true });
    assert_eq!(
        warnings(api_with(webhook(meta))),
        [
            "apis[0].event_handlers.events.AuthFailure[0].handler_meta.header_map.Webhook-Id: ignored: tollbell sets this header itself",
            "apis[0].event_handlers.events.AuthFailure[0].handler_meta.digest: without an event_timeout nothing is held back",
        ]
    );
}

#[test]
fn a_handlers_own_settings_come_before_those_of_the_webhook_that_it_names() {
    let handler = |own: Value| {
        let mut own = own;
        own["webhook"] = json!("crm");
        let mut config = api_with(webhook(own));
        config["webhooks"] = json!([{ "name": "crm", "target_url": "http://crm.test/", "method": "PUT", "timeout": 7,
            "event_timeout": 60, "digest": true, "max_per_minute": 5 }]);
        let (config, _) = load(&config).unwrap_or_else(|errors| panic!("{errors:?}"));
        channel(&config, "apis[a].AuthFailure[0]").clone()
    };
    let endpoint = crate::delivery::EndpointId::new("http", "crm.test", "/");
    let cap = |most| crate::notify::Cap::new(&["apis[a].AuthFailure[0]"], endpoint, Some(most));
    let named = handler(json!({}));
    assert_eq!(
        (named.method(), named.timeout_ms, named.event_timeout_ms, named.digest),
        ("PUT", Some(7000), 60_000, true)
    );
    assert_eq!(named.cap, cap(5));
    // A default of the handler can be an explicit setting here.
    let own = json!({ "method": "POST", "timeout": 0, "event_timeout": 0, "digest": false, "max_per_minute": 120 });
    let own = handler(own);
    assert_eq!((own.method(), own.timeout_ms, own.event_timeout_ms, own.digest), ("POST", None, 0, false));
    assert_eq!(own.cap, cap(120));
}

#[test]
fn an_oas_handlers_own_settings_come_first_too() {
    let handler = |own: Value| {
        let mut handler = json!({ "enabled": true, "trigger": "AuthFailure", "type": "webhook", "webhook": "crm" });
        handler.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        let config = json!({
            "apis": [{ "api_id": "a", "server": { "eventHandlers": [handler] } }],
            "webhooks": [{ "name": "crm", "target_url": "http://crm.test/", "method": "PUT", "event_timeout": 60, "digest": true }]
        });
        let (config, _) = load(&config).unwrap_or_else(|errors| panic!("{errors:?}"));
        let webhook = channel(&config, "apis[a].AuthFailure[0]");
        (webhook.method(), webhook.event_timeout_ms, webhook.digest)
    };
    assert_eq!(handler(json!({})), ("PUT", 60_000, true));
    assert_eq!(handler(json!({ "method": "POST", "cooldownPeriod": "0s", "digest": false })), ("POST", 0, false));
}

#[test]
fn an_email_handler_needs_an_address_and_a_provider() {
    let handler = |meta: Value| {
        let mut config = api_with(json!({ "handler_name": "eh_email_handler", "handler_meta": meta }));
        config["email_backend"] = json!({ "enable_email_notifications": true, "code": "sendgrid",
            "settings": { "ClientKey": "k" }, "default_from_email": "no-reply@acme.test" });
        config
    };
    let path = "apis[0].event_handlers.events.AuthFailure[0].handler_meta";
    let good = json!({ "email": "ops@acme.test", "event_timeout": 60, "digest": true, "timeout": 7 });
    let (config, warnings) = load(&handler(good.clone())).unwrap();
    assert_eq!(warnings, []);
    let name = "apis[a].AuthFailure[0]";
    let email = channel(&config, name);
    assert!(matches!(email.form, Form::Email(_)), "{email:?}");
    assert_eq!((email.event_timeout_ms, email.digest, email.timeout_ms), (60_000, true, Some(7000)));

    let mut without = handler(good);
    without["email_backend"]["enable_email_notifications"] = json!(false);
    assert_eq!(
        errors(without.clone()),
        [format!("{path}: an eh_email_handler needs email_backend, which is not enabled")]
    );
    without["apis"][0]["event_handlers"]["events"]["AuthFailure"][0]["handler_meta"]["disabled"] = json!(true);
    load(&without).unwrap();
    assert_eq!(errors(handler(json!({}))), [format!("{path}.email: missing")]);
    assert_eq!(errors(handler(json!({ "email": "ops" }))), [format!("{path}.email: no address: it has no @")]);
    let odd =
        json!({ "email": "ops@acme.test", "target_path": "http://x.test", "template_path": "t.json", "digest": true });
    assert_eq!(
        self::warnings(handler(odd)),
        [
            format!("{path}.target_path: ignored: it is not for an eh_email_handler"),
            format!("{path}.template_path: ignored: the text of an eh_email_handler is in email_templates"),
            format!("{path}.digest: without an event_timeout nothing is held back"),
        ]
    );
    let meta = json!({ "target_path": "http://x.test", "email": "ops@acme.test" });
    assert_eq!(
        self::warnings(api_with(webhook(meta))),
        [format!("{path}.email: ignored: it is for an eh_email_handler")]
    );
}

#[test]
fn an_organisation_is_notified_of_the_portals_events_too() {
    let options = |options: Value| json!({ "orgs": { "acme": { "event_options": options } } });
    let hook = |more: Value| {
        let mut option = json!({ "webhook": "http://hooks.test/" });
        option.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        option
    };
    let both = options(
        json!({ "OrganizationRegistered": hook(json!({ "event_timeout": 9 })), "PasswordReset": hook(json!({})) }),
    );
    let (config, _) = load(&both).unwrap();
    let webhook = channel(&config, "orgs[acme].event_options.OrganisationRegistered.webhook");
    assert_eq!(webhook.event_timeout_ms, 9000);
    channel(&config, "orgs[acme].event_options.PasswordReset.webhook");
    assert_eq!(
        errors(options(json!({ "OrganizationRegistered": {}, "OrganisationRegistered": {}, "PaswordReset": {} }))),
        [
            "orgs.acme.event_options.OrganizationRegistered: OrganisationRegistered is the same event in another spelling",
            "orgs.acme.event_options.PaswordReset: no event has this name (did you mean \"PasswordReset\"?)",
        ]
    );
}

#[test]
fn the_documented_rest_of_the_gateway_side_loads() {
    let rest = json!({
        "policies": {
            "gold": { "quota_max": 5000, "quota_renewal_rate": 86400, "rate": 100, "per": 1,
                "monitor": { "trigger_limits": [75] }, "access_rights": { "orders": {} } }
        },
        "default_policy": "gold",
        "keys": { "k1": { "org_id": "acme", "apply_policies": ["gold"], "rate": 10, "per": 1,
            "access_rights": { "orders": { "allowance_scope": "orders",
                "limit": { "quota_max": 100, "quota_renewal_rate": 60, "rate": 5, "per": 1 } } },
            "meta_data": { "email": "dev@acme.test" } } },
        "apis": [{ "api_id": "orders", "observe_failures": true, "observe_upstream": true, "identity": [
            "key",
            { "metadata": ["envoy.filters.http.jwt_authn", "jwt_payload", "sub"],
              "org": ["envoy.filters.http.jwt_authn", "jwt_payload", "org"] },
            { "header": "x-consumer-id" },
            { "peer_certificate": "uri_san" },
            { "source_address": true }
        ] }],
        "keys_from": { "url": "https://keys.test/all", "cluster": "keys", "interval_s": 10, "headers": { "x": "y" }, "max_bytes": 5_000_000 },
        "rate_limit_headers": "both"
    });
    let (config, warnings) = load(&rest).unwrap_or_else(|errors| panic!("{errors:?}"));
    let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    for path in ["policies.gold.monitor.trigger_limits", "apis[0].observe_failures", "apis[0].observe_upstream"] {
        assert!(
            warnings.iter().any(|said| said.starts_with(&format!("{path}: has no effect"))),
            "{path}: {warnings:?}"
        );
    }
    for replaced in [".access_rights: has no effect: the key's", ".rate: has no effect: the key's"] {
        assert!(warnings.iter().any(|said| said.contains(replaced)), "{replaced}: {warnings:?}");
    }
    assert_eq!(warnings.len(), 5, "{warnings:?}");
    assert_eq!(config.keys_from.unwrap().target.cluster, "keys");
}

#[test]
fn mistakes_in_other_settings_are_reported() {
    let errors = errors(json!({
        "apis": [{ "api_id": "a", "identity": [
            "keys", {}, { "header": "a b" }, { "header": "x", "source_address": true }, { "header": "x", "org": ["y"] },
            { "peer_certificate": "serial" }, 7
        ], "server": { "eventHandlers": [{ "enabled": true, "type": "webhook", "url": "ftp://x" }] } }],
        "policies": { "p": { "access_rights": { "b": {} } } },
        "default_policy": "q",
        "keys": { "k": { "apply_policies": ["r"] } },
        "keys_from": { "url": "keys", "interval_s": 0 },
        "webhooks": [{ "name": "w", "target_url": "http://w.test", "events": ["Unknown"] }, { "name": "w", "target_url": "" }],
        "event_handlers": { "events": { "AuthFailure": [{ "handler_name": "eh_web_hook_handler", "handler_meta": { "webhook": "v" } }] } },
        "rate_limit_headers": "some",
        "identities": { "capacity": 1 }
    }));
    for expected in [
        "apis[0].identity[0]: \"keys\" is not one of key",
        "apis[0].identity[1]: must be key, or have one of metadata, header, peer_certificate, source_address",
        "apis[0].identity[2].header: \"a b\" is not a header name",
        "apis[0].identity[3]: must be key, or have one of",
        "apis[0].identity[4].org: works only with metadata",
        "apis[0].identity[5].peer_certificate: \"serial\" is not one of",
        "apis[0].identity[6]: expected a string or an object, found a number",
        "apis[0].server.eventHandlers[0].trigger: missing",
        "apis[0].server.eventHandlers[0].url: \"ftp://x\" is not an absolute http or https URL",
        "policies.p.access_rights.b: no API has the id \"b\"",
        "default_policy: no policy has the id \"q\"",
        "apply_policies: no policy has the id \"r\"",
        "keys_from.url: \"keys\" is not an absolute http or https URL",
        "keys_from.interval_s: 0 is less than 1",
        "webhooks[0].events[0]: no event has this name",
        "webhooks[1].name: \"w\" is already the name of another webhook",
        "webhooks[1].target_url: missing",
        "handler_meta.webhook: no webhook has the name \"v\"",
        "rate_limit_headers: \"some\" is not one of legacy, legacy_rates, ietf, both, none",
        "identities.capacity: 1 is less than 32",
    ] {
        assert!(errors.iter().any(|error| error.contains(expected)), "{expected:?} in {errors:#?}");
    }
}

#[test]
fn an_upstream_is_observed_by_a_switch_or_with_settings() {
    let observed = |value: Value| {
        let (config, _) = load(&json!({ "apis": [{ "api_id": "a", "observe_upstream": value }] })).unwrap();
        config.access.routes.iter().map(|(_, api)| api.observe_upstream).collect::<Vec<_>>()
    };
    for (value, failures) in [
        (json!(false), None),
        (Value::Null, None),
        (json!(true), Some(3)),
        (json!({}), Some(3)),
        (json!({ "failures": 1 }), Some(1)),
        (json!({ "failures": "5" }), Some(5)),
    ] {
        assert_eq!(observed(value.clone()), [failures], "{value}");
    }
    for (value, wrong) in [
        (json!({ "failures": 0 }), "apis[0].observe_upstream.failures: "),
        (json!({ "failures": -1 }), "apis[0].observe_upstream.failures: "),
        (json!({ "failure": 1 }), "apis[0].observe_upstream.failure: "),
        (json!("yes"), "apis[0].observe_upstream: expected true or false or an object, found "),
    ] {
        let all = errors(json!({ "apis": [{ "api_id": "a", "observe_upstream": value }] }));
        assert!(matches!(&all[..], [error] if error.starts_with(wrong)), "{value}: {all:?}");
    }
}

#[test]
fn a_missing_cluster_is_an_error_with_its_path_and_its_targets() {
    let config = |callouts: Value| {
        json!({
            "apis": [{ "api_id": "a", "event_handlers": { "events": { "AuthFailure": [
                webhook(json!({ "target_path": "http://hooks.test:8080/a" })),
                webhook(json!({ "target_path": "http://named.test/" })),
            ] } } }],
            "webhooks": [{ "name": "crm", "target_url": "https://crm.test/", "events": ["AuthFailure"] }],
            "keys_from": { "url": "http://keys.test/all", "cluster": "keys" },
            "callouts": callouts,
        })
    };
    let found = |callouts: Value, there: &[&str]| -> Vec<String> {
        let config = config(callouts).to_string();
        match Config::load_in(config.as_bytes(), &|name| Some(there.contains(&name))) {
            Ok((_, warnings)) => warnings.iter().map(|warning| format!("warning: {warning}")).collect(),
            Err(errors) => errors.iter().map(ToString::to_string).collect(),
        }
    };
    let all = ["tollbell_http", "tollbell_https", "named", "keys"];
    let named = json!({ "clusters": { "named.test": "named" } });
    assert_eq!(found(named.clone(), &all), Vec::<String>::new());
    assert_eq!(
        found(json!({ "http_cluster": "tollbell_htpp" }), &all),
        [
            "callouts.http_cluster: there is no cluster \"tollbell_htpp\" (did you mean \"tollbell_https\"?): nothing would \
          reach hooks.test:8080, named.test"
        ]
    );
    assert_eq!(
        found(named, &[]),
        [
            "keys_from.cluster: there is no cluster \"keys\": nothing would reach keys.test",
            "callouts.clusters[\"named.test\"]: there is no cluster \"named\": nothing would reach named.test",
            "callouts.http_cluster: there is no cluster \"tollbell_http\": nothing would reach hooks.test:8080",
            "callouts.https_cluster: there is no cluster \"tollbell_https\": nothing would reach crm.test",
        ]
    );
    assert_eq!(
        found(json!({ "clusters": { "nobody.test": "nowhere" } }), &all),
        ["warning: callouts.clusters[\"nobody.test\"]: nothing is sent to this host"]
    );
    // Without a target, no cluster is needed; and Envoy does not tell.
    assert!(Config::load_in(b"{\"apis\": [{\"api_id\": \"a\"}]}", &|_| Some(false)).is_ok());
    assert!(Config::load_in(config(json!({})).to_string().as_bytes(), &|_| None).is_ok());
}

#[test]
fn a_monitor_that_notifies_no_one_is_one_error() {
    let of = |configuration: Value| {
        errors(
            json!({ "monitor": { "enable_trigger_monitors": true, "monitor_user_keys": true, "configuration": configuration } }),
        )
    };
    let disabled = of(json!({ "target_path": "http://hooks.test/", "disabled": true }));
    assert_eq!(
        disabled,
        ["monitor.configuration.disabled: is true, so no one would be notified of a crossed threshold"]
    );
    let [wrong] = &of(json!({ "target_path": "hooks" }))[..] else { panic!() };
    assert!(wrong.starts_with("monitor.configuration.target_path: \"hooks\" is not an absolute"), "{wrong}");
}

#[test]
fn rights_that_name_no_version_are_warnings() {
    let config = json!({
        "apis": [{ "api_id": "v", "versioning": { "location": "header", "key": "v", "versions": { "v1": {} } } }],
        "policies": {
            "none": { "access_rights": { "v": {} } },
            "one": { "access_rights": { "v": { "versions": ["v1"] } } },
            "quota": { "quota_max": 5, "partitions": { "quota": true }, "access_rights": { "v": {} } },
        },
        "keys": {
            "own": { "access_rights": { "v": { "versions": ["v9"] } } },
            "replaced": { "apply_policies": ["one"], "access_rights": { "v": {} } },
            "quota": { "apply_policies": ["quota"], "access_rights": { "v": { "versions": ["v1"] } } },
            "none": { "apply_policies": ["none"] },
        },
    });
    let (_, warnings) = load(&config).unwrap_or_else(|errors| panic!("{errors:?}"));
    let said: Vec<String> =
        warnings.iter().map(ToString::to_string).filter(|said| said.contains("names no version")).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    let of_key = |said: &String| said.starts_with("keys[\"sha256:") && said.ends_with("so the key may call none");
    assert!(said.iter().any(of_key), "{said:?}");
    let policy =
        "policies.none.access_rights.v.versions: names no version of the API, so the policy lets its keys call none";
    assert!(said.iter().any(|said| said == policy), "{said:?}");
}

#[test]
fn invalid_json_is_reported_with_its_place_and_mistake() {
    for (text, said) in [
        ("{\"apis\": [],}", "line 1, column 13: there is an extra comma before this bracket"),
        ("{\n\"apis\": []\n\"keys\": {}}", "line 3, column 1: a comma or a colon is missing before this character"),
        ("{\"apis\": [", "the text ends too early"),
        ("{'apis': []}", "line 1, column 2: texts need double quotes"),
        ("{ // ours\n}", "JSON has no comments"),
        ("{\"apis\": yes}", "expected a text in double quotes"),
    ] {
        let errors = Config::load(text.as_bytes()).err().unwrap_or_default();
        let found = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        assert!(found.contains(said) && !found.contains("at line"), "{text}: {found}");
    }
    let twice = Config::load(br#"{"apis": [{"api_id": "a", "api_id": "b"}]}"#).err().unwrap_or_default();
    assert_eq!(
        twice.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["apis[0].api_id: occurs twice in one object"]
    );
}
