//! Writes a JSON message. Each value is written in the way its place needs, inside or outside a string.
//!
//! Inside a string a value is escaped. Outside, a number, a boolean, `null` or a JSON string, such as the output of
//! `printf "%q"`, stays as it is, and anything else becomes a JSON string. So a template that writes valid JSON with
//! harmless values writes valid JSON with any values. An empty value becomes `null` in the place of a value, and `""`
//! in the place of a name.

use go_template::json::push_escaped;

/// Marks the beginning of a value in the template's output, because Handlebars passes on text and values in the same
/// way. No text contains the mark, because it is not a character.
pub const VALUE_MARK: char = '\u{fdd0}';

/// The message so far, and the place of the next part.
#[derive(Debug, Default)]
pub(super) struct JsonWriter {
    out: String,
    place: Place,
    /// The open objects (`true`) and lists.
    open: Vec<bool>,
    /// An empty value is in the place of a value. The next text decides how it is written.
    is_blank: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Before the first text.
    #[default]
    Start,
    /// After `{`, or after a comma in an object.
    Name,
    /// After a colon, after `[`, or after a comma in a list.
    Value,
    /// After a value, or within a value without quotes.
    After,
    /// In a string; `true` after a backslash.
    String(bool),
}

impl JsonWriter {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        JsonWriter { out: String::with_capacity(bytes), ..JsonWriter::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    pub(super) fn finish(mut self) -> String {
        self.fill_blank(None);
        self.out
    }

    /// Takes text of the template, or a value with its mark.
    pub(super) fn write(&mut self, piece: &str) {
        match piece.strip_prefix(VALUE_MARK) {
            Some(value) => self.value(value),
            None => self.text(piece),
        }
    }

    fn text(&mut self, text: &str) {
        if self.is_blank
            && let Some(next) = text.bytes().find(|byte| !byte.is_ascii_whitespace())
        {
            self.fill_blank(Some(next));
        }
        self.out.push_str(text);
        for byte in text.bytes() {
            self.place = self.after(byte);
        }
    }

    fn after(&mut self, byte: u8) -> Place {
        match (self.place, byte) {
            (Place::String(true), _) => Place::String(false),
            (Place::String(false), b'\\') => Place::String(true),
            (Place::String(false), b'"') => Place::After,
            (Place::String(false), _) => self.place,
            (_, b'"') => Place::String(false),
            (_, b'{') => {
                self.open.push(true);
                Place::Name
            }
            (_, b'[') => {
                self.open.push(false);
                Place::Value
            }
            (_, b'}' | b']') => {
                self.open.pop();
                Place::After
            }
            (_, b',') if self.open.last() == Some(&true) => Place::Name,
            (_, b',' | b':') => Place::Value,
            (_, byte) if byte.is_ascii_whitespace() => self.place,
            _ => Place::After,
        }
    }

    fn value(&mut self, value: &str) {
        match self.place {
            Place::String(_) => {
                push_escaped(&mut self.out, value);
                self.place = Place::String(false);
                return;
            }
            _ if value.trim_ascii().is_empty() => {
                self.is_blank |= self.place != Place::After;
                return;
            }
            // A part of a value, such as the digits after a minus sign.
            Place::After => push_escaped(&mut self.out, value),
            Place::Name if is_string(value) => self.out.push_str(value),
            Place::Start | Place::Value if is_scalar(value) => self.out.push_str(value),
            Place::Name | Place::Start | Place::Value => push_string(&mut self.out, value),
        }
        self.is_blank = false;
        self.place = Place::After;
    }

    /// The text after an empty value shows whether a value was needed there.
    fn fill_blank(&mut self, next: Option<u8>) {
        if !std::mem::take(&mut self.is_blank) {
            return;
        }
        let stands_for = match (self.place, next) {
            (Place::Name, Some(b':')) => "\"\"",
            (Place::Value | Place::Start, Some(b',') | None) => "null",
            (Place::Value, Some(b'}')) => "null",
            // `[`, an empty value and `]` make an empty list, but after a comma there must be a value.
            (Place::Value, Some(b']')) if !self.out.trim_ascii_end().ends_with('[') => "null",
            _ => return,
        };
        self.out.push_str(stands_for);
        self.place = Place::After;
    }
}

fn is_string(value: &str) -> bool {
    value.trim_ascii_start().starts_with('"') && crate::base::json::parse(value.as_bytes()).is_ok()
}

/// True for a number, a boolean, `null` or a string. Objects and lists do not count: a client that sends such text as
/// its key must not add fields to a message.
fn is_scalar(value: &str) -> bool {
    match value.trim_ascii_start().as_bytes().first() {
        Some(b'{' | b'[') | None => false,
        Some(b'"') => is_string(value),
        Some(_) => crate::base::json::parse(value.as_bytes()).is_ok(),
    }
}

fn push_string(out: &mut String, value: &str) {
    out.push('"');
    push_escaped(out, value);
    out.push('"');
}
