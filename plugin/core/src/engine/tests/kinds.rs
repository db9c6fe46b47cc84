//! Different types of events at one receiver: repeated events never hide events that happen only once.

use std::collections::BTreeSet;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::host::Metric;
use crate::notify::MAX_NAMED;

/// A channel for wrong keys and crossed thresholds, and `keys` sessions that each cross at their first request.
fn channel(keys: usize, settings: Value) -> Value {
    let session = |n: usize| {
        let session = json!({ "org_id": "acme", "alias": format!("alias-{n}"), "quota_max": 2,
            "monitor": { "trigger_limits": [50] } });
        (format!("key-{n}"), session)
    };
    let mut config = json!({
        "apis": [{ "api_id": "orders", "listen_path": "/orders/", "org_id": "acme" }],
        "keys": (0..keys).map(session).collect::<BTreeMap<_, _>>(),
        "monitor": { "enable_trigger_monitors": true, "monitor_user_keys": true },
        "webhooks": [{ "name": "ops", "target_url": "http://hooks.test/ops", "events": ["AuthFailure", "TriggerExceeded"] }],
    });
    for (name, value) in settings.as_object().unwrap() {
        config["webhooks"][0][name] = value.clone();
    }
    config
}

impl World {
    fn ask(&mut self, vm: usize, key: &str) {
        self.on_vm(vm, &[(":path", b"/orders/1"), ("authorization", key.as_bytes())]);
    }

    /// The messages that are sent within `ms` milliseconds, in ticks.
    fn all_within(&mut self, ms: u64) -> Vec<Value> {
        let bodies = (0..ms / 500).flat_map(|_| self.deliver(500, 200)).collect::<Vec<_>>();
        bodies.iter().map(|callout| serde_json::from_slice(&callout.body).unwrap()).collect()
    }
}

/// The keys in messages and digests of crossed thresholds, and the numbers of both.
fn named(bodies: &[Value]) -> (BTreeSet<String>, usize, usize) {
    let crossings: Vec<&Value> = bodies.iter().filter(|body| body["event"] == "TriggerExceeded").collect();
    let (digests, messages): (Vec<&Value>, Vec<&Value>) =
        crossings.into_iter().partition(|body| body["crossings"].is_array());
    let listed = digests.iter().flat_map(|digest| digest["crossings"].as_array().unwrap());
    let all = messages.iter().copied().chain(listed);
    let keys = all.map(|crossing| crossing["key"].as_str().unwrap().to_owned()).collect();
    (keys, messages.len(), digests.len())
}

#[test]
fn every_crossing_after_a_flood_of_wrong_keys_is_reported() {
    const FLOOD: usize = 20_000;
    const KEYS: usize = 500;
    let mut world = World::with_vms(&channel(KEYS, json!({})), 3);
    let began = world.now;
    let mut bodies = Vec::new();
    for n in 0..FLOOD {
        world.ask(n % 3, &format!("bad-{n}"));
        if n % (FLOOD / KEYS) == 0 {
            world.ask(n % 3, &format!("key-{}", n / (FLOOD / KEYS)));
        }
        if n % 200 == 0 {
            bodies.extend(world.all_within(500));
        }
    }
    let minutes = usize::try_from(world.now.since(began) / 60_000 + 1).unwrap();
    bodies.extend(world.all_within(150_000));
    let (keys, messages, digests) = named(&bodies);
    assert_eq!(keys.len(), KEYS);
    assert!(messages <= 120 * minutes && digests <= minutes + 1, "{messages} messages and {digests} digests");
    let wrong: Vec<&Value> = bodies.iter().filter(|body| body["event"] == "AuthFailure").collect();
    assert!(wrong.len() <= 121 * minutes + 1, "{}", wrong.len());
    let counted: u64 = wrong.iter().map(|body| body["suppressed"].as_u64().unwrap_or(1)).sum();
    assert_eq!(counted, FLOOD as u64);
    assert!(wrong.iter().all(|body| body.get("crossings").is_none()));
    assert_eq!(world.host.metric(Metric::Dropped), 0);
}

