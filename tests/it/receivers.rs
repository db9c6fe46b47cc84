//! The built-in messages for receivers, verified by the receivers' own packages for Python and Node, or by the rules of
//! their documentation.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tollbell_core::preview::{Outcome, Preview, Wanted};
use tollbell_core::{EventKind, UnixMillis};
use tollbell_tests::project_root;

use crate::signatures::{node_path, output_of, verify};

const RECEIVERS: [&str; 7] = ["slack", "teams", "pagerduty", "opsgenie", "discord", "cloudevents", "standard_webhooks"];

const ROUTING_KEY: &str = "R0123456789abcdefR0123456789abcd";

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A configuration with a handler for each receiver, which is named after it.
fn config() -> Value {
    let webhook = |name: &str| {
        let mut webhook = json!({
            "name": name, "target_url": "https://receiver.example.com/in", "template_path": name, "events": ["AuthFailure"]
        });
        match name {
            "pagerduty" => webhook["receiver"] = json!({ "routing_key": ROUTING_KEY }),
            "opsgenie" => webhook["headers"] = json!({ "Authorization": "GenieKey 0815" }),
            "cloudevents" => webhook["receiver"] = json!({ "source": "https://gateway.example.com" }),
            "standard_webhooks" => webhook["secret"] = json!(SECRET),
            _ => {}
        }
        webhook
    };
    json!({
        "apis": [{ "api_id": "orders", "org_id": "acme" }],
        "orgs": { "acme": {} },
        "keys": { "demo-key": {} },
        "webhooks": RECEIVERS.map(webhook),
        "links": {
            "dashboard": "https://grafana.example.com/d/keys?var-key={{Meta.Fingerprint}}&var-path={{Meta.Path}}",
            "runbook": "https://wiki.example.com/{{Type}}",
        },
    })
}

/// Values that a client can send.
fn hostile() -> Vec<String> {
    let short = [
        "",
        "<!channel> <@U012AB3CD> <https://evil.example.com|click> & *bold* _it_ `code` :tada:",
        "@everyone @here <@1234> <#1> **bold** [click](https://evil.example.com) ||spoiler|| # title",
        "\"}],\"x\":[{\"\\\n\r\t\u{0}\u{7}\u{7f}\u{2028}{{Type}}",
        "\u{202e}gnp.exe\u{202c} \u{2066}שלום\u{2069} مرحبا",
        "👩‍👩‍👧‍👦🏴‍☠️e\u{301}\u{fdd0}\u{ffff}",
    ];
    let long = ["x", "<&>", "*_`[]", "🎉", "שלום ", "界", "\"\\\n"].map(|part| part.repeat(100_000 / part.len()));
    short.map(str::to_owned).into_iter().chain(long).collect()
}

/// The values of an event's fields, all of which are one hostile text.
fn fields(kind: EventKind, text: &str) -> Vec<(String, String)> {
    // Only a payload that an application posts has longer values.
    let short = text.chars().take(1024).collect::<String>();
    let names: &[&str] = if kind.is_management() { &[] } else { &OF_REQUESTS };
    let mut fields: Vec<_> = names.iter().map(|name| ((*name).to_owned(), short.clone())).collect();
    if kind.is_management() && !kind.is_portal() {
        fields.push(("data.note".to_owned(), Value::from(text).to_string()));
        fields.push(("data.thing".to_owned(), json!({ "name": text, "email": short, short: "x" }).to_string()));
    }
    fields
}

/// The fields that a client or a configuration can choose.
const OF_REQUESTS: [&str; 10] = [
    "Meta.Path",
    "Meta.Origin",
    "Meta.Key",
    "Meta.OrgID",
    "Meta.APIID",
    "Meta.Reason",
    "Meta.Alias",
    "Meta.Cluster",
    "Meta.Tags",
    "Meta.HostInfo.CheckURL",
];

/// The fields of a digest beside those of its first event.
fn of_digest(kind: EventKind, text: &str) -> Vec<(String, String)> {
    if kind.is_management() {
        // A portal's payload has only documented fields.
        return if kind.is_portal() { Vec::new() } else { vec![("data.suppressed".to_owned(), "50".to_owned())] };
    }
    let text: String = text.chars().take(512).collect();
    let crossing = json!({ "Key": text, "OrgID": text, "Alias": text, "TriggerLimit": "80", "Used": 8, "Max": 10 });
    let crossings = Value::from(vec![crossing; 40]).to_string();
    let mut fields = vec![
        ("Meta.Suppressed", "50".to_owned()),
        ("Meta.FirstSeen", "2026-11-29T10:00:00Z".to_owned()),
        ("Meta.LastSeen", "2026-11-29T10:01:00Z".to_owned()),
    ];
    if kind == EventKind::TriggerExceeded {
        fields.extend([("Meta.Crossings", crossings), ("Meta.Unnamed", "10".to_owned())]);
    }
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A message, with the headers of its request.
struct Message {
    receiver: String,
    event: &'static str,
    headers: BTreeMap<String, String>,
    body: String,
}

/// The messages of each receiver for each event with hostile values.
fn messages(preview: &Preview) -> Result<Vec<Message>> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let now = UnixMillis(u64::try_from(now.as_millis())?);
    let mut messages = Vec::new();
    for kind in EventKind::all() {
        for text in hostile() {
            let single = fields(kind, &text);
            let digest = single.iter().cloned().chain(of_digest(kind, &text)).collect();
            for fields in [single, digest] {
                for receiver in RECEIVERS {
                    let handler = Some(receiver.to_owned());
                    let wanted = Wanted { event: kind.name().to_owned(), fields: fields.clone(), handler };
                    for previewed in preview.messages(&wanted, now)? {
                        let Outcome::Request(request) = previewed.outcome else {
                            anyhow::bail!("{receiver} of {kind}: {:?}", previewed.outcome);
                        };
                        messages.push(Message {
                            receiver: receiver.to_owned(),
                            event: kind.name(),
                            headers: request.headers.into_iter().collect(),
                            body: String::from_utf8(request.body)?,
                        });
                    }
                }
            }
        }
    }
    Ok(messages)
}

