use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::base::UnixMillis;
use crate::event::{EventKind, HostInfo, Meta};

fn event(key: &str) -> Event {
    Event {
        kind: EventKind::AuthFailure,
        id: "0a1b".into(),
        at: UnixMillis(1_792_570_530_250),
        meta: Meta {
            message: "Auth Failure".into(),
            path: "/orders/1".into(),
            origin: "192.0.2.7".into(),
            key: key.into(),
            ..Meta::default()
        },
        fingerprint: String::new(),
        management: None,
        crossed: None,
    }
}

fn render(name: &str, source: &str, key: &str) -> String {
    let mut templates = Templates::builtin();
    templates.add(name, source).unwrap();
    templates.render(&templates.find(name).unwrap(), &event(key)).unwrap().body
}

fn error(name: &str, source: &str) -> TemplateError {
    Templates::builtin().add(name, source).unwrap_err()
}

#[test]
fn the_default_template_is_the_same_as_tyks() {
    let templates = Templates::builtin();
    let default = templates.find("").unwrap();
    let body = templates.render(&default, &event("k1")).unwrap().body;
    let value: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        value,
        serde_json::json!({
            "event": "AuthFailure", "message": "Auth Failure", "path": "/orders/1", "origin": "192.0.2.7", "key": "k1"
        })
    );
}

#[test]
fn a_crossed_threshold_has_its_own_fields() {
    let meta =
        Meta { message: "Quota trigger reached".to_owned(), ..Meta::of_quota("acme", "", "80".to_owned(), 8, 10) };
    let event = Event { kind: EventKind::TriggerExceeded, meta, ..event("") };
    let templates = Templates::builtin();
    for name in ["", "templates/monitor_template.json"] {
        let body = templates.render(&templates.find(name).unwrap(), &event).unwrap().body;
        let value: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "event": "TriggerExceeded", "message": "Quota trigger reached", "org": "acme", "key": "",
                "trigger_limit": "80"
            })
        );
    }
}

#[test]
fn tyks_tags_old_and_new_are_substituted() {
    let source = "{{.EventType}} {{ .EventMetaData.Key }} {{.Type}} {{.Meta.Key}} {{EventType}} {{Meta.Key}}";
    assert_eq!(render("t.txt", source, "k"), "AuthFailure k AuthFailure k AuthFailure k");
}

#[test]
fn trim_markers_and_comments_work() {
    assert_eq!(render("t.txt", "a  {{- .Type -}}  b", ""), "aAuthFailureb");
    assert_eq!(render("t.txt", "a {{/* note }} */}}b{{! x }}{{!-- {{y}} --}}c", ""), "a bc");
    assert_eq!(render("t.txt", "a {{- /* note */ -}} b", ""), "ab");
}

#[test]
fn conditions_are_handlebars() {
    let source = r#"{{#if (eq Type "AuthFailure")}}yes{{else if Meta.Key}}key{{else}}no{{/if}}"#;
    assert_eq!(render("t.txt", source, ""), "yes");
}

#[test]
fn a_backslash_before_a_go_tag_is_text() {
    assert_eq!(render("t.txt", r"C:\{{.Type}}", ""), r"C:\AuthFailure");
}

#[test]
fn a_template_that_does_not_parse_is_refused_with_its_place() {
    assert_eq!(error("t.json", "{\n{{#if Type}}\n").line, 2);
    assert_eq!(error("t.json", "ab {{Type").column, 4);
    assert!(Templates::builtin().add("t.json", "{{#each}}{{/if}}").is_err());
}