#[test]
fn a_digest_of_crossings_shows_the_owner_and_the_usage() {
    let mut config = channel(4, json!({ "max_per_minute": 1, "template_path": "t.json" }));
    config["templates"] = json!({ "t.json": r#"{"text": "{{Meta.Message}}", "n": {{Meta.Suppressed}}, "all": [{{#each Meta.Crossings}}"{{Alias}} {{TriggerLimit}} {{APIID}} {{Subject}}",{{/each}} 0]}"# });
    config["orgs"] = json!({ "acme": { "quota_max": 8, "monitor": { "trigger_limits": [25, 75] } } });
    config["enforce_org_quotas"] = json!(true);
    config["monitor"]["monitor_org_keys"] = json!(true);
    let mut world = World::new(&config);
    for n in [0, 1, 2, 3, 0, 1, 2] {
        world.ask(0, &format!("key-{n}"));
    }
    let bodies = world.all_within(90_000);
    let texts: BTreeSet<&str> = bodies.iter().map(|body| body["text"].as_str().unwrap()).collect();
    assert_eq!(
        texts,
        BTreeSet::from([
            // The first crossing of a key and the organisation's first, at once.
            "Quota trigger reached",
            "Quota trigger reached: organisation acme 75 % (6 of 8)",
            "Quota trigger reached: key-1 (alias-1) of acme 50 % (1 of 2); key-2 (alias-2) of acme 50 % (1 of 2); \
             key-3 (alias-3) of acme 50 % (1 of 2)",
        ])
    );
    let listed = bodies.iter().find(|body| body["n"] == 3).unwrap();
    assert_eq!(listed["all"], json!(["alias-1 50 orders key", "alias-2 50 orders key", "alias-3 50 orders key", 0]));
}

#[test]
fn an_email_lists_crossings_without_a_key() {
    let mut config = channel(3, json!({}));
    config["webhooks"] = json!([]);
    config["email_backend"] = json!({ "enable_email_notifications": true, "code": "sendgrid",
        "settings": { "ClientKey": "x" }, "default_from_email": "a@b.test", "default_from_name": "a" });
    config["keys"]["key-2"]["alias"] = json!("");
    let handler = json!({ "handler_name": "eh_email_handler",
        "handler_meta": { "email": "ops@acme.test", "max_per_minute": 1 } });
    config["event_handlers"] = json!({ "events": { "TriggerExceeded": [handler] } });
    let mut world = World::new(&config);
    (0..3).for_each(|n| world.ask(0, &format!("key-{n}")));
    let sent: Vec<Callout> = (0..200).flat_map(|_| world.deliver(500, 202)).collect();
    assert_eq!(sent.len(), 2);
    let body: Value = serde_json::from_slice(&sent[1].body).unwrap();
    let [text, html] = [0, 1].map(|part| body["content"][part]["value"].as_str().unwrap());
    assert!(text.contains("- alias-1 of acme: 50 % (1 of 2)\n- sha256:"), "{text}");
    assert!(html.contains("<li>alias-1 of acme: 50 % (1 of 2)</li>"), "{html}");
    assert!(!text.contains("key-2") && !html.contains("key-2"));
}

#[test]
fn the_list_of_crossings_in_a_digest_is_bounded() {
    let mut config = channel(1, json!({ "max_per_minute": 1 }));
    let session = json!({ "quota_max": 2, "monitor": { "trigger_limits": [50] } });
    let keys = |count: usize, length: usize| -> BTreeMap<String, Value> {
        (0..count).map(|n| (format!("{n:0>length$}"), session.clone())).collect()
    };
    for (count, length, least) in [(1500, 40, MAX_NAMED), (700, 2000, 200)] {
        let keys = keys(count, length);
        config["keys"] = json!(keys);
        let mut world = World::new(&config);
        let before = world.host.stored_bytes();
        keys.keys().for_each(|key| world.ask(0, key));
        let bodies = world.all_within(90_000);
        let digest = bodies.iter().find(|body| body["crossings"].is_array()).unwrap();
        let listed = digest["crossings"].as_array().unwrap().len();
        assert!((least..=MAX_NAMED).contains(&listed), "{listed} of {count}");
        assert_eq!(digest["suppressed"], count - 1);
        assert_eq!(digest["unnamed"], count - 1 - listed);
        assert!(digest["message"].as_str().unwrap().ends_with(&format!("; and {} more", count - 1 - listed)));
        assert!(world.host.stored_bytes() < before + 1024 * 1024);
    }
}

#[test]
fn repeated_events_for_a_receiver_that_is_down_leave_room_for_crossings() {
    let mut config = channel(16, json!({ "max_per_minute": 0 }));
    config["webhooks"][0]["digest"] = json!(true);
    config["webhooks"][0]["event_timeout"] = json!(600);
    config["delivery"] = json!({ "capacity": 128 });
    let mut world = World::with_vms(&config, 2);
    for n in 0..1000 {
        world.ask(n % 2, &format!("bad-{n}"));
        // The second event starts a tally, which is a repeated event, too.
        world.ask(n % 2, &format!("bad-{n}"));
        if n % 50 == 0 {
            world.deliver(500, 503);
        }
    }
    assert!(world.host.metric(Metric::Dropped) > 0, "the table is full of repeated events");
    let dropped = world.host.metric(Metric::Dropped);
    (0..16).for_each(|n| world.ask(0, &format!("key-{n}")));
    assert_eq!(world.host.metric(Metric::Dropped), dropped);
    assert_eq!(named(&world.all_within(700_000)).0.len(), 16);
}

#[test]
fn a_constant_text_has_a_cool_down_for_each_type() {
    let mut config = channel(1, json!({ "template_path": "t.txt", "event_timeout": 600, "digest": true }));
    config["templates"] = json!({ "t.txt": "something happened" });
    let mut world = World::new(&config);
    for key in ["bad", "bad", "bad", "key-0"] {
        world.ask(0, key);
    }
    assert_eq!(world.deliver(500, 200).len(), 2, "a wrong key, and the crossing");
    assert_eq!(world.host.metric(Metric::Suppressed), 2);
    let digests = (0..1300).flat_map(|_| world.deliver(500, 200)).count();
    assert_eq!(digests, 1, "only for wrong keys");
}

#[test]
fn identities_that_clients_choose_do_not_hide_a_key() {
    let mut config = channel(1, json!({ "max_per_minute": 2 }));
    config["apis"][0]["identity"] = json!([{ "header": "x-consumer" }, "key"]);
    config["policies"] = json!({ "each": { "quota_max": 2, "monitor": { "trigger_limits": [50] } } });
    config["default_policy"] = json!("each");
    let mut world = World::new(&config);
    for n in 0..3000 {
        world.on_vm(0, &[(":path", b"/orders/1"), ("x-consumer", format!("made-up-{n}").as_bytes())]);
    }
    world.ask(0, "key-0");
    let first = world.all_within(1000);
    let at_once: Vec<&str> = first.iter().map(|body| body["key"].as_str().unwrap()).collect();
    assert_eq!(at_once, ["made-up-0", "made-up-1", "key-0"]);
}
