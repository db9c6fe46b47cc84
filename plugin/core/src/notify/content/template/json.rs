//! Writes a JSON message: each value is written as the place where it stands asks for, inside a string or outside.
//!
//! Inside a string a value is escaped. Outside, a number, a boolean, `null` or a JSON string, such as `printf "%q"`
//! gives, stays as it is, and anything else becomes a JSON string. So a template that is JSON with harmless values is
//! JSON with any. What is empty becomes `null` where a value must stand, and `""` where a name must.

use go_template::json::push_escaped;

/// Stands before a value in what the template writes: Handlebars hands over text and values alike. No text has it,
/// since it is no character.
pub(super) const VALUE_MARK: char = '\u{fdd0}';

/// The message so far, and where in it the next piece comes.
#[derive(Debug, Default)]
pub(super) struct JsonWriter {
    out: String,
    place: Place,
    /// The objects (`true`) and lists that are open.
    open: Vec<bool>,
    /// A value that was empty stands where a value is wanted: what comes next decides.
    is_blank: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Nothing has come yet.
    #[default]
    Start,
    /// After `{`, or a comma in an object.
    Name,
    /// After a colon, `[`, or a comma in a list.
    Value,
    /// After a value, or within one that has no quotes.
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

    /// Text of the template, or a value with its mark.
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

    /// What comes after an empty value says whether a value was wanted there.
    fn fill_blank(&mut self, next: Option<u8>) {
        if !std::mem::take(&mut self.is_blank) {
            return;
        }
        let stands_for = match (self.place, next) {
            (Place::Name, Some(b':')) => "\"\"",
            (Place::Value | Place::Start, Some(b',') | None) => "null",
            (Place::Value, Some(b'}')) => "null",
            // `[` and an empty value and `]` is an empty list, but after a comma something must come.
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

/// A number, a boolean, `null` or a string. Objects and lists are left out: a client that sends such text as its key
/// must not add members to a message.
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
