//! Many emails: caps, digests and cool-downs.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// A handler that sends AuthFailures to `email`.
fn watched(email: &str, meta: Value) -> Value {
    let mut config = sendgrid();
    let mut handler = json!({ "handler_name": "eh_email_handler", "handler_meta": meta });
    handler["handler_meta"]["email"] = json!(email);
    config["event_handlers"] = json!({ "events": { "AuthFailure": [handler] } });
    config
}

/// All requests that are sent within `ms` milliseconds.
fn sent_within(world: &mut World, ms: u64) -> Vec<Callout> {
    (0..ms / 500).flat_map(|_| world.deliver(500, 202)).collect()
}

fn body(callout: &Callout) -> Value {
    serde_json::from_slice(&callout.body).unwrap()
}

/// The number of events that an email reports.
fn stands_for(callout: &Callout) -> u64 {
    let text = body(callout)["content"][0]["value"].as_str().unwrap().to_owned();
    let count = text.split_once("This email reports ").and_then(|(_, rest)| rest.split_once(" events"));
    count.map_or(1, |(count, _)| count.parse().unwrap())
}

fn key_event(id: &str) -> Value {
    json!({ "event": "key_event.add", "org_id": "acme", "data": { "id": id } })
}

fn with_options(options: Value) -> Value {
    let mut config = sendgrid();
    config["orgs"] = json!({ "acme": { "event_options": options } });
    config
}

#[test]
fn the_excess_over_a_cap_is_one_email_to_the_same_address() {
    let mut world = World::mailing(&watched("ops@acme.test", json!({ "max_per_minute": 5 })));
    (0..300).for_each(|n| drop(world.get("/", &format!("bad-{n}"))));
    let sent = sent_within(&mut world, 90_000);
    assert_eq!(recipients(&sent), vec!["ops@acme.test"; 6]);
    assert_eq!(sent.iter().map(stands_for).collect::<Vec<_>>(), [1, 1, 1, 1, 1, 295]);
    for callout in &sent {
        let header = |name: &str| callout.headers.iter().find(|(known, _)| known == name).map(|(_, v)| v.as_str());
        assert_eq!(
            [header(":path"), header("authorization"), header("webhook-id")],
            [Some("/v3/mail/send"), Some("Bearer SG.secret"), None]
        );
    }
    let subject = body(&sent[5])["subject"].as_str().unwrap().to_owned();
    assert!(subject.starts_with("295 events: AuthFailure: Auth Failure"), "{subject}");
    let metrics = [Metric::Delivered, Metric::Digests, Metric::Capped, Metric::Failed].map(|m| world.host.metric(m));
    assert_eq!(metrics, [6, 1, 295, 0]);
    assert_eq!(world.host.metric_named("tollbell_held"), Some(0));
}

#[test]
fn a_providers_answer_to_a_digest_is_judged_by_its_rule() {
    let mut world = World::mailing(&watched("ops@acme.test", json!({ "max_per_minute": 1 })));
    (0..3).for_each(|n| drop(world.get("/", &format!("bad-{n}"))));
    world.deliver(10, 202);
    // SendGrid has accepted an email only if it answers 202.
    (0..130).for_each(|_| drop(world.deliver(500, 200)));
    assert_eq!([world.host.metric(Metric::Digests), world.host.metric(Metric::Delivered)], [1, 1]);
    assert!(world.host.metric(Metric::Retried) > 0);
}

#[test]
fn two_configurations_with_the_same_names_write_to_their_own_addresses() {
    let mut world = World::mailing(&watched("a@acme.test", json!({ "max_per_minute": 2 })));
    let other = watched("b@acme.test", json!({ "max_per_minute": 2 }));
    let (other, _) = Config::load(other.to_string().as_bytes()).unwrap();
    world.vms.push(world.engine(other, 9));
    for n in 0..20 {
        world.on_vm(n % 2, &[(":path", b"/"), ("authorization", format!("bad-{n}").as_bytes())]);
    }
    let sent = sent_within(&mut world, 90_000);
    let count = |to: &str| sent.iter().filter(|callout| recipient(callout) == to).map(stands_for).sum::<u64>();
    assert_eq!([count("a@acme.test"), count("b@acme.test"), sent.len() as u64], [10, 10, 6]);
}

#[test]
fn a_cool_down_passes_one_email_of_a_cause_and_reports_the_others() {
    let mut world = World::mailing(&watched("ops@acme.test", json!({ "event_timeout": 60, "digest": true })));
    for key in ["bad", "bad", "other", "bad"] {
        world.get("/", key);
    }
    let sent = sent_within(&mut world, 90_000);
    assert_eq!(sent.iter().map(stands_for).collect::<Vec<_>>(), [1, 1, 2]);
    assert_eq!(world.host.metric(Metric::Suppressed), 2);
}

