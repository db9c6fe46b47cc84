use super::*;
use crate::config::node::{Node, Value};

fn scalar(text: &str) -> Value {
    yaml::parse(&format!("a: {text}")).unwrap().root.entry("a").unwrap().1.value.clone()
}

fn fault(text: &str) -> String {
    let fault = yaml::parse(text).unwrap_err();
    format!("{}: {}", fault.line, fault.message)
}

#[test]
fn scalars_have_the_types_of_envoy() {
    let string = |text: &str| Value::String(text.to_owned());
    let cases = [
        ("y", Value::Bool(true)),
        ("Yes", Value::Bool(true)),
        ("ON", Value::Bool(true)),
        ("off", Value::Bool(false)),
        ("yES", string("yES")),
        ("'true'", string("true")),
        ("\"80\"", string("80")),
        ("80", Value::Int(80)),
        ("+5", Value::Int(5)),
        ("-0x10", Value::Int(-16)),
        ("0xff", Value::Int(255)),
        ("017", Value::Int(15)),
        ("08", string("08")),
        ("0o17", string("0o17")),
        ("1_000", string("1_000")),
        ("0x", string("0x")),
        ("+-5", string("+-5")),
        ("80.0", string("80.0")),
        ("1e3", string("1e3")),
        (".inf", string(".inf")),
        ("3000000000", Value::Int(3_000_000_000)),
        ("99999999999999999999", string("99999999999999999999")),
        ("~", Value::Null),
        ("", Value::Null),
        ("NULL", Value::Null),
        ("nULL", string("nULL")),
        ("!!str 5", Value::Int(5)),
        ("!foo 7", Value::Int(7)),
        ("! 7", string("7")),
        ("|\n  5\n", string("5\n")),
        (">-\n  on\n", string("on")),
    ];
    for (text, expected) in cases {
        assert_eq!(scalar(text), expected, "{text}");
    }
}

#[test]
fn nodes_have_their_lines() {
    let root = yaml::parse("a: 1\nb:\n  - x\n  -\n    c: |\n      text\n# end\nd: { e:\n  f }\n").unwrap().root;
    let line = |path: &str| root.find(path).unwrap().line;
    assert_eq!([line("a"), line("b"), line("b[0]"), line("b[1]"), line("b[1].c"), line("d.e")], [1, 3, 3, 5, 5, 9]);
    assert_eq!(root.entry("b").unwrap().0.line, 2);
    assert!(root.find("b[1].c").unwrap().is_literal);
    assert!(root.find("b[2]").is_none() && root.find("a.b").is_none());
}

#[test]
fn anchors_are_copied_and_not_merged() {
    let parsed = yaml::parse("a: &a { k: 1 }\nb: *a\nc: { <<: *a }\n1: &s x\n*s : z\n").unwrap();
    let get = |path: &str| parsed.root.find(path).map(|node| &node.value);
    assert_eq!(get("b.k"), Some(&Value::Int(1)));
    assert_eq!(get("c[\"<<\"].k"), Some(&Value::Int(1)));
    assert_eq!(get("c.k"), None);
    assert_eq!(get("x"), Some(&Value::String("z".to_owned())));
    assert_eq!(parsed.notices, [(3, "Envoy does not merge maps: \"<<\" is an ordinary key".to_owned())]);
}

#[test]
fn the_last_of_equal_keys_is_used() {
    let parsed = yaml::parse("a: 1\nb: 2\na: 3\n").unwrap();
    assert_eq!(parsed.root.find("a").map(|node| &node.value), Some(&Value::Int(3)));
    assert_eq!(parsed.notices, [(3, "\"a\" is also on line 1: Envoy uses the last one".to_owned())]);
}

#[test]
fn a_syntax_error_has_its_line() {
    assert!(fault("a: [1,\nb: {").starts_with("2: column "), "{}", fault("a: [1,\nb: {"));
    assert_eq!(fault("a: 1\n---\nb: 2\n"), "2: a second document: Envoy reads only the first");
    assert_eq!(fault("a: 1\n? [b]\n: 2\n"), "2: a list cannot be a key");
    assert_eq!(fault("a: &a [ *a ]\n"), "1: an alias of a value that contains the alias");
    let deep = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
    assert_eq!(fault(&deep), "1: nested more than 100 levels deep, which is Envoy's limit");
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let alias = format!("*a{}, ", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{alias}]\n"));
    }
    assert!(fault(&bomb).ends_with("copies made by aliases"), "{}", fault(&bomb));
}

#[test]
fn a_large_file_with_one_alias_is_accepted() {
    let keys: String = (0..120_000).map(|number| format!("  key{number}: {{ a: 1, b: [2] }}\n")).collect();
    let parsed = yaml::parse(&format!("keys: &keys\n{keys}again: *keys\n")).unwrap();
    for path in ["keys.key119999.b[0]", "again.key119999.b[0]"] {
        assert_eq!(parsed.root.find(path).map(|node| &node.value), Some(&Value::Int(2)));
    }
}

#[test]
fn json_is_a_tree_with_lines_too() {
    let text = "{\"a\": [1,\n 2.5, \"\\u00e9\\\"\"],\n\"b\": {\"c\": 3000000000,\n\"c\": null}}";
    let parsed = json::parse(text).unwrap();
    let get = |path: &str| parsed.root.find(path).map(|node| (node.line, node.value.clone()));
    assert_eq!(get("a[0]"), Some((1, Value::Int(1))));
    assert_eq!(get("a[1]"), Some((2, Value::Float(2.5))));
    assert_eq!(get("a[2]"), Some((2, Value::String("é\"".to_owned()))));
    assert_eq!(get("b.c"), Some((4, Value::Null)));
    assert_eq!(parsed.notices.len(), 1);
    let fault = json::parse("{\n\"a\": }").unwrap_err();
    assert_eq!(
        format!("{}: {}", fault.line, fault.message),
        "2: column 6: this bracket follows an extra comma, or a value is missing"
    );
    let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
    assert!(json::parse(&deep).unwrap_err().message.starts_with("nested more than"));
}

#[test]
fn a_file_is_yaml_or_json_by_its_name() {
    let folder = std::env::temp_dir().join(format!("host-shim-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let read_as = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        read(&path).map(|_| ()).map_err(|errors| errors.to_string().replace(&path.display().to_string(), "F"))
    };
    assert_eq!(read_as("a.YML", BASE), Ok(()));
    assert_eq!(read_as("a.json", "{ \"admin\": {} }"), Ok(()));
    assert_eq!(
        read_as("a.conf", "admin: {}"),
        Err("F:1: column 1: expected a string in double quotes, a number, true, false, null, or a comma before it"
            .to_owned())
    );
    assert_eq!(read_as("a.pb", ""), Err("F: the shim reads YAML and JSON, not protobuf".to_owned()));
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(read(&folder).unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn a_node_without_entries_is_not_a_map() {
    assert!(Node::new(1, Value::Null).entry("a").is_none());
}

#[test]
fn mistakes_in_yaml_have_plain_messages() {
    for (text, said) in [
        ("a:\n\tb: 1\n", "YAML allows no tabs"),
        ("a: b: c\n", "unexpected colon"),
        ("a: [1, 2}\n", "a comma or ] is missing"),
        ("a: \"x\n", "a quote is not closed"),
        ("a: \"\\d\"\n", "unknown escape"),
        ("a: *b\n", "no value before this one has an anchor"),
    ] {
        let fault = yaml::parse(text).unwrap_err();
        assert!(fault.message.contains(said), "{text:?}: {}", fault.message);
    }
}
