use std::collections::BTreeSet;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::config::schema;

/// The configuration has the honoured fields, and a few names without a meaning.
#[test]
fn the_lists_match_the_configuration() {
    let schema = schema();
    for (object, fields) in
        [("Session", SESSION), ("AccessRight", RIGHT), ("Limit", LIMIT), ("Policy", POLICY), ("Partitions", PARTITIONS)]
    {
        let properties = schema["$defs"][object]["properties"].as_object().unwrap();
        let configured: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
        let honoured = fields.iter().filter(|field| matches!(field.usage, Use::Honoured(_)));
        let honoured: BTreeSet<&str> = honoured.map(|field| field.name).collect();
        let more: Vec<&str> = configured.difference(&honoured).copied().collect();
        let harmless = ["api_id", "api_name", "key_expires_in"];
        assert!(more.iter().all(|name| harmless.contains(name)), "{object}: {more:?}");
        assert!(honoured.is_subset(&configured), "{object}");
        let names: BTreeSet<&str> = fields.iter().map(|field| field.name).collect();
        assert_eq!(names.len(), fields.len(), "{object}: a name occurs twice");
    }
}

#[test]
fn only_fields_with_a_value_close() {
    let session = |text: &str| closed(&serde_json::from_str(text).unwrap());
    assert_eq!(session(r#"{"hmac_enabled": false, "certificate": "", "max_query_depth": -1}"#), Closed::default());
    assert_eq!(session(r#"{"certificate": "abc"}"#).key.as_deref(), Some("certificate"));
    assert_eq!(session(r#"{"meta_data": {"policies": ["a", "b"], "x": 1}}"#), Closed::default());
    let two =
        session(r#"{"access_rights": {"a": {"endpoints": [1]}, "b": {}, "c": {"limit": {"smoothing": {"step": 1}}}}}"#);
    let expected = [("a", "access_rights.a.endpoints"), ("c", "access_rights.c.limit.smoothing")];
    assert_eq!(two.rights, expected.map(|(api, field)| (api.to_owned(), field.to_owned())));
}

#[test]
fn the_documentation_shows_the_lists() {
    let text = include_str!("../../../../../../docs/sessions.md");
    for (object, fields) in OBJECTS {
        let (_, table) = text.split_once(&format!("<!-- fields: {object} -->\n")).unwrap();
        let shown: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
        let rows: Vec<String> = fields.iter().map(SessionField::row).collect();
        assert_eq!(shown, rows, "{object}");
    }
}
