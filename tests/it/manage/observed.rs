/// The exchanges of the dashboard.
mod dashboard;
/// An exchange with an application.
mod exchange;
/// The exchanges of the gateway.
mod gateway;
/// The exchanges of the developer portal.
mod portal;
/// The required exchanges, and the fields that they may have.
mod table;

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tollbell_core::Preset;
use tollbell_tests::envoy::{Envoy, Setup};
use tollbell_tests::server::Server;

use self::exchange::{Exchange, JSON, RAW_KEY};
use super::stand_in::{Answer, Parts, Seen, StandIn, send};
use crate::support::{SOON, shared};

const ORG: &str = "5e2743567c1f8800018bdf35";

/// An Envoy in front of an upstream that answers with the exchanges in their order.
struct Observed {
    envoy: Envoy,
    upstream: StandIn,
    receiver: Server,
}

const PORTAL: [&str; 13] = [
    "UserRegistered",
    "UserAccountActivated",
    "UserAccountDeactivated",
    "PasswordReset",
    "ApplicationRegistered",
    "CredentialRegistered",
    "AccessRequestCreated",
    "AccessRequestApproved",
    "AccessRequestRejected",
    "OrganisationRegistered",
    "OrganisationRequestCreated",
    "OrganisationRequestApproved",
    "OrganisationRequestRejected",
];

impl Observed {
    async fn start(answer: impl Fn(&Seen) -> Answer + Clone + Send + Sync + 'static) -> Result<Self> {
        let (upstream, receiver) = (StandIn::start(answer).await?, Server::start().await?);
        let api = |id: &str, path: &str, preset: &str| {
            json!({ "api_id": id, "org_id": "acme", "listen_path": path, "use_keyless": true,
                "observe": { "preset": preset } })
        };
        let option = json!({ "webhook": "http://RECEIVER/event" });
        let events = ["api_event", "key_event", "hashed_key_event", "key_request_event", "portal_password_reset_event"];
        let options: serde_json::Map<_, _> =
            events.map(|event| (event.to_owned(), option.clone())).into_iter().collect();
        let config = json!({
            "apis": [
                api("gw", "/gw/", "tyk-gateway"),
                api("db", "/db/", "tyk-dashboard"),
                api("dev", "/dev/", "tyk-portal"),
            ],
            "orgs": { "acme": { "event_options": options }, ORG: { "event_options": options } },
            "webhooks": [{ "name": "portal", "target_url": "http://RECEIVER/event", "events": PORTAL }],
        });
        let envoy = Setup::config(&config, upstream.port, receiver.port)?.start().await?;
        Ok(Observed { envoy, upstream, receiver })
    }

