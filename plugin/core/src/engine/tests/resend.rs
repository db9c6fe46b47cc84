//! Messages that failed for good: what the status shows of them, and that they can be sent again.

use sha2::{Digest, Sha256};

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::delivery::failed;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn config() -> Value {
    json!({
        "apis": [{ "api_id": "a", "org_id": "acme" }],
        "event_handlers": { "events": { "AuthFailure": [{ "handler_name": "eh_web_hook_handler", "handler_meta": {
            "target_path": "http://user:hunter2@hooks.test/services/hunter2?sig=hunter2",
            "header_map": { "X-Token": "hunter2" }, "secret": SECRET, "event_timeout": 60,
        } }] } },
        "webhooks": [{ "name": "crm", "target_url": "http://crm.test/hunter2" }],
        "admin": { "token_sha256": hex::encode(Sha256::digest(b"letmein")) },
    })
}

fn ask(world: &mut World, vm: usize, method: &str, path: &str) -> (u16, Value) {
    let headers =
        [(":method", method.as_bytes()), (":path", path.as_bytes()), ("authorization", b"Bearer letmein".as_slice())];
    match world.on_vm(vm, &headers) {
        Decision::Refuse(answer) => (answer.status, serde_json::from_str(&answer.body).unwrap()),
        other => panic!("{other:?}"),
    }
}

fn status(world: &mut World) -> Value {
    ask(world, 0, "GET", "/.tollbell/status").1
}

fn resend(world: &mut World, vm: usize, id: &str) -> (u16, String) {
    let (status, body) = ask(world, vm, "POST", &format!("/.tollbell/messages/{id}/resend"));
    (status, body["error"].as_str().unwrap_or_default().to_owned())
}

fn header<'c>(callout: &'c Callout, name: &str) -> &'c str {
    callout.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
}

/// Makes an AuthFailure whose message fails for good with this status. Returns the attempt.
fn fail(world: &mut World, key: &str, status: u16) -> Callout {
    world.get("/x", key);
    let sent = world.deliver(10, status);
    let [callout] = <[Callout; 1]>::try_from(sent).unwrap();
    callout
}

#[test]
fn a_failed_message_is_sent_again_with_its_id() {
    let mut world = World::new(&config());
    let first = fail(&mut world, "bad", 400);
    let id = header(&first, "webhook-id").to_owned();
    world.deliver(500, 200);
    let shown = status(&mut world)["failed"].take();
    let tried = json!([{ "time": START.plus(10).to_rfc3339(), "outcome": "refused", "status": 400, "took_ms": 0 }]);
    let expected = json!([{ "id": id, "event": "AuthFailure", "handler": "event_handlers.AuthFailure[0]", "host": "hooks.test",
        "attempts": 1, "tried": tried, "since": START.to_rfc3339(), "failed": START.plus(10).to_rfc3339() }]);
    assert_eq!(shown, expected);
    // Another message of the same cause begins a cool-down, which does not hold the first one back.
    world.get("/x", "bad");
    assert_eq!(world.deliver(10, 200).len(), 1);
    assert_eq!(resend(&mut world, 0, &id), (202, String::new()));
    let sent = world.deliver(10, 200);
    let [again] = &sent[..] else { panic!("{sent:?}") };
    for name in [":path", ":authority", "webhook-id", "x-token", "authorization"] {
        assert_eq!(header(again, name), header(&first, name), "{name}");
    }
    assert_eq!(again.body, first.body);
    let time = header(again, "webhook-timestamp").parse().unwrap();
    let signed = standardwebhooks::Webhook::new(SECRET).unwrap().sign(&id, time, &again.body).unwrap();
    assert_eq!(header(again, "webhook-signature"), signed);
    assert_eq!(status(&mut world)["failed"], json!([]));
    assert_eq!([Metric::Resent, Metric::Delivered].map(|metric| world.host.metric(metric)), [1, 2]);
    assert_eq!(resend(&mut world, 0, &id).0, 404);
    assert_eq!(world.deliver(500, 200).len(), 0);
}

