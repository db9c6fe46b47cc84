//! Reads settings from JSON.
//!
//! serde's derived code would take a tenth of the module: it is generated for every struct, for more formats than JSON,
//! and for errors that the schema has already ruled out. Here a struct lists its fields, and one function reads all of
//! them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use litemap::LiteMap;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::base::{item, member, type_name};
use crate::config::error::ConfigError;

/// A type that can be read from JSON.
pub trait Setting {
    /// Takes the value. If an object leaves out a field, the field keeps its value.
    ///
    /// # Errors
    /// The value has another type. The error has the path from here and never shows a value. A part of an object may
    /// have been read.
    fn read(&mut self, value: Value) -> Result<(), ConfigError>;
}

/// Reads a whole value.
///
/// # Errors
/// See [`Setting::read`].
pub fn read<T: Setting + Default>(value: Value) -> Result<T, ConfigError> {
    let mut whole = T::default();
    whole.read(value).map(|()| whole)
}

/// Entries by name, in the order of names. The code of a `BTreeMap` is compiled again for each type of its values, and
/// is five times as long.
#[derive(Clone, Debug, PartialEq)]
pub struct Named<T>(LiteMap<String, T>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Named(LiteMap::new())
    }
}

impl<T> Deref for Named<T> {
    type Target = LiteMap<String, T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T> DerefMut for Named<T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<T> FromIterator<(String, T)> for Named<T> {
    fn from_iter<I: IntoIterator<Item = (String, T)>>(entries: I) -> Self {
        Named(LiteMap::from_iter(entries))
    }
}

impl<'n, T> IntoIterator for &'n Named<T> {
    type Item = (&'n String, &'n T);
    type IntoIter = <&'n LiteMap<String, T> as IntoIterator>::IntoIter;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// The schema shows defaults.
impl<T: Serialize> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn inline_schema() -> bool {
        BTreeMap::<String, T>::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        BTreeMap::<String, T>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, T>::json_schema(generator)
    }
}

/// Declares structs of settings.
///
/// After a field's type, `| null` means that null counts as the default, because Tyk writes null for empty values. `|
/// String` means that one text may replace a list of one. Then comes the default, if it is not the type's own. `in
/// "camelCase"` means that the fields have such names in JSON.
macro_rules! settings {
    ($(
        $(#[$meta:meta])*
        $visibility:vis struct $name:ident $(in $case:literal)? {
            $( $(#[$field_meta:meta])* pub $field:ident: $type:ty $(| $also:ident)? $(= $default:expr)? ),+ $(,)?
        }
    )+) => { $(
        #[derive(schemars::JsonSchema)]
        #[schemars(default, deny_unknown_fields $(, rename_all = $case)?)]
        $(#[$meta])*
        $visibility struct $name {
            $( $(#[$field_meta])* pub $field: $type, )+
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $( $field: settings!(@default $($default)?), )+ }
            }
        }

        #[cfg(feature = "serialize")]
        impl $crate::config::raw::Written for $name {
            const FIELDS: &'static [&'static str] = &[$( stringify!($field) ),+];

            fn write<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap as _;
                use $crate::config::raw::written::{differs, name_of};

                let (default, case) = ($name::default(), settings!(@case $($case)?));
                let mut members = serializer.serialize_map(None)?;
                $( if differs(&self.$field, &default.$field) {
                    let setting = settings!(@written (&self.$field) $($also)?);
                    members.serialize_entry(&name_of(stringify!($field), case), &setting)?;
                } )+
                members.end()
            }
        }

        impl $crate::config::raw::Setting for $name {
            fn read(&mut self, value: serde_json::Value) -> Result<(), $crate::config::ConfigError> {
                let mut fields = $crate::config::raw::setting::Fields::of(value)?;
                $( fields.are_named_in($case); )?
                $( settings!(@read fields (stringify!($field), &mut self.$field) $($also)?); )+
                fields.end()
            }
        }
    )+ };
    (@case) => { None };
    (@case $case:literal) => { Some($case) };
    (@written ($place:expr)) => { $crate::config::raw::AsWritten($place) };
    (@written ($place:expr) null) => { $crate::config::raw::AsWritten($place) };
    (@written ($place:expr) String) => {
        $crate::config::raw::AsWritten(&$crate::config::raw::written::OneOrMany($place))
    };
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (@read $fields:ident $place:tt) => { $fields.read $place };
    (@read $fields:ident $place:tt null) => { $fields.read_unless_null $place };
    (@read $fields:ident $place:tt String) => { $fields.read_one_or_many $place };
}

/// The fields of an object that have not been read yet, and the first error.
pub struct Fields {
    left: Map<String, Value>,
    in_camel_case: bool,
    fault: Option<ConfigError>,
}

impl Fields {
    pub fn of(value: Value) -> Result<Self, ConfigError> {
        match value {
            Value::Object(left) => Ok(Fields { left, in_camel_case: false, fault: None }),
            other => Err(expected("an object", &other)),
        }
    }

    pub fn are_named_in(&mut self, case: &str) {
        self.in_camel_case = case == "camelCase";
    }

    /// Reads the field with this Rust name, if it is present.
    pub fn read(&mut self, field: &str, setting: &mut dyn Setting) {
        self.take(field, setting, |value| value);
    }

    pub fn read_unless_null(&mut self, field: &str, setting: &mut dyn Setting) {
        self.take(field, &mut UnlessNull(setting), |value| value);
    }

    pub fn read_one_or_many(&mut self, field: &str, setting: &mut Vec<String>) {
        self.take(field, setting, |value| match value {
            one @ Value::String(_) => Value::Array(vec![one]),
            many => many,
        });
    }

    fn take(&mut self, field: &str, setting: &mut dyn Setting, form: fn(Value) -> Value) {
        let field = field.trim_start_matches("r#");
        let camel_case = self.in_camel_case.then(|| camel_case(field));
        let name = camel_case.as_deref().unwrap_or(field);
        let Some(value) = self.left.remove(name).filter(|_| self.fault.is_none()) else { return };
        self.fault = setting.read(form(value)).map_err(|fault| fault.within(&member("", name))).err();
    }

    pub fn end(self) -> Result<(), ConfigError> {
        self.fault.map_or(Ok(()), Err)
    }
}

/// Keeps the default if the value is null.
struct UnlessNull<'s>(&'s mut dyn Setting);

impl Setting for UnlessNull<'_> {
    fn read(&mut self, value: Value) -> Result<(), ConfigError> {
        if value.is_null() { Ok(()) } else { self.0.read(value) }
    }
}

pub(super) fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut all = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at_checked(1).unwrap_or_default();
        all.push_str(&first.to_ascii_uppercase());
        all.push_str(rest);
    }
    all
}

