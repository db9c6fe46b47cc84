//! The escaping of each format.

use std::fmt::Write;

use go_template::Format;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::json::VALUE_MARK;

/// The characters that are kept in each part of a URL: those that RFC 3986 calls unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Escapes a value for the place of its tag: in XML or HTML text or a quoted attribute, or as a whole CSV field. In
/// JSON the place is known only when the message is written: see [`JsonWriter`](super::json::JsonWriter).
pub(super) fn escape(format: Format, value: &str) -> String {
    match format {
        Format::Csv => csv_field(value),
        Format::Html | Format::Xml => markup(value),
        Format::Json => [VALUE_MARK.encode_utf8(&mut [0; 4]), value].concat(),
        Format::Text => value.to_owned(),
        Format::Url => utf8_percent_encode(value, ENCODED).to_string(),
    }
}

/// Escapes for text or a quoted attribute value. Characters that XML 1.0 cannot represent become U+FFFD.
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

/// Quotes the field if necessary.
fn csv_field(value: &str) -> String {
    if value.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value.to_owned()
    }
}
