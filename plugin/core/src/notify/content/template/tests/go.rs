//! Go's templates, as users of Tyk write them.

use proptest::prelude::*;
use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// An event with more types of values than current events: lists, numbers, booleans, and text that each format must
/// escape.
fn data(kind: &str) -> serde_json::Value {
    json!({
        "Type": kind, "TimeStamp": "2026-10-21T08:15:30.250Z", "ID": "0a1b",
        "Meta": {
            "Message": "Says \"no\" & <stops>,\nthen 'ends'", "Path": "/a\\b", "Origin": "192.0.2.7", "Key": "k1",
            "OrgID": "acme", "TriggerLimit": "80", "UsagePercentage": "81", "Suppressed": 0, "Empty": "",
            "HostInfo": {
                "CheckURL": "http://a/?b&c", "ResponseCode": 503, "IsTCPError": false,
                "MetaData": { "host_name": "a", "api_id": "orders" }
            },
            "APIID": "orders", "CircuitEvent": 1, "CertID": "8c31", "CertName": "a.example",
            "ExpiresAt": "2026-11-01 00:00:00 +0000 UTC", "ExpiredAt": 1_800_000_000, "DaysRemaining": 11,
            "DaysSinceExpiry": 2, "CertRole": "server", "List": ["a", "b"], "Pairs": { "y": 2, "x": 1 }
        }
    })
}

fn render_with(name: &str, source: &str, data: &serde_json::Value) -> String {
    let mut templates = Templates::builtin();
    templates.add(name, source).unwrap_or_else(|error| panic!("{source}: {error}"));
    templates.render_with(name, data.clone()).unwrap_or_else(|error| panic!("{source}: {error}"))
}

/// A template as users of Tyk write it: a chain of event types with one body each.
const TYKS: &str = r#"{{- /* One body for each type of event. */ -}}
{{ if eq .Type "HostDown"}}
{
    "event": "{{.Type}}", "message": "{{.Meta.Message}}",
    "url": "{{.Meta.HostInfo.CheckURL}}", "response_code": {{.Meta.HostInfo.ResponseCode}},
    "tcp_error": {{.Meta.HostInfo.IsTCPError}}, "host": "{{.Meta.HostInfo.MetaData.host_name}}"
}
{{ else if eq .Type "HostUp" -}}
{
    {{- with .Meta.HostInfo}}
    "url": "{{.CheckURL}}", "host": "{{.MetaData.host_name}}", "event": "{{$.Type}}"
    {{- end}}
}
{{ else if eq .Type "TriggerExceeded" }}
{
    "event": "{{.EventType}}", "org": "{{.EventMetaData.OrgID}}", "key": "{{.Meta.Key}}",
    "trigger_limit": {{printf "%d" .Meta.TriggerLimit}}{{if ge .Meta.UsagePercentage 80}}, "high": true{{end}}
}
{{ else if or (eq .Type "BreakerTriggered") (eq .Type "BreakerTripped" "BreakerReset") }}
{ "event": "{{.Type}}", "api_id": "{{.Meta.APIID}}", "path": "{{.Meta.Path}}", "Status": "{{.Meta.CircuitEvent}}" }
{{ else if eq .Type "CertificateExpiringSoon" "CertificateExpired" }}
{ "event": "{{.Type}}", "expires_at": "{{as_rfc3339 .Meta.ExpiresAt}}", "days_remaining": {{.Meta.DaysRemaining}},
  "timestamp": "{{as_rfc3339_from_string .TimeStamp}}" }
{{ else }}
{
    "event": "{{.Type}}", "message": "{{.Meta.Message}}", "path": "{{.Meta.Path}}",
    "origin": "{{.Meta.Origin}}", "key": "{{.Meta.Key | printf "%s"}}"
}
{{ end }}
"#;

fn all_types() -> impl Iterator<Item = &'static str> {
    EventKind::of_gateway().map(EventKind::name).chain(EventKind::NEVER_FIRED)
}

