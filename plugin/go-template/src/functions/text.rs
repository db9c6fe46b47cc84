//! Values as text.

use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Number, Value};

use crate::format::Format;

/// The text that Go prints for a value. A missing value prints nothing, and `<nil>` inside a map or a list.
pub fn display(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => display_number(number),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(inner).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{}", inner(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
    }
}

fn inner(value: &Value) -> String {
    if value.is_null() { "<nil>".to_owned() } else { display(value) }
}

fn display_number(number: &Number) -> String {
    let float = match number.as_f64() {
        Some(float) if number.is_f64() => float,
        _ => return number.to_string(),
    };
    if float == 0.0 || (1e-4..1e21).contains(&float.abs()) {
        return float.to_string();
    }
    let text = format!("{float:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// Go puts a space between two values if neither is text.
pub(crate) fn print(values: &[&Value]) -> String {
    let is_text = |value: &Value| matches!(value, Value::String(_) | Value::Null);
    let mut out = String::new();
    let mut after_text = true;
    for value in values {
        if !after_text && !is_text(value) {
            out.push(' ');
        }
        out.push_str(&display(value));
        after_text = is_text(value);
    }
    out
}

pub(crate) fn println(values: &[&Value]) -> String {
    let mut out = values.iter().map(|value| display(value)).collect::<Vec<_>>().join(" ");
    out.push('\n');
    out
}

/// Go's `html`. If the format escapes markup itself, this function does not.
pub(crate) fn html(format: Format, values: &[&Value]) -> String {
    let text = print(values);
    if matches!(format, Format::Html | Format::Xml) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '\0' => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
    out
}

/// Go's `js`. In JSON the format escapes strings itself, so this function does not.
pub(crate) fn js(format: Format, values: &[&Value]) -> String {
    let text = print(values);
    if format == Format::Json {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '\'' | '"' => out.extend(['\\', c]),
            '<' | '>' | '&' | '=' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            _ if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out
}

pub(crate) fn urlquery(values: &[&Value]) -> String {
    const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');
    utf8_percent_encode(&print(values), &KEPT).to_string().replace(' ', "+")
}
