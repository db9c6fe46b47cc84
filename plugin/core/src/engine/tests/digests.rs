//! Caps, digests, disabled targets and signatures, from the request to the sent message.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// An AuthFailure handler with these settings, and a body that shows whether it is a digest.
fn one_hook(meta: Value) -> Value {
    let mut config = config();
    config["templates"] = json!({ "t.json": r#"{"key": "{{Meta.Key}}", "n": {{Meta.Suppressed}}, "first": "{{Meta.FirstSeen}}", "last": "{{Meta.LastSeen}}"}"# });
    let mut hook = hook("/auth", 0);
    hook["handler_meta"]["template_path"] = json!("t.json");
    for (name, value) in meta.as_object().unwrap() {
        hook["handler_meta"][name] = value.clone();
    }
    config["event_handlers"] = json!({ "events": { "AuthFailure": [hook] } });
    config
}

impl World {
    fn fail(&mut self, vm: usize, key: &str) {
        self.on_vm(vm, &[(":path", b"/orders/1"), ("authorization", key.as_bytes())]);
    }

    /// The bodies of the messages that are sent within `ms` milliseconds, in ticks.
    fn sent_within(&mut self, ms: u64) -> Vec<Value> {
        let mut bodies = Vec::new();
        for _ in 0..ms / 500 {
            let sent = self.deliver(500, 200);
            bodies.extend(sent.iter().map(|callout| serde_json::from_slice::<Value>(&callout.body).unwrap()));
        }
        bodies
    }
}

fn suppressed(bodies: &[Value]) -> u64 {
    bodies.iter().map(|body| body["n"].as_u64().unwrap()).sum()
}

#[test]
fn the_excess_over_the_cap_is_reported_in_one_digest_per_minute() {
    let mut world = World::with_vms(&one_hook(json!({ "max_per_minute": 60 })), 3);
    let mut bodies = Vec::new();
    for n in 0..10_000 {
        world.fail(n % 3, &format!("bad-{n}"));
        if n % 100 == 99 {
            bodies.extend(world.sent_within(1000));
        }
    }
    bodies.extend(world.sent_within(180_000));
    let (digests, messages): (Vec<Value>, Vec<Value>) = bodies.into_iter().partition(|body| body["n"] != 0);
    assert_eq!(suppressed(&digests) + messages.len() as u64, 10_000);
    assert!(messages.len() <= 120, "100 seconds: {}", messages.len());
    assert!((2..=3).contains(&digests.len()), "{digests:?}");
    assert_eq!(world.host.metric(Metric::Capped), suppressed(&digests));
    assert_eq!(world.host.metric_named("tollbell_held"), Some(0));
    let keys: std::collections::BTreeSet<_> = messages.iter().map(|body| body["key"].as_str().unwrap()).collect();
    assert_eq!(keys.len(), messages.len(), "no duplicates");
}

#[test]
fn an_endless_flood_uses_constant_memory() {
    let mut world = World::with_vms(&one_hook(json!({ "event_timeout": 10 })), 2);
    let mut most = 0;
    for n in 0..20_000 {
        world.fail(n % 2, &format!("bad-{n}"));
        if n % 1000 == 999 {
            world.deliver(500, 503);
            most = most.max(if n < 10_000 { world.host.stored_bytes() } else { 0 });
        }
    }
    assert!(world.host.stored_bytes() <= most.saturating_mul(11) / 10, "{most} {}", world.host.stored_bytes());
}

#[test]
fn a_cool_down_reports_the_number_of_held_back_events_at_its_end() {
    let mut world = World::with_vms(&one_hook(json!({ "event_timeout": 10, "digest": true })), 2);
    let began = world.now;
    for n in 0..7 {
        world.fail(n % 2, "same");
    }
    world.fail(0, "other");
    let first = world.sent_within(5000);
    assert_eq!(first.len(), 2, "{first:?}");
    world.fail(1, "same");
    let last_seen = world.now;
    let then = world.sent_within(6000);
    assert_eq!(
        then,
        [json!({ "key": "same", "n": 7, "first": began.to_rfc3339(), "last": last_seen.to_rfc3339() })],
        "no digest for the other, which held nothing back"
    );
    world.fail(0, "same");
    let again = world.sent_within(20_000);
    assert_eq!(again.len(), 1, "a new cool-down without a digest: {again:?}");
    assert_eq!(world.host.metric(Metric::Digests), 1);
}

#[test]
fn a_digest_survives_its_vm_and_another_configuration() {
    let config = one_hook(json!({ "event_timeout": 10, "digest": true }));
    let mut world = World::with_vms(&config, 2);
    world.sent_within(500);
    for _ in 0..5 {
        world.fail(0, "same");
    }
    let mut changed = config.clone();
    changed["hash_keys"] = json!(true);
    let (changed, _) = Config::load(changed.to_string().as_bytes()).unwrap();
    world.vms.clear();
    world.vms.push(world.engine(changed, 9));
    let bodies = world.sent_within(20_000);
    assert_eq!(suppressed(&bodies), 4);

    for _ in 0..5 {
        world.fail(0, "same");
    }
    let mut without = config;
    without["event_handlers"] = json!({});
    let (without, _) = Config::load(without.to_string().as_bytes()).unwrap();
    world.vms = vec![world.engine(without, 10)];
    let bodies = world.sent_within(30_000);
    assert!(bodies.is_empty(), "their handler was removed: {bodies:?}");
    assert_eq!([Metric::Withdrawn, Metric::Failed].map(|m| world.host.metric(m)), [2, 0], "the message and the digest");
    assert_eq!(world.host.metric_named("tollbell_held"), Some(0));
}

#[test]
fn each_configuration_writes_its_own_digests() {
    let mut first = one_hook(json!({ "event_timeout": 10, "digest": true, "name": "first" }));
    let mut world = World::with_vms(&first, 1);
    first["event_handlers"]["events"]["AuthFailure"][0]["handler_meta"]["name"] = json!("second");
    let (second, _) = Config::load(first.to_string().as_bytes()).unwrap();
    world.vms.push(world.engine(second, 9));
    for vm in [0, 1] {
        for _ in 0..3 {
            world.fail(vm, "same");
        }
    }
    let bodies = world.sent_within(30_000);
    assert_eq!((bodies.len(), suppressed(&bodies)), (4, 4), "{bodies:?}");
    assert_eq!(world.host.metric(Metric::Failed), 0);
}

#[test]
fn configurations_with_the_same_names_do_not_write_each_others_digests() {
    let mut config = one_hook(json!({ "event_timeout": 10, "digest": true, "max_per_minute": 2 }));
    let mut world = World::with_vms(&config, 1);
    let meta = &mut config["event_handlers"]["events"]["AuthFailure"][0]["handler_meta"];
    meta["target_path"] = json!("http://other.test/");
    meta["secret"] = json!("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let (other, _) = Config::load(config.to_string().as_bytes()).unwrap();
    world.vms.push(world.engine(other, 9));
    for vm in [0, 1] {
        let name = ["first", "second"][vm];
        for key in ["a", "a", "b", "c", "d"] {
            world.fail(vm, &format!("{name}-{key}"));
        }
    }
    let mut sums = std::collections::BTreeMap::new();
    for _ in 0..240 {
        for callout in world.deliver(500, 200) {
            let body: Value = serde_json::from_slice(&callout.body).unwrap();
            let header = |name: &str| callout.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value);
            let target = header(":authority").unwrap().clone();
            let (key, is_other) = (body["key"].as_str().unwrap(), target == "other.test");
            assert_eq!(key.starts_with("second"), is_other, "{key} to {target}");
            assert_eq!(header("webhook-signature").is_some(), is_other);
            *sums.entry(target).or_insert(0) += body["n"].as_u64().unwrap().max(1);
        }
    }
    assert_eq!(sums.into_values().collect::<Vec<_>>(), [5, 5]);
    assert_eq!(world.host.metric(Metric::Failed), 0);
}

#[test]
fn clients_cannot_fill_the_table_with_digests() {
    let mut config = one_hook(json!({ "event_timeout": 600, "digest": true, "max_per_minute": 0 }));
    config["delivery"] = json!({ "capacity": 64 });
    let mut world = World::with_vms(&config, 2);
    let mut bodies = Vec::new();
    for n in 0..300 {
        world.fail(0, &format!("bad-{n}"));
        world.fail(1, &format!("bad-{n}"));
        bodies.extend(world.sent_within(500));
    }
    assert_eq!(world.host.metric(Metric::Dropped), 0);
    assert_eq!(world.host.metric(Metric::Suppressed), 300);
    assert!(world.host.metric_named("tollbell_held").unwrap() <= 18, "a quarter, and the handler's own");
    for _ in 0..5 {
        world.get("/orders/1", "ten");
    }
    let crossings = world.deliver(500, 200).len();
    assert_eq!(crossings, 1);
    bodies.extend(world.sent_within(700_000));
    assert_eq!(suppressed(&bodies), 300);
}

#[test]
fn a_target_that_is_gone_gets_messages_of_the_next_configuration() {
    let config = one_hook(json!({}));
    let mut world = World::with_vms(&config, 2);
    world.fail(0, "a");
    assert_eq!(world.deliver(500, 410).len(), 1);
    world.fail(1, "b");
    assert!(world.deliver(500, 200).is_empty());
    assert_eq!(world.host.metric(Metric::Disabled), 1);
    let mut changed = config;
    changed["hash_keys"] = json!(true);
    let (changed, _) = Config::load(changed.to_string().as_bytes()).unwrap();
    world.vms[0] = world.engine(changed, 9);
    world.fail(0, "c");
    world.vms.truncate(1);
    assert_eq!(world.sent_within(5000).len(), 1);
}

#[test]
fn a_message_is_signed_at_each_attempt_with_the_current_secrets() {
    let old = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let new = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let mut world = World::with_vms(&one_hook(json!({ "secret": old })), 1);
    world.fail(0, "a");
    let header = |callout: &Callout, name: &str| {
        callout.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let first = world.deliver(500, 503).remove(0);
    let (changed, _) = Config::load(one_hook(json!({ "secret": [new, old] })).to_string().as_bytes()).unwrap();
    world.vms[0] = world.engine(changed, 9);
    let second = (0..20).find_map(|_| world.deliver(1000, 200).pop()).unwrap();
    assert_eq!(header(&first, "webhook-id"), header(&second, "webhook-id"));
    assert_ne!(header(&first, "webhook-timestamp"), header(&second, "webhook-timestamp"));
    for (callout, secrets) in [(&first, vec![old]), (&second, vec![new, old])] {
        let signatures = header(callout, "webhook-signature");
        assert_eq!(signatures.split(' ').count(), secrets.len());
        for secret in secrets {
            let seconds = header(callout, "webhook-timestamp").parse().unwrap();
            let expected = standardwebhooks::Webhook::new(secret)
                .unwrap()
                .sign(&header(callout, "webhook-id"), seconds, &callout.body)
                .unwrap();
            assert!(signatures.split(' ').any(|signature| signature == expected));
        }
    }
    let everything: String = first.headers.iter().map(|(name, value)| format!("{name}{value}")).collect();
    assert!(!everything.contains("MfKQ9"));
}