#[test]
fn tyks_templates_run_unchanged() {
    let mut templates = Templates::builtin();
    templates.add("tyk.json", TYKS).unwrap();
    assert_eq!(templates.json_fault("tyk.json"), None);
    for kind in all_types() {
        let body = templates.render_with("tyk.json", data(kind)).unwrap();
        let value: serde_json::Value =
            serde_json::from_str(&body).unwrap_or_else(|error| panic!("{kind}: {error}: {body}"));
        assert_eq!(value["event"], kind);
    }
    let read =
        |kind| serde_json::from_str::<serde_json::Value>(&templates.render_with("tyk.json", data(kind)).unwrap());
    assert_eq!(read("AuthFailure").unwrap()["message"], data("")["Meta"]["Message"]);
    assert_eq!(read("TriggerExceeded").unwrap()["trigger_limit"], 80);
    assert_eq!(read("TriggerExceeded").unwrap()["high"], true);
    assert_eq!(read("CertificateExpired").unwrap()["expires_at"], "2026-11-01T00:00:00Z");
}

#[test]
fn the_default_template_has_tyks_fields_for_each_type() {
    let templates = Templates::builtin();
    let default = "templates/default_webhook.json";
    for kind in all_types() {
        let read = |mut data: serde_json::Value, suppressed: u64| {
            data["Meta"]["Suppressed"] = suppressed.into();
            let body = templates.render_with(default, data.clone()).unwrap();
            serde_json::from_str::<serde_json::Value>(&body).unwrap_or_else(|error| panic!("{kind}: {error}: {body}"))
        };
        let full = read(data(kind), 0);
        let fields: Vec<&str> = full.as_object().unwrap().keys().map(String::as_str).collect();
        let expected: &[&str] = match kind {
            "HostDown" | "HostUp" => &["api_id", "event", "host", "message", "response_code", "tcp_error", "url"],
            "BreakerTripped" | "BreakerReset" | "BreakerTriggered" => &["Status", "api_id", "event", "message", "path"],
            "UpstreamOAuthError" => &["api_id", "event", "message"],
            "TriggerExceeded" => &["event", "key", "message", "org", "trigger_limit"],
            "QuotaRenewed" => &["event", "key", "message", "org", "usage_percentage"],
            "QuotaForecast" => &["event", "expected_at", "key", "message", "org", "usage_percentage"],
            "TokenCreated" | "TokenUpdated" | "TokenDeleted" => &["event", "key", "message", "org"],
            "CertificateExpiringSoon" => &[
                "api_id",
                "cert_id",
                "cert_name",
                "cert_role",
                "days_remaining",
                "event",
                "expires_at",
                "message",
                "timestamp",
            ],
            "CertificateExpired" => &[
                "api_id",
                "cert_id",
                "cert_name",
                "cert_role",
                "days_since_expiry",
                "event",
                "expired_at",
                "message",
                "timestamp",
            ],
            _ => &["event", "key", "message", "origin", "path"],
        };
        assert_eq!(fields, expected, "{kind}");
        assert_eq!(read(data(kind), 3)["suppressed"], 3, "{kind}");
        // An event with a type alone.
        assert_eq!(read(json!({ "Type": kind, "Meta": {} }), 0)["event"], kind);
        let mut stable = data(kind);
        for path in ["/TimeStamp", "/ID", "/Meta/UsagePercentage"] {
            *stable.pointer_mut(path).unwrap() = "".into();
        }
        if !builtin::DEFAULT_IS_VOLATILE_FOR.contains(&kind) {
            assert_eq!(read(stable, 0), full, "{kind} shows what changes");
        }
    }
}