#[cold]
fn expected(what: &str, found: &Value) -> ConfigError {
    ConfigError { path: String::new(), message: ["expected ", what, ", found ", type_name(found)].concat() }
}

/// Calls `read` with each item of a list.
fn each_item(list: Value, read: &mut dyn FnMut(Value) -> Result<(), ConfigError>) -> Result<(), ConfigError> {
    let items = match list {
        Value::Array(items) => items,
        other => return Err(expected("a list", &other)),
    };
    for (index, value) in (0_usize..).zip(items) {
        read(value).map_err(|fault| fault.within(&item("", index)))?;
    }
    Ok(())
}

/// Calls `read` with each member of an object.
fn each_member(object: Value, read: &mut dyn FnMut(&str, Value) -> Result<(), ConfigError>) -> Result<(), ConfigError> {
    let members = match object {
        Value::Object(members) => members,
        other => return Err(expected("an object", &other)),
    };
    for (name, value) in members {
        read(&name, value).map_err(|fault| fault.within(&member("", &name)))?;
    }
    Ok(())
}

impl Setting for String {
    fn read(&mut self, value: Value) -> Result<(), ConfigError> {
        match value {
            Value::String(text) => *self = text,
            other => return Err(expected("a string", &other)),
        }
        Ok(())
    }
}

impl Setting for bool {
    fn read(&mut self, value: Value) -> Result<(), ConfigError> {
        *self = value.as_bool().ok_or_else(|| expected("true or false", &value))?;
        Ok(())
    }
}

impl Setting for f64 {
    fn read(&mut self, value: Value) -> Result<(), ConfigError> {
        *self = value.as_f64().ok_or_else(|| expected("a number", &value))?;
        Ok(())
    }
}

impl Setting for i64 {
    fn read(&mut self, value: Value) -> Result<(), ConfigError> {
        *self = value.as_i64().ok_or_else(|| not_whole(&value, i64::MIN, i64::MAX))?;
        Ok(())
    }
}

/// A whole number from 0 to `most`.
fn unsigned(value: &Value, most: i64) -> Result<i64, ConfigError> {
    value.as_i64().filter(|number| (0..=most).contains(number)).ok_or_else(|| not_whole(value, 0, most))
}

#[cold]
fn not_whole(value: &Value, least: i64, most: i64) -> ConfigError {
    match value.as_f64().filter(|number| number.fract() == 0.0) {
        Some(_) => {
            ConfigError { path: String::new(), message: format!("expected a whole number from {least} to {most}") }
        }
        None => expected("a whole number", value),
    }
}

