//! Rates, policies, identities, and refusals by others.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::host::Metric;

fn status_of(decision: &Decision) -> u16 {
    match decision {
        Decision::Continue { .. } => 200,
        Decision::Refuse(answer) => answer.status,
        other => panic!("{other:?}"),
    }
}

fn answer(decision: Decision) -> Answer {
    match decision {
        Decision::Refuse(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn everybody_hears(mut config: Value) -> Value {
    let names = EventKind::of_gateway().map(EventKind::name);
    let events: serde_json::Map<String, Value> =
        names.map(|name| (name.to_owned(), json!([hook(&format!("/{name}"), 0)]))).collect();
    config["templates"] = json!({ "all.json": "{\"type\": \"{{Type}}\", \"message\": \"{{Meta.Message}}\", \
        \"key\": \"{{Meta.Key}}\", \"org\": \"{{Meta.OrgID}}\", \"reason\": \"{{Meta.Reason}}\", \
        \"alias\": \"{{Meta.Alias}}\", \"email\": \"{{Meta.MetaData.email}}\", \"circuit\": \"{{Meta.CircuitEvent}}\", \
        \"cluster\": \"{{Meta.Cluster}}\", \"path\": \"{{Meta.Path}}\"}" });
    config["event_handlers"] = json!({ "events": events });
    for handlers in config["event_handlers"]["events"].as_object_mut().unwrap().values_mut() {
        handlers[0]["handler_meta"]["template_path"] = json!("all.json");
        handlers[0]["handler_meta"]["max_per_minute"] = json!(0);
    }
    config
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
}

#[test]
fn a_rate_refuses_for_its_period_and_costs_no_quota() {
    let config = everybody_hears(json!({
        "apis": [{ "api_id": "orders" }],
        "keys": { "k": { "rate": 3, "per": 2, "quota_max": 100, "alias": "batch", "meta_data": { "email": "d@e.test" } } },
        "rate_limit_headers": "both",
    }));
    let mut world = World::new(&config);
    let statuses: Vec<u16> = (0..5).map(|_| world.status("/orders/1", "k")).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    let refused = answer(world.get("/orders/1", "k"));
    assert_eq!(refused.body, r#"{"error": "Rate Limit Exceeded"}"#);
    assert_eq!(header(&refused, "retry-after"), Some("2"));
    assert_eq!(header(&refused, "ratelimit-policy"), Some("\"rate\";q=3;w=2"));
    assert_eq!(header(&refused, "ratelimit"), Some("\"rate\";r=0;t=2"));
    let event = &world.bodies()[0];
    assert_eq!(event["type"], "RatelimitExceeded");
    assert_eq!([&event["key"], &event["message"]], ["k", "Rate Limit Exceeded"]);
    assert_eq!([&event["alias"], &event["email"]], ["batch", "d@e.test"]);
    world.now = world.now.plus(2000);
    let Decision::Continue { followup: Some(followup), .. } = world.get("/orders/1", "k") else { panic!() };
    let headers = world.limits(&followup);
    assert!(
        headers.contains(&("x-ratelimit-remaining", "96".to_owned())),
        "the quota's, of which 4 are used: {headers:?}"
    );
    assert!(headers.contains(&("ratelimit", "\"rate\";r=2;t=2, \"quota\";r=96".to_owned())), "{headers:?}");
}

#[test]
fn organisations_and_apis_have_rates_too() {
    let config = everybody_hears(json!({
        "apis": [
            { "api_id": "a", "listen_path": "/a/", "org_id": "acme" },
            { "api_id": "b", "listen_path": "/b/", "global_rate_limit": { "rate": 2, "per": 60 } },
            { "api_id": "c", "listen_path": "/c/", "org_id": "closed", "use_keyless": true },
        ],
        "orgs": { "acme": { "rate": 2, "per": 60 }, "closed": { "is_inactive": true } },
        "enforce_org_quotas": true,
        "keys": { "k": { "org_id": "acme" }, "l": {}, "m": {} },
    }));
    let mut world = World::new(&config);
    let statuses: Vec<u16> = (0..3).map(|_| world.status("/a/", "k")).collect();
    assert_eq!(statuses, [200, 200, 403], "an organisation's is 403, as in Tyk");
    assert_eq!([world.status("/b/", "l"), world.status("/b/", "m"), world.status("/b/", "l")], [200, 200, 429]);
    assert_eq!(answer(world.get("/c/", "")).status, 403);
    let events = world.bodies();
    assert_eq!(events.len(), 2, "an inactive organisation is no event, as in Tyk: {events:?}");
    assert_eq!([&events[0]["type"], &events[0]["key"]], ["OrgRateLimitExceeded", "acme"]);
    assert_eq!([&events[1]["type"], &events[1]["key"]], ["RatelimitExceeded", "apilimiter-b"]);
}

#[test]
fn limits_on_an_api_have_their_own_counters_and_monitors() {
    let limit = json!({ "quota_max": 2, "quota_renewal_rate": 60 });
    let config = everybody_hears(json!({
        "apis": [
            { "api_id": "a", "listen_path": "/a/" }, { "api_id": "b", "listen_path": "/b/" },
            { "api_id": "c", "listen_path": "/c/" }, { "api_id": "d", "listen_path": "/d/" },
        ],
        "keys": { "k": {
            "quota_max": 3, "monitor": { "trigger_limits": [100] },
            "access_rights": { "a": { "limit": limit }, "b": { "limit": limit, "allowance_scope": "a" }, "c": {}, "d": {} }
        } },
        "monitor": { "enable_trigger_monitors": true, "monitor_user_keys": true },
    }));
    let mut world = World::new(&config);
    let statuses = ["/a/", "/b/", "/a/", "/b/", "/c/", "/d/", "/c/", "/d/"].map(|path| world.status(path, "k"));
    assert_eq!(statuses, [200, 200, 403, 403, 200, 200, 200, 403]);
    let crossings = world.bodies().iter().filter(|event| event["type"] == "TriggerExceeded").count();
    assert_eq!(crossings, 2);
}

#[test]
fn policies_set_the_rights_and_limits_of_a_key() {
    let config = json!({
        "apis": [{ "api_id": "a", "listen_path": "/a/" }, { "api_id": "b", "listen_path": "/b/" }],
        "policies": {
            "a-only": { "quota_max": 1, "quota_renewal_rate": 60, "access_rights": { "a": {} } },
            "b-only": { "quota_max": 2, "quota_renewal_rate": 60, "access_rights": { "b": {} } },
        },
        "keys": { "one": { "apply_policies": ["a-only"], "quota_max": 99 }, "both": { "apply_policies": ["a-only", "b-only"] } },
    });
    let mut world = World::new(&config);
    assert_eq!(["/a/", "/a/", "/b/"].map(|path| world.status(path, "one")), [200, 403, 403]);
    assert_eq!(["/a/", "/a/", "/b/", "/b/", "/b/"].map(|path| world.status(path, "both")), [200, 403, 200, 200, 403]);
}

fn identities() -> Value {
    everybody_hears(json!({
        "apis": [{ "api_id": "a", "identity": [
            { "metadata": ["envoy.filters.http.jwt_authn", "jwt_payload", "sub"],
              "org": ["envoy.filters.http.jwt_authn", "jwt_payload", "org"] },
            { "header": "x-consumer-id" }, "key"
        ] }],
        "policies": { "each": { "quota_max": 2, "quota_renewal_rate": 60, "rate": 100, "per": 1 } },
        "default_policy": "each",
        "orgs": { "acme": { "quota_max": 5 } },
        "enforce_org_quotas": true,
        "keys": { "header:partner": { "quota_max": 3 }, "carol": { "quota_max": 1 }, "api-key": {} },
        "identities": { "capacity": 64 },
    }))
}

fn by_jwt(world: &mut World, sub: &str, org: &str) -> u16 {
    let property = |name: &str| format!("metadata\0filter_metadata\0envoy.filters.http.jwt_authn\0jwt_payload\0{name}");
    for (name, value) in [("sub", sub), ("org", org)] {
        world.properties.insert(property(name), value.as_bytes().to_vec());
    }
    let decision = world.on_vm(0, &[(":path", b"/")]);
    for name in ["sub", "org"] {
        world.properties.remove(&property(name));
    }
    status_of(&decision)
}

#[test]
fn identities_are_counted_by_name_and_organisation() {
    let mut world = World::new(&identities());
    assert_eq!([(); 3].map(|()| by_jwt(&mut world, "alice", "acme")), [200, 200, 403], "the default policy");
    assert_eq!([(); 2].map(|()| by_jwt(&mut world, "carol", "acme")), [200, 403], "a session with this name");
    assert_eq!([(); 2].map(|()| by_jwt(&mut world, "dave", "acme")), [200, 200]);
    assert_eq!(by_jwt(&mut world, "erin", "acme"), 403, "the organisation's five");
    assert_eq!(by_jwt(&mut world, "erin", "elsewhere"), 200);
    let kinds: Vec<_> = world.bodies().iter().map(|event| (event["type"].clone(), event["key"].clone())).collect();
    let pair = |kind: &str, key: &str| (json!(kind), json!(key));
    assert_eq!(
        kinds,
        [pair("QuotaExceeded", "alice"), pair("QuotaExceeded", "carol"), pair("OrgQuotaExceeded", "acme")]
    );
}

#[test]
fn the_name_of_an_identity_is_not_a_key() {
    let mut world = World::new(&identities());
    let by = |world: &mut World, name: &str, value: &str| {
        status_of(&world.on_vm(0, &[(":path", b"/"), (name, value.as_bytes())]))
    };
    assert_eq!([(); 4].map(|()| by(&mut world, "x-consumer-id", "partner")), [200, 200, 200, 403]);
    assert_eq!(by(&mut world, "authorization", "header:partner"), 403);
    assert_eq!(by(&mut world, "authorization", "partner"), 403);
    assert_eq!(by(&mut world, "authorization", "api-key"), 200);
    assert_eq!(status_of(&world.on_vm(0, &[(":path", b"/")])), 401);
    assert_eq!(world.host.metric(RequestOutcome::UnknownKey.metric()), 2);
}

#[test]
fn any_number_of_invented_identities_uses_the_same_memory() {
    let mut world = World::new(&identities());
    let by = |world: &mut World, name: &str| {
        status_of(&world.on_vm(0, &[(":path", b"/"), ("x-consumer-id", name.as_bytes())]))
    };
    assert_eq!([(); 3].map(|()| by(&mut world, "regular")), [200, 200, 403]);
    for n in 0..2000 {
        by(&mut world, &format!("x{n}"));
    }
    let (keys, bytes) = (world.host.key_count(), world.host.stored_bytes());
    for n in 2000..20_000 {
        world.now = world.now.plus(1);
        by(&mut world, &format!("x{n}"));
    }
    assert_eq!((world.host.key_count(), world.host.stored_bytes()), (keys, bytes));
    assert_eq!(by(&mut world, "regular"), 403, "an identity that came more than once is not evicted");
    assert!(world.host.metric(Metric::IdentitiesEvicted) > 30_000);
}

fn observed() -> Value {
    everybody_hears(json!({
        "apis": [{ "api_id": "a", "observe_failures": true, "observe_upstream": true, "strip_authorization_data": true }],
        "keys": { "k": { "org_id": "acme" } },
    }))
}

fn admitted(world: &mut World, vm: usize, key: &str) -> Rc<TestStream> {
    match world.on_vm(vm, &[(":path", b"/x"), ("authorization", key.as_bytes())]) {
        Decision::Continue { followup: Some(followup), .. } => followup,
        other => panic!("{other:?}"),
    }
}

fn respond(world: &mut World, vm: usize, key: &str, status: u16, details: &str, flags: u64) -> Vec<Value> {
    let stream = admitted(world, vm, key);
    stream.properties.borrow_mut().extend([
        ("response\0code_details".into(), details.as_bytes().to_vec()),
        ("response\0flags".into(), flags.to_le_bytes().to_vec()),
        ("xds\0cluster_name".into(), b"upstream".to_vec()),
    ]);
    world.respond(vm, &stream, status);
    world.bodies()
}

#[test]
fn refusals_by_others_are_events_with_their_reason() {
    let mut world = World::new(&observed());
    let events = respond(&mut world, 0, "k", 401, "jwt_authn_access_denied{Jwt_is_expired}", 0);
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!([&event["type"], &event["key"], &event["org"], &event["path"]], ["AuthFailure", "k", "acme", "/x"]);
    assert_eq!([&event["reason"], &event["message"]], ["Jwt_is_expired", "Auth Failure"]);
    let events = respond(&mut world, 0, "k", 403, "rbac_access_denied_matched_policy[p]", 0);
    assert_eq!(events[0]["reason"], "rbac_access_denied_matched_policy[p]");
    let events = respond(&mut world, 0, "k", 429, "via_upstream", 0);
    assert_eq!([&events[0]["type"], &events[0]["reason"]], ["RatelimitExceeded", "via_upstream"]);
    for (status, details) in [(200, "via_upstream"), (404, "via_upstream"), (403, "tollbell_quota_exceeded")] {
        assert_eq!(respond(&mut world, 0, "k", status, details, 0), Vec::<Value>::new(), "{status} {details}");
    }
}

#[test]
fn all_vms_together_report_each_verdict_on_the_upstream_once() {
    let mut world = World::with_vms(&observed(), 3);
    let mut told = Vec::new();
    for n in 0..30 {
        told.extend(respond(&mut world, n % 3, "k", 503, "no_healthy_upstream", 0x2));
    }
    assert_eq!(told.len(), 1);
    assert_eq!([&told[0]["type"], &told[0]["cluster"]], ["HostDown", "upstream"]);
    world.now = world.now.plus(6000);
    for n in 0..30 {
        told.extend(respond(&mut world, n % 3, "k", 200, "via_upstream", 0));
    }
    assert_eq!(told.len(), 2);
    assert_eq!(told[1]["type"], "HostUp");
    told.clear();
    for n in 0..30 {
        told.extend(respond(&mut world, n % 3, "k", 503, "overflow", 0x80));
        told.extend(respond(&mut world, n % 3, "k", 200, "via_upstream", 0));
    }
    let kinds: Vec<_> = told.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["BreakerTripped", "BreakerTriggered"]);
    assert_eq!(told[0]["circuit"], "0");
    world.now = world.now.plus(6000);
    told = (0..30).flat_map(|n| respond(&mut world, n % 3, "k", 200, "via_upstream", 0)).collect();
    let kinds: Vec<_> = told.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["BreakerReset", "BreakerTriggered"]);
    assert_eq!(told[0]["circuit"], "1");
}

#[test]
fn an_unknown_key_gets_503_until_the_keys_are_loaded() {
    let config = everybody_hears(json!({
        "apis": [{ "api_id": "a" }], "keys": { "own": {} }, "keys_from": { "url": "http://keys.test/all" }
    }));
    let mut world = World::new(&config);
    assert_eq!([world.status("/", "own"), world.status("/", "late")], [200, 503]);
    world.host.set_reply(&[], br#"{"late": {}}"#);
    let asked = world.deliver(500, 200);
    assert_eq!(asked.len(), 1);
    assert_eq!(world.vms[0].tick_ms, LOADING_TICK_MS);
    world.deliver(5, 200);
    assert_eq!([world.status("/", "late"), world.status("/", "other")], [200, 403]);
    assert_eq!(world.vms[0].tick_ms, TICK_MS);
}

#[test]
fn an_identity_without_a_session_waits_for_the_keys_too() {
    let config = json!({
        "apis": [{ "api_id": "a", "identity": [{ "header": "x-c" }, "key"] }],
        "keys_from": { "url": "http://keys.test/all" }, "keys": { "header:vip": {} }
    });
    let mut world = World::new(&config);
    let by = |world: &mut World, who: &str| status_of(&world.on_vm(0, &[(":path", b"/"), ("x-c", who.as_bytes())]));
    assert_eq!([by(&mut world, "alice"), by(&mut world, "vip")], [503, 200]);
    world.host.set_reply(&[], br#"{"alice": {"is_inactive": true}}"#);
    world.deliver(500, 200);
    world.deliver(5, 200);
    assert_eq!([by(&mut world, "alice"), by(&mut world, "bob")], [403, 200]);
}

#[test]
fn a_claim_does_not_change_the_limits_of_a_session() {
    let config = json!({
        "apis": [{ "api_id": "a", "identity": [{ "metadata": ["envoy.filters.http.jwt_authn", "jwt_payload", "sub"],
            "org": ["envoy.filters.http.jwt_authn", "jwt_payload", "org"] }] }],
        "keys": { "metadata:alice": { "org_id": "acme", "quota_max": 2 }, "metadata:bob": { "org_id": "acme" } },
        "orgs": { "acme": { "quota_max": 3 }, "other": {} },
        "enforce_org_quotas": true,
        "policies": { "p": { "quota_max": 1 } },
        "default_policy": "p",
    });
    let mut world = World::new(&config);
    assert_eq!(["acme", "", "nowhere", "other"].map(|org| by_jwt(&mut world, "alice", org)), [200, 200, 403, 403]);
    assert_eq!(["nowhere", "other"].map(|org| by_jwt(&mut world, "bob", org)), [200, 403], "acme's three are used up");
    // Identities without a session are different callers in each organisation.
    assert_eq!(["o1", "o2", "o1"].map(|org| by_jwt(&mut world, "carol", org)), [200, 200, 403]);
}

#[test]
fn configurations_that_fetch_one_document_do_not_block_each_other() {
    let config = |policies: Value| {
        let config = json!({ "apis": [{ "api_id": "a" }], "policies": policies, "keys_from": { "url": "http://keys.test/all", "interval_s": 5 } });
        Config::load(config.to_string().as_bytes()).unwrap().0
    };
    let mut world = World::new(&json!({ "apis": [{ "api_id": "a" }] }));
    world.vms = vec![
        world.engine(config(json!({})), 1),
        world.engine(config(json!({ "gold": { "access_rights": { "a": {} } } })), 2),
    ];
    world.host.set_reply(&[], br#"{"k": {"apply_policies": ["gold"]}}"#);
    for _ in 0..100 {
        world.deliver(500, 200);
    }
    let by = |world: &mut World, vm| status_of(&world.on_vm(vm, &[(":path", b"/"), ("authorization", b"k")]));
    assert_eq!([by(&mut world, 0), by(&mut world, 1)], [403, 200], "one has no such policy, and the other has");
    let failed = world.host.metric(Metric::KeysFetched(crate::host::Fetch::Failed));
    assert!(failed < 20, "{failed} failures in 50 s");
    // Another credential means another document.
    let mut own = config(json!({ "gold": {} }));
    own.keys_from.as_mut().unwrap().headers.push(("authorization".into(), "other".into()));
    world.vms.push(world.engine(own, 3));
    assert_eq!(by(&mut world, 2), 503);
}

#[test]
fn updates_of_the_keys_use_constant_memory() {
    let config =
        json!({ "apis": [{ "api_id": "a" }], "keys_from": { "url": "http://keys.test/all", "interval_s": 1 } });
    let mut world = World::new(&config);
    let mut sizes = Vec::new();
    for round in 0..300 {
        let key = format!("key-{}", round % 7);
        let document = json!({ key.as_str(): { "quota_max": 1000 + round, "org_id": format!("org-{round}") } });
        world.host.set_reply(&[], document.to_string().as_bytes());
        // A VM that serves requests fetches only if no other VM does for a while.
        for _ in 0..20 {
            world.deliver(500, 200);
        }
        assert_eq!(world.status("/", &key), 200, "round {round}");
        sizes.push(world.host.key_count());
    }
    assert_eq!(sizes[100], sizes[299], "keys in shared data");
    assert_eq!(world.vms[0].directory.orgs().count(), 0);
}

#[test]
fn an_upstream_that_refuses_connections_is_down_for_all_vms_together() {
    const REFUSED: &str = "upstream_reset_before_response_started{remote_connection_failure}";
    let mut world = World::with_vms(&observed(), 3);
    let mut told: Vec<Value> = (0..2).flat_map(|vm| respond(&mut world, vm, "k", 503, REFUSED, 0x20)).collect();
    told.extend(respond(&mut world, 1, "k", 200, "via_upstream", 0));
    assert_eq!(told, Vec::<Value>::new(), "two failures in a row, and an answer");
    told = (0..30).flat_map(|n| respond(&mut world, n % 3, "k", 503, REFUSED, 0x20)).collect();
    assert_eq!(told.len(), 1);
    assert_eq!([&told[0]["type"], &told[0]["cluster"]], ["HostDown", "upstream"]);
    world.now = world.now.plus(6000);
    let told: Vec<Value> = (0..30).flat_map(|n| respond(&mut world, n % 3, "k", 200, "via_upstream", 0)).collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["type"], "HostUp");
}

#[test]
fn observing_a_healthy_upstream_costs_nothing() {
    let mut world = World::new(&observed());
    world.host.break_shared_data(true);
    for status in [200, 204, 302, 404, 500, 502, 504] {
        assert_eq!(respond(&mut world, 0, "k", status, "via_upstream", 0), Vec::<Value>::new());
        let stream = admitted(&mut world, 0, "k");
        stream.take_asked();
        world.respond(0, &stream, status);
        assert_eq!(stream.take_asked(), Vec::<String>::new(), "{status}");
    }
}
