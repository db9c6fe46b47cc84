//! JSON strings, and numbers.

use std::fmt::Write;

use serde_json::Number;

/// A decimal number in the form of JSON or of Rust, such as `1`, `+.5` or `2.e3`; `None` for anything else, and for
/// numbers that are too large for a float. From 16 digits on, the last bit may differ, as in all numbers that
/// serde_json reads. The standard library's parser has a table of 10 KiB, which is much for a wasm module.
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
    json.parse::<Number>().ok()?.as_f64()
}

/// A JSON string.
pub fn quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len().saturating_add(2));
    out.push('"');
    push_escaped(&mut out, value);
    out.push('"');
    out
}

/// Adds text to the inside of a JSON string.
pub fn push_escaped(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // U+2028 and U+2029 end a line in JavaScript. A DEL is legal but unreadable.
            '\u{0}'..='\u{1f}' | '\u{7f}' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn floats_match_the_standard_library() {
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
