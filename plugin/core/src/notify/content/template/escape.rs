//! What escaping each format needs.

use std::fmt::Write;

use go_template::Format;

use super::json::VALUE_MARK;

/// Escapes a value for the place of a tag: in XML or HTML text or a quoted attribute, as a whole CSV field. In JSON
/// the place is only known when the message is written: see [`JsonWriter`](super::json::JsonWriter).
pub(super) fn escape(format: Format, value: &str) -> String {
    match format {
        Format::Csv => csv_field(value),
        Format::Html | Format::Xml => markup(value),
        Format::Json => [VALUE_MARK.encode_utf8(&mut [0; 4]), value].concat(),
        Format::Text => value.to_owned(),
    }
}

/// Text or a quoted attribute value. What XML 1.0 has no way to write becomes U+FFFD.
fn markup(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
    out
}

/// Quoted where it must be.
fn csv_field(value: &str) -> String {
    if value.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value.to_owned()
    }
}
