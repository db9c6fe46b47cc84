//! Splits the content of a Go tag into tokens.

use serde_json::Value;

use crate::constant;

/// A token, and whether white space separates it from the token before.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) apart: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// `.`
    Dot,
    /// `.Meta.Key`
    Fields(Vec<String>),
    /// `$`, `$x`, `$x.Key`; `$` has an empty name.
    Variable(String, Vec<String>),
    /// A keyword or a function.
    Word(String),
    /// A string, a number, a character, `true`, `false`, `nil`.
    Constant(Value),
    Open,
    Close,
    Pipe,
    /// `:=`
    Declare,
    /// `=`
    Assign,
    Comma,
}

/// The position of the `}}` that closes a Go tag, outside strings.
pub(crate) fn end_of_tag(after: &str) -> Option<usize> {
    let mut at = 0_usize;
    loop {
        let rest = after.get(at..)?;
        if rest.starts_with("}}") {
            return Some(at);
        }
        let first = rest.chars().next()?;
        let len = if is_quote(first) { quoted(rest, first)? } else { first.len_utf8() };
        at = at.saturating_add(len);
    }
}

pub(crate) fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '`')
}

/// The length of a string or character including its quotes.
pub(crate) fn quoted(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            '\n' if quote != '`' => return None,
            _ if c == quote => return Some(at.saturating_add(1)),
            _ => {}
        }
    }
    None
}

pub(crate) fn tokens(inner: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = inner;
    let mut apart = true;
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_whitespace() {
            apart = true;
            rest = rest.trim_ascii_start();
            continue;
        }
        let (kind, len) = token(rest, first)?;
        tokens.push(Token { kind, apart });
        apart = false;
        rest = rest.get(len..).unwrap_or_default();
    }
    Ok(tokens)
}

fn token(rest: &str, first: char) -> Result<(Kind, usize), String> {
    let single = |kind| Ok((kind, 1));
    match first {
        '(' => single(Kind::Open),
        ')' => single(Kind::Close),
        '|' => single(Kind::Pipe),
        ',' => single(Kind::Comma),
        '=' => single(Kind::Assign),
        ':' if rest.starts_with(":=") => Ok((Kind::Declare, 2)),
        '"' | '\'' | '`' => {
            let len = quoted(rest, first).ok_or_else(|| format!("a string that begins with {first} has no end"))?;
            let text = rest.get(1..len.saturating_sub(1)).unwrap_or_default();
            let value = match first {
                '"' => Value::String(constant::unquote(text)?),
                '`' => Value::String(text.replace('\r', "")),
                _ => constant::character(text)?,
            };
            Ok((Kind::Constant(value), len))
        }
        '.' if !rest.get(1..).is_some_and(|tail| tail.starts_with(|c: char| c.is_ascii_digit())) => {
            let (fields, len) = fields(rest);
            if fields.is_empty() { Ok((Kind::Dot, 1)) } else { Ok((Kind::Fields(fields), len)) }
        }
        '$' => {
            let name = word(rest.get(1..).unwrap_or_default());
            let len = name.len().saturating_add(1);
            let (fields, more) = fields(rest.get(len..).unwrap_or_default());
            Ok((Kind::Variable(name.to_owned(), fields), len.saturating_add(more)))
        }
        '.' | '-' | '+' | '0'..='9' => {
            let number = number(rest);
            Ok((Kind::Constant(constant::number(number)?), number.len()))
        }
        _ if is_word(first) => {
            let word = word(rest);
            let kind = match word {
                "true" => Kind::Constant(Value::Bool(true)),
                "false" => Kind::Constant(Value::Bool(false)),
                "nil" => Kind::Constant(Value::Null),
                _ => Kind::Word(word.to_owned()),
            };
            Ok((kind, word.len()))
        }
        '\\' => Err("there is a backslash outside a string: write quotes in a tag without a backslash".to_owned()),
        _ => Err(format!("{first:?} has no meaning here")),
    }
}

/// The names in `.A.B`, and its length.
fn fields(text: &str) -> (Vec<String>, usize) {
    let mut fields = Vec::new();
    let mut len = 0_usize;
    while let Some(tail) = text.get(len..).and_then(|rest| rest.strip_prefix('.')) {
        let name = word(tail);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            break;
        }
        fields.push(name.to_owned());
        len = len.saturating_add(name.len()).saturating_add(1);
    }
    (fields, len)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn word(text: &str) -> &str {
    text.split(|c| !is_word(c)).next().unwrap_or_default()
}

fn number(text: &str) -> &str {
    let mut previous = '\0';
    let end = text.find(|c: char| {
        let after_exponent = matches!(previous, 'e' | 'E') && !text.contains("0x");
        let belongs = is_word(c) || c == '.' || matches!(c, '+' | '-') && (previous == '\0' || after_exponent);
        previous = c;
        !belongs
    });
    text.get(..end.unwrap_or(text.len())).unwrap_or_default()
}
