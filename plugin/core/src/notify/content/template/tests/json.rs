//! JSON messages: any values inside and outside strings.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn write(source: &str, data: &Value) -> String {
    let mut templates = Templates::builtin();
    templates.add("t.json", source).unwrap_or_else(|error| panic!("{source}: {error}"));
    templates.render_with("t.json", data.clone()).unwrap()
}

fn read(source: &str, data: &Value) -> Value {
    let body = write(source, data);
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{source}: {error}: {body}"))
}

fn data(text: &str) -> Value {
    json!({ "Type": "KeyExpired", "Meta": {
        "Key": text, "Count": 80, "Ratio": 0.5, "Yes": true, "Digits": "081", "Number": "80", "Empty": "",
        "List": [text, "b"], "Map": { "x": text },
    } })
}

#[test]
fn a_value_is_written_in_the_way_its_place_needs() {
    for (source, expected) in [
        // Strings that Go has quoted.
        (r#"{"a": {{ printf "%q" .Meta.Key }}}"#, json!({ "a": "acme" })),
        (r#"{"a": {{ .Meta.Key | printf "%q" }}, "b": 1}"#, json!({ "a": "acme", "b": 1 })),
        (r#"{"a": "{{ printf "%q" .Meta.Key }}"}"#, json!({ "a": "\"acme\"" })),
        (r#"{ {{ printf "%q" .Meta.Key }}: {{ printf "%q" .Type }} }"#, json!({ "acme": "KeyExpired" })),
        // Without quotes.
        (
            r#"{"a": {{ .Meta.Key }}, "b": {{Meta.Key}}, "c": {{{Meta.Key}}}}"#,
            json!({ "a": "acme", "b": "acme", "c": "acme" }),
        ),
        (r#"{"a": {{js .Meta.Key}}, "b": {{print .Meta.Key "!"}}}"#, json!({ "a": "acme", "b": "acme!" })),
        (r#"{ {{.Meta.Key}}: 1, {{.Meta.Number}}: 2 }"#, json!({ "acme": 1, "80": 2 })),
        // Numbers and booleans.
        (r#"{"a": {{.Meta.Count}}, "b": {{Meta.Ratio}}, "c": {{.Meta.Yes}}}"#, json!({ "a": 80, "b": 0.5, "c": true })),
        (
            r#"{"a": {{.Meta.Number}}, "b": -{{.Meta.Number}}, "c": {{.Meta.Number}}.5}"#,
            json!({ "a": 80, "b": -80, "c": 80.5 }),
        ),
        (r#"{"a": {{.Meta.Digits}}}"#, json!({ "a": "081" })),
        (r#"{"a": {{len .Meta.Key}}, "b": {{eq .Type "x"}}}"#, json!({ "a": 4, "b": false })),
        // Empty values.
        (
            r#"{"a": {{.Meta.Gone}}, "b": {{Meta.Empty}}, "c": [{{.Meta.Gone}}], "d": [1, {{.Meta.Gone}}]}"#,
            json!({ "a": null, "b": null, "c": [], "d": [1, null] }),
        ),
        (r#"{ {{.Meta.Gone}}: 1 }"#, json!({ "": 1 })),
        (r#"{{.Meta.Gone}} { "a": 1 {{.Meta.Gone}} }"#, json!({ "a": 1 })),
        (r#"{{.Meta.Gone}}"#, json!(null)),
        // Loops and conditions outside strings.
        (r#"[{{range $i, $v := .Meta.List}}{{if $i}}, {{end}}{{printf "%q" $v}}{{end}}]"#, json!(["acme", "b"])),
        (r#"[{{#each Meta.List}}{{this}}{{#unless @last}},{{/unless}}{{/each}}]"#, json!(["acme", "b"])),
        (
            r#"{"m": { {{range $k, $v := .Meta.Map}}{{$k}}: {{$v}}{{end}} }, "z": [{"y": {{.Type}}}]}"#,
            json!({ "m": { "x": "acme" }, "z": [{ "y": "KeyExpired" }] }),
        ),
        (r#"{"a": "b\"{{.Meta.Key}}\\", "c": {{.Meta.Key}}}"#, json!({ "a": "b\"acme\\", "c": "acme" })),
        // A part of a value.
        (
            r#"{"a": "{{slice .Meta.Key 1 3}}", "b": {{slice .Meta.Key 2}}, "c": {{index (slice .Meta.List 1) 0}}}"#,
            json!({ "a": "cm", "b": "me", "c": "b" }),
        ),
        (
            r#"{"a": "{{slice .Meta.Key 2 1}}{{slice .Meta.Key 9}}{{slice .Meta.Gone 1}}{{slice .Meta.Key -1 99}}"}"#,
            json!({ "a": "acme" }),
        ),
    ] {
        assert_eq!(read(source, &data("acme")), expected, "{source}");
    }
}

/// The table of `docs/templates.md`.
#[test]
fn the_documented_examples_are_correct() {
    let page = include_str!("../../../../../../../docs/templates.md");
    let mut rows = 0;
    for line in page.lines().filter(|line| line.starts_with("| `{")) {
        let cells: Vec<&str> = line
            .trim_matches('|')
            .split(" | ")
            .map(|cell| cell.trim().strip_prefix('`').unwrap().strip_suffix('`').unwrap())
            .collect();
        let [source, value, message] = cells[..] else { panic!("{line}") };
        assert_eq!(write(source, &data(value)), message, "{line}");
        rows += 1;
    }
    assert_eq!(rows, 6);
}

#[test]
fn a_client_adds_no_members() {
    for hostile in
        [r#"{"admin": true}"#, r#"["x"]"#, r#"", "admin": "y"#, r#""x", "admin": true"#, "x\u{fdd0}y", "\u{fdd0}"]
    {
        assert_eq!(
            read(r#"{"a": {{.Meta.Key}}, "b": "{{.Meta.Key}}"}"#, &data(hostile)),
            json!({ "a": hostile, "b": hostile })
        );
    }
    assert!(Templates::builtin().add("t.json", "\u{fdd0}").is_err());
}

/// Whole values, in every place of a template that can have one.
const PLACES: [&str; 12] = [
    r#"{"k": {{.Meta.Key}}}"#,
    r#"{"k": "{{.Meta.Key}}"}"#,
    r#"{"k": {{printf "%q" .Meta.Key}}}"#,
    r#"{"k": "{{printf "%q" .Meta.Key}}"}"#,
    r#"{ {{.Meta.Key}}: [{{Meta.Key}}, {{{Meta.Key}}}, {{&Meta.Key}}] }"#,
    r#"[{{range .Meta.List}}{{.}},{{printf "%q" .}},{{end}}1]"#,
    r#"{"a": {{html .Meta.Key}}, "b": {{js .Meta.Key}}, "c": {{urlquery .Meta.Key}}, "d": "{{js .Meta.Key}}"}"#,
    r#"{"a": {{print .Meta.Key 1}}, "b": {{println .Meta.Key}}, "c": {{.Meta.Map}}, "d": {{.Meta.List}}}"#,
    r#"{"a": {{slice .Meta.Key 1}}, "b": {{index .Meta.List 0}}, "c": {{printf "%5s|%-9q|%x" .Meta.Key .Meta.Key .Meta.Key}}}"#,
    r#"{{if .Meta.Key}}{"a": {{.Meta.Key}}}{{else}}[{{.Meta.Key}}]{{end}}"#,
    r#"{{with .Meta}}{"a": {{.Key}}, "b": "\\{{.Key}}\""}{{end}}"#,
    r#"{{.Meta.Key}}"#,
];

/// Parsed once, because parsing takes longer than any rendering.
static TEMPLATES: LazyLock<Templates> = LazyLock::new(|| {
    let mut templates = Templates::builtin();
    for source in PLACES {
        templates.add(&format!("{source}.json"), source).unwrap();
    }
    templates
});

proptest! {
    #[test]
    fn any_value_in_any_place_leaves_json(bytes in any::<Vec<u8>>(), text in "[\"\\\\{}\\[\\],:0-9a-z \n-]{0,12}") {
        for value in [crate::base::client_text(&bytes), text] {
            for source in PLACES {
                let body = TEMPLATES.render_with(&format!("{source}.json"), data(&value)).unwrap();
                prop_assert!(serde_json::from_str::<Value>(&body).is_ok(), "{}: {}", source, body);
            }
        }
    }
}
