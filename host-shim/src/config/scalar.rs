//! The types of YAML scalars without quotes in Envoy's reader, yaml-cpp.

use super::node::Value;

/// Resolves the text of a scalar without quotes. A number with a fraction stays a string, which protobuf parses later.
pub(super) fn resolve(text: &str) -> Value {
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Value::Null;
    }
    match boolean(text) {
        Some(value) => Value::Bool(value),
        None => integer(text).map_or_else(|| Value::String(text.to_owned()), Value::Int),
    }
}

fn boolean(text: &str) -> Option<bool> {
    let lower = text.to_ascii_lowercase();
    let capitalized = |text: &str| {
        let mut chars = text.chars();
        chars.next().is_some_and(char::is_uppercase) && chars.all(char::is_lowercase)
    };
    if text != lower && text != text.to_ascii_uppercase() && !capitalized(text) {
        return None;
    }
    match lower.as_str() {
        "y" | "yes" | "true" | "on" => Some(true),
        "n" | "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// Like in C, the prefix decides the base: `0x` is hexadecimal, any other `0` is octal.
fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.split_at_checked(1) {
        Some(("-", digits)) => ("-", digits),
        Some(("+", digits)) => ("", digits),
        _ => ("", text),
    };
    let (digits, base) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hexadecimal) => (hexadecimal, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    if !digits.chars().all(|c| c.is_digit(base)) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), base).ok()
}
