//! Errors in a template, with their places.

use std::fmt;

use crate::place::line_and_column;

/// Why a template was refused, and the place of the error.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub struct Error {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The error, and how to correct it.
    pub message: String,
    /// The line of text, and below it a line with a caret.
    excerpt: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}{}", self.line, self.column, self.message, self.excerpt)
    }
}

impl Error {
    /// An error at a byte of the template.
    pub fn at(source: &str, byte: usize, message: impl Into<String>) -> Self {
        let (line, column) = line_and_column(source, byte);
        Error { line, column, message: message.into(), excerpt: excerpt(source, line, column) }
    }
}

/// The maximum characters that are shown before and after the place.
const BEFORE: usize = 50;
const AFTER: usize = 30;

/// The text below a message: a line of the template, and a line with a caret under the column.
pub fn excerpt(source: &str, line: usize, column: usize) -> String {
    let text = source.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let skipped = column.saturating_sub(1).saturating_sub(BEFORE);
    let shown: String = text
        .chars()
        .skip(skipped)
        .take(BEFORE.saturating_add(AFTER))
        .map(|c| if c.is_control() || c.is_whitespace() { ' ' } else { c })
        .collect();
    if shown.trim().is_empty() {
        return String::new();
    }
    let left = if skipped > 0 { "…" } else { "" };
    let right = if text.chars().count() > skipped.saturating_add(BEFORE).saturating_add(AFTER) { "…" } else { "" };
    let indent = " ".repeat(column.saturating_sub(1).saturating_sub(skipped).saturating_add(left.chars().count()));
    format!("\n    {left}{}{right}\n    {indent}^", shown.trim_end())
}