#[test]
fn a_digest_goes_to_the_recipient_at_the_time_of_writing() {
    let mut world = World::mailing(&watched("left@acme.test", json!({ "max_per_minute": 5 })));
    (0..20).for_each(|n| drop(world.get("/", &format!("bad-{n}"))));
    assert_eq!(recipients(&sent_within(&mut world, 1000)), vec!["left@acme.test"; 5]);
    let now = watched("came@acme.test", json!({ "max_per_minute": 5 }));
    let (now, _) = Config::load(now.to_string().as_bytes()).unwrap();
    world.vms = vec![world.engine(now, 9)];
    assert_eq!(recipients(&sent_within(&mut world, 120_000)), ["came@acme.test"]);
    assert_eq!(world.host.metric(Metric::Failed), 0);
}

#[test]
fn management_events_have_a_cap_only_if_configured() {
    let options = |most: Value| {
        let mut option = json!({ "email": "ops@acme.test", "webhook": "http://hooks.test/key" });
        option["max_per_minute"] = most;
        let mut config = with_options(json!({ "key_event": option.clone(), "UserAccountDeactivated": option }));
        config["webhooks"] = json!([{ "name": "crm", "target_url": "http://crm.test/", "events": ["key_event"], "max_per_minute": option["max_per_minute"] }]);
        config
    };
    let flood: Vec<Value> = (0..200).map(|n| key_event(&n.to_string())).collect();
    let split = |sent: Vec<Callout>| {
        let to = |host: &str| {
            let is_to = |callout: &&Callout| callout.headers.contains(&(":authority".into(), host.into()));
            sent.iter().filter(is_to).cloned().collect::<Vec<_>>()
        };
        [to("api.sendgrid.com"), to("hooks.test"), to("crm.test")]
    };

    let mut world = World::mailing(&options(Value::Null));
    world.post(&json!(flood));
    assert_eq!(split(sent_within(&mut world, 90_000)).map(|sent| sent.len()), [200; 3]);
    assert_eq!(world.host.metric(Metric::Capped), 0);

    let mut world = World::mailing(&options(json!(10)));
    world.post(&json!(flood));
    let [emails, hooks, channel] = split(sent_within(&mut world, 90_000));
    assert_eq!(emails.iter().map(stands_for).collect::<Vec<_>>(), [vec![1; 10], vec![190]].concat());
    assert_eq!(recipients(&emails), vec!["ops@acme.test"; 11]);
    let digest = body(&emails[10]);
    assert_eq!(digest["subject"], "190 events: key_event");
    let text = digest["content"][0]["value"].as_str().unwrap();
    assert!(text.trim().ends_with('.') && !text.contains("of the first"), "it mentions no key: {text}");
    for sent in [hooks, channel] {
        assert_eq!(sent.len(), 11);
        let digest = body(&sent[10]);
        let first = digest["data"]["first_seen"].clone();
        assert_eq!(
            digest,
            json!({ "event": "key_event.add", "data": { "suppressed": 190, "first_seen": first, "last_seen": first } })
        );
        assert_eq!(first, START.to_rfc3339());
    }

    // The portal's messages have another form.
    let message = json!({ "ID": 1, "Email": "ada@acme.test", "First": "A", "Last": "L", "OrgID": 2, "Provider": "p",
        "Status": "inactive", "CreatedAt": "2024-04-22T16:38:54Z", "ByUser": 1, "CustomAttributes": [] });
    let event = json!({ "Event": "UserAccountDeactivated", "org_id": "acme", "Message": message });
    world.post(&json!(vec![event; 15]));
    let [emails, hooks, _] = split(sent_within(&mut world, 90_000));
    assert_eq!(emails.iter().filter(|email| recipient(email) == "ada@acme.test").count(), 15, "developers have no cap");
    let told: Vec<u64> = emails.iter().filter(|email| recipient(email) == "ops@acme.test").map(stands_for).collect();
    assert_eq!(told, [vec![1; 10], vec![5]].concat());
    let digest = body(&hooks[10]);
    assert_eq!([&digest["Event"], &digest["Message"]["Suppressed"]], [&json!("UserAccountDeactivated"), &json!(5)]);
    assert!(digest["Message"]["FirstSeen"].is_string() && digest["Message"]["LastSeen"].is_string(), "{digest}");
    assert!(digest["Timestamp"].is_string(), "{digest}");
}

#[test]
fn the_cool_down_of_event_options_distinguishes_payloads_and_ends_with_a_failure() {
    let option = json!({ "email": "ops@acme.test", "webhook": "http://hooks.test/key", "event_timeout": 60 });
    let mut config = with_options(json!({ "key_event": option }));
    // An email that shows nothing of the payload.
    config["email_templates"] = json!({ "key_event": { "subject": "s", "text": "t" } });
    let mut world = World::mailing(&config);
    for id in ["a", "a", "b", "a"] {
        world.post(&key_event(id));
    }
    assert_eq!(world.deliver(10, 202).len(), 4, "an email and a message for each of two");
    assert_eq!(world.host.metric(Metric::Suppressed), 4);
    world.post(&key_event("c"));
    assert_eq!(world.deliver(10, 400).len(), 2);
    assert_eq!(world.host.metric(Metric::Failed), 2, "refused for good");
    world.post(&key_event("c"));
    assert_eq!(world.deliver(10, 202).len(), 2, "so the cause is free again");
    world.post(&key_event("c"));
    assert!(world.deliver(10, 202).is_empty());
}
