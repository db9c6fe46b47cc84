//! Emails: their recipients, their times, and the answers of providers.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::host::Metric;

mod floods;

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
fn a_developer_is_notified_of_a_crossed_threshold() {
    let mut world = World::new(&config("sendgrid", json!({ "ClientKey": "SG.secret" })));
    world.host.set_reply(&[], b"");
    world.get("/", "k");
    let [callout] = &world.deliver(10, 202)[..] else { panic!("not one email") };
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
fn without_an_address_there_is_no_email_and_an_injecting_address_is_refused() {
    let mut world = World::new(&config("sendgrid", json!({ "ClientKey": "x" })));
    assert!(sent(&mut world, "nobody").is_empty());
    assert_eq!(world.host.metric(Metric::Failed), 0);
    assert!(sent(&mut world, "hostile").is_empty());
    assert_eq!(world.host.metric(Metric::Failed), 1);
}

#[test]
fn the_providers_own_rule_decides_what_is_delivered() {
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

/// The recipient of an email sent through SendGrid.
fn recipient(callout: &Callout) -> String {
    let body: Value = serde_json::from_slice(&callout.body).unwrap();
    body["personalizations"][0]["to"][0]["email"].as_str().unwrap().to_owned()
}

fn recipients(sent: &[Callout]) -> Vec<String> {
    sent.iter().map(recipient).collect()
}

impl World {
    /// An application posts events, and all of them are accepted.
    fn post(&mut self, events: &Value) {
        let body = events.to_string();
        self.host();
        let answer = self.vms[0].on_posted(&self.host, body.as_bytes(), body.len());
        assert_eq!(answer.status, 202, "{}", answer.body);
    }

    fn mailing(config: &Value) -> Self {
        let world = World::new(config);
        world.host.set_reply(&[], b"");
        world
    }
}

fn sendgrid() -> Value {
    let mut config = config("sendgrid", json!({ "ClientKey": "SG.secret" }));
    config["admin"] = json!({ "token_sha256": "00".repeat(32) });
    config
}

#[test]
fn an_organisations_threshold_does_not_notify_the_client_that_crossed_it() {
    let mut config = sendgrid();
    config["keys"]["k"]["org_id"] = json!("acme");
    config["keys"]["k"]["quota_max"] = json!(4);
    config["orgs"] = json!({ "acme": { "quota_max": 4, "monitor": { "trigger_limits": [25] } } });
    config["enforce_org_quotas"] = json!(true);
    config["monitor"]["monitor_org_keys"] = json!(true);
    config["monitor"]["configuration"] = json!({ "target_path": "http://hooks.test/m" });
    let mut world = World::mailing(&config);
    let hosts = |sent: Vec<Callout>| {
        let authority = |callout: &Callout| {
            callout.headers.iter().find(|(name, _)| name == ":authority").map(|(_, value)| value.clone())
        };
        sent.iter().filter_map(authority).collect::<Vec<_>>()
    };
    assert_eq!(hosts(sent(&mut world, "k")), ["hooks.test"], "25 % of the organisation's");
    let mut own = hosts(sent(&mut world, "k"));
    own.sort();
    assert_eq!(own, ["api.sendgrid.com", "hooks.test"], "50 % of the key's");
    assert_eq!(world.host.metric(Metric::Failed), 0);
}

#[test]
fn a_developer_is_notified_of_the_account_at_the_address_of_the_payload() {
    let mut world = World::mailing(&sendgrid());
    let user = |event: &str, status: &str| {
        json!({ "Event": event, "Timestamp": "2024-04-22T16:38:54Z", "Message": { "ID": 1, "Email": "ada@acme.test",
            "First": "Ada", "Last": "L", "OrgID": 2, "Provider": "p", "Status": status,
            "CreatedAt": "2024-04-22T16:38:54Z", "ByUser": 1, "CustomAttributes": [] } })
    };
    for (event, status, subject, says) in [
        ("UserRegistered", "active", "Welcome to our developer portal", "Your account is ready"),
        ("UserRegistered", "inactive", "Welcome to our developer portal", "We will write to you when it is active"),
        ("UserAccountActivated", "active", "Your account is active", "You can sign in now"),
        ("UserAccountDeactivated", "inactive", "Your account has been deactivated", "You cannot sign in"),
    ] {
        world.post(&user(event, status));
        let sent = world.deliver(10, 202);
        assert_eq!(recipients(&sent), ["ada@acme.test"]);
        let body: Value = serde_json::from_slice(&sent[0].body).unwrap();
        assert_eq!(body["subject"], subject);
        let text = body["content"][0]["value"].as_str().unwrap();
        assert!(text.contains("Hello Ada,") && text.contains(says), "{event} {status}: {text}");
    }
}

#[test]
fn each_threshold_is_a_cause_of_its_own() {
    let mut config = sendgrid();
    config["email_backend"]["event_timeout"] = json!(3600);
    config["keys"]["k"] = json!({ "quota_max": 10, "quota_renewal_rate": 60, "meta_data": { "email": "dev@acme.test" },
        "monitor": { "trigger_limits": [80, 90] } });
    // An email that does not show the threshold.
    config["email_templates"] = json!({ "TriggerExceeded": { "subject": "s", "text": "t" } });
    let mut world = World::mailing(&config);
    let mut use_up = || {
        (0..10).for_each(|_| drop(world.get("/", "k")));
        let emails = world.deliver(10, 202).len();
        world.deliver(60_000, 202);
        emails
    };
    assert_eq!([use_up(), use_up()], [2, 0], "two windows within the period");
    assert_eq!(world.host.metric(Metric::Suppressed), 2);
}
