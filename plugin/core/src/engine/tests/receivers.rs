//! The built-in messages for receivers, from the request to the sent message.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::access::KeyHash;
use crate::delivery::Author;
use crate::event::Event;
use crate::notify::content::draft;
use crate::notify::message;

const ROUTING_KEY: &str = "R0123456789abcdefR0123456789abcd";

/// A monitor whose messages go to this receiver, and a handler of renewals.
fn monitored(receiver: &str, meta: Value) -> Value {
    let mut webhook = json!({
        "name": "alerts", "target_url": "http://hooks.test/in", "template_path": receiver, "events": ["QuotaRenewed", "AuthFailure"],
        "receiver": { "routing_key": ROUTING_KEY },
    });
    webhook.as_object_mut().unwrap().extend(meta.as_object().unwrap().clone());
    json!({
        "apis": [{ "api_id": "orders", "listen_path": "/orders/", "org_id": "acme" }],
        "keys": { "secret-key": { "org_id": "acme", "quota_max": 10, "quota_renewal_rate": 60, "monitor": { "trigger_limits": [10, 20, 30, 40] } } },
        "orgs": { "acme": {} },
        "webhooks": [webhook],
        "monitor": { "enable_trigger_monitors": true, "monitor_user_keys": true, "configuration": { "webhook": "alerts" } },
    })
}

fn bodies(sent: &[Callout]) -> Vec<Value> {
    sent.iter().map(|callout| serde_json::from_slice(&callout.body).unwrap()).collect()
}

fn load(config: &Value) -> Config {
    Config::load(config.to_string().as_bytes()).unwrap().0
}

#[test]
fn an_alert_of_pagerduty_is_resolved_when_the_window_has_ended() {
    let mut world = World::new(&monitored("pagerduty", json!({})));
    world.get("/orders/1", "secret-key");
    let triggered = bodies(&world.deliver(500, 202));
    world.now = world.now.plus(60_000);
    world.get("/orders/1", "secret-key");
    let renewed = bodies(&world.deliver(500, 202));
    let resolved: Vec<_> = renewed.iter().filter(|body| body["event_action"] == "resolve").collect();
    assert_eq!((triggered.len(), resolved.len()), (1, 1), "{triggered:?} {renewed:?}");
    assert_eq!(triggered[0]["event_action"], "trigger");
    assert_eq!(resolved[0]["dedup_key"], triggered[0]["dedup_key"]);
    assert!([&triggered[0], resolved[0]].iter().all(|body| body["routing_key"] == ROUTING_KEY));
}

#[test]
fn a_chat_sees_no_key_not_even_in_a_digest() {
    let mut world = World::new(&monitored("slack", json!({ "max_per_minute": 1 })));
    for _ in 0..4 {
        world.get("/orders/1", "secret-key");
    }
    let mut sent = Vec::new();
    for _ in 0..200 {
        sent.extend(world.deliver(500, 200));
    }
    let bodies = bodies(&sent);
    assert_eq!(bodies.len(), 2, "a message and a digest: {bodies:?}");
    let fingerprint = KeyHash::of(b"secret-key").fingerprint();
    for body in &bodies {
        let text = body.to_string();
        assert!(text.contains(&fingerprint) && !text.contains("secret-key"), "{text}");
    }
    assert!(bodies[1].to_string().contains(&format!("- {fingerprint} of acme 40 % (4 of 10)")), "{}", bodies[1]);
}

#[test]
fn a_cool_down_holds_back_repeated_events() {
    let mut world = World::new(&monitored("teams", json!({ "event_timeout": 60 })));
    for _ in 0..5 {
        world.on_vm(0, &[(":path", b"/orders/1"), ("authorization", b"wrong")]);
        world.now = world.now.plus(1000);
    }
    world.on_vm(0, &[(":path", b"/orders/1"), ("authorization", b"other")]);
    assert_eq!(world.deliver(500, 200).len(), 2, "one for each key");
    assert_eq!(world.host.metric(Metric::Suppressed), 4);
}

/// The text of a message, which the store of a fleet gets, has no secret. Each attempt adds the current one.
#[test]
fn the_routing_key_is_only_in_attempts() {
    let config = load(&monitored("pagerduty", json!({})));
    let notifications = &config.notifications;
    let handler = notifications.handlers.iter().next().unwrap();
    let channel = handler.action.channel().unwrap();
    let event = Event::sample(EventKind::HostDown);
    let content = draft(notifications, channel, &event).unwrap().unwrap().write(&event).unwrap();
    let delivery = message::delivery(notifications, (handler, channel), &event, &content, None, UnixMillis(1));
    let body = |callout: Callout| String::from_utf8(callout.body).unwrap();
    let sent = body(notifications.callout(&delivery, UnixMillis(1)).unwrap());
    assert!(sent.starts_with(&format!("{{\"routing_key\": \"{ROUTING_KEY}\", ")), "{sent}");

    let shared = notifications.share(&delivery);
    let shared = STANDARD.decode(&shared[1..]).unwrap();
    let shared = String::from_utf8_lossy(&shared);
    assert!(shared.contains("event_action") && !shared.contains(ROUTING_KEY), "{shared}");

    let shown = body(content.without_secrets().callout(&delivery, UnixMillis(1)));
    assert!(shown.starts_with("{\"routing_key\": \"…\", ") && !shown.contains(ROUTING_KEY), "{shown}");

    let rotated =
        load(&monitored("pagerduty", json!({ "receiver": { "routing_key": "N0123456789abcdefN0123456789abcd" } })));
    let adopted = rotated.notifications.adopt(delivery, UnixMillis(2)).unwrap();
    let sent = body(rotated.notifications.callout(&adopted, UnixMillis(2)).unwrap());
    assert!(sent.starts_with("{\"routing_key\": \"N0123") && !sent.contains(ROUTING_KEY), "{sent}");
}
