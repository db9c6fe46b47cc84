//! Holds values to the types that the payloads of Tyk's documentation have.

use serde_json::Value;

use super::posted::mismatches;
use super::shapes::FieldType::{self, Boolean, Integer, Integers};
use super::shapes::fields;
use crate::event::EventKind;

/// A value as a field has it, converted where it is text that says such a value: paths, queries and forms have nothing
/// else. `None` where it does not fit, as a time without a zone does not: which moment that is, nobody can know.
pub fn fitted(of: FieldType, value: Value) -> Option<Value> {
    let value = match (of, value) {
        (Integer, Value::String(text)) => whole_number(&text)?,
        (Boolean, Value::String(text)) => Value::from(text.parse::<bool>().ok()?),
        (Integers, Value::Array(items)) => {
            let items: Option<Vec<Value>> = items.into_iter().map(|item| fitted(Integer, item)).collect();
            Value::Array(items?)
        }
        (_, value) => value,
    };
    mismatches("", of, &value).is_empty().then_some(value)
}

fn whole_number(text: &str) -> Option<Value> {
    text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<u64>().map(Value::from)).ok()
}

/// Leaves out of a portal event's `Message` what is not of its field's type. Nothing is required of the dashboard's,
/// whose forms are the application's.
pub(super) fn fit(kind: EventKind, message: &mut Value) {
    let Value::Object(members) = message else { return };
    if kind.is_portal() {
        let type_of = |name: &str| fields(kind).iter().find(|field| field.name == name).map(|field| field.of);
        let kept = std::mem::take(members).into_iter();
        let kept = kept.filter_map(|(name, value)| fitted(type_of(&name)?, value).map(|value| (name, value)));
        *members = kept.collect();
    }
}
