//! What happens to held messages when the configuration changes: the cases of `tests/updates.json`, and those of
//! emails, digests and several configurations.

use std::collections::BTreeSet;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::host::Metric;

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn cases() -> Vec<Value> {
    let text = include_str!("../../../../../tests/updates.json");
    let text = text.replace("RECEIVER", "hooks.test").replace("DEAD", "dead.test");
    serde_json::from_str(&text.replace("SECRET-OLD", OLD).replace("SECRET-NEW", NEW)).unwrap()
}

/// A configuration with one API that has these AuthFailure handlers, or without any API if there is no list.
fn api(handlers: &Value, settings: &Value) -> Value {
    let webhook = |handler: &Value| {
        let mut handler = handler.clone();
        if handler.get("handler_name").is_none() {
            handler = json!({ "handler_name": "eh_web_hook_handler", "handler_meta": handler });
            let meta = handler["handler_meta"].as_object_mut().unwrap();
            meta.entry("template_path").or_insert(json!("t.json"));
        }
        handler
    };
    let handlers = match handlers {
        Value::Array(list) => Value::Array(list.iter().map(webhook).collect()),
        other => other.clone(),
    };
    let mut config = json!({
        "apis": [{ "api_id": "case", "event_handlers": { "events": { "AuthFailure": &handlers } } }],
        "templates": { "t.json": "{\"key\": \"{{Meta.Key}}\"}", "t.xml": "<key>{{Meta.Key}}</key>" },
        "delivery": { "max_attempts": 20 },
    });
    if handlers.is_null() {
        config["apis"] = json!([]);
    }
    for (name, value) in settings.as_object().into_iter().flatten() {
        config[name] = value.clone();
    }
    config
}

impl World {
    fn begin(&mut self, config: &Value, scope: u64) {
        self.host.set_plugin_name(&if scope == 0 { String::new() } else { scope.to_string() });
        let salt = self.vms.len() as u64 + 100;
        self.vms.push(self.engine(load(config), salt));
    }

    /// Starts the latest configuration, while the proxy drains the former one.
    fn update(&mut self, config: &Value) {
        self.begin(config, 0);
    }

    /// The requests that are sent within `ms` milliseconds. Receivers answer with `status`.
    fn sent(&mut self, ms: u64, status: u16) -> Vec<Callout> {
        (0..ms / 500).flat_map(|_| self.deliver(500, status)).collect()
    }
}

fn header<'c>(callout: &'c Callout, name: &str) -> Option<&'c str> {
    callout.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// True if exactly these secrets have signed the request.
fn is_signed_with(callout: &Callout, secrets: &[&str]) -> bool {
    let signatures: BTreeSet<String> =
        header(callout, "webhook-signature").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let expected = secrets.iter().map(|secret| {
        let (id, time) = (header(callout, "webhook-id").unwrap(), header(callout, "webhook-timestamp").unwrap());
        standardwebhooks::Webhook::new(secret).unwrap().sign(id, time.parse().unwrap(), &callout.body).unwrap()
    });
    signatures == expected.collect()
}