#[test]
fn each_format_escapes_what_go_tags_print() {
    let data = data("AuthFailure");
    let slack = r#"{"blocks": [{{range $i, $v := .Meta.List}}{{if $i}}, {{end}}{"type": "section", "text": {
        "type": "mrkdwn", "text": "*{{$.Type}}* {{printf "%s: %v" $v $.Meta.Message}} {{$.Meta.Message | html}} {{
        js $.Meta.Message}}"}}{{end}}]}"#;
    let body = render_with("slack.json", slack, &data);
    let value: serde_json::Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
    let message = data["Meta"]["Message"].as_str().unwrap();
    let html = "Says &#34;no&#34; &amp; &lt;stops&gt;,\nthen &#39;ends&#39;";
    assert_eq!(value["blocks"][1]["text"]["text"], format!("*AuthFailure* b: {message} {html} {message}"));

    let xml = "<e k=\"{{.Meta.Key}}\">{{with .Meta}}<m>{{.Message}}</m><m>{{html .Message}}</m>{{end}}</e>";
    let escaped = "Says &quot;no&quot; &amp; &lt;stops&gt;,&#10;then &#39;ends&#39;";
    assert_eq!(render_with("t.xml", xml, &data), format!("<e k=\"k1\"><m>{escaped}</m><m>{escaped}</m></e>"));

    let page =
        "<ul>{{range $k, $v := .Meta.Pairs}}<li>{{$k}}: {{$v}}</li>{{end}}<li>{{printf \"%s\" \"<b>\"}}</li></ul>";
    assert_eq!(render_with("t.html", page, &data), "<ul><li>x: 1</li><li>y: 2</li><li>&lt;b&gt;</li></ul>");

    let csv =
        "{{if .Type}}{{.Type}},\"{{.Meta.Message}}\",{{.Meta.Message}},\"{{printf \"%s\" .Meta.Message}}\"\n{{end}}";
    let doubled = message.replace('"', "\"\"");
    assert_eq!(render_with("t.csv", csv, &data), format!("AuthFailure,\"{doubled}\",\"{doubled}\",\"{doubled}\"\n"));
}

#[test]
fn tyks_functions_format_times() {
    for (source, expected) in [
        (
            "{{as_rfc3339 .TimeStamp}} {{.TimeStamp | as_rfc3339_from_string}}",
            "2026-10-21T08:15:30Z 2026-10-21T08:15:30Z",
        ),
        (
            "{{as_rfc3339 .Meta.ExpiresAt}} {{as_rfc3339 .Meta.ExpiredAt}} {{as_rfc3339 \"soon\"}}",
            "2026-11-01T00:00:00Z 2027-01-15T08:00:00Z soon",
        ),
        ("{{as_rfc3339_from_string \"2026-10-21 08:15:30.123456 +0200 CEST\"}}", "2026-10-21T08:15:30+02:00"),
        ("{{as_rfc3339 TimeStamp}}", "2026-10-21T08:15:30Z"),
    ] {
        assert_eq!(render_with("t.txt", source, &data("HostDown")), expected, "{source}");
    }
    let error = error("t.txt", "{{.TimeStamp.Format \"2006\"}}");
    assert!(error.message.contains("as_rfc3339"), "{error}");
}

#[test]
fn a_message_has_a_maximum_length() {
    let source = format!(
        "{{{{range .}}}}{{{{range $.Meta}}}}{{{{range $.Meta}}}}{}{{{{end}}}}{{{{end}}}}{{{{end}}}}",
        "x".repeat(5000)
    );
    assert!(error("t.txt", &source).message.contains("longer than"));
}

proptest! {
    #[test]
    fn no_value_breaks_json(text in any::<String>()) {
        let mut data = data("AuthFailure");
        data["Meta"]["Key"] = text.clone().into();
        let source = r#"{"a": "{{.Meta.Key}}", "b": "{{printf "%s" .Meta.Key}}", "c": "{{.Meta.Key | html}}",
            "d": "{{.Meta.Key | js}}", "e": "{{range $k, $v := .Meta}}{{$v}}{{end}}",
            "f": "{{as_rfc3339 .Meta.Key}}", "g": "{{printf "%d %q %x" .Meta.Key .Meta.Key .Meta.Key}}"}"#;
        let value: serde_json::Value = serde_json::from_str(&render_with("t.json", source, &data)).unwrap();
        prop_assert_eq!(value["a"].as_str(), Some(text.as_str()));
        prop_assert_eq!(value["b"].as_str(), Some(text.as_str()));
    }
}
