//! Letters: to whom, when, and what an answer means for them.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::metrics::Metric;

fn config(code: &str, settings: Value) -> Value {
    json!({
        "apis": [{ "api_id": "a", "org_id": "acme" }],
        "keys": { "k": { "alias": "Dev\r\nBcc: x@y.test", "quota_max": 2, "monitor": { "trigger_limits": [50] },
            "meta_data": { "email": "dev@acme.test" } },
            "nobody": { "quota_max": 2, "monitor": { "trigger_limits": [50] } },
            "hostile": { "quota_max": 2, "monitor": { "trigger_limits": [50] }, "meta_data": { "email": "a@b.test\r\nBcc: c@d.test" } } },
        "monitor": { "enable_trigger_monitors": true, "monitor_user_keys": true },
        "email_backend": { "enable_email_notifications": true, "code": code, "settings": settings,
            "default_from_email": "no-reply@acme.test", "default_from_name": "Acme APIs" },
    })
}

fn sent(world: &mut World, key: &str) -> Vec<Callout> {
    world.get("/", key);
    world.deliver(10, 0)
}

#[test]
fn a_developer_hears_of_a_crossed_threshold() {
    let mut world = World::new(&config("sendgrid", json!({ "ClientKey": "SG.secret" })));
    world.host.set_reply(&[], b"");
    world.get("/", "k");
    let [callout] = &world.deliver(10, 202)[..] else { panic!("not one letter") };
    let header = |name: &str| callout.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!([header(":authority"), header(":path")], [Some("api.sendgrid.com"), Some("/v3/mail/send")]);
    assert_eq!([header("authorization"), header("webhook-id")], [Some("Bearer SG.secret"), None]);
    let body: Value = serde_json::from_slice(&callout.body).unwrap();
    assert_eq!(body["personalizations"][0]["to"][0]["email"], "dev@acme.test");
    assert_eq!(body["from"]["email"], "no-reply@acme.test");
    assert!(!callout.body.windows(4).any(|bytes| bytes == b"\r\nBc"), "an alias cannot add a header");
    assert_eq!(world.host.metric(Metric::Delivered), 1);
    world.get("/", "k");
    assert!(world.deliver(10, 202).is_empty(), "once");
}

#[test]
fn who_has_no_address_gets_none_and_an_address_that_would_inject_is_refused() {
    let mut world = World::new(&config("sendgrid", json!({ "ClientKey": "x" })));
    assert!(sent(&mut world, "nobody").is_empty());
    assert_eq!(world.host.metric(Metric::Failed), 0);
    assert!(sent(&mut world, "hostile").is_empty());
    assert_eq!(world.host.metric(Metric::Failed), 1);
}

#[test]
fn the_providers_own_rule_says_what_is_delivered() {
    let mut world = World::new(&config("mandrill", json!({ "ClientKey": "x" })));
    world.host.set_reply(&[], br#"[{"email": "dev@acme.test", "status": "rejected", "reject_reason": "hard-bounce"}]"#);
    world.get("/", "k");
    assert_eq!(world.deliver(10, 200).len(), 1);
    assert_eq!([world.host.metric(Metric::Delivered), world.host.metric(Metric::Failed)], [0, 1], "200, and rejected");
}

#[test]
fn each_attempt_is_signed_with_its_own_time() {
    let settings = json!({ "Region": "eu-west-1", "AccessKeyId": "AKID", "SecretAccessKey": "secret" });
    let mut world = World::new(&config("amazonses", settings));
    world.host.set_reply(&[], br#"{"message": "busy"}"#);
    world.get("/", "k");
    let mut callouts = world.deliver(10, 500);
    for _ in 0..10 {
        callouts.extend(world.deliver(3_600_000, 500));
    }
    assert!(callouts.len() > 1);
    let signatures: std::collections::BTreeSet<_> = callouts
        .iter()
        .map(|callout| {
            callout
                .headers
                .iter()
                .filter(|(name, _)| name == "x-amz-date" || name == "authorization")
                .cloned()
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(signatures.len(), callouts.len());
    assert!(signatures.iter().all(|headers| headers.len() == 2));
}

#[test]
fn notify_users_can_be_switched_off() {
    let mut config = config("sendgrid", json!({ "ClientKey": "x" }));
    config["email_backend"]["notify_users"] = json!(false);
    config["monitor"]["configuration"] = json!({ "target_path": "http://hooks.test/m" });
    let mut world = World::new(&config);
    let [callout] = &sent(&mut world, "k")[..] else { panic!() };
    assert!(callout.headers.contains(&(":authority".into(), "hooks.test".into())));
}
