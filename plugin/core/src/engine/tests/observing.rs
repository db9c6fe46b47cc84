//! `enforcement: observe`, and what the proxy's access log can show.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn config() -> Value {
    json!({
        "enforcement": "observe", "access_log": true, "unmatched": "refuse",
        "apis": [
            { "api_id": "orders", "org_id": "acme", "listen_path": "/orders/", "strip_authorization_data": true },
            { "api_id": "strict", "org_id": "acme", "listen_path": "/strict/", "enforcement": "enforce" }
        ],
        "event_handlers": { "events": {
            "AuthFailure": [hook("/auth", 0)], "KeyExpired": [hook("/expired", 0)], "QuotaExceeded": [hook("/quota", 0)]
        } },
        "keys": {
            "two": { "org_id": "acme", "quota_max": 2, "quota_renewal_rate": 60, "monitor": { "trigger_limits": [100] } },
            "old": { "expires": 1_700_000_000 }
        },
        "monitor": {
            "enable_trigger_monitors": true, "monitor_user_keys": true,
            "configuration": { "target_path": "http://hooks.test/monitor" }
        }
    })
}

/// The stream of a request that continued, after its response.
fn passed(world: &mut World, path: &str, key: &str) -> Rc<TestStream> {
    match world.get(path, key) {
        Decision::Continue { followup: Some(stream), .. } => {
            world.respond(0, &stream, 200);
            stream
        }
        other => panic!("{path} {key}: {other:?}"),
    }
}

/// The properties for the access log, without their common prefix.
fn logged(stream: &TestStream) -> Vec<(String, String)> {
    let properties = stream.properties.borrow();
    let ours = properties.iter().filter_map(|(name, value)| Some((name.strip_prefix("tollbell.")?, value)));
    ours.map(|(name, value)| (name.to_owned(), String::from_utf8(value.clone()).unwrap())).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn what_would_be_refused_is_admitted_and_all_else_happens_as_if_it_were_refused() {
    let mut world = World::new(&config());
    for (path, key, outcome) in [
        ("/orders/1", "two", None),
        ("/orders/2", "two", None),
        ("/orders/3", "two", Some("quota_exceeded")),
        ("/orders/4", "nobody", Some("unknown_key")),
        ("/orders/5", "old", Some("key_expired")),
        ("/orders/6", "", Some("missing_key")),
    ] {
        let stream = passed(&mut world, path, key);
        assert_eq!(stream.response_text("x-tollbell-would-refuse").as_deref(), outcome, "{path}");
        let limit = stream.response_text("x-ratelimit-remaining");
        assert_eq!(limit.is_some(), key == "two", "{path}");
    }
    let sent = world.bodies();
    let events: Vec<_> = sent.iter().map(|body| (body["event"].as_str().unwrap(), &body["would_refuse"])).collect();
    let (yes, absent) = (&json!(true), &Value::Null);
    let mut expected =
        vec![("TriggerExceeded", absent), ("QuotaExceeded", yes), ("AuthFailure", yes), ("KeyExpired", yes)];
    expected.sort_by_key(|(event, _)| *event);
    let mut events = events;
    events.sort_by_key(|(event, _)| *event);
    assert_eq!(events, expected);
    assert_eq!(world.host.metric(RequestOutcome::Admitted.metric()), 6);
    assert_eq!(world.host.metric(RequestOutcome::QuotaExceeded.metric()), 0);
    for outcome in [RequestOutcome::QuotaExceeded, RequestOutcome::UnknownKey, RequestOutcome::MissingKey] {
        assert_eq!(world.host.metric(outcome.would_refuse()), 1, "{outcome:?}");
    }
}

#[test]
fn an_observed_request_is_changed_as_an_admitted_one() {
    let mut world = World::new(&config());
    match world.get("/orders/1", "nobody") {
        Decision::Continue { changes, .. } => {
            assert_eq!(changes, [HeaderChange::Remove("authorization".to_owned())], "the key is not passed on");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_api_that_enforces_refuses_also_where_a_path_may_be_that_of_another() {
    let mut world = World::new(&config());
    assert_eq!(world.status("/strict/1", "nobody"), 403);
    assert_eq!(world.status("/orders/..%2fstrict/1", "nobody"), 403, "the stricter reading holds");
    assert_eq!(world.status("/strict/..%2forders/1", "nobody"), 403);
    assert_eq!(world.status("/elsewhere", ""), 200, "no API");
    assert_eq!(world.host.metric(RequestOutcome::Unmatched.would_refuse()), 1);
}

#[test]
fn one_observed_api_opens_no_other() {
    let mut config = config();
    config["enforcement"] = json!("enforce");
    config["apis"][0]["enforcement"] = json!("observe");
    config["apis"][1]["enforcement"] = json!("");
    let mut world = World::new(&config);
    assert_eq!(world.status("/orders/1", "nobody"), 200);
    assert_eq!(world.status("/strict/1", "nobody"), 403);
    assert_eq!(world.status("/orders/..%2fstrict/1", "nobody"), 403);
    assert_eq!(world.status("/elsewhere", ""), 404);
    assert_eq!(world.status("/orders/..%2felsewhere", "nobody"), 403, "a path that may be of no API");
    assert_eq!(world.status("/orders/..%2felsewhere", "two"), 404);
}

#[test]
fn the_status_names_the_apis_that_are_observed() {
    let mut config = config();
    config["admin"] = json!({ "token_sha256": "1c8bfe8f801d79745c4631d09fff36c82aa37fc4cce4fc946683d7b336b63032" });
    let mut world = World::new(&config);
    let headers: [(&str, &[u8]); 2] = [(":path", b"/.tollbell/status"), ("authorization", b"Bearer letmein")];
    let Decision::Refuse(answer) = world.on_vm(0, &headers) else { panic!("no answer") };
    let status: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(status["observed"], json!(["orders"]));
}

#[test]
fn a_store_that_fails_refuses_nothing_that_is_observed() {
    let mut world = World::new(&config());
    world.host().put("tb1/o/acme", b"not a page").unwrap();
    let stream = passed(&mut world, "/orders/1", "two");
    assert_eq!(stream.response_text("x-tollbell-would-refuse").as_deref(), Some("counter_unavailable"));
}

#[test]
fn the_access_log_can_show_who_it_was_and_what_was_decided() {
    let mut world = World::new(&config());
    let key = crate::access::KeyHash::of(b"two").fingerprint();
    let of_key = |outcome| pairs(&[("api", "orders"), ("key", &key), ("org", "acme"), ("outcome", outcome)]);
    assert_eq!(logged(&passed(&mut world, "/orders/1", "two")), of_key("admitted"));
    passed(&mut world, "/orders/1", "two");
    assert_eq!(logged(&passed(&mut world, "/orders/1", "two")), of_key("would_refuse_quota_exceeded"));
    let refused = world.open(&[(":path", b"/strict/1")]);
    world.vms[0].on_request_headers(&world.host, &refused, true);
    assert_eq!(logged(&refused), pairs(&[("api", "strict"), ("org", "acme"), ("outcome", "missing_key")]));
    let of_none = world.open(&[(":path", b"/elsewhere")]);
    world.vms[0].on_request_headers(&world.host, &of_none, true);
    assert_eq!(logged(&of_none), pairs(&[("outcome", "would_refuse_unmatched")]));
}

#[test]
fn without_the_setting_the_access_log_costs_nothing() {
    let mut config = config();
    config["access_log"] = json!(false);
    let mut world = World::new(&config);
    let stream = passed(&mut world, "/orders/1", "two");
    assert!(logged(&stream).is_empty());
    assert!(!stream.take_calls().contains(&"set_property"));
}
