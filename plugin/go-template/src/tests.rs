use handlebars::{Handlebars, no_escape};
use proptest::prelude::*;
use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

static DIALECT: Dialect = Dialect {
    functions: &[Function::new("shout", "shout", 1, 1, |_, values| {
        serde_json::Value::String(values.iter().map(|value| display(value).to_uppercase()).collect())
    })],
    renamed: &[("EventType", "Type"), ("EventMetaData", "Meta")],
    printed_by_go: Some(&["Meta", "HostInfo", "MetaData"]),
    watched: &["TimeStamp", "ID", "UsagePercentage"],
    holds_watched: &["Meta"],
};

/// Lists, numbers, booleans, and text that formats must escape.
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
            "DaysSinceExpiry": 2, "CertRole": "server", "Ratio": 0.125, "Big": 1e30,
            "List": ["a", "b"], "Nothing": [], "Pairs": { "y": 2, "x": 1 }
        }
    })
}

fn environment(format: Format) -> Environment {
    Environment { format, dialect: &DIALECT }
}

/// Translates a template, and renders it once with every branch.
fn read(source: &str, format: Format) -> Result<Translation, Error> {
    let translation = translate(source, environment(format))?;
    let unread = |place: (Option<usize>, Option<usize>), error: String| {
        translation.error(source, place.0.unwrap_or(1), place.1.unwrap_or(1), error)
    };
    let mut registry = Handlebars::new();
    register(&mut registry, environment(format), Branches::All);
    registry
        .register_template_string("t", &translation.source)
        .map_err(|error| unread(error.pos().unzip(), error.reason().to_string()))?;
    registry
        .render("t", &data("HostDown"))
        .map_err(|error| unread((error.line_no, error.column_no), error.to_string()))?;
    Ok(translation)
}

fn render_as(format: Format, source: &str, data: &serde_json::Value) -> String {
    let translation = read(source, format).unwrap_or_else(|error| panic!("{source}: {error}"));
    let mut registry = Handlebars::new();
    registry.register_escape_fn(no_escape);
    register(&mut registry, environment(format), Branches::Taken);
    registry.render_template(&translation.source, data).unwrap_or_else(|error| panic!("{source}: {error}"))
}

fn render(source: &str) -> String {
    render_as(Format::Text, source, &data("HostDown"))
}

fn error(source: &str) -> Error {
    match read(source, Format::Text) {
        Err(error) => error,
        Ok(_) => panic!("{source} was accepted"),
    }
}

#[track_caller]
fn check(table: &[(&str, &str)]) {
    for (source, expected) in table {
        assert_eq!(render(source), *expected, "{source}");
    }
}

