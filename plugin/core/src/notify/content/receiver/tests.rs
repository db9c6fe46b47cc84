use proptest::prelude::*;
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::base::{UnixMillis, client_text, cut};
use crate::event::{Crossed, EventKind, Family, HostInfo, HostPlace, Management, Meta, Subject};
use crate::notify::Templates;

const RAW_KEY: &str = "raw-key-4711";
const FINGERPRINT: &str = "sha256:0f0f0f0f0f0f0f0f";

/// An event of this type whose values, where a client or a configuration can choose them, contain `text`.
fn event(kind: EventKind, text: &str) -> Event {
    // Only payloads have longer values.
    let (payload_text, text) = (text, &client_text(text.as_bytes()));
    let meta = Meta {
        message: "Message".to_owned(),
        path: format!("/path{text}"),
        origin: format!("192.0.2.7{text}"),
        key: RAW_KEY.to_owned(),
        org_id: format!("acme{text}"),
        org: format!("acme{text}"),
        api_id: format!("orders{text}"),
        reason: format!("reason{text}"),
        host_info: HostInfo {
            check_url: format!("/check{text}"),
            response_code: 503,
            is_tcp_error: true,
            meta_data: HostPlace { host_name: format!("host{text}"), api_id: format!("orders{text}") },
        },
        circuit_event: "0".to_owned(),
        cluster: format!("cluster{text}"),
        alias: format!("alias{text}"),
        tags: vec![format!("gold{text}")],
        trigger_limit: "80".to_owned(),
        usage_percentage: "81".to_owned(),
        ..Meta::default()
    };
    let management = kind.is_management().then(|| {
        let text = payload_text;
        let payload = json!({
            "name": format!("name{text}"), "key_id": RAW_KEY, "password": RAW_KEY, "nothing": null, "count": 3,
            format!("label{text}"): format!("value{text}"), "ids": [1, 2], "api_definition": { "name": text, "active": true },
        });
        let action = kind.actions().first().map_or("", |action| action.name());
        let name = if action.is_empty() { kind.name().to_owned() } else { format!("{kind}.{action}") };
        let (body, stable) = (payload.to_string(), payload.to_string());
        Box::new(Management { name, action, body, stable, payload, concerned: None })
    });
    let crossed = (kind.family() == Family::Threshold).then(|| Box::new(crossed(RAW_KEY)));
    Event {
        kind,
        id: "0a1b".into(),
        at: UnixMillis(1_792_570_530_250),
        meta,
        fingerprint: FINGERPRINT.into(),
        management,
        crossed,
    }
}

fn crossed(key: &str) -> Crossed {
    Crossed {
        key: key.to_owned(),
        org_id: "acme".into(),
        trigger_limit: "80".into(),
        used: 8,
        max: 10,
        ..Crossed::default()
    }
}

/// A digest of such events.
fn digest(kind: EventKind, text: &str) -> Event {
    let mut event = event(kind, text);
    event.meta.suppressed = 40;
    event.meta.first_seen = "2026-10-21T02:15:00Z".to_owned();
    event.meta.last_seen = "2026-10-21T02:16:00Z".to_owned();
    if kind == EventKind::TriggerExceeded {
        event.meta.crossings = (0..30).map(|n| crossed(cut(&format!("sha256:{n}{text}"), 512))).collect();
        event.meta.unnamed = 10;
    }
    event.crossed = None;
    event
}

fn links(of: &[(&str, &str)]) -> Links {
    let mut links = Links::default();
    for (name, url) in of {
        links.add(name, url).unwrap();
    }
    links
}

fn receivers(links: Links) -> Receivers {
    Receivers::new(ALL.into_iter(), links)
}

fn written(receivers: &Receivers, name: &str, event: &Event) -> Value {
    let body = receivers.render(Receiver::named(name).unwrap(), "tollbell", event).unwrap();
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{name} of {}: {error}\n{body}", event.kind))
}

#[test]
fn each_receiver_gets_json_for_each_event_whatever_clients_send() {
    let receivers = receivers(links(&[("dashboard", "https://a.test/?key={{Meta.Key}}&path={{Meta.Path}}")]));
    let hostile = [
        "",
        "\"}],\\\n{{Type}}\u{0}\u{2028}",
        "<!channel> @everyone [x](https://b.test)",
        "\u{202e}שלום🎉",
        &"x".repeat(100_000),
    ];
    for kind in EventKind::all() {
        for text in hostile {
            for event in [event(kind, text), digest(kind, text)] {
                for receiver in ALL {
                    let body = written(&receivers, receiver.name, &event);
                    assert!(body.is_object());
                    let text = body.to_string();
                    let most = if receiver.shows_keys { 1_100_000 } else { 28 * 1024 };
                    assert!(text.len() < most, "{} of {kind}: {} bytes", receiver.name, text.len());
                    let shows_key = text.contains(RAW_KEY);
                    assert_eq!(shows_key, receiver.shows_keys, "{} of {kind}: {text}", receiver.name);
                }
            }
        }
    }
}