#[test]
fn hostile_values_keep_each_format_whole() {
    let hostile = "a\"b\\c\n{{Type}}\u{0}<i>&amp;,é\u{2028}";
    let json = render("t.json", r#"{"k": "{{Meta.Key}}", "r": "{{{Meta.Key}}}", "a": "{{& Meta.Key}}"}"#, hostile);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value, serde_json::json!({ "k": hostile, "r": hostile, "a": hostile }));
    assert!(!json.contains("&quot;"), "no HTML escaping in JSON");

    assert_eq!(render("t.xml", "<k>{{.Meta.Key}}</k>", "<\u{1}&'\"\n"), "<k>&lt;\u{fffd}&amp;&#39;&quot;&#10;</k>");
    assert_eq!(render("t.html", "{{Meta.Key}}{{{Meta.Key}}}", "<b>"), "&lt;b&gt;<b>");
    assert_eq!(render("t.csv", "{{Type}},{{Meta.Key}}\n", "a,\"b\""), "AuthFailure,\"a,\"\"b\"\"\"\n");
    assert_eq!(render("t.csv", "\"{{Type}}\",\"{{Meta.Key}}\"\n", "a,\"b\""), "\"AuthFailure\",\"a,\"\"b\"\"\"\n");
    assert_eq!(render("t.txt", "{{Meta.Key}}", "<\"\n"), "<\"\n");
}

#[test]
fn raw_tags_in_any_spelling_are_escaped_in_json() {
    for tag in ["{{{Meta.Key}}}", "{{ {Meta.Key} }}", "{{~{Meta.Key}~}}", "{{&Meta.Key}}", "{{ & Meta.Key }}"] {
        let mut templates = Templates::builtin();
        templates.add("t.json", &format!("{{\"k\": \"{tag}\"}}")).unwrap_or_else(|error| panic!("{tag}: {error}"));
        let body = templates.render(&templates.find("t.json").unwrap(), &event("a\",\"x\":\"")).unwrap().body;
        let value: serde_json::Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{tag}: {body}"));
        assert_eq!(value, serde_json::json!({ "k": "a\",\"x\":\"" }), "{tag}");
    }
}

/// A template and its error, in Handlebars and in Go's language.
const FAULTS: [(&str, &str); 30] = [
    ("ab {{Type", "line 1, column 4: a tag {{ has no end }}\n    ab {{Type\n       ^"),
    ("{\n  {{#if Type}}\n", "line 2, column 3: {{#if}} has no {{/if}}\n      {{#if Type}}\n      ^"),
    ("{{#each Type}}{{/if}}", "line 1, column 15: {{/if}} was found where {{/each}} must close {{#each}}"),
    ("x{{/if}}", "line 1, column 2: no block is open that {{/if}} could close"),
    ("{{else}}", "line 1, column 1: no block is open that {{else}} could belong to"),
    ("{{Meta.Key Meta.Key=}}", "column 12: expected }}"),
    ("{{Meta.Key ~ x}}", "expected"),
    ("{{Meta..Key}}", "expected"),
    ("{{Meta.}}", "expected"),
    ("{{}}", "column 3: expected a value or a name"),
    ("{{Meta.Key + 1}}", "column 12: expected }}"),
    ("{{#if (eq Type \"x\"}}a{{/if}}", "column 1: a parenthesis has no end"),
    ("{{#each Meta as |x}}{{/each}}", "expected"),
    ("{{upper Meta.Key}}", "column 1: there is no helper upper; Handlebars has if, unless, each, with, lookup, eq"),
    ("{{lokup Meta \"Key\"}}", "there is no helper lokup (did you mean \"lookup\"?)"),
    ("{{#if}}x{{/if}}", "if has 0 values and needs more"),
    ("{{> other}}", "{{> other}}: partials and decorators are not supported; write the text out"),
    ("{{{Meta.Key}}", "a tag {{{ has no end }}}"),
    ("{{!-- x", "a comment has no end"),
    ("{{.Meta.Key", "a tag {{ has no end }}"),
    ("{{if .Type}}x", "line 1, column 1: {{if}} has no {{end}}\n    {{if .Type}}x\n    ^"),
    ("{{end}}", "no block is open that {{end}} could belong to"),
    ("{{if}}x{{end}}", "{{if}}: {{if}} needs a value"),
    ("{{#if Type)}}a{{/if}}", "column 1: a parenthesis is closed but was not opened"),
    ("{{.Meta.Key | upper}}", "{{.Meta.Key | upper}}: there is no function upper; there are and, or, "),
    ("{{call .Meta.Key}}", "call needs a function among the values, and there is none"),
    ("{{slice .Meta.Key 1 2 3 4}}", "slice takes 1 to 4 values and gets 5"),
    ("{{printf \"%z\" .Type}}", "printf supports %s %v %d"),
    ("{{.Meta.Key | printf \"%q}}", "no end"),
    ("{{$x}}", "$x is not declared here"),
];

#[test]
fn errors_are_described_in_the_templates_terms() {
    let foreign = ["tilde", "identifier", "_text", "_block", "Helper/Decorator", "syntax", "EOI", "param "];
    let mut bad = Vec::new();
    for (source, expected) in FAULTS {
        let said =
            Templates::builtin().add("t.json", source).map_or_else(|error| error.to_string(), |()| source.into());
        let first = said.lines().next().unwrap();
        let is_plain = !foreign.iter().any(|word| first.contains(word));
        if !said.contains(expected) || !is_plain || !said.ends_with('^') || said.lines().count() != 3 {
            bad.push(said);
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn a_long_line_is_cut_around_the_place() {
    let said = error("t.json", &format!("{}{{{{upper x}}}}{}", "é".repeat(200), "b".repeat(200))).to_string();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3);
    let caret = lines[2].chars().count() - 1;
    assert_eq!(lines[1].chars().nth(caret), Some('{'), "{said}");
    assert!(lines[1].chars().count() < 100 && lines[1].trim().starts_with('…') && lines[1].ends_with('…'));
}

#[test]
fn templates_that_would_fail_at_an_event_are_refused() {
    for source in [
        "{{upper Meta.Key}}",
        "{{> other.json}}",
        "{{#if Meta.Gone}}{{upper Type}}{{/if}}",
        "{{as_rfc3339}}",
        "{{#> other}}{{/other}}",
        "{{log Meta.Key}}",
        "{{quoted Meta.Key}}",
    ] {
        assert!(Templates::builtin().add("t.json", source).is_err(), "{source}");
    }
    assert!(Templates::builtin().add("t.txt", "{{#with Meta}}{{../Type}}{{/with}}{{lookup ../Meta \"Key\"}}").is_ok());
}

#[test]
fn a_template_that_writes_invalid_json_is_reported() {
    let mut templates = Templates::builtin();
    templates.add("good.json", r#"{"a": "{{Meta.Key}}", "n": {{Meta.UsagePercentage}}}"#).unwrap();
    templates.add("bad.json", r#"{"a": "{{Meta.Key}}",}"#).unwrap();
    templates.add("some.json", "{\n  \"a\": {{#if (eq Type \"HostDown\")}}yes{{else}}1{{/if}}\n}").unwrap();
    assert_eq!(templates.json_fault("good.json"), None);
    let said = templates.json_fault("bad.json").unwrap();
    assert!(said.starts_with("for AuthFailure, line 1, column "), "{said}");
    let said = templates.json_fault("some.json").unwrap();
    assert!(said.starts_with("for HostDown, line 2, column ") && said.contains("\n      \"a\": yes\n"), "{said}");
    assert!(said.trim_end().ends_with('^'), "{said}");
}

#[test]
fn the_stable_form_leaves_out_volatile_values() {
    let mut templates = Templates::builtin();
    templates.add("t.txt", "{{Type}} {{TimeStamp}} {{ID}} {{Meta.UsagePercentage}}").unwrap();
    let rendered = templates.render(&templates.find("t.txt").unwrap(), &event("k")).unwrap();
    assert_eq!(rendered.body, "AuthFailure 2026-10-21T08:15:30.250Z 0a1b ");
    assert_eq!(rendered.stable(), "AuthFailure   ");
    let plain = templates.render(&templates.find("").unwrap(), &event("k")).unwrap();
    assert_eq!(plain.stable(), plain.body);
}

proptest! {
    #[test]
    fn json_stays_valid_and_shows_the_sent_value(key in any::<Vec<u8>>()) {
        let key = crate::base::client_text(&key);
        let templates = Templates::builtin();
        let body = templates.render(&templates.find("").unwrap(), &event(&key)).unwrap().body;
        let value: serde_json::Value = serde_json::from_str(&body).unwrap();
        prop_assert_eq!(value["key"].as_str(), Some(key.as_str()));
    }

    #[test]
    fn a_csv_record_stays_one_record(key in "[a-z,\"\n\r]{0,20}") {
        let line = render("t.csv", "{{Meta.Key}}", &key);
        let quoted = line.strip_prefix('"').and_then(|line| line.strip_suffix('"'));
        let read = quoted.map_or(line.clone(), |inner| inner.replace("\"\"", "\""));
        prop_assert_eq!(read, key);
    }

    #[test]
    fn no_source_panics(source in "[ {}.a-c|/*!#~\\-\"']{0,40}") {
        let _ = Templates::builtin().add("t.json", &source);
    }
}

#[test]
fn built_in_templates_use_only_the_variables_that_they_get() {
    let templates = Templates::builtin();
    let host_info = HostInfo { check_url: "u".into(), response_code: 503, is_tcp_error: true, ..HostInfo::default() };
    for (kind, suppressed) in EventKind::of_gateway().flat_map(|kind| [(kind, 0), (kind, 3)]) {
        let mut event = Event::sample(kind);
        event.meta = Meta {
            host_info: host_info.clone(),
            suppressed,
            first_seen: "f".into(),
            last_seen: "l".into(),
            ..event.meta
        };
        for name in templates.names() {
            let all = templates.render_with(name, event.view()).unwrap();
            assert_eq!(templates.render_with(name, event.brief_view()).unwrap(), all, "{name} {kind:?}");
        }
    }
}

mod go;
mod json;
