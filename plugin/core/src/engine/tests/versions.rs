//! Versions of an API: which key may call which, and what the route and the upstream see.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::access::ROUTE_HEADER;

const EVENTS: &str = "tollbell_events.type=VersionFailure";

fn versioned(location: Value) -> Value {
    let mut versioning = json!({ "versions": { "v1": {}, "v2": {}, "v0": { "expires": "2001-01-01 00:00" } } });
    for (name, value) in location.as_object().unwrap() {
        versioning[name] = value.clone();
    }
    let right = |versions: Value| json!({ "access_rights": { "orders": { "versions": versions } } });
    json!({
        "apis": [{ "api_id": "orders", "listen_path": "/orders/", "versioning": versioning, "strip_authorization_data": true }],
        "keys": { "one": right(json!(["v1"])), "two": right(json!(["v2"])), "both": right(json!(["v1", "v2"])),
            "none": right(json!([])), "any": {} },
    })
}

/// What the upstream and the route see: the path, the route's header and another header; or the status and the text.
fn seen(world: &mut World, path: &str, key: &str, headers: &[(&str, &str)]) -> Result<(String, String), (u16, String)> {
    let mut all: Vec<(&str, &[u8])> =
        vec![(":path", path.as_bytes()), (":authority", b"gw.test"), ("authorization", key.as_bytes())];
    all.extend(headers.iter().map(|(name, value)| (*name, value.as_bytes())));
    match world.on_vm(0, &all) {
        Decision::Continue { changes, .. } => {
            let last = |wanted: &str| {
                changes.iter().rev().find_map(|change| match change {
                    HeaderChange::Replace(name, value) if name == wanted => {
                        Some(String::from_utf8(value.clone()).unwrap())
                    }
                    _ => None,
                })
            };
            Ok((last(ROUTE_HEADER).unwrap_or_default(), last(":path").unwrap_or_else(|| path.to_owned())))
        }
        Decision::Refuse(answer) => {
            let body: Value = serde_json::from_str(&answer.body).unwrap();
            Err((answer.status, body["error"].as_str().unwrap().to_owned()))
        }
        other => panic!("{other:?}"),
    }
}

fn disallowed() -> Result<(String, String), (u16, String)> {
    Err((403, "Access to this API has been disallowed".into()))
}

fn goes(version: &str, path: &str) -> Result<(String, String), (u16, String)> {
    Ok((version.into(), path.into()))
}

#[test]
fn a_key_calls_the_versions_that_its_right_names() {
    let mut world = World::new(&versioned(json!({ "location": "header", "key": "X-Version" })));
    let mut with = |key: &str, version: &str| seen(&mut world, "/orders/1", key, &[("x-version", version)]);
    for (key, version, allowed) in [
        ("one", "v1", true),
        ("one", "v2", false),
        ("two", "v2", true),
        ("two", "v1", false),
        ("both", "v1", true),
        ("both", "v2", true),
        ("none", "v1", false),
        ("none", "v2", false),
        ("any", "v1", true),
    ] {
        let expected = if allowed { goes(version, "/orders/1") } else { disallowed() };
        assert_eq!(with(key, version), expected, "{key} {version}");
    }
    let unknown = Err((403, "This API version does not seem to exist".into()));
    assert_eq!(with("both", "v9"), unknown);
    assert_eq!(with("nobody", "v9"), unknown, "the version comes first, as in Tyk");
    let expired = Err((403, "Api Version has expired, please check documentation or contact administrator".into()));
    assert_eq!(with("any", "v0"), expired);
    assert_eq!(with("any", ""), Err((403, "Version information not found".into())));
    assert_eq!(world.host.metric_named(EVENTS), Some(4));
}

#[test]
fn a_default_version_needs_a_right_too() {
    let location = json!({ "location": "url-param", "key": "v", "default_version": "v1", "fallback_to_default": true });
    let mut world = World::new(&versioned(location));
    let mut with = |key: &str, path: &str| seen(&mut world, path, key, &[]);
    assert_eq!(with("one", "/orders/1"), goes("v1", "/orders/1"));
    assert_eq!(with("two", "/orders/1"), disallowed());
    assert_eq!(with("two", "/orders/1?v=v2"), goes("v2", "/orders/1?v=v2"));
    assert_eq!(with("one", "/orders/1?v=v9"), goes("v1", "/orders/1?v=v9"), "an unknown version means the default");
    assert_eq!(with("two", "/orders/1?v=v9"), disallowed());
}

