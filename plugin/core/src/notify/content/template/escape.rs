//! Formats, and what escaping each one needs.

use std::fmt::Write;

use super::json::VALUE_MARK;

/// The format that a template writes, known by the ending of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// `.csv`: RFC 4180.
    Csv,
    /// `.html`, `.htm`.
    Html,
    /// `.json`.
    Json,
    /// Anything else: nothing is escaped.
    Text,
    /// `.xml`.
    Xml,
}

impl Format {
    /// By the ending of a template's name, whatever its case.
    pub fn of_name(name: &str) -> Self {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
        match ending.as_deref() {
            Some("csv") => Format::Csv,
            Some("html" | "htm") => Format::Html,
            Some("json") => Format::Json,
            Some("xml") => Format::Xml,
            _ => Format::Text,
        }
    }

    /// The `Content-Type` of a message, unless its handler sets one.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Csv => "text/csv; charset=utf-8",
            Format::Html => "text/html; charset=utf-8",
            Format::Json => "application/json",
            Format::Text => "text/plain; charset=utf-8",
            Format::Xml => "application/xml",
        }
    }

    /// Escapes a value for the place of a tag: in XML or HTML text or a quoted attribute, as a whole CSV field. In JSON
    /// the place is only known when the message is written: see [`JsonWriter`](super::json::JsonWriter).
    pub fn escape(self, value: &str) -> String {
        match self {
            Format::Csv => csv_field(value),
            Format::Html | Format::Xml => markup(value),
            Format::Json => [VALUE_MARK.encode_utf8(&mut [0; 4]), value].concat(),
            Format::Text => value.to_owned(),
        }
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
    if value.contains([',', '"', '\r', '\n']) { format!("\"{}\"", csv_quoted(value)) } else { value.to_owned() }
}

/// For a tag that stands inside quotes already.
pub(super) fn csv_quoted(value: &str) -> String {
    value.replace('"', "\"\"")
}
