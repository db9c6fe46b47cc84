//! `usage`: the holder of a key sees its limits.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const PATH: &str = "/.tollbell/usage";

fn config() -> Value {
    json!({
        "usage": { "path": PATH, "rate": 3, "per": 10 },
        "admin": { "token_sha256": "00".repeat(32) },
        "apis": [
            { "api_id": "orders", "org_id": "acme", "listen_path": "/orders/" },
            { "api_id": "billing", "org_id": "acme", "listen_path": "/billing/", "auth": { "auth_header_name": "x-key" } },
            { "api_id": "open", "listen_path": "/", "use_keyless": true }
        ],
        "event_handlers": { "events": { "AuthFailure": [hook("/auth", 0)], "KeyExpired": [hook("/expired", 0)] } },
        "keys": {
            "ten": {
                "org_id": "acme", "alias": "Team Blue", "quota_max": 10, "quota_renewal_rate": 60, "rate": 100, "per": 60,
                "access_rights": { "orders": {}, "billing": { "limit": { "quota_max": 3, "quota_renewal_rate": 3600 } } }
            },
            "free": { "org_id": "acme" },
            "old": { "org_id": "acme", "expires": 1_700_000_000 }
        },
        "orgs": { "acme": { "quota_max": 100, "quota_renewal_rate": 86400 } },
        "enforce_org_quotas": true
    })
}

fn answered(world: &mut World, headers: &[(&str, &[u8])]) -> Answer {
    match world.on_vm(0, headers) {
        Decision::Refuse(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn usage_of(world: &mut World, key: &str) -> Answer {
    answered(world, &[(":path", PATH.as_bytes()), ("authorization", key.as_bytes())])
}

fn body(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

#[test]
fn the_holder_of_a_key_sees_its_limits_and_those_of_its_organisation() {
    let mut world = World::new(&config());
    for _ in 0..2 {
        assert_eq!(world.status("/orders/1", "ten"), 200);
    }
    world.on_vm(0, &[(":path", b"/billing/1"), ("x-key", b"ten")]);
    let (minute, hour) = ("2027-01-15T08:01:00.000Z", "2027-01-15T09:00:00.000Z");
    let expected = json!({
        "key": crate::access::KeyHash::of(b"ten").fingerprint(), "alias": "Team Blue", "org": "acme",
        "is_inactive": false, "expires": null, "time": "2027-01-15T08:00:00.000Z",
        "limits": [
            { "limit": "rate", "max": 100, "used": 2, "remaining": 98, "renews": minute },
            { "limit": "quota", "max": 10, "used": 2, "remaining": 8, "renews": minute },
            { "limit": "quota", "max": 3, "used": 1, "remaining": 2, "renews": hour, "api": "billing" }
        ],
        "organisation": { "id": "acme", "limits": [
            { "limit": "quota", "max": 100, "used": 3, "remaining": 97, "renews": "2027-01-16T08:00:00.000Z" }
        ] }
    });
    let answer = usage_of(&mut world, "ten");
    assert_eq!(body(&answer), expected);
    assert!(answer.headers.contains(&("cache-control", "no-store".to_owned())));
    // It counts on nothing, and the places of every API are looked at.
    let answer = answered(&mut world, &[(":path", PATH.as_bytes()), ("x-key", b"ten")]);
    assert_eq!(body(&answer), expected);
}

#[test]
fn a_wrong_key_is_wrong_as_everywhere() {
    let mut world = World::new(&config());
    for (key, status, text) in [
        ("", 401, "Authorization field missing"),
        ("nobody", 403, "Access to this API has been disallowed"),
        ("old", 401, "Key has expired, please renew"),
    ] {
        let answer = usage_of(&mut world, key);
        assert_eq!((answer.status, answer.body.as_str()), (status, &*format!(r#"{{"error": "{text}"}}"#)), "{key}");
    }
    let events: Vec<_> = world.bodies().iter().map(|body| (body["event"].clone(), body["path"].clone())).collect();
    assert_eq!(events, [(json!("AuthFailure"), json!(PATH)), (json!("KeyExpired"), json!(PATH))]);
    assert_eq!(world.host.metric(RequestOutcome::UnknownKey.metric()), 1);
}

#[test]
fn a_key_that_asks_too_often_is_refused_and_no_other() {
    let mut world = World::new(&config());
    for _ in 0..3 {
        assert_eq!(usage_of(&mut world, "ten").status, 200);
    }
    let answer = usage_of(&mut world, "ten");
    assert_eq!(answer.status, 429);
    assert!(answer.headers.contains(&("retry-after", "10".to_owned())), "{:?}", answer.headers);
    assert_eq!(usage_of(&mut world, "free").status, 200);
    world.now = world.now.plus(10_000);
    assert_eq!(usage_of(&mut world, "ten").status, 200);
    assert_eq!(world.bodies(), Vec::<Value>::new(), "no one is notified");
}

#[test]
fn no_reading_of_the_path_reaches_an_upstream() {
    let mut world = World::new(&config());
    for path in ["/.tollbell/usage?x=1", "/%2etollbell/usage", "/open/..%2f.tollbell/usage", "//.tollbell/usage"] {
        assert_eq!(answered(&mut world, &[(":path", path.as_bytes())]).status, 401, "{path}");
    }
    let post = answered(&mut world, &[(":method", b"POST"), (":path", PATH.as_bytes()), ("authorization", b"ten")]);
    assert_eq!(post.status, 405);
    // The other endpoints below the prefix are as before.
    assert_eq!(answered(&mut world, &[(":path", b"/.tollbell/status")]).body, "{\n  \"error\": \"Unauthorised\"\n}\n");
}
