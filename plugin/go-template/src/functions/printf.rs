//! Go's `printf` with the verbs that templates use.

use std::fmt::Write;

use serde_json::Value;

use super::compare::{number, whole};
use super::text::display;
use crate::format::Format;
use crate::json;

/// The maximum width of a verb.
const MAX_WIDTH: usize = 999;

const KNOWN: &str = "%s %v %d %q %t %f %x %X and %%, with a width, a precision, - and 0";

/// A part of a format.
enum Piece<'f> {
    Text(&'f str),
    Verb(Verb),
}

#[derive(Default)]
struct Verb {
    left: bool,
    zeros: bool,
    width: usize,
    precision: Option<usize>,
    letter: char,
}

/// Checks that the format is supported and needs `count` values.
///
/// # Errors
/// The text describes the error.
pub(crate) fn check(format: &str, count: usize) -> Result<(), String> {
    let mut wanted = 0_usize;
    for piece in pieces(format) {
        let Piece::Verb(verb) = piece else { continue };
        if !"svdqtfxX".contains(verb.letter) {
            return Err(format!("printf supports {KNOWN}, but not %{}", verb.letter.escape_debug()));
        }
        if verb.width > MAX_WIDTH || verb.precision.is_some_and(|precision| precision > MAX_WIDTH) {
            return Err(format!("a width of printf is at most {MAX_WIDTH}"));
        }
        wanted = wanted.saturating_add(1);
    }
    if wanted == count {
        return Ok(());
    }
    Err(format!("the format of printf asks for {wanted} values and gets {count}"))
}

/// The first value is the format. In a JSON message, `%q` gives a JSON string, which differs from Go's.
pub(crate) fn sprintf(writes: Format, values: &[&Value]) -> String {
    let Some((format, values)) = values.split_first() else { return String::new() };
    let format = display(format);
    let mut values = values.iter();
    let mut out = String::with_capacity(format.len());
    for piece in pieces(&format) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Verb(verb) => match values.next() {
                Some(value) => out.push_str(&verb.print(writes, value)),
                None => {
                    let _ = write!(out, "%!{}(MISSING)", verb.letter);
                }
            },
        }
    }
    out
}

fn pieces(format: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = format;
    std::iter::from_fn(move || {
        let text = rest.split('%').next().unwrap_or_default();
        if !text.is_empty() {
            rest = rest.get(text.len()..).unwrap_or_default();
            return Some(Piece::Text(text));
        }
        let after = rest.strip_prefix('%')?;
        if let Some(tail) = after.strip_prefix('%') {
            rest = tail;
            return Some(Piece::Text("%"));
        }
        let (verb, tail) = Verb::read(after);
        rest = tail;
        Some(Piece::Verb(verb))
    })
}

impl Verb {
    fn read(after: &str) -> (Self, &str) {
        let mut verb = Verb::default();
        let mut rest = after;
        while let Some(tail) = rest.strip_prefix(['-', '0']) {
            verb.left |= rest.starts_with('-');
            verb.zeros |= rest.starts_with('0');
            rest = tail;
        }
        (verb.width, rest) = digits(rest);
        if let Some(tail) = rest.strip_prefix('.') {
            let (precision, tail) = digits(tail);
            verb.precision = Some(precision);
            rest = tail;
        }
        // A format that ends too early has a verb that does not exist.
        verb.letter = rest.chars().next().unwrap_or('!');
        let after = rest.get(verb.letter.len_utf8()..).unwrap_or_default();
        (verb, after)
    }

    fn print(&self, writes: Format, value: &Value) -> String {
        let is_empty = value.is_null() || value.as_str() == Some("");
        let text = match self.letter {
            's' | 'v' => Some(self.cut(display(value))),
            'q' if writes == Format::Json => Some(json::quoted(&self.cut(display(value)))),
            'q' => Some(quote(&self.cut(display(value)))),
            't' => match value {
                Value::Bool(truth) => Some(truth.to_string()),
                Value::String(text) if text == "true" || text == "false" => Some(text.clone()),
                _ if is_empty => Some("false".to_owned()),
                _ => None,
            },
            'd' if is_empty => Some("0".to_owned()),
            'd' => integer(value).map(|integer| integer.to_string()),
            'f' => {
                let number = if is_empty { Some(0.0) } else { number(value) };
                let precision = self.precision.unwrap_or(6).min(MAX_WIDTH);
                number.map(|number| format!("{number:.precision$}"))
            }
            'x' | 'X' => Some(hex(value, self.letter == 'X')),
            _ => None,
        };
        match text {
            Some(text) => self.pad(text, value),
            None => format!("%!{}({}={})", self.letter, kind(value), display(value)),
        }
    }

    fn cut(&self, text: String) -> String {
        self.precision.map_or(text.clone(), |precision| text.chars().take(precision).collect())
    }

    fn pad(&self, text: String, value: &Value) -> String {
        let missing = self.width.min(MAX_WIDTH).saturating_sub(text.chars().count());
        let is_number = matches!(self.letter, 'd' | 'f') || value.is_number();
        if missing == 0 {
            text
        } else if self.left {
            text + &" ".repeat(missing)
        } else if self.zeros && is_number {
            let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
            format!("{sign}{}{digits}", "0".repeat(missing))
        } else {
            " ".repeat(missing) + &text
        }
    }
}

fn digits(text: &str) -> (usize, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end).unwrap_or(("", text));
    let number = if digits.is_empty() { 0 } else { digits.parse().unwrap_or(usize::MAX) };
    (number, rest)
}

/// The integer part of a number.
fn integer(value: &Value) -> Option<i128> {
    // Finite JSON numbers outside `i128` have no meaning here.
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
    let truncated = |number: f64| number as i128;
    whole(value).or_else(|| number(value).map(truncated))
}

fn hex(value: &Value, capitals: bool) -> String {
    let text = match (value, integer(value)) {
        (Value::Number(_), Some(integer)) => {
            let sign = if integer < 0 { "-" } else { "" };
            format!("{sign}{:x}", integer.unsigned_abs())
        }
        _ => hex::encode(display(value)),
    };
    if capitals { text.to_ascii_uppercase() } else { text }
}

/// A Go string constant.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(2));
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{0}'..='\u{1f}' | '\u{7f}' => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
