//! The places of keys, the answers of refusals, and preflights.

use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::Decision;
use super::{World, hook};
use crate::access::{Answer, RequestOutcome};
use crate::event::EventKind;

fn config() -> Value {
    json!({
        "apis": [
            { "api_id": "orders", "name": "The \"Orders\"", "org_id": "acme", "listen_path": "/orders/",
              "auth": { "use_param": true, "use_cookie": true, "cookie_name": "session", "allow_preflight": true },
              "global_rate_limit": { "rate": 3, "per": 60 } },
            { "api_id": "own-header", "listen_path": "/own/", "auth": { "auth_header_name": "X-Api-Key" } },
            { "api_id": "hop", "listen_path": "/hop/", "identity": [{ "header": "X-Consumer" }] }
        ],
        "event_handlers": { "events": { "AuthFailure": [hook("/auth", 0)] } },
        "keys": {
            "good": { "org_id": "acme" }, "other": { "org_id": "acme" }, "old": { "expires": 1_700_000_000 }
        },
        "orgs": { "acme": { "quota_max": 3, "quota_renewal_rate": 60 } },
        "enforce_org_quotas": true,
        "origin_header": "x-forwarded-for",
    })
}

fn ask(world: &mut World, headers: &[(&str, &str)]) -> Option<Answer> {
    let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    match world.on_vm(0, &headers) {
        Decision::Continue { .. } => None,
        Decision::Refuse(answer) => Some(answer),
        other => panic!("{other:?}"),
    }
}

fn status(world: &mut World, headers: &[(&str, &str)]) -> u16 {
    ask(world, headers).map_or(200, |answer| answer.status)
}

fn challenge(answer: &Answer) -> Option<&str> {
    answer.headers.iter().find(|(name, _)| *name == "www-authenticate").map(|(_, value)| value.as_str())
}

#[test]
fn a_place_with_two_keys_and_bearer_alone_are_wrong_keys() {
    let mut world = World::new(&config());
    let path = (":path", "/orders/1");
    for (headers, shown) in [
        (vec![path, ("authorization", "good"), ("authorization", "other")], "good"),
        (vec![path, ("authorization", "good"), ("Authorization", "nobody")], "good"),
        (vec![path, ("cookie", "session=good"), ("cookie", "session=other"), ("authorization", "good")], "good"),
        (vec![(":path", "/orders/1?api_key=other&api_key=good"), ("authorization", "good")], "other"),
        (vec![path, ("authorization", "Bearer")], "Bearer"),
        (vec![path, ("authorization", "  bearer \t ")], "bearer"),
        (vec![path, ("cookie", "session=\"Bearer \""), ("authorization", "good")], "Bearer"),
    ] {
        assert_eq!(status(&mut world, &headers), 403, "{headers:?}");
        let bodies = world.bodies();
        assert_eq!(bodies.len(), 1, "{headers:?}");
        assert_eq!((&bodies[0]["event"], &bodies[0]["key"]), (&json!("AuthFailure"), &json!(shown)), "{headers:?}");
    }
    let same = [path, ("Authorization", "good"), ("authorization", "Bearer good"), ("cookie", "session=good; a=b")];
    assert_eq!(status(&mut world, &same), 200);
    let by_order = [path, ("cookie", "session=good"), ("authorization", "nobody")];
    assert_eq!(status(&mut world, &by_order), 200, "the cookie wins");
}

#[test]
fn every_401_has_a_challenge_and_nothing_else_has() {
    let mut world = World::new(&config());
    let realm = r#"realm="The \"Orders\"""#;
    let expired = r#", error="invalid_token", error_description="Key has expired, please renew""#;
    for (path, header, expected) in [
        ("/orders/1", ("x", ""), Some(format!("Bearer {realm}"))),
        ("/orders/1", ("authorization", "old"), Some(format!("Bearer {realm}{expired}"))),
        ("/orders/1", ("authorization", "nobody"), None),
        ("/own/1", ("authorization", "good"), Some(r#"ApiKey realm="own-header""#.to_owned())),
        ("/own/1", ("x-api-key", "old"), Some(r#"ApiKey realm="own-header""#.to_owned())),
        ("/hop/1", ("authorization", "good"), Some(r#"ApiKey realm="hop""#.to_owned())),
    ] {
        let answer = ask(&mut world, &[(":path", path), header]).unwrap();
        assert_eq!(answer.status == 401, expected.is_some(), "{path} {header:?}");
        assert_eq!(challenge(&answer), expected.as_deref(), "{path} {header:?}");
    }
}

#[test]
fn a_grpc_client_gets_the_text_of_a_refusal() {
    let mut world = World::new(&config());
    for (content_type, body) in [
        ("application/grpc", "Authorization field missing"),
        ("application/grpc+proto", "Authorization field missing"),
        ("application/grpc-web", r#"{"error": "Authorization field missing"}"#),
        ("application/json", r#"{"error": "Authorization field missing"}"#),
    ] {
        let answer = ask(&mut world, &[(":path", "/orders/1"), ("Content-Type", content_type)]).unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (401, body), "{content_type}");
        assert!(challenge(&answer).is_some());
        let has_type = answer.headers.iter().any(|(name, _)| *name == "content-type");
        assert_eq!(has_type, body.starts_with('{'), "Envoy sets its own, and would show both");
    }
}

#[test]
fn a_preflight_needs_no_key_and_counts_on_nothing() {
    let mut world = World::new(&config());
    let preflight = |path| {
        [
            (":method", "OPTIONS"),
            (":path", path),
            ("origin", "https://app.test"),
            ("access-control-request-method", "PUT"),
        ]
    };
    for _ in 0..10 {
        assert_eq!(status(&mut world, &preflight("/orders/1")), 200);
    }
    assert_eq!(world.host.metric(RequestOutcome::Preflight.metric()), 10);
    assert_eq!(world.host.metric(RequestOutcome::Admitted.metric()), 0);
    assert_eq!(status(&mut world, &preflight("/own/1")), 401, "preflights are not allowed here");
    assert_eq!(status(&mut world, &preflight("/orders/1")[..2]), 401, "any other OPTIONS request");
    let with = |header| [&preflight("/orders/1")[..], &[header]].concat();
    assert_eq!(status(&mut world, &with(("authorization", "nobody"))), 403, "a request with a key is checked");
    for n in 0..4 {
        let expected = if n < 3 { 200 } else { 403 };
        assert_eq!(status(&mut world, &with(("authorization", "good"))), expected, "a request with a key is counted");
    }
    assert_eq!(world.host.metric(EventKind::AuthFailure.metric()), 1);
}

#[test]
fn the_origin_of_an_event_uses_all_lines_in_any_case() {
    let mut world = World::new(&config());
    let headers = [(":path", "/orders/1"), ("X-Forwarded-For", " "), ("x-forwarded-for", "[2001:db8::1]:80, 10.0.0.1")];
    assert_eq!(status(&mut world, &[&headers[..], &[("authorization", "nobody")]].concat()), 403);
    assert_eq!(world.bodies()[0]["origin"], "2001:db8::1");
}