    /// The names and payloads of `count` messages, in any order.
    async fn messages(&self, count: usize) -> Result<Vec<(String, Value)>> {
        let mut messages = Vec::new();
        for received in self.receiver.expect(count, SOON).await? {
            let mut message = received.json()?;
            let members: Vec<String> = message.as_object().context("an object")?.keys().cloned().collect();
            let (name, payload) = if members == ["Event", "Message", "Timestamp"] {
                let time = message["Timestamp"].as_str().context("a time")?;
                ensure!(time.len() >= 20 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
                ("Event", "Message")
            } else {
                assert_eq!(members, ["data", "event"]);
                ("event", "data")
            };
            messages.push((message[name].as_str().context("a name")?.to_owned(), message[payload].take()));
        }
        Ok(messages)
    }
}

fn sorted(mut messages: Vec<(String, Value)>) -> Vec<(String, Value)> {
    messages.sort_by_key(|(name, payload)| format!("{name} {payload}"));
    messages
}

/// Runs all exchanges, and compares the messages. There is at least one exchange for each row of the preset.
async fn drive(preset: Preset, prefix: &str, exchanges: Vec<Exchange>) -> Result<()> {
    table::check(preset, prefix, &exchanges);
    let _shared = shared().await;
    let exchanges = Arc::new(exchanges);
    let script = Arc::clone(&exchanges);
    let observed = Observed::start(move |seen| {
        let place: usize = seen.header("x-place").expect("a place").parse().expect("a number");
        let Exchange { status, response, location, .. } = &script[place];
        let mut headers = vec![("content-type", response.0.to_owned())];
        headers.extend((!location.is_empty()).then(|| ("location", (*location).to_owned())));
        Answer { status: *status, headers, body: Parts::whole(response.1.clone()) }
    })
    .await?;
    for (place, exchange) in exchanges.iter().enumerate() {
        let place = place.to_string();
        let mut headers = vec![("x-place", place.as_str())];
        headers.extend((!exchange.request.0.is_empty()).then_some(("content-type", exchange.request.0)));
        let body = Parts::whole(exchange.request.1.clone());
        let answer = send(observed.envoy.port, exchange.method, &exchange.target, &headers, body).await?;
        assert_eq!(
            (answer.status, &answer.body[..]),
            (exchange.status, &exchange.response.1[..]),
            "{}",
            exchange.target
        );
        let arrived = observed.upstream.seen().pop().context("nothing arrived")?;
        assert_eq!((arrived.target.as_str(), &arrived.body[..]), (exchange.target.as_str(), &exchange.request.1[..]));
    }
    let expected: Vec<(String, Value)> =
        exchanges.iter().flat_map(|e| &e.expected).map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let told = sorted(observed.messages(expected.len()).await?);
    let secrets = format!("{told:?}");
    assert_eq!(told, sorted(expected));
    assert!(!secrets.contains("hunter2") && !secrets.contains(RAW_KEY));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_of_the_gateway_become_events() -> Result<()> {
    drive(Preset::Gateway, "/gw/tyk", gateway::exchanges()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_of_the_dashboard_become_events() -> Result<()> {
    drive(Preset::Dashboard, "/db", dashboard::exchanges()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_of_the_portal_become_events() -> Result<()> {
    drive(Preset::Portal, "/dev", portal::exchanges()).await
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("memory")
}

/// Bodies with a known length, in parts, compressed, both, with another compression, over the limit, and over the limit
/// only after decompression; in both directions.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_read_as_they_are_encoded_and_pass_unchanged() -> Result<()> {
    const OVER: usize = 300 * 1024;
    let _shared = shared().await;
    let observed = Observed::start(|seen| {
        // The answer follows the request's last header, with the request's form.
        let is_chunked = seen.header("x-chunked").is_some();
        let size: usize = seen.header("x-fill").and_then(|text| text.parse().ok()).unwrap_or_default();
        let mut headers = vec![("content-type", JSON.to_owned())];
        let body = response(seen.header("x-name").unwrap_or_default(), size);
        let body = match seen.header("content-encoding") {
            Some(coding) => {
                headers.push(("content-encoding", coding.to_owned()));
                gzip(&body)
            }
            None => body,
        };
        Answer {
            status: 200,
            headers,
            body: if is_chunked { Parts::in_pieces_of(7, body) } else { Parts::whole(body) },
        }
    })
    .await?;
    let mut expected = Vec::new();
    for (name, coding, is_chunked, fill, is_read) in [
        ("plain", "", false, 0, true),
        ("chunked", "", true, 0, true),
        ("gzip", "gzip", false, 0, true),
        ("gzip-chunked", "gzip", true, 0, true),
        ("brotli", "br", false, 0, false),
        ("large", "", false, OVER, false),
        ("large-chunked", "", true, OVER, false),
        ("bomb", "gzip", false, OVER, false),
    ] {
        let plain = request(fill);
        // A body with the wrong label Brotli is not Brotli, and no one notices.
        let sent = if coding.is_empty() { plain } else { gzip(&plain) };
        let fill = fill.to_string();
        let mut headers = vec![("content-type", JSON), ("x-name", name), ("x-fill", &fill)];
        headers.extend((!coding.is_empty()).then_some(("content-encoding", coding)));
        headers.extend(is_chunked.then_some(("x-chunked", "yes")));
        let parts = if is_chunked { Parts::in_pieces_of(5, sent.clone()) } else { Parts::whole(sent.clone()) };
        let answer = send(observed.envoy.port, "POST", "/dev/portal-api/users", &headers, parts).await?;
        let arrived = observed.upstream.seen().pop().context("nothing arrived")?;
        ensure!(arrived.body == sent, "{name}: the request came changed");
        assert_eq!(arrived.header("content-length").is_none(), is_chunked, "{name}");
        let came = response(name, fill.parse()?);
        ensure!(answer.body == if coding.is_empty() { came } else { gzip(&came) }, "{name}: the answer came changed");
        assert_eq!(answer.header("content-length").is_none(), is_chunked, "{name}");
        if is_read {
            expected.push(("UserRegistered".to_owned(), json!({ "ID": 1, "First": name })));
        }
        // The request's direction.
        let parts = if is_chunked { Parts::in_pieces_of(5, sent.clone()) } else { Parts::whole(sent) };
        headers.retain(|(name, _)| *name != "x-fill");
        headers.push(("x-fill", "0"));
        let answer = send(observed.envoy.port, "PUT", "/dev/portal-api/users/1", &headers, parts).await?;
        assert_eq!(answer.status, 200);
        if is_read {
            expected.push(("UserAccountActivated".to_owned(), json!({ "ID": 1, "First": name, "Status": "active" })));
        }
    }
    // The answer to the registration says that the user is active, too.
    for (name, payload) in &mut expected {
        if name == "UserRegistered" {
            payload["Status"] = json!("active");
        }
    }
    assert_eq!(sorted(observed.messages(expected.len()).await?), sorted(expected));
    let log = observed.envoy.log();
    for reason in ["compressed with br", "larger than 262144 bytes", "larger than 262144 bytes, decompressed"] {
        assert!(log.contains(&format!("is not readable: {reason}\n")), "{reason}");
    }
    Ok(())
}

/// A request that only switches a user is an event. Blanks fill it up.
fn request(fill: usize) -> Vec<u8> {
    format!("{{\"ID\": 1, {}\"Active\": true}}", " ".repeat(fill)).into_bytes()
}

fn response(name: &str, fill: usize) -> Vec<u8> {
    json!({ "ID": 1, "First": name, "Active": true, "Fill": "x".repeat(fill) }).to_string().into_bytes()
}