#[test]
fn conditions() {
    check(&[
        (r#"{{if eq .Type "HostDown"}}y{{end}}"#, "y"),
        (r#"{{if eq .Type "a" "HostDown" "b"}}y{{else}}n{{end}}"#, "y"),
        (r#"{{if eq .Type "a"}}1{{else if eq .Type "HostDown"}}2{{else}}3{{end}}"#, "2"),
        (r#"{{if eq .Type "a"}}1{{else if eq .Type "b"}}2{{else if eq .Type "c"}}3{{else}}4{{end}}"#, "4"),
        (r#"{{if and (eq .Type "HostDown") (not .Meta.Empty)}}y{{end}}"#, "y"),
        (r#"{{if (or (eq .Type "a") (and true (ne .Meta.Key "k2")))}}y{{end}}"#, "y"),
        (
            "{{if .Meta.Suppressed}}y{{else}}n{{end}}{{if .Meta.Nothing}}y{{else}}n{{end}}{{if .Meta.List}}y{{end}}",
            "nny",
        ),
        ("{{if .Meta.Gone}}y{{else}}n{{end}}{{if not .Meta.HostInfo.IsTCPError}}y{{end}}{{if nil}}y{{end}}", "ny"),
        ("{{if gt .Meta.UsagePercentage 80}}>{{end}}{{if ge .Meta.TriggerLimit 80.5}}>={{end}}", ">"),
        ("{{lt 1 2}} {{le 2 2}} {{gt \"a\" \"b\"}} {{ge .Meta.HostInfo.ResponseCode 500}}", "true true false true"),
        (
            "{{and 1 0 2 | print}} {{print (or 0 \"\" \"x\" \"y\")}} {{or .Meta.Gone .Meta.Key}} {{and .Type .ID}}",
            "0 x k1 0a1b",
        ),
        (
            "{{eq .Meta.Gone \"\"}} {{eq .Meta.Gone nil}} {{print (ne 1 1.0) `` (eq 'a' 97) `` (eq 0x1F 31)}}",
            "true true falsetruetrue",
        ),
        ("{{if $x := .Meta.Key}}{{$x}}{{else}}{{$x}}-{{end}}{{if $x := .Meta.Empty}}a{{else}}[{{$x}}]{{end}}", "k1[]"),
        ("{{if(eq .Type `HostDown`)}}y{{end}}", "y"),
    ]);
}

#[test]
fn loops_and_contexts() {
    check(&[
        ("{{range .Meta.List}}{{.}},{{end}}", "a,b,"),
        ("{{range $i, $v := .Meta.List}}{{$i}}={{$v}} {{$.Type}};{{end}}", "0=a HostDown;1=b HostDown;"),
        ("{{range $k, $v := .Meta.Pairs}}{{$k}}={{$v}}{{.}} {{end}}", "x=11 y=22 "),
        ("{{range $v := .Meta.List}}{{$v}}{{end}}", "ab"),
        ("{{range .Meta.Nothing}}x{{else}}none{{end}}{{range .Meta.Gone}}x{{else}}none{{end}}", "nonenone"),
        (
            "{{range $i, $a := .Meta.List}}{{range $b := $.Meta.List}}{{$i}}{{$a}}{{$b}}{{.}} {{end}}{{end}}",
            "0aaa 0abb 1baa 1bbb ",
        ),
        ("{{with .Meta.HostInfo}}{{.ResponseCode}} {{.MetaData.host_name}} {{$.Type}}{{end}}", "503 a HostDown"),
        ("{{with .Meta.Gone}}x{{else}}{{.Type}}{{end}}", "HostDown"),
        ("{{with .Meta.Gone}}x{{else with .Meta.HostInfo}}{{.CheckURL}}{{else}}y{{end}}", "http://a/?b&c"),
        ("{{with $m := .Meta.MetaData}}x{{else}}{{$m}}-{{end}}{{with $h := .Meta.Pairs}}{{$h.x}}{{end}}", "-1"),
        ("{{$x := .Meta.Key}}{{if true}}{{$x}}{{$x := .Type}}{{$x}}{{end}}{{$x}}", "k1HostDownk1"),
        ("{{$m := .Meta}}{{with .Meta.Pairs}}{{$m.HostInfo.MetaData.api_id}}{{.x}}{{end}}", "orders1"),
        ("{{if true}}{{$a := 1}}{{$a}}{{else}}{{$b := 2}}{{$b}}{{end}}", "1"),
        ("{{if false}}{{$a := 1}}{{$a}}{{else}}{{$b := 2}}{{$b}}{{.Type}}{{end}}", "2HostDown"),
        ("{{range .Meta.List}}{{$x := .}}{{with $.Type}}{{$x}}{{.}}{{end}}{{end}}", "aHostDownbHostDown"),
        ("{{with \"a\"}}{{.}}{{end}}{{with 0}}x{{else}}y{{end}}", "ay"),
    ]);
}

#[test]
fn values_and_functions() {
    check(&[
        ("{{len .Meta.List}} {{len .Meta.Key}} {{len .Meta.Pairs}} {{len .Meta.Gone}}", "2 2 2 0"),
        (
            "{{index .Meta \"Key\"}} {{index .Meta.List 1}} {{index .Meta \"Pairs\" \"y\"}}{{index .Meta.List 9}}",
            "k1 b 2",
        ),
        ("{{(index .Meta \"HostInfo\").MetaData.host_name}} {{(.Meta.Key)}}", "a k1"),
        (
            "{{index . \"EventMetaData\" \"Key\"}}{{.EventMetaData.Key}}{{$.EventMetaData.Key}}{{.EventType}}",
            "k1k1k1HostDown",
        ),
        ("{{printf \"%s=%v %d %5d|%-5d|%05d\" .Meta.Key true 7 42 42 -42}}", "k1=true 7    42|42   |-0042"),
        (
            "{{printf \"%q %t %f %.2f %x %X %%\" \"a\\\"b\" true 1.5 2.345 255 \"hi\"}}",
            "\"a\\\"b\" true 1.500000 2.35 ff 6869 %",
        ),
        ("{{printf \"%d %d %.1f %s\" .Meta.UsagePercentage .Meta.Gone .Meta.TriggerLimit .Meta.Gone}}", "81 0 80.0 "),
        ("{{printf \"%6s|%-6s|%.1s\" .Meta.Key .Meta.Key .Meta.Key}}", "    k1|k1    |k"),
        ("{{printf \"%d\" .Meta.Key}} {{printf \"%v\" .Meta.Pairs}}", "%!d(string=k1) map[x:1 y:2]"),
        ("{{print \"a\" 1 2 \"b\"}}|{{print 1 2}}|{{println \"a\" 1}}{{print}}", "a1 2b|1 2|a 1\n"),
        (
            "{{html \"<a href='x'>\"}} {{js \"it's <\"}} {{urlquery \"a b&c=é\"}}",
            "&lt;a href=&#39;x&#39;&gt; it\\'s \\u003C a+b%26c%3D%C3%A9",
        ),
        ("{{.Meta.Key | printf \"%s-%s\" .Type}} {{.Meta.Key | len | printf \"%03d\"}}", "HostDown-k1 002"),
        (
            "{{\"quoted\"}}{{`raw \"\\n`}}{{\"\\u00e9\\x41\\101\\t\"}}{{42}}{{-1.5}}{{'a'}}{{true | not}}",
            "quotedraw \"\\néAA\t42-1.597false",
        ),
        ("{{1e3}} {{.Meta.Ratio}} {{.Meta.Big}} {{1_000}} {{printf \"%v\" 1e21}}", "1000 0.125 1e+30 1000 1e+21"),
        (
            "{{.Meta.List}} {{.Meta.Pairs}} {{$x := .Meta.HostInfo.MetaData}}{{$x}}",
            "[a, b] [object] map[api_id:orders host_name:a]",
        ),
        ("{{shout .Type}} {{.Type | shout}} {{shout Type}}", "HOSTDOWN HOSTDOWN HOSTDOWN"),
        ("{{.Meta.Gone}}{{.Gone.Far.Away}}{{$.Gone}}{{index .Meta \"Gone\" \"x\"}}|", "|"),
    ]);
    assert!(render("{{.}}").starts_with("map[ID:0a1b Meta:map[APIID:orders"));
}

#[test]
fn white_space_is_trimmed_as_in_go() {
    check(&[
        ("a\n{{if true}}\nb\n{{end}}\nc\n", "a\n\nb\n\nc\n"),
        ("{{if true}}\n b {{end}}", "\n b "),
        ("{{range .Meta.List}}\n- {{.}}\n{{- end}}\n", "\n- a\n- b\n"),
        ("a \n\n\t{{- if true -}} \n\n b \n {{- end -}} \n c", "abc"),
        ("{{- /* trims */ -}}  a{{/* }} */}}b", "ab"),
        ("{\n  {{- if true}}\n  \"a\": 1\n  {{- end}}\n}", "{\n  \"a\": 1\n}"),
        ("{ {{- .Type -}} }{ {{- /* x */ -}} {{.Type}}}", "{HostDown}{HostDown}"),
        ("{{if true -}}\n{{.Type}}\n{{- else -}}\nx\n{{- end}}", "HostDown"),
        ("{{$x := 1}}\n{{$y := 2}}\n{{$x}}{{$y}}\n", "\n\n12\n"),
        (r"C:\{{.Type}} C:\\{{if true}}\{{end}} \{{/* x */}}{{.Type}}", r"C:\HostDown C:\\\ \HostDown"),
        ("{{-\n.Type\n-}}", "HostDown"),
        ("{{ .Type }}\u{a0}{{- print .Type}}", "HostDown\u{a0}HostDown"),
        ("{{if\n  eq .Type\n  \"HostDown\"}}y{{end}}", "y"),
    ]);
}

#[test]
fn one_template_can_mix_both_languages() {
    check(&[
        ("{{#if Meta.Key}}{{if eq .Type \"HostDown\"}}{{Type}}{{end}}{{else}}x{{/if}}", "HostDown"),
        ("{{if .Meta.Key}}{{#if (eq Type \"HostDown\")}}a{{else}}b{{/if}}{{else}}c{{end}}", "a"),
        ("{{#with Meta}}{{$x := .Key}}{{Key}}{{$x}}{{../Type}}{{/with}}", "k1k1"),
        ("{{#if Type}}{{$x := 1}}{{$x}}{{else}}{{$x := 2}}{{$x}}{{/if}}", "1"),
        ("{{#each Meta.List as |v|}}{{if eq . \"a\"}}{{v}}{{end}}{{/each}}", "a"),
        ("{{range .Meta.List}}{{this}}{{@root.Type}}{{end}}", "aHostDownbHostDown"),
        ("{{lookup Meta \"Key\"}}{{len Meta.Key}}{{eq Type \"HostDown\"}}", "k12true"),
    ]);
}

#[test]
fn unsupported_tags_are_refused_with_their_place() {
    for (source, place, part) in [
        ("a\n  {{define \"x\"}}{{end}}", (2, 3), "write the text out"),
        ("{{template \"x\" .}}", (1, 1), "write the text out"),
        ("{{block \"x\" .}}{{end}}", (1, 1), "write the text out"),
        ("{{range .Meta}}\né{{break}}{{end}}", (2, 2), "{{if}}"),
        ("{{range .Meta}}{{continue}}{{end}}", (1, 16), "{{if}}"),
        ("{{call .Type}}", (1, 1), "call needs a function"),
        ("{{.TimeStamp.Format \"2006\"}}", (1, 1), "urlquery, shout"),
        ("{{$x := 1}}\n{{$x = 2}}", (2, 1), "keeps its value"),
        ("{{if true}}\n{{.Type}}", (1, 1), "no {{end}}"),
        ("{{if true}}{{else}}{{else}}{{end}}", (1, 20), "already"),
        ("{{end}}", (1, 1), "no block is open"),
        ("x{{else if .Type}}", (1, 2), "no block"),
        ("{{range .Meta}}{{else if .Type}}{{end}}", (1, 16), "no {{else if}}"),
        ("{{if .Type}}{{/if}}", (1, 13), "{{end}}"),
        ("{{#if Type}}{{end}}{{/if}}", (1, 13), "{{/"),
        ("{{#if .Type}}{{/if}}", (1, 1), "half"),
        ("{{#if Type}}{{else if eq .Type \"x\"}}{{/if}}", (1, 13), "half"),
        ("{{if eq Type \"x\"}}{{end}}", (1, 1), "{{.Type}}"),
        ("{{upper .Type}}", (1, 1), "no function upper"),
        ("{{.Type | upper}}", (1, 1), "no function upper"),
        ("{{eq .Type}}", (1, 1), "takes 2 or more values and gets 1"),
        ("{{ne .Type 1 2}}", (1, 1), "takes 2 values and gets 3"),
        ("{{if false}}{{not}}{{len .A .B}}{{end}}", (1, 20), "takes 1 values"),
        ("{{printf \"%s %s\" .Type}}", (1, 1), "asks for 2 values and gets 1"),
        ("{{printf \"%y\" .Type}}", (1, 1), "%y"),
        ("{{printf \"%9999d\" 1}}", (1, 1), "width"),
        ("{{printf \"%\" 1}}", (1, 1), "printf has"),
        ("{{printf 1}}", (1, 1), "its format"),
        ("{{$x}}", (1, 1), "not declared"),
        ("{{if $x := 1}}{{end}}{{$x}}", (1, 22), "not declared"),
        ("{{if true}}{{$x := 1}}{{else}}{{$x}}{{end}}", (1, 31), "not declared"),
        ("{{$x := 1 | $y := 2}}", (1, 1), "followed by a function"),
        ("{{$a, $b := .Meta}}", (1, 1), "two variables"),
        ("{{if}}{{end}}", (1, 1), "needs a value"),
        ("{{end .Type}}", (1, 1), "takes nothing"),
        ("{{range 3}}{{end}}", (1, 1), "constant"),
        ("{{.Type .Meta}}", (1, 1), "no function"),
        ("{{\"a\" \"b\"}}", (1, 1), "functions come first"),
        ("{{.Type | \"a\"}}", (1, 1), "followed by a function"),
        ("{{(.Type}}", (1, 1), "not closed"),
        ("{{.Type)}}", (1, 1), "not opened"),
        ("{{eq .Type\"x\"}}", (1, 1), "space"),
        ("{{if eq .Type \\\"x\\\"}}{{end}}", (1, 1), "backslash"),
        ("{{if eq .Type \"x}}", (1, 1), "no end"),
        ("{{print \"\\q\"}}", (1, 1), "escape"),
        ("{{print 'ab'}}", (1, 1), "not one character"),
        ("{{print 0x}}", (1, 1), "no number"),
        ("{{.Type | }}", (1, 1), "missing"),
        ("{{range .}}{{range .}}{{range .}}{{range .}}{{end}}{{end}}{{end}}{{end}}", (1, 34), "nested"),
        ("ok {{#if Type}}\n\n {{upper Type}}{{/if}}", (3, 2), "upper"),
        ("{{if true}}\n{{Type x}}{{end}}", (2, 1), "Type"),
    ] {
        let refused = error(source);
        assert!(refused.message.contains(part), "{source}: {refused}");
        assert_eq!((refused.line, refused.column), place, "{source}: {refused}");
    }
    for source in ["{{.Type | js}}", "{{.}}", "{{$x := 1}}", "{{range .Meta}}{{end}}"] {
        assert!(read(source, Format::Text).is_ok(), "{source}");
    }
}

#[test]
fn too_deep_nesting_is_refused() {
    let deep = |open: &str, close: &str| format!("{}x{}", open.repeat(5000), close.repeat(5000));
    for (open, close) in [
        ("{{if .Type}}", "{{end}}"),
        ("{{#if Type}}", "{{/if}}"),
        ("{{if .Type}}{{else}}", "{{end}}"),
        ("{{$x := 1}}", ""),
    ] {
        assert!(error(&deep(open, close)).message.contains("nested"), "{open}");
    }
    assert!(error(&format!("{{{{if .A}}}}{}{{{{end}}}}", "{{else if .A}}".repeat(200))).message.contains("nested"));
    let chain = format!("{{{{#if Type}}}}{}{{{{/if}}}}", "{{else if Type}}".repeat(5000));
    assert!(error(&chain).message.contains("nested"));
    assert!(error(&format!("{{{{print {}}}}}", deep("(", ")"))).message.contains("deep"));
    assert!(error(&format!("{{{{eq {}}}}}", deep("(", ")"))).message.contains("deep"));
    assert!(error(&format!("{{{{eq {}}}}}", deep("[", "]"))).message.contains("deep"));
    assert!(error(&format!("{{{{.A {}}}}}", "| html ".repeat(5000))).message.contains("stages"));
    let allowed = format!("{}{}{}", "{{if .Type}}".repeat(90), "{{.Type}}", "{{end}}".repeat(90));
    assert_eq!(render(&allowed), "HostDown");
}

#[test]
fn watched_fields_are_found_in_every_place() {
    let shows_watched = |source| translate(source, environment(Format::Text)).unwrap().shows_watched;
    for source in [
        "{{.TimeStamp}}",
        "{{$.ID}}",
        "{{.}}",
        "{{$}}",
        "{{printf \"%v\" .}}",
        "{{range .Meta}}{{.}}{{end}}",
        "{{index .Meta \"UsagePercentage\"}}",
        "{{$m := .EventMetaData}}{{$m}}",
        "{{with $.Meta}}x{{end}}",
        "{{if gt .Meta.UsagePercentage 90}}x{{end}}",
        "{{if true}}{{else if .TimeStamp}}{{end}}",
        "{{(index . \"Meta\").UsagePercentage}}",
        "{{shout .TimeStamp}}",
        "{{shout TimeStamp}}",
        "{{.Meta.Key | printf \"%s %s\" .ID}}",
    ] {
        assert!(shows_watched(source), "{source}");
    }
    for source in ["{{.Type}}", "{{if eq .Type \"ID\"}}{{.Meta.Key}}{{end}}", "{{range .Meta.List}}x{{end}}"] {
        assert!(!shows_watched(source), "{source}");
    }
}

/// Parts of templates that are almost valid.
fn nearly_go() -> impl Strategy<Value = String> {
    let word = "(if|else|else if|end|range|with|\\$x :=|\\$i, \\$x :=|printf|index|eq|or|and|len|html|not)?";
    let value = "(\\.|\\$|\\$x|\\.Meta|\\.Meta\\.Key|\"[%a-z\\\\]{0,3}\"|`a|\\(|\\)|\\||1|-0\\.5|'a'|[ -~])*";
    let tag = format!("\\{{\\{{-? ?{word} ?{value} ?-?\\}}\\}}");
    let tag = proptest::string::string_regex(&tag).unwrap();
    let piece = prop_oneof![
        tag,
        "\\{\\{#(if|each|with) (Meta|Type)\\}\\}",
        "\\{\\{/(if|each|with)\\}\\}",
        "[ -~\n\\\\{}\"é]{0,4}",
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_go_source_panics(source in nearly_go()) {
        for format in [Format::Json, Format::Csv] {
            if read(&source, format).is_ok() {
                let _ = render_as(format, &source, &data("AuthFailure"));
            }
        }
    }

    #[test]
    fn no_source_panics(source in ".{0,60}") {
        let _ = read(&source, Format::Html);
    }
}

#[test]
fn quotes_are_doubled_within_a_field_of_csv() {
    let data = data("AuthFailure");
    let source = "\"{{.Meta.Message}}\",\"{{printf \"%s\" .Meta.Message}}\",{{.Type}}\n";
    let doubled = data["Meta"]["Message"].as_str().unwrap().replace('"', "\"\"");
    assert_eq!(render_as(Format::Csv, source, &data), format!("\"{doubled}\",\"{doubled}\",AuthFailure\n"));
}

#[test]
fn go_without_a_dialect_prints_lists_and_maps_as_go_does() {
    let translation = translate("{{.List}} {{.Map}}", Environment::default()).unwrap();
    let mut registry = Handlebars::new();
    registry.register_escape_fn(no_escape);
    register(&mut registry, Environment::default(), Branches::Taken);
    let data = json!({ "List": ["a", 1], "Map": { "x": null } });
    assert_eq!(registry.render_template(&translation.source, &data).unwrap(), "[a 1] map[x:<nil>]");
}