#[test]
fn a_message_that_fails_again_can_be_sent_again() {
    let mut world = World::new(&config());
    let id = header(&fail(&mut world, "bad", 400), "webhook-id").to_owned();
    for _ in 0..3 {
        assert_eq!(resend(&mut world, 0, &id).0, 202);
        assert_eq!(world.deliver(10, 404).len(), 1);
        let shown = status(&mut world)["failed"].take();
        assert_eq!(
            [&shown[0]["id"], &shown[0]["attempts"], &shown[0]["tried"][0]["status"]],
            [&json!(id), &json!(1), &json!(404)]
        );
        assert_eq!(shown.as_array().unwrap().len(), 1);
    }
}

#[test]
fn all_attempts_are_shown_and_start_again() {
    let mut config = config();
    config["delivery"] = json!({ "max_attempts": 3, "base_delay_ms": 100, "max_delay_ms": 100 });
    let mut world = World::new(&config);
    world.get("/x", "bad");
    let sent: Vec<Callout> = (0..10).flat_map(|_| world.deliver(500, 503)).collect();
    assert_eq!(sent.len(), 3);
    let shown = status(&mut world)["failed"][0].take();
    let tried: Vec<_> = shown["tried"].as_array().unwrap().iter().map(|tried| &tried["outcome"]).collect();
    assert_eq!((&shown["attempts"], tried), (&json!(3), vec![&json!("server_error"); 3]));
    assert_eq!(resend(&mut world, 0, header(&sent[0], "webhook-id")).0, 202);
    assert_eq!((0..10).map(|_| world.deliver(500, 503).len()).sum::<usize>(), 3);
}

#[test]
fn only_failed_messages_can_be_sent_again() {
    let mut world = World::new(&config());
    world.get("/x", "bad");
    let sent = world.deliver(10, 503);
    let id = header(&sent[0], "webhook-id").to_owned();
    let held = status(&mut world)["deliveries"]["messages"][0].take();
    assert_eq!([&held["id"], &held["host"], &held["attempts"]], [&json!(id), &json!("hooks.test"), &json!(1)]);
    let (status, error) = resend(&mut world, 0, &id);
    assert_eq!((status, error.contains("held already")), (409, true), "{error}");
    assert_eq!(resend(&mut world, 0, "none").0, 404);
    assert_eq!(ask(&mut world, 0, "GET", "/.tollbell/messages/none/resend").0, 405);
    assert_eq!(world.host.metric(Metric::Resent), 0);
}

#[test]
fn two_workers_send_a_message_again_once() {
    let mut world = World::with_vms(&config(), 3);
    let id = header(&fail(&mut world, "bad", 400), "webhook-id").to_owned();
    let mut statuses = [1, 2, 0].map(|vm| resend(&mut world, vm, &id).0);
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 409, 409]);
    assert_eq!(world.deliver(500, 200).len(), 1);
    assert_eq!(world.deliver(5000, 200).len(), 0);
}

#[test]
fn a_resend_that_finds_no_room_can_be_tried_again() {
    let mut config = config();
    config["delivery"] = json!({ "capacity": 16 });
    let mut world = World::new(&config);
    let id = header(&fail(&mut world, "bad", 400), "webhook-id").to_owned();
    let table = world.vms[0].notifications.table();
    let slots: Vec<_> = (0..16)
        .map(|_| {
            let tag = crate::delivery::Tag::TALLY;
            crate::delivery::outbox::reserve(&world.host, table, tag, crate::delivery::Share::All).unwrap()
        })
        .collect();
    assert_eq!(resend(&mut world, 0, &id).0, 503);
    slots.into_iter().for_each(|slot| crate::delivery::outbox::free(&world.host, slot).unwrap());
    assert_eq!(resend(&mut world, 0, &id).0, 202);
    assert_eq!(world.deliver(10, 200).len(), 1);
}

