use sha2::{Digest, Sha256};

use super::*;
use crate::config::node::Node;

const TREE: &str = r#"apis:
- api_id: a
  auth:
    param_name: x
- api_id: b
keys:
  "sha256:9d8db2a67d146638":
    quota_max: 5
  my key: { org_id: acme }
monitor:
  configuration:
    target_path: hooks
templates: { a.json: "{}" }
"#;

fn located(root: &Node, text: &str) -> Option<(String, usize)> {
    root.locate(text).map(|located| (located.path, located.line))
}

#[test]
fn a_log_line_is_located_in_the_configuration() {
    let root = yaml::parse(TREE).unwrap().root;
    let cases = [
        ("configuration: apis[0].auth.param_name: unknown field", Some(("apis[0].auth.param_name", 4))),
        ("apis[1].auth.nothing: missing", Some(("apis[1]", 5))),
        ("apis[7].api_id: missing", Some(("apis", 1))),
        (
            "configuration: keys[\"sha256:9d8db2a67d146638\"].quota_max: no",
            Some(("keys[\"sha256:9d8db2a67d146638\"].quota_max", 8)),
        ),
        (
            "configuration: keys[\"sha256:9d8d…\"].quota_max: no",
            Some(("keys[\"sha256:9d8db2a67d146638\"].quota_max", 8)),
        ),
        ("keys[\"my key\"].org_id", Some(("keys[\"my key\"].org_id", 9))),
        ("monitor.configuration.target_path: \"hooks\" is not a URL", Some(("monitor.configuration.target_path", 12))),
        ("at /apis/0/auth/param_name: bad", Some(("apis[0].auth.param_name", 4))),
        ("error in '/monitor/configuration/nothing'", Some(("monitor.configuration", 11))),
        ("plugin.monitor.configuration is bad", Some(("monitor.configuration", 11))),
        ("templates[\"a.json\"]: does not write JSON", Some(("templates[\"a.json\"]", 13))),
        ("configuration: monitor: enabled, but nobody hears", Some(("monitor", 10))),
        ("unknown field `templates`, expected one of `apis`", Some(("templates", 13))),
        ("some keys of the monitor are bad", None),
        ("configuration: refused, 3 errors", None),
        ("", None),
    ];
    for (text, expected) in cases {
        let expected = expected.map(|(path, line)| (path.to_owned(), line));
        assert_eq!(located(&root, text), expected, "{text}");
    }
}

#[test]
fn a_member_is_found_by_the_hash_of_its_name() {
    let hash = |name: &str| Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let path = format!(r#"keys["sha256:{}"].org_id"#, hash("my key"));
    let root = yaml::parse(TREE).unwrap().root;
    assert_eq!(located(&root, &format!("configuration: {path}: no such organisation")), Some((path.clone(), 9)));
    let json = yaml::parse("x: 1\nv: |\n  { \"keys\": {\n    \"b\": {},\n    \"my key\": { \"org_id\": 1 } } }\n")
        .unwrap()
        .root;
    assert_eq!(located(json.find("v").unwrap(), &format!("{path}: no")), Some((path.clone(), 5)));
    // It is one of many, and not the first.
    let many: String = (0..300).map(|n| format!("  key-{n}: {{ quota_max: 1 }}\n")).collect();
    let root = yaml::parse(&format!("keys:\n{many}")).unwrap().root;
    let found = root.locate(&format!("keys[\"sha256:{}\"].quota_max: bad", hash("key-217"))).unwrap();
    assert_eq!(found.line, 219);
    assert!(!found.path.contains("key-217"), "{found:?}");
}

#[test]
fn a_line_number_within_a_part_is_not_a_line_of_the_file() {
    let root = yaml::parse("v: |\n  { \"templates\": {\n    \"a.json\": \"{\" } }\n").unwrap().root;
    let text = "templates[\"a.json\"]: line 1, column 2: wrong";
    assert_eq!(located(root.find("v").unwrap(), text), Some(("templates[\"a.json\"]".to_owned(), 3)));
}

#[test]
fn the_lines_of_a_text_in_a_string_are_those_of_the_file() {
    let text = "apis[0].auth: bad";
    let cases = [
        ("v: |\n  {\n    \"apis\": [\n      { \"auth\": 1 }\n    ]\n  }\n", 4),
        ("x: 1\nv: | # why\n\n  apis:\n  - api_id: a\n    auth: 1\n", 6),
        ("x: 1\nv: '{ \"apis\": [ { \"auth\": 1 } ] }'\n", 2),
        ("x: 1\nv:\n  \"{ \\\"apis\\\":\n  [ { \\\"auth\\\": 1 } ] }\"\n", 3),
        ("x: 1\nv: >\n  { \"apis\":\n  [ { \"auth\": 1 } ] }\n", 2),
    ];
    for (file, line) in cases {
        let root = yaml::parse(file).unwrap().root;
        assert_eq!(located(root.find("v").unwrap(), text), Some(("apis[0].auth".to_owned(), line)), "{file}");
    }
    let root = yaml::parse("x: 1\nv: |\n  {\n    \"apis\": ,\n  }\n").unwrap().root;
    let found = root.find("v").unwrap().locate("configuration: expected value at line 2 column 11").unwrap();
    assert_eq!((found.path.as_str(), found.line), ("", 4));
    let root = yaml::parse("v: no tree, [just\n").unwrap().root;
    assert_eq!(located(root.find("v").unwrap(), text), None);
}

#[test]
fn the_configuration_of_a_plugin_can_be_searched() {
    let text = include_str!("../../../../examples/auth-failures/envoy.yaml");
    let loaded = load(text);
    let source = loaded.bootstrap.listeners[0].manager.filters[0].plugin.source.clone().unwrap();
    let found = source.locate("configuration: callouts.clusters[\"siem.acme.test\"]: no such cluster").unwrap();
    assert_eq!(found.path, "callouts.clusters[\"siem.acme.test\"]");
    assert!(text.lines().nth(found.line - 1).unwrap().contains("\"callouts\": {"), "{found:?}");
}