#[test]
fn nothing_that_a_client_sends_rings_or_formats() {
    let receivers = receivers(Links::default());
    let event = event(EventKind::AuthFailure, "<!channel><@U1>&@everyone*b*");
    let slack = written(&receivers, "slack", &event).to_string();
    assert!(slack.contains("&lt;!channel&gt;&lt;@U1&gt;&amp;") && !slack.contains(['<', '>']), "{slack}");
    assert!(!slack.contains("mrkdwn"), "Slack's Markdown cannot be escaped");
    let discord = written(&receivers, "discord", &event);
    assert_eq!(discord["allowed_mentions"], json!({ "parse": [] }));
    let discord = discord.to_string();
    assert!(!discord.contains("@everyone") && discord.contains("\\\\*b\\\\*"), "{discord}");
    let teams = written(&receivers, "teams", &event).to_string();
    assert!(!teams.contains("\"TextBlock\"") && !teams.contains("FactSet"), "Teams reads Markdown in these");
}

#[test]
fn pagerduty_resolves_what_it_has_triggered() {
    let receivers = receivers(Links::default());
    let action = |kind, change: &dyn Fn(&mut Event)| {
        let mut event = event(kind, "");
        change(&mut event);
        let body = written(&receivers, "pagerduty", &event);
        (body["event_action"].as_str().unwrap().to_owned(), body["dedup_key"].as_str().unwrap().to_owned())
    };
    let same = |_: &mut Event| {};
    for (problem, end) in [
        (EventKind::TriggerExceeded, EventKind::QuotaRenewed),
        (EventKind::QuotaExceeded, EventKind::QuotaRenewed),
        (EventKind::HostDown, EventKind::HostUp),
        (EventKind::BreakerTripped, EventKind::BreakerReset),
    ] {
        let (triggered, resolved) = (
            action(problem, &same),
            action(end, &|event| {
                // The first request of the next window may be for another API, and another threshold was the highest.
                event.meta.trigger_limit = "100".to_owned();
                event.meta.path = "/other".to_owned();
            }),
        );
        assert_eq!((triggered.0.as_str(), resolved.0.as_str()), ("trigger", "resolve"), "{problem}");
        assert_eq!(triggered.1, resolved.1, "{problem}");
    }
    let of_org = |event: &mut Event| event.meta.key.clear();
    let quotas = [action(EventKind::TriggerExceeded, &same).1, action(EventKind::TriggerExceeded, &of_org).1];
    assert_ne!(quotas[0], quotas[1], "the quota of a key and that of its organisation");
    assert_eq!(action(EventKind::OrgQuotaExceeded, &same).1, quotas[1]);
    assert_ne!(action(EventKind::HostDown, &same).1, action(EventKind::BreakerTripped, &same).1);
    let is_reset = |event: &mut Event| event.meta.circuit_event = "1".to_owned();
    assert_eq!(action(EventKind::BreakerTriggered, &same).0, "trigger");
    assert_eq!(action(EventKind::BreakerTriggered, &is_reset), action(EventKind::BreakerReset, &same));
    for kind in EventKind::all() {
        assert!(action(kind, &same).1.len() <= 64);
    }
}

#[test]
fn a_digest_lists_some_thresholds_and_counts_the_others() {
    let receivers = receivers(Links::default());
    let mut one_quota = digest(EventKind::TriggerExceeded, "");
    let several = written(&receivers, "pagerduty", &one_quota);
    assert_eq!(several["payload"]["summary"], "40 events: Quota threshold reached");
    let text = several["payload"]["custom_details"]["Message"].as_str().unwrap();
    assert!(text.contains("\n- sha256:0 of acme 80 % (8 of 10)\n") && text.ends_with("\n- and 30 more"), "{text}");
    one_quota.meta.crossings.truncate(1);
    one_quota.meta.unnamed = 0;
    let one = written(&receivers, "pagerduty", &one_quota);
    assert_eq!(one["dedup_key"], written(&receivers, "pagerduty", &event(EventKind::TriggerExceeded, ""))["dedup_key"]);
    assert_ne!(one["dedup_key"], several["dedup_key"]);
}

#[test]
fn programs_get_the_payload_of_a_management_event_and_the_fields_of_others() {
    let receivers = receivers(links(&[("dashboard", "https://a.test/{{Meta.Fingerprint}}")]));
    let body = written(&receivers, "cloudevents", &event(EventKind::TriggerExceeded, ""));
    assert_eq!(
        body,
        json!({
            "specversion": "1.0", "id": "0a1b", "source": "tollbell", "type": "tollbell.TriggerExceeded",
            "time": "2026-10-21T08:15:30.250Z", "subject": "orders", "datacontenttype": "application/json",
            "data": {
                "Message": "Message", "OrgID": "acme", "APIID": "orders", "Key": RAW_KEY, "Fingerprint": FINGERPRINT,
                "Alias": "alias", "Path": "/path", "Origin": "192.0.2.7", "Reason": "reason", "TriggerLimit": "80",
                "UsagePercentage": "81", "Cluster": "cluster", "CircuitEvent": "0", "Used": 8, "Max": 10, "Tags": ["gold"], "links": { "dashboard": "https://a.test/sha256%3A0f0f0f0f0f0f0f0f" },
            }
        })
    );
    let body = written(&receivers, "standard_webhooks", &event(EventKind::KeyEvent, ""));
    assert_eq!((body["type"].as_str(), body["data"]["key_id"].as_str()), (Some("key_event.add"), Some(RAW_KEY)));
}

