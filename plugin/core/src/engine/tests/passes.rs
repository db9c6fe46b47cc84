//! A client's request that runs through the filter more than once, as when Envoy itself follows a redirect.

use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::rc::Rc;

use super::Decision;
use super::{World, hook};
use crate::access::RequestOutcome;
use crate::host::HeaderChange;
use crate::testing::TestStream;

fn config() -> Value {
    let auth = json!({ "use_param": true, "use_cookie": true, "cookie_name": "session" });
    json!({
        "apis": [
            { "api_id": "orders", "org_id": "acme", "listen_path": "/orders/", "auth": auth, "strip_authorization_data": true },
            { "api_id": "plain", "org_id": "acme", "listen_path": "/plain/", "auth": auth },
            { "api_id": "dear", "org_id": "acme", "listen_path": "/dear/", "auth": auth,
              "global_rate_limit": { "rate": 1, "per": 60 } },
            { "api_id": "closed", "org_id": "acme", "listen_path": "/closed/", "auth": auth },
            { "api_id": "header-only", "org_id": "acme", "listen_path": "/header-only/" },
            { "api_id": "open", "listen_path": "/open/", "use_keyless": true }
        ],
        "event_handlers": { "events": { "AuthFailure": [hook("/auth", 0)], "QuotaExceeded": [hook("/quota", 0)] } },
        "keys": {
            "ten": { "org_id": "acme", "quota_max": 10, "quota_renewal_rate": 60, "rate": 10, "per": 60, "access_rights": {
                "orders": {}, "plain": {}, "header-only": {},
                "dear": { "limit": { "quota_max": 1, "quota_renewal_rate": 60 } }
            } },
        },
        "orgs": { "acme": { "quota_max": 100, "quota_renewal_rate": 60 } },
        "enforce_org_quotas": true,
        "rate_limit_headers": "ietf",
    })
}

type Headers<'t> = &'t [(&'t str, &'t str)];

/// A pass that is admitted, with the data that it leaves.
fn admitted(world: &mut World, path: &str, headers: Headers<'_>) -> (Vec<HeaderChange>, Option<Rc<TestStream>>) {
    match pass(world, path, headers) {
        Decision::Continue { changes, followup } => (changes, followup),
        other => panic!("{path}: {other:?}"),
    }
}

fn pass(world: &mut World, path: &str, headers: Headers<'_>) -> Decision {
    let mut all: Vec<(&str, &[u8])> = vec![(":path", path.as_bytes())];
    all.extend(headers.iter().map(|(name, value)| (*name, value.as_bytes())));
    world.on_vm(0, &all)
}

fn status(world: &mut World, path: &str, headers: Headers<'_>) -> u16 {
    match pass(world, path, headers) {
        Decision::Continue { .. } => 200,
        Decision::Refuse(answer) => answer.status,
        other => panic!("{other:?}"),
    }
}

/// Ends the stream without a response, as Envoy does when it follows a redirect. The next stream inherits its data.
fn cut_off(world: &mut World, followup: Option<Rc<TestStream>>) {
    let Some(stream) = followup else { return };
    world.vms[0].on_delete(&stream);
    world.properties.extend(stream.properties.take());
}

/// A request of another client, which inherits nothing.
fn forget(world: &mut World) {
    world.properties.retain(|name, _| !name.starts_with("tollbell."));
}

/// The remaining requests that the client sees.
fn remaining(world: &mut World, followup: &Option<Rc<TestStream>>) -> String {
    let headers = followup.as_ref().map(|followup| world.limits(followup));
    let limits = headers.unwrap_or_default().into_iter().find(|(name, _)| *name == "ratelimit");
    limits.map(|(_, value)| value.replace(";t=60", "")).unwrap_or_default()
}

const KEY: (&str, &str) = ("authorization", "ten");
const MARK: (&str, &str) = ("x-envoy-original-url", "http://gateway.test/orders/1");