#[test]
fn a_message_without_handler_or_target_is_not_sent_again() {
    let mut world = World::new(&config());
    let gone = header(&fail(&mut world, "bad", 410), "webhook-id").to_owned();
    let (status_code, error) = resend(&mut world, 0, &gone);
    assert_eq!((status_code, error.contains("hooks.test answered 410 Gone")), (409, true), "{error}");
    let shown = status(&mut world);
    assert_eq!(shown["targets"][1]["is_disabled"], true);
    assert_eq!(
        shown["disabled_targets"],
        json!([{ "handler": "event_handlers.AuthFailure[0]", "host": "hooks.test" }])
    );
    // An update enables the target, with a new secret in its URL.
    world.deliver(500, 200);
    let mut enabled = config();
    let meta = &mut enabled["event_handlers"]["events"]["AuthFailure"][0]["handler_meta"];
    meta["target_path"] = json!("http://hooks.test/new");
    world.vms.push(world.engine(load(&enabled), 100));
    world.deliver(500, 200);
    assert_eq!(resend(&mut world, 1, &gone).0, 202);
    let sent: Vec<Callout> = (0..10).flat_map(|_| world.deliver(500, 200)).collect();
    assert_eq!(sent.iter().map(|callout| header(callout, ":path")).collect::<Vec<_>>(), ["/new"]);
    // Another one removes it.
    world.on_vm(1, &[(":path", b"/x"), ("authorization", b"other")]);
    let id = header(&world.deliver(10, 400)[0], "webhook-id").to_owned();
    let mut removed = config();
    removed["event_handlers"] = json!({ "events": {} });
    world.vms.push(world.engine(load(&removed), 101));
    world.deliver(500, 200);
    let (status, error) = resend(&mut world, 2, &id);
    assert_eq!(
        (status, error.contains("no longer has the handler event_handlers.AuthFailure[0]")),
        (410, true),
        "{error}"
    );
}

#[test]
fn the_status_shows_no_secret() {
    let mut world = World::new(&config());
    fail(&mut world, "raw-key", 400);
    world.get("/x", "other-raw-key");
    world.deliver(500, 503);
    let shown = status(&mut world);
    assert_eq!(
        [shown["failed"].as_array().unwrap().len(), shown["deliveries"]["messages"].as_array().unwrap().len()],
        [1, 1]
    );
    for secret in ["hunter2", SECRET, "raw-key", "services", "user:"] {
        assert!(!shown.to_string().contains(secret), "{secret}: {shown:#}");
    }
}

#[test]
fn the_last_attempt_of_each_target_is_shown_by_every_worker() {
    let mut world = World::with_vms(&config(), 2);
    fail(&mut world, "bad", 400);
    world.deliver(500, 200);
    let (_, shown) = ask(&mut world, 1, "GET", "/.tollbell/status");
    let target = &shown["targets"][1];
    assert_eq!(
        [&target["host"], &target["handlers"]],
        [&json!("hooks.test"), &json!(["event_handlers.AuthFailure[0]"])]
    );
    assert_eq!([&target["last"]["outcome"], &target["last"]["status"]], [&json!("refused"), &json!(400)]);
    assert_eq!(shown["webhooks"], json!([{ "name": "crm", "host": "crm.test" }]));
}

#[test]
fn a_flood_of_failures_is_kept_in_a_fixed_number_of_keys() {
    let mut config = config();
    config["event_handlers"]["events"]["AuthFailure"][0]["handler_meta"]["max_per_minute"] = json!(0);
    let mut world = World::new(&config);
    for n in 0..300 {
        world.get("/x", &format!("bad-{n}"));
        world.deliver(10, 400);
    }
    assert_eq!(status(&mut world)["failed"].as_array().unwrap().len(), failed::CAPACITY);
    let keys = world.host.keys().into_iter().filter(|key| key.starts_with("tb1/f")).count();
    assert_eq!(keys, failed::CAPACITY + 1);
}

#[test]
fn a_failed_message_of_another_placement_is_not_shown() {
    let mut world = World::new(&config());
    let id = header(&fail(&mut world, "bad", 400), "webhook-id").to_owned();
    world.host.set_plugin_name("other");
    let mut other = config();
    other["apis"][0]["name"] = json!("another configuration");
    world.vms.push(world.engine(load(&other), 100));
    assert_eq!(ask(&mut world, 1, "GET", "/.tollbell/status").1["failed"], json!([]));
    assert_eq!(resend(&mut world, 1, &id).0, 404);
    assert_eq!(resend(&mut world, 0, &id).0, 202);
}
