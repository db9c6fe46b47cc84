//! What becomes of held messages when the listener is updated in a real Envoy: every case of `tests/updates.json` at once,
//! and several listeners with one `vm_id`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tollbell_tests::client::{count_status, get_with_key, load};
use tollbell_tests::envoy::{Setup, free_port};
use tollbell_tests::project_root;
use tollbell_tests::server::{Manner, Received, Server};

use crate::support::{World, eventually, hook, shared};

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_dG9sbGJlbGwtdGVzdHMtcm90YXRlLXRoaXMta2V5";

/// The cases, each with an API, webhooks and paths of its own.
fn cases(dead: u16) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(project_root().join("tests/updates.json"))?;
    let cases: Vec<Value> = serde_json::from_str(&text)?;
    let own = |(index, case): (usize, Value)| -> Result<Value> {
        let text = case.to_string().replace("SECRET-OLD", OLD).replace("SECRET-NEW", NEW);
        let text = text.replace("NAME-", &format!("c{index}-")).replace("DEAD", &format!("127.0.0.1:{dead}"));
        Ok(serde_json::from_str(&text.replace("RECEIVER/", &format!("RECEIVER/{index}/")))?)
    };
    cases.into_iter().enumerate().map(own).collect()
}

/// One configuration with an API for each case, as it is before or after.
fn config(cases: &[Value], when: &str) -> Value {
    let (mut apis, mut webhooks) = (Vec::new(), Vec::new());
    for (index, case) in cases.iter().enumerate() {
        if let Some(handlers) = case[when].as_array() {
            let handlers: Vec<Value> = handlers.iter().map(handler).collect();
            apis.push(json!({ "api_id": format!("c{index}"), "listen_path": format!("/c{index}/"),
                "event_handlers": { "events": { "AuthFailure": handlers } } }));
        }
        let list = case[format!("settings_{when}")]["webhooks"].as_array();
        webhooks.extend(list.into_iter().flatten().cloned());
    }
    json!({
        "apis": apis, "webhooks": webhooks,
        "templates": { "t.json": "{\"key\": \"{{Meta.Key}}\"}", "t.xml": "<key>{{Meta.Key}}</key>" },
        "delivery": { "max_attempts": 100, "base_delay_ms": 100, "max_delay_ms": 500 },
    })
}

fn handler(handler: &Value) -> Value {
    if handler.get("handler_name").is_some() {
        return handler.clone();
    }
    let mut handler = json!({ "handler_name": "eh_web_hook_handler", "handler_meta": handler });
    if handler["handler_meta"].get("template_path").is_none() {
        handler["handler_meta"]["template_path"] = json!("t.json");
    }
    handler
}

/// Whether exactly these secrets have signed it.
fn is_signed_with(message: &Received, secrets: &[&str]) -> bool {
    let mut signatures: Vec<&str> =
        message.header("webhook-signature").unwrap_or_default().split_whitespace().collect();
    let sign = |secret: &&str| {
        let id = message.header("webhook-id")?;
        let time = message.header("webhook-timestamp")?.parse().ok()?;
        standardwebhooks::Webhook::new(secret).ok()?.sign(id, time, &message.body).ok()
    };
    let Some(mut expected) = secrets.iter().map(sign).collect::<Option<Vec<String>>>() else { return false };
    signatures.sort_unstable();
    expected.sort();
    signatures == expected
}