#[test]
fn a_request_that_passes_again_is_counted_once_although_its_key_is_stripped() {
    let mut world = World::new(&config());
    let (changes, first) = admitted(&mut world, "/orders/1", &[KEY]);
    assert_eq!(changes, [HeaderChange::Remove("authorization".into())]);
    let left = r#""organisation-quota";r=99, "rate";r=9, "quota";r=9"#;
    assert_eq!(remaining(&mut world, &first), left);
    cut_off(&mut world, first);
    // Three redirects in a row.
    for _ in 0..3 {
        let (_, next) = admitted(&mut world, "/orders/2", &[MARK]);
        assert_eq!(remaining(&mut world, &next), left, "the client sees the same");
        cut_off(&mut world, next);
    }
    assert_eq!(world.host.metric(RequestOutcome::Admitted.metric()), 1);
    forget(&mut world);
    assert_eq!(status(&mut world, "/orders/2", &[MARK]), 401, "the mark alone opens nothing");
    let (_, next) = admitted(&mut world, "/orders/2", &[KEY, MARK]);
    assert_eq!(remaining(&mut world, &next), r#""organisation-quota";r=98, "rate";r=8, "quota";r=8"#);
}

#[test]
fn a_pass_without_the_mark_is_recognised_if_it_follows_at_once() {
    let mut world = World::new(&config());
    let (_, first) = admitted(&mut world, "/orders/1", &[KEY]);
    cut_off(&mut world, first);
    assert_eq!(status(&mut world, "/orders/1", &[]), 200);
    assert_eq!(status(&mut world, "/orders/1", &[]), 401, "the property is not read");
    assert_eq!(world.host.metric(RequestOutcome::Admitted.metric()), 1);
}

#[test]
fn another_client_inherits_nothing_from_a_stream_that_was_cut_off() {
    let mut world = World::new(&config());
    let (_, first) = admitted(&mut world, "/orders/1", &[KEY]);
    cut_off(&mut world, first);
    forget(&mut world);
    assert_eq!(status(&mut world, "/orders/1", &[]), 401);
    let (_, next) = admitted(&mut world, "/orders/1", &[KEY]);
    assert_eq!(remaining(&mut world, &next), r#""organisation-quota";r=98, "rate";r=8, "quota";r=8"#);
}

#[test]
fn a_redirect_to_another_api_is_checked_and_counted_on_new_limits() {
    let mut world = World::new(&config());
    let (_, first) = admitted(&mut world, "/orders/1", &[KEY]);
    cut_off(&mut world, first);
    let before = world.properties.clone();
    // The same counters, so nothing new is counted.
    let (_, next) = admitted(&mut world, "/plain/1", &[MARK]);
    assert_eq!(remaining(&mut world, &next), r#""organisation-quota";r=99, "rate";r=9, "quota";r=9"#);
    // Limits of its own: only these are counted, and then refuse.
    let (_, next) = admitted(&mut world, "/dear/1", &[MARK]);
    assert_eq!(remaining(&mut world, &next), r#""quota";r=0, "api-rate";r=0, "organisation-quota";r=99"#);
    assert_eq!(status(&mut world, "/dear/1", &[MARK]), 403);
    // The key has no right to this API.
    assert_eq!(status(&mut world, "/closed/1", &[MARK]), 403);
    assert_eq!(world.bodies().last().unwrap()["key"], "ten");
    // A request that was not counted before is counted here.
    world.properties = before;
    forget(&mut world);
    let (_, open) = admitted(&mut world, "/open/1", &[KEY]);
    assert!(open.is_none());
    cut_off(&mut world, open);
    let (_, next) = admitted(&mut world, "/orders/1", &[KEY, MARK]);
    assert_eq!(remaining(&mut world, &next), r#""organisation-quota";r=98, "rate";r=8, "quota";r=8"#);
}

#[test]
fn a_key_passes_on_only_to_apis_that_take_it_from_the_same_place() {
    for (path, headers, other) in [
        ("/orders/1?api_key=ten", &[][..], 401),
        ("/orders/1", &[("cookie", "session=ten")][..], 401),
        ("/orders/1", &[KEY][..], 200),
        // A redirect replaces the query, whether the key was stripped or not.
        ("/plain/1?api_key=ten", &[][..], 401),
    ] {
        let mut world = World::new(&config());
        let (_, first) = admitted(&mut world, path, headers);
        cut_off(&mut world, first);
        assert_eq!(status(&mut world, "/orders/2", &[MARK]), 200, "{path} {headers:?}");
        assert_eq!(status(&mut world, "/header-only/2", &[MARK]), other, "{path} {headers:?}");
        assert_eq!(
            status(&mut world, "/orders/2", &[MARK, ("authorization", "wrong")]),
            403,
            "its own key comes first"
        );
    }
}

#[test]
fn a_property_that_does_not_decode_is_no_pass() {
    let mut world = World::new(&config());
    let property = world.vms[0].pass_property.clone();
    for bytes in [&b""[..], b"\xff", b"\x01\x02\x03\xff\xff\xff\xff\xff\xff", &[1; 64]] {
        world.properties.insert(property.clone(), bytes.to_vec());
        assert_eq!(status(&mut world, "/orders/1", &[MARK]), 401, "{bytes:?}");
    }
}

fn replaced(changes: &[HeaderChange], wanted: &str) -> Option<String> {
    changes.iter().find_map(|change| match change {
        HeaderChange::Replace(name, value) if name == wanted => String::from_utf8(value.clone()).ok(),
        _ => None,
    })
}

#[test]
fn a_version_holds_for_the_next_pass_although_its_name_is_stripped() {
    for (location, path, headers, next) in [
        (json!({ "location": "header", "key": "x-version" }), "/v/1", vec![KEY, ("x-version", "v2")], "/v/2"),
        (json!({ "location": "url-param", "key": "v" }), "/v/1?v=v2", vec![KEY], "/v/2?other"),
        (json!({ "location": "url" }), "/v/v2/7", vec![KEY], "/v/8"),
    ] {
        for default in ["", "v1"] {
            let mut config = config();
            let mut versioning = json!({ "strip_versioning_data": true, "default_version": default,
                "versions": { "v1": {}, "v2": {} } });
            versioning.as_object_mut().unwrap().extend(location.as_object().unwrap().clone());
            let api = json!({ "api_id": "v", "listen_path": "/v/", "versioning": versioning });
            config["apis"].as_array_mut().unwrap().push(api);
            config["keys"]["ten"]["access_rights"]["v"] = json!({ "versions": ["v2"] });
            let mut world = World::new(&config);
            let (changes, first) = admitted(&mut world, path, &headers);
            assert_eq!(replaced(&changes, "x-tollbell-version").as_deref(), Some("v2"));
            cut_off(&mut world, first);
            let (changes, _) = admitted(&mut world, next, &[KEY, MARK, ("x-tollbell-version", "v2")]);
            assert_eq!(replaced(&changes, "x-tollbell-version").as_deref(), Some("v2"), "{next}, {default:?}");
            // A request of another client must name its version.
            forget(&mut world);
            assert_eq!(status(&mut world, next, &[KEY, MARK]), 403);
        }
    }
}
