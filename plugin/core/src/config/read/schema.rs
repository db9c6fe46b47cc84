//! The JSON Schemas for editors: of tollbell's configuration, and of an Envoy file that contains it.
//!
//! Checks for editors alone are in `allOf` and `propertyNames`. The module's copy does not have them: the module checks
//! names itself, and its errors say more.

use serde_json::{Map, Value, json};

use crate::config::notifications::handlers;
use crate::config::raw;
use crate::event::{EventKind, ManagementAction};
use crate::notify::templates;

/// The schema of tollbell's configuration.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(raw::Config).to_value();
    set(&mut schema, "", "title", "tollbell".into());
    let events: Vec<String> =
        EventKind::all().map(EventKind::name).chain(EventKind::NEVER_FIRED).flat_map(spellings).collect();
    let management: Vec<String> = EventKind::of_management().map(EventKind::name).flat_map(spellings).collect();
    let dashboard: Vec<&str> = EventKind::of_management().map(EventKind::name).collect();
    let actions: Vec<&str> = [""].into_iter().chain(ManagementAction::all().map(ManagementAction::name)).collect();
    let letters: Vec<String> = templates::names().flat_map(spellings).collect();
    for (place, names) in [
        ("/$defs/OasHandler/properties/trigger", json!(events)),
        ("/$defs/NamedWebhook/properties/events/items", json!(events)),
        ("/$defs/OasHandler/properties/type", json!(["webhook", "log"])),
        ("/$defs/Handler/properties/handler_name", json!(handlers::NAMES)),
        ("/$defs/ObserveRule/properties/event", json!(management)),
        ("/$defs/ObserveRule/properties/action", json!(actions)),
    ] {
        set(&mut schema, place, "allOf", json!([{ "enum": names }]));
    }
    for (place, names) in [
        ("/$defs/ClassicHandlers/properties/events", json!(events)),
        ("/$defs/Org/properties/event_options", json!(dashboard)),
        ("/properties/email_templates", json!(letters)),
    ] {
        set(&mut schema, place, "propertyNames", json!({ "enum": names }));
    }
    schema
}

/// The schema of a whole Envoy file. It describes tollbell's configuration in any place, and leaves Envoy's own fields
/// and other modules alone.
pub fn envoy_schema() -> Value {
    let mut tollbell = schema();
    let of = |name: &str| json!({ "$ref": format!("#/$defs/{name}") });
    let is = |name: &str| json!({ "const": format!("type.googleapis.com/{name}") });
    let mut definitions = match tollbell.as_object_mut().and_then(|root| root.remove("$defs")) {
        Some(Value::Object(definitions)) => definitions,
        _ => Map::new(),
    };
    let dialect = tollbell.as_object_mut().and_then(|root| root.remove("$schema")).unwrap_or_default();
    definitions.insert("Tollbell".into(), tollbell);
    // The module is recognised by its file, or by the plugin's name if the file has another name.
    let named = json!({ "required": ["name"], "properties": { "name": { "const": "tollbell" } } });
    let file =
        json!({ "required": ["filename"], "properties": { "filename": { "pattern": "tollbell[^/]*\\.wasm$" } } });
    let code = json!({ "required": ["local"], "properties": { "local": file } });
    let vm = json!({ "required": ["code"], "properties": { "code": code } });
    let by_file = json!({ "required": ["vm_config"], "properties": { "vm_config": vm } });
    definitions.insert(
        "AnythingOfEnvoy".into(),
        json!({
            "additionalProperties": of("AnythingOfEnvoy"),
            "items": of("AnythingOfEnvoy"),
            "if": {
                "type": "object",
                "required": ["@type", "config"],
                "properties": {
                    "@type": is("envoy.extensions.filters.http.wasm.v3.Wasm"),
                    "config": { "anyOf": [named, by_file] }
                }
            },
            "then": { "properties": { "config": { "properties": { "configuration": of("TollbellConfiguration") } } } }
        }),
    );
    definitions.insert(
        "TollbellConfiguration".into(),
        json!({
            "description": "tollbell's configuration, as a google.protobuf.Struct, or as JSON text in a \
                            google.protobuf.StringValue, into which an editor cannot look.",
            "required": ["@type"],
            "properties": { "@type": { "enum": [
                "type.googleapis.com/google.protobuf.Struct", "type.googleapis.com/google.protobuf.StringValue"
            ] } },
            "if": { "required": ["@type"], "properties": { "@type": is("google.protobuf.Struct") } },
            "then": { "properties": { "value": of("Tollbell") } },
            "else": { "properties": { "value": { "type": "string" } } }
        }),
    );
    json!({ "$schema": dialect, "title": "Envoy with tollbell", "$ref": "#/$defs/AnythingOfEnvoy", "$defs": definitions })
}

/// The documentation of Tyk's portal has both spellings.
fn spellings(name: &str) -> Vec<String> {
    let other = name.strip_prefix("Organisation").map(|rest| format!("Organization{rest}"));
    [name.to_owned()].into_iter().chain(other).collect()
}

fn set(schema: &mut Value, place: &str, keyword: &str, value: Value) {
    if let Some(Value::Object(keywords)) = schema.pointer_mut(place) {
        keywords.insert(keyword.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// A renamed field would lose its names without an error.
    #[test]
    fn every_place_with_names_exists() {
        let text = schema().to_string();
        assert_eq!(text.matches("\"propertyNames\"").count(), 3);
        assert_eq!(text.matches("\"allOf\"").count(), 6);
    }
}
