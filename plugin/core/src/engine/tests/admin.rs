//! The admin endpoints.

use sha2::{Digest, Sha256};

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn config() -> Value {
    json!({
        "apis": [{ "api_id": "a", "org_id": "acme" }],
        "keys": {
            "k": { "org_id": "acme", "alias": "blue", "quota_max": 5, "quota_renewal_rate": 60, "rate": 100, "per": 1 },
            "l": { "access_rights": { "a": { "limit": { "quota_max": 2 } } } },
        },
        "orgs": { "acme": { "quota_max": 50 } },
        "enforce_org_quotas": true,
        "event_handlers": { "events": { "AuthFailure": [hook("/auth", 0)] } },
        "webhooks": [{ "name": "crm", "target_url": "http://crm.test/in", "headers": { "X-Token": "t" } }],
        "admin": { "token_sha256": hex::encode(Sha256::digest(b"letmein")) },
    })
}

fn ask(world: &mut World, method: &str, path: &str, token: &str) -> Decision {
    let token = format!("Bearer {token}");
    let headers = [(":method", method.as_bytes()), (":path", path.as_bytes()), ("authorization", token.as_bytes())];
    world.on_vm(0, &headers)
}

fn answered(decision: Decision) -> (u16, Value) {
    match decision {
        Decision::Refuse(answer) => (answer.status, serde_json::from_str(&answer.body).unwrap()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_the_token_every_path_gets_the_same_answer_and_one_event() {
    let mut world = World::new(&config());
    let expected = answered(ask(&mut world, "GET", "/.tollbell/status", "wrong"));
    assert_eq!(expected.0, 401);
    for n in 0..1000 {
        let paths = [
            "/.tollbell/x/",
            "/.tollbell/status",
            "/.tollbell/webhooks/crm/test",
            "/.tollbell/events",
            "/.tollbell/none",
        ];
        let methods = ["GET", "POST", "HEAD", "DELETE"];
        let (path, method) = (paths[n % paths.len()], methods[n % methods.len()]);
        assert_eq!(answered(ask(&mut world, method, &format!("{path}?{n}"), &format!("wrong-{n}"))), expected);
    }
    assert_eq!(answered(world.on_vm(0, &[(":path", b"/.tollbell/status")])), expected);
    assert_eq!(answered(world.on_vm(0, &[(":path", b"/.tollbell/status"), ("authorization", b"letmein")])), expected);
    let events = world.bodies();
    assert_eq!(events.len(), 1, "although its handler has no cool-down");
    assert_eq!([&events[0]["event"], &events[0]["key"]], ["AuthFailure", ""]);
    assert_eq!(world.host.metric(EventKind::AuthFailure.metric()), 1);
    // A path that only begins with the same characters is a normal path.
    assert_eq!(world.status("/.tollbells", "k"), 200);
}

#[test]
fn every_spelling_of_the_path_needs_the_token() {
    let mut world = World::new(&config());
    for path in [
        "/%2Etollbell/status",
        "/%2etollbell/status",
        "/.%74ollbell/status",
        "/.tollbell%2Fstatus",
        "/x/../.tollbell/status",
        "/x/%2e%2e/.tollbell/status",
        "//.tollbell/status",
        "/./.tollbell/status",
        "/.tollbell;x/status",
        "/.tollbell/status;x",
        "/.tollbell\\status",
        "http://gateway.test/.tollbell/status",
        "/.tollbell#x",
    ] {
        let (status, _) = answered(ask(&mut world, "GET", path, "wrong"));
        assert!(matches!(status, 400 | 401), "{path}: {status}");
    }
    // A spelling that means the same to all servers is served.
    for path in ["/%2etollbell/status", "/.%74ollbell/status?limit=1"] {
        assert_eq!(answered(ask(&mut world, "GET", path, "letmein")).0, 200, "{path}");
    }
}

#[test]
fn without_a_configured_token_there_are_no_endpoints() {
    let mut without = config();
    without["admin"] = json!({ "path_prefix": "/.tollbell" });
    let mut world = World::new(&without);
    assert_eq!(world.status("/.tollbell/status", "k"), 200);
}

fn refused(decision: Decision) -> Answer {
    match decision {
        Decision::Refuse(answer) => answer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_page_needs_no_token() {
    let mut world = World::new(&config());
    let mut get = |method: &str, path: &str| {
        refused(world.on_vm(0, &[(":method", method.as_bytes()), (":path", path.as_bytes())]))
    };
    for path in ["/.tollbell", "/.tollbell?x"] {
        let answer = get("GET", path);
        let target = answer.headers.iter().find(|(name, _)| *name == "location");
        let target = target.unwrap_or_else(|| panic!("{path}: {}", answer.status));
        assert_eq!((answer.status, target.1.as_str()), (307, "./.tollbell/"), "{path}");
    }
    for path in ["/.tollbell/", "/.tollbell/?x"] {
        let answer = get("GET", path);
        assert_eq!((answer.status, answer.body.starts_with("<!doctype html>")), (200, true), "{path}");
    }
    assert_eq!(get("HEAD", "/.tollbell/").status, 200);
    for (method, path) in
        [("POST", "/.tollbell/"), ("GET", "/.tollbell/x"), ("GET", "/.tollbell//"), ("GET", "/%2etollbell/")]
    {
        assert!(matches!(get(method, path).status, 400 | 401), "{method} {path}");
    }
    let mut without = config();
    without["admin"]["page"] = json!(false);
    let mut world = World::new(&without);
    for path in ["/.tollbell", "/.tollbell/"] {
        assert_eq!(refused(world.on_vm(0, &[(":method", b"GET"), (":path", path.as_bytes())])).status, 401);
    }
}

#[test]
fn status_shows_usage_without_a_key() {
    let mut world = World::new(&config());
    for _ in 0..3 {
        world.get("/", "k");
    }
    world.get("/", "l");
    let (status, body) = answered(ask(&mut world, "GET", "/.tollbell/status", "letmein"));
    assert_eq!(status, 200);
    let blue = body["keys"].as_array().unwrap().iter().find(|key| key["alias"] == "blue").unwrap();
    assert!(blue["key"].as_str().unwrap().starts_with("sha256:"));
    let used = |limits: &Value| {
        let limits = limits.as_array().unwrap().iter();
        limits
            .map(|limit| format!("{} {} of {}", limit["limit"].as_str().unwrap(), limit["used"], limit["max"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(used(&blue["limits"]), ["rate 3 of 100", "quota 3 of 5"]);
    let other = body["keys"].as_array().unwrap().iter().find(|key| key["alias"] == "").unwrap();
    assert_eq!((used(&other["limits"]), &other["limits"][0]["api"]), (vec!["quota 1 of 2".to_owned()], &json!("a")));
    assert_eq!(used(&body["organisations"][0]["limits"]), ["quota 4 of 50"]);
    assert_eq!(body["observed"], json!([]));
    assert_eq!((&body["deliveries"]["held"], &body["keys_total"]), (&json!(0), &json!(2)));
    let (_, page) = answered(ask(&mut world, "GET", "/.tollbell/status?offset=1&limit=1", "letmein"));
    assert_eq!(page["keys"].as_array().unwrap().len(), 1);
}

#[test]
fn with_the_token_unknown_endpoints_are_reported() {
    let mut world = World::new(&config());
    assert_eq!(answered(ask(&mut world, "GET", "/.tollbell/none", "letmein")).0, 404);
    assert_eq!(answered(ask(&mut world, "POST", "/.tollbell/status", "letmein")).0, 405);
    let (status, body) = answered(ask(&mut world, "POST", "/.tollbell/webhooks/crn/test", "letmein"));
    assert_eq!((status, &body["webhooks"]), (404, &json!(["crm"])));
}

#[test]
fn a_connection_is_tested_by_a_head_request() {
    let mut world = World::new(&config());
    let Decision::Held(stream) = ask(&mut world, "POST", "/.tollbell/webhooks/crm/test", "letmein") else { panic!() };
    let (id, callout) = world.host.take_sent().pop().unwrap();
    assert!(callout.headers.contains(&(":method".into(), "HEAD".into())));
    assert!(!callout.headers.iter().any(|(name, _)| name == "x-token"));
    world.now = world.now.plus(12);
    world.reply(id, 204);
    let answer = stream.answered.take().unwrap();
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!([&body["reachable"], &body["status"], &body["took_ms"]], [&json!(true), &json!(204), &json!(12)]);
}

fn post_events(world: &mut World, body: &str) -> (u16, Value) {
    let Decision::Held(stream) = ask(world, "POST", "/.tollbell/events", "letmein") else { panic!() };
    stream.request_body.replace(body.as_bytes().to_vec());
    world.host();
    assert_eq!(world.vms[0].on_request_body(&world.host, &stream, body.len(), true), Flow::Pause);
    let answer = stream.answered.take().unwrap();
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

fn listening() -> Value {
    let mut config = config();
    config["webhooks"][0]["events"] = json!(["ApplicationRegistered", "OrganizationRegistered"]);
    config["orgs"]["acme"]["event_options"] =
        json!({ "key_event": { "webhook": "http://u:p@hooks.test/key", "email": "ops@acme.test" } });
    config["email_backend"] = json!({ "enable_email_notifications": true, "code": "sendgrid",
        "settings": { "ClientKey": "k" }, "default_from_email": "no-reply@acme.test" });
    config
}

#[test]
fn an_application_posts_events() {
    let mut world = World::new(&listening());
    let portal = json!({ "Event": "ApplicationRegistered",
        "Message": { "ID": 1, "Name": "New App", "UserID": 1, "CreatedAt": "2024-04-18T13:29:23.738726+02:00" },
        "Timestamp": "2024-04-18T13:29:23.744826+02:00" });
    let dashboard = json!({ "event": "key_event.add", "org_id": "acme", "data": { "key_id": "x" } });
    let (status, answer) = post_events(&mut world, &json!([portal, dashboard]).to_string());
    assert_eq!((status, answer), (202, json!({ "accepted": [{ "handlers": 1 }, { "handlers": 2 }] })));
    world.host.set_reply(&[], b"");
    let sent = world.deliver(10, 202);
    let to = |host: &str| {
        let found = sent.iter().find(|callout| callout.headers.contains(&(":authority".into(), host.into())));
        let callout = found.unwrap_or_else(|| panic!("nothing for {host}"));
        (serde_json::from_slice::<Value>(&callout.body).unwrap(), callout.headers.clone())
    };
    assert_eq!(to("crm.test").0, portal);
    let (body, headers) = to("hooks.test");
    assert_eq!(body, json!({ "event": "key_event.add", "data": { "key_id": "x" } }));
    assert!(headers.contains(&("authorization".into(), "Basic dTpw".into())));
    assert_eq!(to("api.sendgrid.com").0["personalizations"][0]["to"][0]["email"], "ops@acme.test");
    assert_eq!(sent.len(), 3);
}

#[test]
fn errors_in_posted_events_are_reported_and_none_is_taken() {
    let mut world = World::new(&listening());
    let good = json!({ "event": "key_event.add", "org_id": "acme", "data": {} });
    let wrong = json!({ "Event": "ApplicationRegistered", "Message": { "ID": "one", "Nam": "x" } });
    let (status, answer) = post_events(&mut world, &json!([good, wrong]).to_string());
    assert_eq!(status, 422);
    let errors = answer["errors"].to_string();
    assert!(errors.contains("[1]") && errors.contains("ID") && errors.contains("Nam"), "{errors}");
    assert!(world.deliver(10, 200).is_empty());
    assert_eq!(post_events(&mut world, "{").0, 400);
    let (status, _) = post_events(&mut world, &" ".repeat(crate::admin::MAX_BODY_BYTES + 1));
    assert_eq!(status, 413);
}

#[test]
fn observed_traffic_becomes_events_and_passes_unchanged() {
    let mut config = listening();
    config["keys"] = json!({});
    config["apis"] = json!([{ "api_id": "dashboard", "org_id": "acme", "listen_path": "/dashboard/", "use_keyless": true,
        "observe": { "preset": "tyk-dashboard" } }]);
    let mut world = World::new(&config);
    let mut exchange = |method: &str, path: &str, request: &str, status: &str, response: &str| {
        let headers =
            [(":method", method.as_bytes()), (":path", path.as_bytes()), ("content-type", b"application/json")];
        let Decision::Continue { changes, followup } = world.on_vm(0, &headers) else { panic!() };
        assert!(changes.is_empty());
        let stream = followup?;
        world.exchange(&stream, request, status, response);
        let sent = world.deliver(10, 200);
        let webhook = sent.iter().find(|callout| callout.headers.contains(&(":authority".into(), "hooks.test".into())));
        webhook.map(|callout| serde_json::from_slice::<Value>(&callout.body).unwrap())
    };
    let (request, response) = (
        r#"{"org_id": "acme", "alias": "a"}"#,
        r#"{"api_model": {}, "key_id": "raw-key", "data": {"org_id": "acme", "alias": "a"}}"#,
    );
    let event = exchange("POST", "/dashboard/api/keys", request, "200", response).expect("an event");
    assert_eq!([&event["event"], &event["data"]["data"]["alias"]], ["key_event.add", "a"]);
    assert!(!event.to_string().contains("raw-key"), "{event}");
    assert_eq!(exchange("POST", "/dashboard/api/keys", request, "500", response), None, "a failed call is no event");
    assert_eq!(exchange("GET", "/dashboard/api/keys", "", "200", response), None);
}

#[test]
fn an_event_without_its_organisation_notifies_no_other() {
    let mut config = listening();
    config["keys"] = json!({});
    let rule = |path: &str, more: Value| {
        let mut rule = json!({ "event": "key_event", "action": "add", "method": "POST", "path": path,
            "data": { "value": { "rule": path } } });
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rule
    };
    config["apis"] = json!([{ "api_id": "a", "org_id": "acme", "use_keyless": true, "observe": { "rules": [
        rule("/of-api", json!({})), rule("/by-query", json!({ "org_id": { "query": "org" } }))
    ] }, "event_handlers": { "events": { "key_event": [hook("/own", 0)] } } }]);
    let mut world = World::new(&config);
    let mut notified = |path: &str| {
        let Decision::Continue { followup, .. } = world.on_vm(0, &[(":method", b"POST"), (":path", path.as_bytes())])
        else {
            panic!()
        };
        let stream = followup.unwrap();
        world.exchange(&stream, "", "200", "");
        let sent = world.deliver(10, 200);
        let paths = sent.iter().flat_map(|callout| &callout.headers).filter(|(name, _)| name == ":path");
        paths
            .map(|(_, path)| path.clone())
            .filter(|path| path.starts_with("/own") || path == "/key")
            .collect::<Vec<_>>()
    };
    assert_eq!(notified("/of-api"), ["/own", "/key"]);
    assert_eq!(notified("/by-query?org=acme"), ["/own", "/key"]);
    assert_eq!(notified("/by-query?org=other"), ["/own"]);
    assert_eq!(notified("/by-query"), ["/own"], "the API's organisation may be another one's");
}