macro_rules! unsigned_settings {
    ($($type:ty),+) => { $(
        impl Setting for $type {
            fn read(&mut self, value: Value) -> Result<(), ConfigError> {
                let most = i64::try_from(<$type>::MAX).unwrap_or(i64::MAX);
                // A number in that range fits the type.
                *self = unsigned(&value, most)?.try_into().unwrap_or_default();
                Ok(())
            }
        }
    )+ };
}

unsigned_settings!(u16, u32, u64);

impl Setting for Value {
    fn read(&mut self, value: Value) -> Result<(), ConfigError> {
        *self = value;
        Ok(())
    }
}

impl Setting for Map<String, Value> {
    fn read(&mut self, value: Value) -> Result<(), ConfigError> {
        match value {
            Value::Object(members) => *self = members,
            other => return Err(expected("an object", &other)),
        }
        Ok(())
    }
}

impl<T: Setting + Default> Setting for Option<T> {
    fn read(&mut self, value: Value) -> Result<(), ConfigError> {
        *self = if value.is_null() { None } else { Some(read(value)?) };
        Ok(())
    }
}

impl<T: Setting + Default> Setting for Vec<T> {
    fn read(&mut self, value: Value) -> Result<(), ConfigError> {
        self.clear();
        each_item(value, &mut |value| {
            self.push(T::default());
            self.last_mut().map_or(Ok(()), |item| item.read(value))
        })
    }
}

impl<T: Setting + Default> Setting for Named<T> {
    fn read(&mut self, value: Value) -> Result<(), ConfigError> {
        self.0.clear();
        each_member(value, &mut |name, value| self.0.entry(name.to_owned()).or_default().read(value))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    settings! {
        /// Something.
        #[derive(Debug, PartialEq)]
        pub struct Outer {
            /// A text.
            pub text: String = "default".to_owned(),
            /// Texts.
            pub texts: Vec<String> | String,
            /// Things.
            pub things: Named<Inner> | null,
            /// A word of Rust.
            pub r#type: Option<u16>,
        }

        /// Something inside.
        #[derive(Debug, PartialEq)]
        pub struct Inner in "camelCase" {
            /// A number.
            pub the_number: f64,
            /// Whole ones.
            pub whole_ones: Vec<i64>,
        }
    }

    #[test]
    fn a_field_that_is_left_out_keeps_its_default() {
        let outer: Outer = read(json!({ "unknown": 1 })).unwrap();
        assert_eq!(outer, Outer { text: "default".into(), texts: vec![], things: Named::default(), r#type: None });
        let inner = Inner { the_number: 1.0, whole_ones: vec![-1, 2] };
        let all = json!({
            "text": "", "texts": "one", "things": { "a": { "theNumber": 1, "wholeOnes": [-1, 2] } }, "type": 7
        });
        let expected = Outer {
            text: String::new(),
            texts: vec!["one".into()],
            things: Named([("a".to_owned(), inner)].into_iter().collect()),
            r#type: Some(7),
        };
        assert_eq!(read(all), Ok(expected));
        let many: Outer = read(json!({ "texts": ["one", "two"], "things": null, "type": null })).unwrap();
        assert_eq!((many.texts.len(), many.things.len(), many.r#type), (2, 0, None));
    }

    #[test]
    fn errors_show_the_path_and_no_value() {
        for (value, message) in [
            (json!(["SECRET"]), "expected an object, found a list"),
            (json!({ "text": null }), "text: expected a string, found null"),
            (json!({ "text": ["SECRET"] }), "text: expected a string, found a list"),
            (json!({ "texts": 1 }), "texts: expected a list, found a number"),
            (json!({ "texts": ["", true] }), "texts[1]: expected a string, found true or false"),
            (json!({ "type": 65_536 }), "type: expected a whole number from 0 to 65535"),
            (json!({ "type": -1 }), "type: expected a whole number from 0 to 65535"),
            (json!({ "type": "SECRET" }), "type: expected a whole number, found a string"),
            (json!({ "things": [] }), "things: expected an object, found a list"),
            (json!({ "things": { "a.b": "SECRET" } }), "things[\"a.b\"]: expected an object, found a string"),
            (json!({ "things": { "a": null } }), "things.a: expected an object, found null"),
            (
                json!({ "things": { "a": { "theNumber": "1" } } }),
                "things.a.theNumber: expected a number, found a string",
            ),
            (
                json!({ "things": { "a": { "wholeOnes": [1, 1.5] } } }),
                "things.a.wholeOnes[1]: expected a whole number, found a number",
            ),
            (
                json!({ "things": { "a": { "wholeOnes": [u64::MAX] } } }),
                "things.a.wholeOnes[0]: expected a whole number from -9223372036854775808 to 9223372036854775807",
            ),
        ] {
            assert_eq!(read::<Outer>(value).unwrap_err().to_string(), message);
        }
    }
}