#[test]
fn a_held_message_follows_its_handler() {
    for case in cases() {
        let name = case["name"].as_str().unwrap();
        let mut world = World::new(&api(&case["before"], &case["settings_before"]));
        world.deliver(500, 503);
        world.get("/x", "bad");
        let held = world.sent(1000, 503).iter().map(|callout| header(callout, ":path")).collect::<BTreeSet<_>>().len();
        world.update(&api(&case["after"], &case["settings_after"]));
        // The former configuration may make an attempt until the update has ticked. Then the lease takes its time to
        // change hands, and the back-off of two or three failures passes.
        world.sent(500, 503);
        let sent = world.sent(12_000, 200);
        let expected = case["then"].as_array().unwrap();
        let paths = |callouts: &[Callout]| {
            let mut paths: Vec<_> =
                callouts.iter().map(|callout| header(callout, ":path").unwrap().to_owned()).collect();
            paths.sort();
            paths
        };
        let wanted: Vec<_> = expected.iter().map(|message| message["path"].as_str().unwrap().to_owned()).collect();
        assert_eq!(paths(&sent), wanted, "{name}");
        for message in expected {
            let callout = sent.iter().find(|sent| header(sent, ":path") == message["path"].as_str()).unwrap();
            assert_eq!(header(callout, ":authority"), Some("hooks.test"), "{name}");
            let secrets: Vec<&str> =
                message["secrets"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            assert!(is_signed_with(callout, &secrets), "{name}: {secrets:?}");
            if let Some(method) = message["method"].as_str() {
                assert_eq!(header(callout, ":method"), Some(method), "{name}");
            }
            let body =
                if message["method"] == "GET" { "" } else { message["body"].as_str().unwrap_or("{\"key\": \"bad\"}") };
            assert_eq!(std::str::from_utf8(&callout.body).unwrap(), body, "{name}");
            // A header that is null must be missing.
            for (header_name, value) in message["headers"].as_object().into_iter().flatten() {
                assert_eq!(header(callout, header_name), value.as_str(), "{name}: {header_name}");
            }
        }
        let withdrawn = case["withdrawn"].as_u64().unwrap_or_default();
        assert_eq!(held as u64, wanted.len() as u64 + withdrawn, "{name}: all were held");
        let counted = [Metric::Withdrawn, Metric::Failed].map(|metric| world.host.metric(metric));
        assert_eq!(counted, [withdrawn, 0], "{name}");
        let readdressed = case["readdressed"].as_u64().unwrap_or_default();
        assert_eq!(world.host.metric(Metric::Readdressed), readdressed, "{name}");
        assert_eq!(world.host.metric_named("tollbell_held"), Some(0), "{name}");
    }
}

fn hook_with(meta: Value) -> Value {
    json!([{ "handler_name": "eh_web_hook_handler", "handler_meta": meta }])
}

#[test]
fn a_configuration_beside_another_does_not_sign_or_address_its_messages() {
    let config = |url: &str, secret: Value| {
        api(&hook_with(json!({ "target_path": url, "secret": secret, "template_path": "t.json" })), &Value::Null)
    };
    let plain = config("http://hooks.test/plain", json!(""));
    // Both URLs are equal, too, or the handler has the same name and another URL.
    for other in ["http://hooks.test/plain", "http://other.test/"] {
        let signed = config(other, json!(NEW));
        for order in [[&plain, &signed], [&signed, &plain]] {
            let mut world = World::new(&plain);
            world.vms.clear();
            // The proxy starts both before either ticks, and the later one leads.
            order.iter().for_each(|config| world.begin(config, 0));
            world.deliver(500, 503);
            let made_by_plain = usize::from(order[0] != &plain);
            world.on_vm(made_by_plain, &[(":path", b"/"), ("authorization", b"by-plain")]);
            world.on_vm(1 - made_by_plain, &[(":path", b"/"), ("authorization", b"by-signed")]);
            let sent = world.sent(20_000, 503);
            assert!(sent.len() >= 4);
            for callout in &sent {
                let is_signed = callout.body.windows(9).any(|bytes| bytes == b"by-signed");
                assert!(is_signed_with(callout, if is_signed { &[NEW] } else { &[] }));
                let host = if is_signed && other.contains("other") { "other.test" } else { "hooks.test" };
                assert_eq!(header(callout, ":authority"), Some(host));
            }
        }
    }
}

#[test]
fn an_update_of_one_placement_does_not_update_another() {
    let config = |secret: &str, api_id: &str| {
        let mut config = api(
            &hook_with(json!({ "target_path": "http://hooks.test/", "secret": secret, "template_path": "t.json" })),
            &Value::Null,
        );
        config["apis"][0]["name"] = json!(api_id);
        config
    };
    // Their names distinguish them, whichever of them leads.
    for updated in [0, 1] {
        let mut world = World::new(&json!({}));
        world.vms.clear();
        world.begin(&config(OLD, "a"), 1);
        world.begin(&config(OLD, "b"), 2);
        world.deliver(500, 503);
        for vm in [0, 1] {
            world.on_vm(vm, &[(":path", b"/"), ("authorization", format!("made-by-{vm}").as_bytes())]);
        }
        world.sent(1000, 503);
        let name = ["a", "b"][updated];
        world.begin(&config(NEW, name), updated as u64 + 1);
        world.sent(500, 503);
        let sent = world.sent(12_000, 200);
        assert_eq!(sent.len(), 2);
        for callout in &sent {
            let is_updated = String::from_utf8_lossy(&callout.body).contains(&format!("made-by-{updated}"));
            assert!(is_signed_with(callout, if is_updated { &[NEW] } else { &[OLD] }), "{updated} {is_updated}");
        }
        // A drained configuration keeps what it makes, although an update of the other one leads.
        world.on_vm(updated, &[(":path", b"/"), ("authorization", b"while-it-is-drained")]);
        world.sent(1000, 503);
        world.begin(&config(NEW, if updated == 0 { "b" } else { "a" }), 2 - updated as u64);
        let sent = world.sent(10_000, 200);
        assert!(!sent.is_empty() && sent.iter().all(|callout| is_signed_with(callout, &[OLD])));
    }
}

#[test]
fn former_vms_send_their_own_messages_while_they_are_drained() {
    let config = |url: &str| api(&hook_with(json!({ "target_path": url, "template_path": "t.json" })), &Value::Null);
    let mut world = World::new(&config("http://hooks.test/first"));
    world.deliver(500, 200);
    world.now = world.now.plus(1000);
    world.update(&config("http://hooks.test/second"));
    world.sent(3000, 200);
    // Envoy also keeps the first one for a rollback, and does not tell.
    world.now = world.now.plus(1);
    world.on_vm(0, &[(":path", b"/"), ("authorization", b"bad")]);
    let sent = world.sent(3000, 503);
    assert!(sent.iter().all(|callout| header(callout, ":path") == Some("/first")) && !sent.is_empty());
    // When nothing of it is left, the other one takes over.
    let mut first = world.vms.remove(0);
    first.on_shutdown(&world.host);
    let sent = world.sent(20_000, 200);
    assert_eq!(sent.last().and_then(|callout| header(callout, ":path")), Some("/second"));
}

#[test]
fn emails_follow_the_account_and_the_address() {
    let config = |code: &str, settings: Value, email: &str| {
        let handler = json!([{ "handler_name": "eh_email_handler", "handler_meta": { "email": email } }]);
        let mail = json!({ "email_backend": { "enable_email_notifications": true, "code": code, "settings": settings,
            "default_from_email": "no-reply@acme.test", "default_from_name": "Acme" } });
        api(&handler, &mail)
    };
    let ses = |secret: &str| json!({ "Region": "eu-west-1", "AccessKeyId": secret.replace('-', ""), "SecretAccessKey": secret });
    let mailgun = |secret: &str| json!({ "Domain": "mg.acme.test", "PrivateKey": secret, "PublicKey": "p" });
    let key = |secret: &str| json!({ "ClientKey": secret });
    let basic = |secret: &str| {
        use base64::Engine as _;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("api:{secret}")))
    };
    for (code, before, after, shows) in [
        ("mandrill", key("old-key"), key("new-key"), "\"key\":\"new-key\"".to_owned()),
        ("sendgrid", key("old-key"), key("new-key"), "Bearer new-key".to_owned()),
        ("mailgun", mailgun("old-key"), mailgun("new-key"), basic("new-key")),
        ("amazonses", ses("old-key"), ses("new-key"), "Credential=newkey/".to_owned()),
    ] {
        let mut world = World::new(&config(code, before, "left@acme.test"));
        world.host.set_reply(&[], b"{}");
        world.deliver(500, 503);
        world.get("/", "bad");
        assert_eq!(world.sent(500, 503).len(), 1, "{code}");
        world.update(&config(code, after, "came@acme.test"));
        let sent = world.sent(10_000, 503);
        let last = sent.last().unwrap();
        let said = format!("{:?}{}", last.headers, String::from_utf8_lossy(&last.body));
        assert!(said.contains(&shows) && !said.contains("old-key"), "{code}: {said}");
        assert!(said.contains("came@acme.test") && !said.contains("left@acme.test"), "{code}: {said}");
    }
    // Another provider, and no provider.
    let mut world = World::new(&config("sendgrid", key("old-key"), "a@acme.test"));
    world.host.set_reply(&[], b"{}");
    world.deliver(500, 503);
    world.get("/", "bad");
    world.sent(500, 503);
    world.update(&config("mandrill", key("new-key"), "a@acme.test"));
    let sent = world.sent(10_000, 503);
    assert_eq!(header(sent.last().unwrap(), ":authority"), Some("mandrillapp.com"));
    world.update(&api(&json!([]), &Value::Null));
    world.sent(10_000, 200);
    assert_eq!(world.host.metric(Metric::Withdrawn), 1);
}

