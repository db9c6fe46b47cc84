//! The formats of templates.

/// The format of a template's output. The ending of the template's name decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// `.csv`: RFC 4180.
    Csv,
    /// `.html`, `.htm`.
    Html,
    /// `.json`.
    Json,
    /// Any other ending. Nothing is escaped.
    Text,
    /// A URL; no ending means it. Values are percent-encoded.
    Url,
    /// `.xml`.
    Xml,
}

impl Format {
    /// The format for a template's name, by its ending in any case.
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

    /// The value of a `Content-Type` header.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Csv => "text/csv; charset=utf-8",
            Format::Html => "text/html; charset=utf-8",
            Format::Json => "application/json",
            Format::Text | Format::Url => "text/plain; charset=utf-8",
            Format::Xml => "application/xml",
        }
    }
}
