//! What all readers of JSON share.

use std::mem;

use serde_json::{Map, Value};

/// Reads JSON text. Everything is read by this function: serde_json's parser is compiled anew for each kind of input and
/// each type to read.
///
/// # Errors
/// Where it is none.
pub fn parse(text: &[u8]) -> Result<Value, NotJson> {
    let text = std::str::from_utf8(text).map_err(|error| {
        let before = text.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        let column = before.rsplit(|byte| *byte == b'\n').next().map_or(0, <[u8]>::len).saturating_add(1);
        NotJson { line, column, ends_early: false }
    })?;
    serde_json::from_str(text).map_err(|error| NotJson {
        line: error.line(),
        column: error.column(),
        ends_early: error.is_eof(),
    })
}

/// Where a text is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not JSON from line {line}, column {column} on")]
pub struct NotJson {
    /// The line, from 1.
    pub line: usize,
    /// The byte in the line, from 1; 0 for the end of the line before.
    pub column: usize,
    /// The text ends before the value does.
    pub ends_early: bool,
}

/// A decimal number in the form of JSON or of Rust, such as `1`, `+.5` or `2.e3`; `None` for anything else, and for what
/// is beyond every float. Of 16 digits and more the last bit may differ, as in all JSON that is read. The standard
/// library's own parser has a table of 10 KiB.
pub fn float(text: &str) -> Option<f64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => ("-", text),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let is_exponent = |c: char| matches!(c, 'e' | 'E');
    let (mantissa, exponent) = text.split_at_checked(text.find(is_exponent).unwrap_or(text.len()))?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !are_digits(whole) || !are_digits(fraction) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let json = [sign, if whole.is_empty() { "0" } else { whole }, ".", fraction, "0", exponent].concat();
    parse(json.as_bytes()).ok()?.as_f64()
}

/// What an error calls a value.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// An object of these members, whose values are taken. serde's derived code for a struct is ten times as long.
pub fn object(members: &mut [(&str, Value)]) -> Value {
    let mut object = Map::new();
    for (name, value) in members {
        object.insert((*name).to_owned(), mem::take(value));
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn floats_are_those_of_the_standard_library() {
        for text in [
            "0",
            "1",
            "-1",
            "+1",
            "007",
            "80.0",
            "0.5",
            ".5",
            "5.",
            "-.5",
            "1e3",
            "1E-3",
            "1.5e+2",
            "1e22",
            "123456.789",
            "0.1",
            "1e300",
            "",
            ".",
            "e",
            "-",
            "+-1",
            "1e",
            "1e+",
            "1.2.3",
            "1_0",
            " 1",
            "0x10",
            "--1",
            "1e1.5",
            "\u{661}",
        ] {
            assert_eq!(float(text), text.parse().ok(), "{text:?}");
        }
        for text in ["inf", "NaN", "1e999", "-1e999"] {
            assert_eq!(float(text), None, "{text:?}");
        }
    }
}