#[test]
fn the_receivers_own_packages_accept_the_message_of_each_event_whatever_clients_send() -> Result<()> {
    let preview = Preview::load(config().to_string().as_bytes()).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let messages = messages(&preview)?;
    let (mut lines, mut signed) = (String::new(), String::new());
    for Message { receiver, event, headers, body } in &messages {
        let mut json: Value = serde_json::from_str(body).with_context(|| format!("{receiver} of {event}: {body}"))?;
        if receiver == "pagerduty" {
            assert_eq!(json["routing_key"], "…", "a preview shows no secret");
            json["routing_key"] = ROUTING_KEY.into();
        }
        lines += &format!("{}\n", json!({ "receiver": receiver, "event": event, "headers": headers, "body": json }));
        if receiver == "standard_webhooks" {
            signed += &format!("{}\n", json!({ "secret": SECRET, "body": body, "headers": headers }));
        }
    }
    let each = messages.len() / RECEIVERS.len();
    ensure!(each > 500, "{each} messages for each receiver");
    let python = project_root().join(".tools/receivers/bin/python");
    let verified = output_of(&python, &["tests/verify/receivers.py"], &lines)?;
    ensure!(verified.trim() == (2 * each).to_string(), "Python has verified {verified}");
    let verified = output_of(&node_path()?, &["tests/verify/receivers.mjs", ".tools/receivers"], &lines)?;
    ensure!(verified.trim() == (6 * each).to_string(), "Node has verified {verified}");
    ensure!(verify(&node_path()?, &["tests/verify/verify.mjs", ".tools/standardwebhooks"], &signed)?, "not signed");
    Ok(())
}

/// The verifiers would find mistakes.
#[test]
fn the_verifiers_refuse_wrong_messages() -> Result<()> {
    let text = "x".repeat(7000);
    let wrong = [
        (
            "slack",
            json!({ "text": "", "blocks": [{ "type": "header", "text": { "type": "plain_text", "text": text } }] }),
        ),
        ("opsgenie", json!({ "message": "a", "unknown": 1 })),
    ];
    let python = project_root().join(".tools/receivers/bin/python");
    for (receiver, body) in wrong {
        let line = format!("{}\n", json!({ "receiver": receiver, "event": "wrong", "body": body }));
        ensure!(output_of(&python, &["tests/verify/receivers.py"], &line).is_err(), "{receiver}");
    }
    let embeds = |embed: Value| json!({ "allowed_mentions": { "parse": [] }, "embeds": [embed] });
    let card = |card: Value| {
        let content = "application/vnd.microsoft.card.adaptive";
        json!({ "type": "message", "attachments": [{ "contentType": content, "content": card }] })
    };
    let wrong = [
        ("discord", embeds(json!({ "title": text }))),
        ("discord", json!({ "allowed_mentions": { "parse": ["everyone"] }, "embeds": [{ "title": "a" }] })),
        ("teams", card(json!({ "type": "AdaptiveCard", "version": "1.4", "body": [{ "type": "Unknown" }] }))),
        ("cloudevents", json!({ "specversion": "1.0", "id": "1", "type": "b" })),
        ("pagerduty", json!({ "routing_key": ROUTING_KEY, "dedup_key": "a", "event_action": "trigger" })),
        ("opsgenie", json!({ "message": text })),
        ("standard_webhooks", json!({ "type": "a b", "timestamp": "now", "data": {} })),
    ];
    for (receiver, body) in wrong {
        let headers = json!({ "content-type": "application/cloudevents+json; charset=utf-8" });
        let line = format!("{}\n", json!({ "receiver": receiver, "event": "wrong", "headers": headers, "body": body }));
        let output = output_of(&node_path()?, &["tests/verify/receivers.mjs", ".tools/receivers"], &line);
        ensure!(output.is_err(), "{receiver}: {output:?}");
    }
    Ok(())
}
