use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tollbell_tests::client::{Reply, load, raw, send};
use tollbell_tests::envoy::Setup;
use tollbell_tests::project_root;
use tollbell_tests::server::Manner;

use super::{BEARER, admin, world};
use crate::support::{SOON, World, eventually, hook};

/// The samples of Tyk's documentation: the portal's thirteen, then the key request.
fn samples() -> Result<Vec<Value>> {
    let lines = fs::read_to_string(project_root().join("plugin/core/src/observe/tests/samples.jsonl"))?;
    lines.lines().map(|line| serde_json::from_str(line).context("a sample")).collect()
}

/// The events that an organisation's `event_options` can name, each with the names of its messages.
const DASHBOARD: [(&str, &[&str]); 6] = [
    ("api_event", &["api_event.add", "api_event.update", "api_event.delete"]),
    ("key_event", &["key_event.add", "key_event.update", "key_event.delete"]),
    ("hashed_key_event", &["hashed_key_event.add", "hashed_key_event.update", "hashed_key_event.delete"]),
    (
        "key_request_event",
        &[
            "key_request_event.submitted",
            "key_request_event.approved",
            "key_request_event.updated",
            "key_request_event.deleted",
        ],
    ),
    ("password_reset_event", &["password_reset_event"]),
    ("portal_password_reset_event", &["portal_password_reset_event"]),
];

const ORG_OF_SAMPLE: &str = "5e2743567c1f8800018bdf35";

/// A channel for each event: a named webhook for each of the portal's, and one per organisation for the dashboard's.
fn config() -> Result<Value> {
    let portal = samples()?.into_iter().filter_map(|sample| Some(sample["Event"].as_str()?.to_owned()));
    let webhook = |event: String| {
        // The documentation's list has this spelling.
        let listed = event.replace("Organisation", "Organization");
        json!({ "name": format!("channel of {event}"), "target_url": format!("http://RECEIVER/{event}"),
            "headers": { "X-Channel": event }, "events": [listed] })
    };
    let org = |org: &str| {
        let option = |event: &str| json!({ "webhook": format!("http://RECEIVER/{org}/{event}"), "redis": false });
        let options: BTreeMap<_, _> = DASHBOARD.iter().map(|(event, _)| (*event, option(event))).collect();
        json!({ "event_options": options })
    };
    Ok(json!({
        "apis": [{ "api_id": "orders", "org_id": "acme" }],
        "keys": {},
        "orgs": { "acme": org("acme"), ORG_OF_SAMPLE: org(ORG_OF_SAMPLE), "quiet": {} },
        "webhooks": portal.map(webhook).collect::<Vec<_>>(),
        "event_handlers": { "events": { "AuthFailure": [hook("/auth", 0)] } },
        "admin": admin(),
    }))
}

