//! Converts values to the types in the payloads of Tyk's documentation.

use serde_json::Value;

use super::posted::mismatches;
use super::shapes::FieldType::{self, Boolean, Integer, Integers};
use super::shapes::fields;
use crate::event::EventKind;

/// The value in the field's type. Text is converted, because paths, queries and forms have only text. `None` if it does
/// not fit, such as a time without a zone: its moment is unknown.
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

/// Removes fields of a wrong type from a portal event's `Message`. Dashboard events are not changed, because the
/// application defines their form.
pub(super) fn fit(kind: EventKind, message: &mut Value) {
    let Value::Object(members) = message else { return };
    if kind.is_portal() {
        let type_of = |name: &str| fields(kind).iter().find(|field| field.name == name).map(|field| field.of);
        let kept = std::mem::take(members).into_iter();
        let kept = kept.filter_map(|(name, value)| fitted(type_of(&name)?, value).map(|value| (name, value)));
        *members = kept.collect();
    }
}