#[test]
fn links_are_urls_whatever_their_values_are() {
    let link = |url: &str, text: &str| {
        let receivers = receivers(links(&[("a", url)]));
        written(&receivers, "pagerduty", &event(EventKind::AuthFailure, text))["links"].clone()
    };
    let escaped = link("https://a.test/{{Meta.APIID}}?path={{.Meta.Path}}&x={{{Meta.OrgID}}}", "/ \"&#é");
    let wanted =
        "https://a.test/orders%2F%20%22%26%23%C3%A9?path=%2Fpath%2F%20%22%26%23%C3%A9&x=acme%2F%20%22%26%23%C3%A9";
    assert_eq!(escaped, json!([{ "href": wanted, "text": "a" }]));
    assert_eq!(link("https://a.test/{{Meta.Path}}", &"x".repeat(1000)), json!([]), "a cut URL would lead elsewhere");
    assert!(link("https://a.test/{{Meta.Key}}", "").to_string().contains("sha256%3A0f0f"), "no key in a URL");
    assert!(Links::default().add("a", "https://a.test/{{#if}}").is_err());
    assert_eq!(Links::default().add("a", "https://a.test/{{Meta.APIID}}"), Ok("https://a.test/sample".to_owned()));
}

/// The name in the title, and the severity.
#[test]
fn each_event_has_a_title_and_a_severity() {
    let receivers = receivers(Links::default());
    let shown = |kind, of_org: bool| {
        let mut event = event(kind, "");
        if of_org {
            event.meta.key.clear();
        }
        let payload = written(&receivers, "slack", &event);
        let last =
            payload["blocks"].as_array().unwrap().last().unwrap()["elements"][0]["text"].as_str().unwrap().to_owned();
        (payload["text"].as_str().unwrap().to_owned(), last)
    };
    let pair = |title: &str, end: &str| (title.to_owned(), end.to_owned());
    assert_eq!(
        shown(EventKind::TriggerExceeded, false),
        pair("Quota threshold reached: alias", "warning: TriggerExceeded")
    );
    assert_eq!(shown(EventKind::QuotaRenewed, true), pair("Quota renewed: organisation acme", "info: QuotaRenewed"));
    assert_eq!(shown(EventKind::HostDown, false), pair("Upstream is down: cluster", "critical: HostDown"));
    assert_eq!(shown(EventKind::AuthFailure, false), pair("Access refused: orders", "warning: AuthFailure"));
    assert_eq!(shown(EventKind::ApiEvent, false), pair("API created: name", "info: api_event.add"));
    assert_eq!(shown(EventKind::UserRegistered, false), pair("Portal user registered: name", "info: UserRegistered"));
}

/// The fields of an event that differ between events.
fn any_event() -> impl Strategy<Value = Event> {
    let kinds: Vec<EventKind> = EventKind::all().collect();
    let text = || prop::sample::select(vec!["", "a", "b"]);
    let values = prop::array::uniform9(text());
    (prop::sample::select(kinds), values, 0_u64..3, any::<[bool; 2]>()).prop_map(
        |(kind, values, n, [is_down, would_refuse])| {
            let [path, origin, key, org, api, reason, alias, limit, cluster] = values;
            let mut event = event(kind, "");
            event.id = format!("id{n}{path}");
            event.at = UnixMillis(n);
            event.fingerprint = format!("sha256:{key}");
            event.meta = Meta {
                path: path.into(),
                origin: origin.into(),
                key: key.into(),
                org_id: org.into(),
                api_id: api.into(),
                reason: reason.into(),
                alias: alias.into(),
                trigger_limit: limit.into(),
                cluster: cluster.into(),
                circuit_event: if is_down { "0" } else { "1" }.into(),
                usage_percentage: n.to_string(),
                expected_at: n.to_string(),
                would_refuse,
                host_info: HostInfo { check_url: path.into(), response_code: 500, ..HostInfo::default() },
                ..event.meta
            };
            if let Some(crossed) = &mut event.crossed {
                (crossed.used, crossed.subject) = (n, Subject::Organisation);
            }
            event
        },
    )
}

proptest! {
    /// Two events that the default template's cool-down holds back as one are one for a receiver, too, and two that it
    /// tells apart are two.
    #[test]
    fn a_cool_down_holds_back_as_much_as_with_the_default_template(one in any_event(), other in any_event()) {
        let templates = Templates::builtin();
        let default = templates.find("").unwrap();
        let other = Event { kind: one.kind, management: one.management.clone(), ..other };
        let stable = |event: &Event| templates.render(&default, event).unwrap().stable().to_owned();
        prop_assert_eq!(stable(&one) == stable(&other), cause(&one) == cause(&other), "{:?}\n{:?}", one.meta, other.meta);
    }
}