async fn post(world: &World, body: impl ToString) -> Result<(u16, Value)> {
    let headers = [("authorization", BEARER), ("content-type", "application/json")];
    let body = body.to_string().into_bytes();
    let reply = send(world.envoy.port, "POST", "/.tollbell/events", &headers, body).await?;
    Ok((reply.status, serde_json::from_str(&reply.body).with_context(|| reply.body.clone())?))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_posted_event_reaches_its_channel_as_documented() -> Result<()> {
    let world = world(&config()?).await?;
    let mut expected = BTreeMap::new();
    let samples = samples()?;
    let (portal, key_request) = samples.split_at(13);
    ensure!(key_request.len() == 1, "fourteen samples");
    // The portal's events in one list, as documented, and one of them alone in the short form.
    let (status, answer) = post(&world, json!(portal)).await?;
    assert_eq!((status, &answer["accepted"]), (202, &json!(vec![json!({ "handlers": 1 }); 13])));
    for sample in portal {
        let event = sample["Event"].as_str().context("a name")?;
        expected.entry(format!("/{event}")).or_insert_with(Vec::new).push(sample.clone());
    }
    // The dashboard's events one by one. The organisation is in the sample's data, or next to it.
    assert_eq!(post(&world, &key_request[0]).await?.0, 202);
    expected.insert(format!("/{ORG_OF_SAMPLE}/key_request_event"), vec![key_request[0].clone()]);
    for (event, names) in DASHBOARD {
        for name in names {
            let data = json!({ "id": format!("of {name}"), "org_id": "other", "names": ["ü\"\n<b>", 1.5, null, {}] });
            let (status, answer) = post(&world, json!({ "event": name, "org_id": "acme", "data": data })).await?;
            assert_eq!((status, answer), (202, json!({ "accepted": [{ "handlers": 1 }] })), "{name}");
            let messages = expected.entry(format!("/acme/{event}")).or_insert_with(Vec::new);
            messages.push(json!({ "event": name, "data": data }));
            // An organisation without a channel is not notified.
            let quiet = json!({ "event": name, "org_id": "quiet", "data": data });
            assert_eq!(post(&world, quiet).await?.1, json!({ "accepted": [{ "handlers": 0 }] }));
        }
    }
    let count = expected.values().map(Vec::len).sum();
    let mut arrived = BTreeMap::new();
    for message in world.receiver.expect(count, SOON).await? {
        assert_eq!((message.method.as_str(), message.header("content-type")), ("POST", Some("application/json")));
        if let Some(channel) = message.header("x-channel") {
            assert_eq!(message.target, format!("/{channel}"));
        }
        arrived.entry(message.target.clone()).or_insert_with(Vec::new).push(message.json()?);
    }
    for messages in expected.values_mut().chain(arrived.values_mut()) {
        messages.sort_by_key(Value::to_string);
    }
    assert_eq!(arrived, expected);
    assert_eq!(world.envoy.metric("tollbell_delivered{}").await?, count as u64);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_in_a_posted_event_are_reported_and_nothing_is_sent() -> Result<()> {
    let world = world(&config()?).await?;
    let samples = samples()?;
    let changed = |place: usize, pointer: &str, value: Value| {
        let mut sample = samples[place].clone();
        *sample.pointer_mut(pointer).expect(pointer) = value;
        sample
    };
    let without = |place: usize, name: &str| {
        let mut sample = samples[place].clone();
        sample["Message"].as_object_mut().expect("an object").remove(name);
        sample
    };
    let mut unknown = samples[4].clone();
    unknown["Message"]["Nmae"] = json!("x");
    for (event, path) in [
        (changed(0, "/Event", json!("UserRegisterd")), "Event"),
        (changed(0, "/Message/ID", json!("29")), "Message.ID"),
        (changed(0, "/Message/CustomAttributes/0/Value", json!(1)), "Message.CustomAttributes[0].Value"),
        (changed(0, "/Message/CreatedAt", json!("yesterday")), "Message.CreatedAt"),
        (changed(6, "/Message/ProductIDs", json!([1, "2"])), "Message.ProductIDs[1]"),
        (changed(9, "/Message", json!([])), "Message"),
        (changed(9, "/Timestamp", json!(1)), "Timestamp"),
        (without(9, "Name"), "Message.Name"),
        (unknown, "Message.Nmae"),
        (changed(13, "/event", json!("key_request_event.added")), "event"),
        (changed(13, "/event", json!("key_request_event")), "event"),
        (changed(13, "/data/approved", json!("no")), "data.approved"),
        (changed(13, "/data/portal_developer/email", json!(null)), "data.portal_developer.email"),
        (json!({ "event": "key_event.add", "org_id": 7, "data": {} }), "org_id"),
        (json!({ "event": "key_event.add" }), "data"),
        (json!("key_event.add"), ""),
    ] {
        let (status, answer) = post(&world, &event).await?;
        let paths: Vec<&str> =
            answer["errors"].as_array().context("errors")?.iter().filter_map(|e| e["path"].as_str()).collect();
        assert_eq!((status, paths), (422, vec![path]), "{event}: {answer}");
        // For a list the error has the index, and the valid events are not taken either.
        let (status, answer) = post(&world, json!([samples[0], event])).await?;
        let first = answer["errors"][0]["path"].as_str().context("a path")?;
        assert_eq!(status, 422);
        assert!(first.starts_with("[1]") && first.ends_with(path), "{answer}");
    }
    let hint = post(&world, changed(0, "/Event", json!("UserRegisterd"))).await?.1.to_string();
    assert!(hint.contains("UserRegistered"), "{hint}");
    assert_eq!(post(&world, "{").await?.0, 400);
    assert_eq!(post(&world, " ".repeat(256 * 1024 + 1)).await?.0, 413);
    // Where so much comes at once, Envoy answers itself.
    let headers = [("authorization", BEARER)];
    let long = vec![b' '; 2 * 1024 * 1024];
    assert_eq!(send(world.envoy.port, "POST", "/.tollbell/events", &headers, long).await?.status, 413);
    world.receiver.expect(0, SOON).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_with_trailers_ends_in_the_filter_too() -> Result<()> {
    const HTTP: &str = "          stat_prefix: gateway\n";
    let with_trailers = format!("{HTTP}          http_protocol_options: {{ enable_trailers: true }}\n");
    let world = World::with_setup(|upstream, receiver| {
        Ok(Setup::config(&config()?, upstream, receiver)?.edit(|yaml| yaml.replacen(HTTP, &with_trailers, 1)))
    })
    .await?;
    let event = json!({ "event": "key_event.add", "org_id": "acme", "data": { "id": "1" } });
    let body = event.to_string();
    for (path, status) in [("/.tollbell/events", "202"), ("/orders/1", "401")] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: a.test\r\nauthorization: {}\r\nconnection: close\r\ntrailer: x-sum\r\n\
             transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\nx-sum: 1\r\n\r\n",
            if status == "202" { BEARER } else { "" },
            body.len()
        );
        let reply = String::from_utf8(raw(world.envoy.port, request.as_bytes()).await?)?;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {reply}");
    }
    let [message] = &world.messages(1).await?[..] else { panic!() };
    assert_eq!(*message, json!({ "event": "key_event.add", "data": { "id": "1" } }));
    assert_eq!(world.upstream.count(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn if_envoy_does_not_pass_the_body_the_answer_says_so() -> Result<()> {
    const ALLOW: &str = "                allow_on_headers_stop_iteration: true\n";
    let world = World::with_setup(|upstream, receiver| {
        let setup = Setup::config(&config()?, upstream, receiver)?;
        Ok(setup.edit(|yaml| yaml.replacen(ALLOW, "", 1)))
    })
    .await?;
    let event = json!({ "event": "key_event.add", "org_id": "acme", "data": {} });
    let (status, answer) = post(&world, event).await?;
    let error = answer["error"].as_str().context("an error")?;
    assert!(status == 408 && error.contains("allow_on_headers_stop_iteration: true"), "{status} {error}");
    assert_eq!(world.upstream.count() + world.receiver.count(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_posted_event_without_room_is_reported_in_the_answer() -> Result<()> {
    let mut config = config()?;
    config["delivery"] = json!({ "capacity": 16 });
    let world = world(&config).await?;
    world.receiver.set_manner(Manner { status: 500, ..Manner::default() });
    let event = |n: usize| json!({ "event": "key_event.add", "org_id": "acme", "data": { "n": n } });
    let events: Vec<Value> = (0..100).map(event).collect();
    let (status, answer) = post(&world, json!(events)).await?;
    assert_eq!(status, 503, "{answer}");
    let told = answer["accepted"].as_array().context("a list")?;
    assert_eq!(told.len(), events.len());
    assert!(told.iter().all(|one| *one == json!({ "handlers": 1 }) || *one == json!({ "handlers": 1, "dropped": 1 })));
    let mut expected: Vec<Value> = events
        .iter()
        .zip(told)
        .filter(|(_, one)| one.get("dropped").is_none())
        .map(|(event, _)| event["data"].clone())
        .collect();
    assert!((1..=16).contains(&expected.len()), "{}", expected.len());
    assert_eq!(world.envoy.metric("tollbell_dropped{}").await?, (events.len() - expected.len()) as u64);
    // Accepted events arrive, and no others.
    world.receiver.set_manner(Manner::default());
    eventually("accepted events are delivered", async || {
        Ok(world.envoy.metric("tollbell_delivered{}").await? == expected.len() as u64)
    })
    .await?;
    let arrived = world.receiver.received().into_iter().filter(|message| message.answered == 200);
    let mut arrived = arrived.map(|message| Ok(message.json()?["data"].clone())).collect::<Result<Vec<Value>>>()?;
    arrived.sort_by_key(Value::to_string);
    expected.sort_by_key(Value::to_string);
    assert_eq!(arrived, expected);
    // There is room again.
    assert_eq!(post(&world, event(100)).await?.0, 202);
    Ok(())
}

/// The parts of a reply that could distinguish one path from another. Envoy closes the connection if it has not read a
/// body.
fn told(reply: &Reply) -> (u16, Vec<(String, String)>, String) {
    let telling = reply.headers.iter().filter(|(name, _)| name != "date" && name != "connection").cloned().collect();
    (reply.status, telling, reply.body.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_without_the_token_reveal_nothing_and_are_one_message() -> Result<()> {
    const PATHS: [&str; 6] = [
        "/.tollbell/messages/none/resend",
        "/.tollbell/status",
        "/.tollbell/events",
        "/.tollbell/webhooks/channel%20of%20UserRegistered/test",
        "/.tollbell/webhooks/none/test",
        "/.tollbell/none?x=1",
    ];
    let world = world(&config()?).await?;
    let port = world.envoy.port;
    let request = |n: usize| (PATHS[n % PATHS.len()].to_owned(), format!("Bearer wrong-{n}"));
    let replies = load(port, 16, 1000, request).await?;
    let expected = told(&replies[0]);
    assert_eq!(expected.0, 401);
    assert!(replies.iter().all(|reply| told(reply) == expected));
    for path in PATHS {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            for headers in [vec![], vec![("authorization", "let-me-in")], vec![("authorization", "Bearer ")]] {
                let reply = send(port, method, path, &headers, b"{}".to_vec()).await?;
                assert_eq!(told(&reply), expected, "{method} {path} {headers:?}");
            }
        }
    }
    let [message] = &world.messages(1).await?[..] else { panic!() };
    assert_eq!((&message["event"], &message["key"]), (&json!("AuthFailure"), &json!("")), "{message}");
    // With the token there is a difference.
    let with_token = async |method: &str, path: &str| {
        anyhow::Ok(send(port, method, path, &[("authorization", BEARER)], Vec::new()).await?.status)
    };
    assert_eq!(with_token("GET", "/.tollbell/status").await?, 200);
    assert_eq!(with_token("PUT", "/.tollbell/status").await?, 405);
    assert_eq!(with_token("GET", "/.tollbell/none").await?, 404);
    assert_eq!(with_token("POST", "/.tollbell/webhooks/none/test").await?, 404);
    assert_eq!(with_token("POST", "/.tollbell/messages/none/resend").await?, 404);
    assert_eq!(with_token("POST", "/.tollbell/events").await?, 400, "no body is no JSON");
    world.receiver.expect(1, SOON).await?;
    Ok(())
}