#[test]
fn the_client_cannot_set_the_routes_header() {
    let mut world = World::new(&versioned(json!({ "location": "header", "key": "x-version" })));
    let headers = [(ROUTE_HEADER, "v2"), ("x-version", "v1"), (ROUTE_HEADER, "v2")];
    assert_eq!(seen(&mut world, "/orders/1", "both", &headers), goes("v1", "/orders/1"));
    assert_eq!(seen(&mut world, "/orders/1", "one", &[("x-version", "v2"), (ROUTE_HEADER, "v1")]), disallowed());
}

#[test]
fn a_key_and_a_version_are_removed_from_one_request() {
    let mut config = versioned(json!({ "location": "url", "strip_versioning_data": true }));
    config["apis"][0]["auth"] = json!({ "use_param": true, "param_name": "key" });
    let mut world = World::new(&config);
    assert_eq!(seen(&mut world, "/orders/v2/1?key=two&x=1", "", &[]), goes("v2", "/orders/1?x=1"));
    assert_eq!(seen(&mut world, "/orders/v1/1?key=two", "", &[]), disallowed());
    let unknown = Err((403, "This API version does not seem to exist".into()));
    for path in ["/orders/1?key=two", "/orders/v1/../v2/1?key=two", "/orders/%762/1?key=two", "/orders//v2/1?key=two"] {
        assert_eq!(seen(&mut world, path, "", &[]), unknown, "{path}");
    }
}

#[test]
fn versions_that_are_apis_have_their_own_rights_and_key_places() {
    let versions = json!({ "v1": { "api_id": "base" }, "v2": { "api_id": "child" } });
    let versioning = json!({ "location": "header", "key": "x-version", "default_version": "v1", "versions": versions });
    let mut world = World::new(&json!({
        "apis": [
            { "api_id": "base", "listen_path": "/orders/", "versioning": versioning },
            { "api_id": "child", "internal": true, "auth": { "auth_header_name": "x-key" } },
        ],
        "keys": { "one": { "access_rights": { "base": {} } }, "two": { "access_rights": { "child": {} } } },
    }));
    let mut with = |headers: &[(&str, &str)]| seen(&mut world, "/orders/1", "one", headers);
    assert_eq!(with(&[]), goes("v1", "/orders/1"));
    assert_eq!(with(&[("x-version", "v2")]), Err((401, "Authorization field missing".into())));
    assert_eq!(with(&[("x-version", "v2"), ("x-key", "one")]), disallowed());
    assert_eq!(with(&[("x-version", "v2"), ("x-key", "two")]), goes("v2", "/orders/1"));
    assert_eq!(with(&[("x-version", "v9")]), Err((404, "This API version does not seem to exist".into())));
    assert_eq!(seen(&mut world, "/elsewhere", "", &[]), goes("", "/elsewhere"), "an internal API has no path");
}