#[tokio::test(flavor = "multi_thread")]
async fn held_messages_follow_their_handlers_through_an_update() -> Result<()> {
    let cases = cases(free_port()?)?;
    ensure!(cases.len() >= 30, "{} cases", cases.len());
    let world = World::with_setup(|upstream, receiver| {
        Ok(Setup::config(&config(&cases, "before"), upstream, receiver)?.watch_listener())
    })
    .await?;
    world.receiver.set_manner(Manner { status: 503, ..Manner::default() });
    for index in 0..cases.len() {
        assert_eq!(get_with_key(world.envoy.port, &format!("/c{index}/x"), "bad").await?.status, 403);
    }
    let held = || cases.iter().map(|case| case["before"].as_array().map_or(0, Vec::len) as u64).sum::<u64>();
    eventually("all are held", async || Ok(world.envoy.metric("tollbell_held{}").await? == held())).await?;
    let after = Setup::config(&config(&cases, "after"), world.upstream.port, world.receiver.port)?;
    world.envoy.update_listener(after)?;
    let withdrawn: u64 = cases.iter().filter_map(|case| case["withdrawn"].as_u64()).sum();
    // Those come at once, whatever their receivers answer.
    eventually(
        "what was removed is ended",
        async || Ok(world.envoy.metric("tollbell_withdrawn{}").await? == withdrawn),
    )
    .await?;
    world.receiver.set_manner(Manner::default());
    eventually("nothing is held any more", async || Ok(world.envoy.metric("tollbell_held{}").await? == 0)).await?;
    let received = world.receiver.received();
    for (index, case) in cases.iter().enumerate() {
        let name = case["name"].as_str().context("no name")?;
        let prefix = format!("/{index}/");
        let taken: Vec<&Received> =
            received.iter().filter(|message| message.answered == 200 && message.target.starts_with(&prefix)).collect();
        let expected = case["then"].as_array().context("no list")?;
        let wanted: Vec<String> = expected
            .iter()
            .map(|message| format!("/{index}{}", message["path"].as_str().unwrap_or_default()))
            .collect();
        let mut targets: Vec<String> = taken.iter().map(|message| message.target.clone()).collect();
        targets.sort();
        assert_eq!(targets, wanted, "{name}");
        for (message, target) in expected.iter().zip(&wanted) {
            let got = taken.iter().find(|message| message.target == *target).context("it came")?;
            let secrets: Vec<&str> =
                message["secrets"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            assert!(is_signed_with(got, &secrets), "{name}: {secrets:?} {:?}", got.headers);
            if let Some(method) = message["method"].as_str() {
                assert_eq!(got.method, method, "{name}");
            }
            let body = if message["method"] == "GET" { "" } else { "{\"key\": \"bad\"}" };
            assert_eq!(String::from_utf8_lossy(&got.body), body, "{name}");
            for (header, value) in message["headers"].as_object().into_iter().flatten() {
                assert_eq!(got.header(header), value.as_str(), "{name}: {header}");
            }
        }
    }
    let readdressed: u64 = cases.iter().filter_map(|case| case["readdressed"].as_u64()).sum();
    assert_eq!(world.envoy.metric("tollbell_readdressed{}").await?, readdressed);
    assert_eq!(world.envoy.metric("tollbell_failed{}").await?, 0);
    let log = world.envoy.log();
    assert_eq!(log.matches("an update removed this handler").count() as u64, withdrawn, "one line for each handler");
    Ok(())
}

/// AuthFailure to a path, signed.
fn signed(path: &str, secret: &str) -> Value {
    let mut hook = hook(path, 0);
    hook["handler_meta"]["secret"] = json!(secret);
    json!({
        "apis": [{ "api_id": "orders", "event_handlers": { "events": { "AuthFailure": [hook] } } }],
        "delivery": { "max_attempts": 100, "base_delay_ms": 100, "max_delay_ms": 500 },
    })
}

/// `envoy/envoy.yaml` with a second listener: each has tollbell under a plugin name and with a configuration of its own.
fn two_listeners(world: (u16, u16), second_port: u16, names: [&str; 2], configs: [&Value; 2]) -> Result<Setup> {
    let (upstream, receiver) = world;
    let first = Setup::config(configs[0], upstream, receiver)?;
    let other = Setup::config(configs[1], upstream, receiver)?;
    let (other_port, _) = other.listener_and_admin();
    let listener = |yaml: &str| -> Result<String> {
        let (_, rest) = yaml.split_once("  listeners:\n").context("no listeners")?;
        Ok(rest.split_once("\n  clusters:\n").context("no clusters")?.0.to_owned())
    };
    let named = |text: String, name: &str| -> Result<String> {
        let plugin = "              config:\n                name: tollbell\n";
        ensure!(text.contains(plugin), "the plugin has no name");
        Ok(text.replacen(plugin, &format!("              config:\n                name: {name}\n"), 1))
    };
    let one = named(listener(first.text())?, names[0])?;
    let two = named(listener(other.text())?, names[1])?;
    let two = two.replace(&format!("port_value: {other_port} "), &format!("port_value: {second_port} "));
    let at = "  - name: ";
    let two = two.replacen(at, "  - name: second_", 1);
    let both = format!("{one}\n{two}");
    let whole = listener(first.text())?;
    Ok(first.edit(|yaml| yaml.replacen(&whole, &both, 1)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_signs_nothing_of_another_with_the_same_names() -> Result<()> {
    let _shared = shared().await;
    let (upstream, receiver) = (Server::start().await?, Server::start().await?);
    receiver.set_manner(Manner { status: 503, ..Manner::default() });
    for (plain_first, names) in
        [(true, ["tollbell", "tollbell"]), (false, ["tollbell", "tollbell"]), (true, ["front", "back"])]
    {
        let (plain, secret) = (signed("/same", ""), signed("/same", NEW));
        let configs = if plain_first { [&plain, &secret] } else { [&secret, &plain] };
        let second = free_port()?;
        let envoy = two_listeners((upstream.port, receiver.port), second, names, configs)?.start().await?;
        let ports = if plain_first { [envoy.port, second] } else { [second, envoy.port] };
        let before = receiver.count();
        for n in 0..10 {
            for (port, by) in ports.into_iter().zip(["plain", "secret"]) {
                assert_eq!(get_with_key(port, "/", &format!("{by}-{n}")).await?.status, 403);
            }
        }
        eventually("each was tried thrice", async || Ok(receiver.count() >= before + 60)).await?;
        for message in &receiver.received()[before..] {
            let body = String::from_utf8_lossy(&message.body);
            let is_secret = body.contains("secret-");
            assert!(is_signed_with(message, if is_secret { &[NEW] } else { &[] }), "{names:?} {body}");
        }
    }
    Ok(())
}

/// Both listeners come by LDS; one of them is updated at a time.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_of_one_listener_is_none_of_the_other() -> Result<()> {
    let _shared = shared().await;
    let (upstream, receiver) = (Server::start().await?, Server::start().await?);
    receiver.set_manner(Manner { status: 503, ..Manner::default() });
    let second = free_port()?;
    let names = ["front", "back"];
    let mut configs = [signed("/front", OLD), signed("/back", OLD)];
    let servers = (upstream.port, receiver.port);
    let setup = two_listeners(servers, second, names, [&configs[0], &configs[1]])?;
    let envoy = setup.watch_listener().start().await?;
    let ask = async |key: &str| -> Result<()> {
        for port in [envoy.port, second] {
            let key = key.to_owned();
            let replies = load(port, 2, 5, move |n| ("/".into(), format!("{key}-{n}"))).await?;
            ensure!(count_status(&replies, 403) == 5, "refused");
        }
        Ok(())
    };
    ask("first").await?;
    eventually("all are held", async || Ok(envoy.metric("tollbell_held{}").await? == 10)).await?;
    for (updated, secret) in [(0, NEW), (1, NEW), (0, OLD)] {
        configs[updated] = signed(["/front", "/back"][updated], secret);
        let next = two_listeners(servers, second, names, [&configs[0], &configs[1]])?;
        envoy.update_listener(next)?;
        let path = ["/front", "/back"][updated];
        let is_of = |message: &Received| message.target == path;
        eventually("the update is followed", async || {
            let received = receiver.received();
            Ok(received.iter().rev().find(|message| is_of(message)).is_some_and(|last| is_signed_with(last, &[secret])))
        })
        .await?;
        // From here on, until the next update, every attempt of both is signed as its own listener says.
        let seen = receiver.count();
        eventually("each was tried", async || Ok(receiver.count() >= seen + 20)).await?;
        let secrets: BTreeMap<&str, &str> = ["/front", "/back"]
            .into_iter()
            .zip(&configs)
            .map(|(path, config)| {
                let meta = &config["apis"][0]["event_handlers"]["events"]["AuthFailure"][0]["handler_meta"];
                (path, meta["secret"].as_str().unwrap_or_default())
            })
            .collect();
        for message in &receiver.received()[seen..] {
            assert!(is_signed_with(message, &[secrets[message.target.as_str()]]), "{updated}: {}", message.target);
        }
    }
    Ok(())
}