#[test]
fn digests_follow_their_handler() {
    let config = |url: &str| {
        let meta = json!({ "target_path": url, "event_timeout": 10, "digest": true, "max_per_minute": 2 });
        api(&hook_with(meta), &Value::Null)
    };
    let mut world = World::new(&config("http://hooks.test/first"));
    world.deliver(500, 200);
    for key in ["a", "a", "b", "c", "d"] {
        world.get("/", key);
    }
    assert_eq!(world.sent(500, 200).len(), 2);
    world.update(&config("http://hooks.test/second"));
    let sent = world.sent(90_000, 200);
    let counts: Vec<_> = sent
        .iter()
        .map(|callout| {
            let body: Value = serde_json::from_slice(&callout.body).unwrap();
            (header(callout, ":path").unwrap().to_owned(), body["suppressed"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(counts, [("/second".to_owned(), 1), ("/second".to_owned(), 2)], "one of the cool-down, one of the cap");
}

#[test]
fn each_placement_has_its_own_caps_claims_and_room() {
    let config = |capacity: u64| {
        let meta =
            json!({ "target_path": "http://hooks.test/", "event_timeout": 600, "max_per_minute": 3, "digest": true });
        api(&hook_with(meta), &json!({ "delivery": { "capacity": capacity } }))
    };
    let mut world = World::new(&json!({}));
    world.vms.clear();
    world.begin(&config(16), 1);
    world.begin(&config(1024), 2);
    world.deliver(500, 200);
    for vm in [1, 0] {
        for key in ["same", "same", "b", "c", "d", "e"] {
            world.on_vm(vm, &[(":path", b"/"), ("authorization", key.as_bytes())]);
        }
    }
    assert_eq!(world.sent(500, 503).len(), 6, "three of each placement");
    let kept = [Metric::Suppressed, Metric::Capped, Metric::Dropped].map(|metric| world.host.metric(metric));
    assert_eq!(kept, [2, 4, 0]);

    let mut free = config(1024);
    free["apis"][0]["event_handlers"]["events"]["AuthFailure"][0]["handler_meta"]["max_per_minute"] = json!(0);
    let mut world = World::new(&json!({}));
    world.vms.clear();
    world.begin(&config(20), 1);
    world.begin(&free, 2);
    (0..900).for_each(|n| drop(world.on_vm(1, &[(":path", b"/"), ("authorization", format!("bad-{n}").as_bytes())])));
    let dropped = world.host.metric(Metric::Dropped);
    world.on_vm(0, &[(":path", b"/"), ("authorization", b"bad")]);
    assert_eq!(world.host.metric(Metric::Dropped), dropped, "a table of 20 beside a full one of 1,024");
}

#[test]
fn attempts_follow_the_messages_own_configuration() {
    let config = |attempts: u64| {
        let meta = json!({ "target_path": "http://hooks.test/", "template_path": "t.json" });
        api(&hook_with(meta), &json!({ "delivery": { "max_attempts": attempts, "base_delay_ms": 100 } }))
    };
    let mut world = World::new(&json!({}));
    world.vms.clear();
    world.begin(&config(2), 1);
    world.begin(&config(5), 2);
    world.deliver(500, 503);
    for vm in [0, 1] {
        world.on_vm(vm, &[(":path", b"/"), ("authorization", format!("by-{vm}").as_bytes())]);
    }
    let sent = world.sent(60_000, 503);
    let of = |key: &str| sent.iter().filter(|callout| String::from_utf8_lossy(&callout.body).contains(key)).count();
    assert_eq!([of("by-0"), of("by-1")], [2, 5]);
}
