//! Parses JSON to a tree.

use std::collections::HashSet;

use super::node::{Key, Node, Value, insert};
use super::yaml::{MAX_DEPTH, Parsed, SyntaxFault};

pub(super) fn parse(text: &str) -> Result<Parsed, SyntaxFault> {
    if let Err(error) = serde_json::from_str::<serde_json::Value>(text) {
        return Err(SyntaxFault {
            line: error.line(),
            message: format!("column {}: {}", error.column(), mistake(text, &error)),
        });
    }
    let mut scanner = Scanner { rest: text, line: 1, depth: 0, notices: Vec::new() };
    match scanner.node() {
        Some(root) => Ok(Parsed { root, notices: scanner.notices }),
        None => Err(SyntaxFault {
            line: scanner.line,
            message: format!("nested more than {MAX_DEPTH} levels deep, which is Envoy's limit"),
        }),
    }
}

/// Names the likely mistake in invalid JSON. The message does not contain the text, which can contain a secret.
fn mistake(text: &str, error: &serde_json::Error) -> &'static str {
    let line = text.split('\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let rest = line.get(error.column().saturating_sub(1)..).unwrap_or_default();
    match rest.chars().next() {
        _ if error.is_eof() => "the JSON ends too early: a bracket or a quote is not closed",
        Some('}' | ']') => "this bracket follows an extra comma, or a value is missing",
        Some(',' | ':') => "a value is missing before this character, or the character is extra",
        Some('\'') => "strings must be in double quotes",
        Some('/' | '#') => "JSON has no comments",
        Some('"' | '{' | '[') => "a comma or a colon is missing before this",
        Some(c) if c.is_control() => "control characters in strings are written as \\n, \\t or \\u0000",
        _ => "expected a string in double quotes, a number, true, false, null, or a comma before it",
    }
}

/// Reads valid JSON again to find the lines of its values.
struct Scanner<'t> {
    rest: &'t str,
    line: usize,
    depth: usize,
    notices: Vec<(usize, String)>,
}

impl<'t> Scanner<'t> {
    /// Returns `None` if the value is nested too deep.
    fn node(&mut self) -> Option<Node> {
        let next = self.peek()?;
        let line = self.line;
        let value = match next {
            '{' | '[' => {
                self.depth = self.depth.saturating_add(1);
                if self.depth > MAX_DEPTH {
                    return None;
                }
                let value = if next == '{' { self.map()? } else { self.list()? };
                self.depth = self.depth.saturating_sub(1);
                value
            }
            '"' => Value::String(self.string()?),
            _ => match self.take_while(|c| !c.is_whitespace() && !matches!(c, ',' | ']' | '}')) {
                "null" => Value::Null,
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                number => match number.parse::<i32>() {
                    Ok(integer) => Value::Int(i64::from(integer)),
                    Err(_) => Value::Float(number.parse().ok()?),
                },
            },
        };
        Some(Node::new(line, value))
    }

    fn map(&mut self) -> Option<Value> {
        self.skip(1);
        let (mut entries, mut names) = (Vec::new(), HashSet::new());
        while self.peek()? != '}' {
            let line = self.line;
            let name = self.string()?;
            self.peek()?;
            self.skip(1);
            let node = self.node()?;
            if let Some(first) = insert(&mut entries, &mut names, Key { name: name.clone(), line }, node) {
                self.notices.push((line, format!("{name:?} is also on line {first}: Envoy uses the last one")));
            }
            self.skip_comma();
        }
        self.skip(1);
        Some(Value::Map(entries))
    }

    fn list(&mut self) -> Option<Value> {
        self.skip(1);
        let mut items = Vec::new();
        while self.peek()? != ']' {
            items.push(self.node()?);
            self.skip_comma();
        }
        self.skip(1);
        Some(Value::List(items))
    }

    fn string(&mut self) -> Option<String> {
        let mut is_escaped = false;
        let end = self.rest.char_indices().skip(1).find(|(_, c)| {
            let is_end = *c == '"' && !is_escaped;
            is_escaped = *c == '\\' && !is_escaped;
            is_end
        })?;
        let (text, rest) = self.rest.split_at_checked(end.0.saturating_add(1))?;
        self.rest = rest;
        serde_json::from_str(text).ok()
    }

    /// Returns the next character that is not a space.
    fn peek(&mut self) -> Option<char> {
        let spaces = self.take_while(char::is_whitespace);
        self.line = self.line.saturating_add(spaces.matches('\n').count());
        self.rest.chars().next()
    }

    fn skip_comma(&mut self) {
        if self.peek() == Some(',') {
            self.skip(1);
        }
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn take_while(&mut self, condition: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|c| !condition(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }
}
