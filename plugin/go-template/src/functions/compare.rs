//! Truth and order, as in Go.

use std::cmp::Ordering;

use serde_json::Value;

use crate::json;

/// False values are `false`, 0, a missing value, and empty values.
pub(crate) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

pub(crate) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Null, Value::Bool(truth)) | (Value::Bool(truth), Value::Null) => !truth,
        _ => order(a, b) == Some(Ordering::Equal),
    }
}

/// The order of two values; `None` if Go refuses to compare them. A number can be compared to text that contains a
/// number.
pub(crate) fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Null, Value::String(b)) => Some("".cmp(b)),
        (Value::String(a), Value::Null) => Some(a.as_str().cmp("")),
        (Value::Number(_), _) | (_, Value::Number(_)) => match (whole(a), whole(b)) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => number(a)?.partial_cmp(&number(b)?),
        },
        _ => None,
    }
}

/// A whole number, or text that contains one.
pub(crate) fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Null => Some(0),
        Value::Number(number) => number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A number, or text that contains one.
pub(crate) fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Null => Some(0.0),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => json::float(text),
        _ => None,
    };
    number.filter(|number: &f64| number.is_finite())
}