#[test]
fn mistakes_in_versions_are_reported() {
    let errors = |versioning: Value| {
        let config =
            json!({ "apis": [{ "api_id": "a", "versioning": versioning }, { "api_id": "b", "internal": true }] });
        let loaded = Config::load(config.to_string().as_bytes());
        loaded.err().unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    let v1 = json!({ "v1": {} });
    for (versioning, said) in [
        (json!({ "location": "header", "key": "v" }), "versioning.versions: missing"),
        (json!({ "versions": v1 }), "versioning.location: missing"),
        (
            json!({ "location": "cookie", "key": "v", "versions": v1 }),
            "\"cookie\" is not one of header, url-param, url",
        ),
        (json!({ "location": "header", "versions": v1 }), "versioning.key: missing"),
        (json!({ "location": "header", "key": "a b", "versions": v1 }), "is not a header name"),
        (
            json!({ "location": "header", "key": "X-Tollbell-Version", "versions": v1 }),
            "the header that the filter sets",
        ),
        (
            json!({ "location": "header", "key": "v", "default_version": "v2", "versions": v1 }),
            "no version has the name \"v2\" (did you mean \"v1\"?)",
        ),
        (
            json!({ "location": "header", "key": "v", "fallback_to_default": true, "versions": v1 }),
            "needs a default_version",
        ),
        (json!({ "location": "url", "versions": { "a/b": {} } }), "is not a valid version name"),
        (json!({ "location": "header", "key": "v", "versions": { " v1": {} } }), "is not a valid version name"),
        (json!({ "location": "header", "key": "v", "versions": { "é": {} } }), "is not a valid version name"),
        (
            json!({ "location": "header", "key": "v", "versions": { "v1": { "expires": "soon" } } }),
            "\"soon\" is not a time",
        ),
        (
            json!({ "location": "header", "key": "v", "versions": { "v1": { "api_id": "c" } } }),
            "no API has the id \"c\"",
        ),
        (
            json!({ "location": "header", "key": "v", "versions": { "v1": { "api_id": "b" }, "v2": {} } }),
            "either all versions have an api_id",
        ),
        (json!({ "location": "header", "key": "v", "version": {} }), "unknown field (did you mean \"versions\"?)"),
    ] {
        let found = errors(versioning.clone());
        assert!(found.contains(said), "{versioning}: {found}");
    }
    assert_eq!(errors(json!({ "location": "url", "versions": { "v1": { "expires": "-1" } } })), "");
}

#[test]
fn a_clients_header_for_routes_is_removed_on_every_path() {
    let mut config = versioned(json!({ "location": "header", "key": "x-version" }));
    config["apis"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "api_id": "plain", "listen_path": "/plain/", "use_keyless": true }));
    let mut world = World::new(&config);
    for path in ["/plain/1", "/elsewhere"] {
        let decision = world.on_vm(0, &[(":path", path.as_bytes()), ("X-Tollbell-Version", b"v2")]);
        let Decision::Continue { changes, .. } = decision else { panic!("{decision:?}") };
        assert_eq!(changes, [HeaderChange::Remove("X-Tollbell-Version".into())], "{path}");
    }
}

#[test]
fn a_preflight_needs_no_version() {
    let preflight = [
        (":method", &b"OPTIONS"[..]),
        (":path", b"/orders/1"),
        ("origin", b"https://app.test"),
        ("access-control-request-method", b"GET"),
    ];
    for (default, allows, expected) in [("", true, Some("v1")), ("v2", true, Some("v2")), ("", false, None)] {
        let mut config = versioned(json!({ "location": "header", "key": "x-version", "default_version": default }));
        config["apis"][0]["auth"]["allow_preflight"] = json!(allows);
        let mut world = World::new(&config);
        let told = match world.on_vm(0, &preflight) {
            Decision::Continue { changes, .. } => changes.into_iter().find_map(|change| match change {
                HeaderChange::Replace(name, value) if name == ROUTE_HEADER => String::from_utf8(value).ok(),
                _ => None,
            }),
            Decision::Refuse(answer) => {
                assert_eq!(answer.status, 403);
                None
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(told.as_deref(), expected, "{default:?}");
        let with_key = [&preflight[..], &[("authorization", b"one")]].concat();
        let decision = world.on_vm(0, &with_key);
        assert!(default == "v2" || matches!(decision, Decision::Refuse(_)), "it carries a key: {decision:?}");
    }
}

#[test]
fn a_method_in_a_header_must_be_allowed_too() {
    let rules = json!([{ "url": "^/orders/", "methods": ["POST"] }]);
    let mut world = World::new(&json!({
        "apis": [{ "api_id": "orders", "listen_path": "/orders/" }],
        "keys": { "one": { "access_rights": { "orders": { "allowed_urls": rules } } } },
    }));
    let mut with = |more: &[(&str, &[u8])]| {
        let headers = [(":method", &b"POST"[..]), (":path", b"/orders/1"), ("authorization", b"one")];
        matches!(world.on_vm(0, &[&headers[..], more].concat()), Decision::Continue { .. })
    };
    assert!(with(&[]) && with(&[("x-http-method-override", b" POST ")]));
    for name in ["x-http-method-override", "X-HTTP-Method", "x-method-override"] {
        assert!(!with(&[(name, b"DELETE")]) && !with(&[(name, b"POST"), (name, b"PUT")]), "{name}");
    }
}
