//! Go's constants: strings, characters, numbers.

use serde_json::{Number, Value};

use crate::json;

/// The text of an interpreted string, without its quotes.
pub(crate) fn unquote(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let first = escape.chars().next().ok_or("a string ends in a backslash")?;
        let after = escape.get(first.len_utf8()..).unwrap_or_default();
        let (read, len) = escaped(first, escape, after)?;
        match read {
            Escaped::Byte(byte) => bytes.push(byte),
            Escaped::Char(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        rest = escape.get(len..).unwrap_or_default();
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

enum Escaped {
    Byte(u8),
    Char(char),
}

/// The value of an escape, and its length in bytes after the backslash.
fn escaped(first: char, escape: &str, after: &str) -> Result<(Escaped, usize), String> {
    let byte = |byte: u8| Ok((Escaped::Byte(byte), 1));
    match first {
        'a' => byte(7),
        'b' => byte(8),
        'f' => byte(12),
        'n' => byte(b'\n'),
        'r' => byte(b'\r'),
        't' => byte(b'\t'),
        'v' => byte(11),
        '\\' | '\'' | '"' => Ok((Escaped::Char(first), 1)),
        'x' => Ok((Escaped::Byte(digits(after, 2, 16)?.try_into().unwrap_or_default()), 3)),
        '0'..='7' => {
            let code = digits(escape, 3, 8)?;
            Ok((Escaped::Byte(u8::try_from(code).map_err(|_| format!("\\{first}… is not a byte"))?), 3))
        }
        'u' | 'U' => {
            let count = if first == 'u' { 4 } else { 8 };
            let code = char::from_u32(digits(after, count, 16)?);
            Ok((Escaped::Char(code.ok_or_else(|| format!("\\{first}… is not a character"))?), count.saturating_add(1)))
        }
        _ => Err(format!("\\{first} is not an escape in Go's strings")),
    }
}

fn digits(text: &str, count: usize, radix: u32) -> Result<u32, String> {
    let digits = text.get(..count).unwrap_or_default();
    let all = digits.len() == count && digits.chars().all(|c| c.is_digit(radix));
    let code = if all { u32::from_str_radix(digits, radix).ok() } else { None };
    code.ok_or_else(|| format!("an escape in a string needs {count} digits"))
}

/// The value of a character constant is the number of the character.
pub(crate) fn character(text: &str) -> Result<Value, String> {
    let unquoted = unquote(text)?;
    let mut chars = unquoted.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => Ok(Value::from(u32::from(c))),
        _ => Err(format!("'{text}' is not one character: strings have double quotes")),
    }
}

pub(crate) fn is_number(text: &str) -> bool {
    number(text).is_ok()
}

/// `42`, `-1`, `0x1F`, `1_000`, `2.5`, `1e3`.
pub(crate) fn number(text: &str) -> Result<Value, String> {
    let bare = text.replace('_', "");
    let (negative, digits) = match bare.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, bare.strip_prefix('+').unwrap_or(&bare)),
    };
    let lower = digits.to_ascii_lowercase();
    let integer = [("0x", 16), ("0o", 8), ("0b", 2)]
        .iter()
        .find_map(|(prefix, radix)| i64::from_str_radix(lower.strip_prefix(prefix)?, *radix).ok())
        .or_else(|| lower.parse::<i64>().ok());
    if let Some(integer) = integer {
        return Ok(Value::from(if negative { integer.saturating_neg() } else { integer }));
    }
    let starts_well = lower.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let float = if starts_well { json::float(&lower) } else { None };
    float
        .and_then(|float| Number::from_f64(if negative { -float } else { float }))
        .map(Value::Number)
        .ok_or_else(|| format!("{text} is not a number"))
}
