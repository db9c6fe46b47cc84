use prost::Message as _;
use prost_types::value::Kind;

use super::*;

/// Returns the bytes that the plugin gets for `configuration`.
fn configured(any: &str) -> Result<Vec<u8>, String> {
    let old = "{ \"@type\": type.googleapis.com/google.protobuf.StringValue, value: \"x\" }";
    match parse(&with(old, any), "envoy.yaml", false) {
        Ok(loaded) => Ok(loaded.bootstrap.listeners[0].manager.filters[0].plugin.configuration.clone()),
        Err(errors) => Err(errors.0[0].message.clone()),
    }
}

fn well_known(name: &str, value: &str) -> Result<Vec<u8>, String> {
    configured(&format!("{{ \"@type\": type.googleapis.com/google.protobuf.{name}, value: {value} }}"))
}

#[test]
fn strings_and_bytes_are_unwrapped() {
    assert_eq!(well_known("StringValue", "'a: 1'"), Ok(b"a: 1".to_vec()));
    assert_eq!(well_known("StringValue", "~"), Ok(Vec::new()));
    assert_eq!(well_known("BytesValue", "aGk="), Ok(b"hi".to_vec()));
    assert_eq!(well_known("BytesValue", "_-8"), Ok(vec![0xff, 0xef]));
    assert_eq!(well_known("BytesValue", "'!'"), Err("not Base64".to_owned()));
    assert_eq!(well_known("StringValue", "5"), Err("expected a string, found a number; quote it".to_owned()));
    assert_eq!(configured("{}"), Ok(Vec::new()));
}

#[test]
fn a_struct_is_serialized_like_in_envoy() {
    let bytes = well_known("Struct", "{ b: 80.0, a: 5, big: 3000000000, on: yes, no: ~, l: [x, { k: -1 }] }").unwrap();
    let decoded = prost_types::Struct::decode(bytes.as_slice()).unwrap();
    let kind = |name: &str| decoded.fields[name].kind.clone().unwrap();
    assert_eq!(kind("b"), Kind::StringValue("80.0".to_owned()));
    assert_eq!(kind("a"), Kind::NumberValue(5.0));
    assert_eq!(kind("big"), Kind::StringValue("3000000000".to_owned()));
    assert_eq!(kind("on"), Kind::BoolValue(true));
    assert_eq!(kind("no"), Kind::NullValue(0));
    let Kind::ListValue(list) = kind("l") else { panic!("{:?}", kind("l")) };
    assert_eq!(list.values[0].kind, Some(Kind::StringValue("x".to_owned())));
    let Some(Kind::StructValue(inner)) = &list.values[1].kind else { panic!("{list:?}") };
    assert_eq!(inner.fields["k"].kind, Some(Kind::NumberValue(-1.0)));
    assert_eq!(bytes[..6], [0x0a, 14, 0x0a, 1, b'a', 0x12], "in the order of the names");
    assert_eq!(well_known("Struct", "[]"), Err("expected a map, found a list".to_owned()));
    let inline = "{ \"@type\": type.googleapis.com/google.protobuf.Struct, apis: [] }";
    assert!(configured(inline).unwrap_err().contains("move this into it"));
}

#[test]
fn numbers_of_json_stay_numbers() {
    let root = json::parse("{ \"a\": 2.5, \"b\": 3000000000 }").unwrap().root;
    let fields = to_struct(&root).unwrap().fields;
    assert_eq!(fields["a"].kind, Some(Kind::NumberValue(2.5)));
    assert_eq!(fields["b"].kind, Some(Kind::NumberValue(3e9)));
    assert_eq!(to_json(&root)["a"], 2.5);
}

#[test]
fn other_well_known_messages_are_serialized() {
    assert_eq!(well_known("Int64Value", "\"-1\""), Ok((-1_i64).encode_to_vec()));
    assert_eq!(well_known("UInt32Value", "7"), Ok(7_u32.encode_to_vec()));
    assert_eq!(well_known("DoubleValue", "2.5"), Ok(2.5_f64.encode_to_vec()));
    assert_eq!(well_known("BoolValue", "true"), Ok(true.encode_to_vec()));
    let duration = prost_types::Duration { seconds: 1, nanos: 500_000_000 };
    assert_eq!(well_known("Duration", "1.5s"), Ok(duration.encode_to_vec()));
    let list = well_known("ListValue", "[x]").unwrap();
    assert_eq!(prost_types::ListValue::decode(list.as_slice()).unwrap().values.len(), 1);
    let value = well_known("Value", "x").unwrap();
    assert_eq!(prost_types::Value::decode(value.as_slice()).unwrap().kind, Some(Kind::StringValue("x".to_owned())));
    assert_eq!(configured("{ \"@type\": type.googleapis.com/google.protobuf.Empty }"), Ok(Vec::new()));
    assert!(well_known("Timestamp", "x").unwrap_err().contains("use google.protobuf.Struct"));
    assert!(configured("{ \"@type\": a/foo.Bar }").unwrap_err().contains("cannot serialize a foo.Bar"));
    assert!(configured("{ \"@type\": foo.Bar }").unwrap_err().contains("write \"type.googleapis.com/foo.Bar\""));
    let typed = "{ \"@type\": a/xds.type.v3.TypedStruct, type_url: a/b, value: { k: v } }";
    let bytes = configured(typed).unwrap();
    let typed = prost_types::Any::decode(bytes.as_slice()).unwrap();
    assert_eq!(typed.type_url, "a/b");
    assert_eq!(prost_types::Struct::decode(typed.value.as_slice()).unwrap().fields.len(), 1);
}
