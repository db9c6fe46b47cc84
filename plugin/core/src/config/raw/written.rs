//! Writes settings as the JSON that they are read from.

use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::setting::{Named, camel_case};

/// A type that can be written as the JSON that [`Setting::read`](super::Setting::read) reads. Fields with their default
/// are left out.
///
/// serde's own trait would change the schema, because the schema shows the defaults of types that implement it.
pub trait Written {
    /// The Rust names of a struct's fields, in the order of the schema.
    const FIELDS: &'static [&'static str] = &[];

    /// Passes the value to serde.
    ///
    /// # Errors
    /// An error of the serializer.
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
}

/// Settings in a form for serde.
pub struct AsWritten<'s, T>(pub &'s T);

impl<T: Written> Serialize for AsWritten<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer)
    }
}

/// Writes a list of one as a single text.
pub(super) struct OneOrMany<'s>(pub(super) &'s Vec<String>);

impl Written for OneOrMany<'_> {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }
}

/// True if a field does not have its default.
pub(super) fn differs<T: Written>(value: &T, default: &T) -> bool {
    let value_of = |setting: &T| serde_json::to_value(AsWritten(setting)).ok();
    value_of(value) != value_of(default)
}

/// A field's name in JSON.
pub(super) fn name_of(field: &str, case: Option<&str>) -> String {
    let field = field.trim_start_matches("r#");
    if case == Some("camelCase") { camel_case(field) } else { field.to_owned() }
}

macro_rules! written_by_serde {
    ($($type:ty),+ $(,)?) => { $(
        impl Written for $type {
            fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.serialize(serializer)
            }
        }
    )+ };
}

written_by_serde!(bool, f64, i64, u16, u32, u64, String, Value, Map<String, Value>);

impl<T: Written> Written for Option<T> {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Some(setting) => setting.write(serializer),
            None => serializer.serialize_none(),
        }
    }
}

impl<T: Written> Written for Vec<T> {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.len()))?;
        for item in self {
            list.serialize_element(&AsWritten(item))?;
        }
        list.end()
    }
}

impl<T: Written> Written for Named<T> {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.into_iter().map(|(name, setting)| (name, AsWritten(setting))))
    }
}

/// Enums of settings: a variant is written as its content.
macro_rules! written_by_variant {
    ($($name:ident { $($variant:ident),+ })+) => { $(
        impl Written for super::$name {
            fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $( super::$name::$variant(setting) => setting.write(serializer), )+
                }
            }
        }
    )+ };
}

written_by_variant! {
    EventHandlers { Oas, Classic }
    IdentitySource { Key, From }
    ObserveUpstream { Switch, Settings }
}

impl Written for super::handler::Comparisons {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Written for super::KeyWord {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Written for super::TriggerLimit {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::config::raw::{Config, OasServer, read};

    #[test]
    fn written_settings_are_read_back_without_defaults() {
        let given = json!({
            "apis": [{
                "api_id": "a", "listen_path": "/a/", "auth": { "auth_header_name": "" }, "observe_upstream": true,
                "identity": ["key", { "header": "x-user" }],
                "server": { "eventHandlers": [{ "trigger": "HostUp", "type": "log", "logPrefix": "p" }] },
            }],
            "keys": { "sha256:00": { "quota_max": 10, "monitor": { "trigger_limits": [80.0] }, "access_rights": { "a": {} } } },
            "origin_header": "x-real-ip",
        });
        let config: Config = read(given.clone()).unwrap();
        assert_eq!(serde_json::to_value(AsWritten(&config)).unwrap(), given);
        assert_eq!(serde_json::to_value(AsWritten(&OasServer::default())).unwrap(), json!({}));
        let text = serde_json::to_string(&AsWritten(&config)).unwrap();
        assert!(text.starts_with(r#"{"apis":[{"api_id":"a","listen_path":"/a/""#), "the schema's order: {text}");
    }
}
