//! Translates templates to Handlebars: Go's tags become Handlebars tags, former names of fields become the current
//! ones, and raw tags become escaped ones where they would break the format.
//!
//! The text between tags is copied unchanged. Handlebars drops the line of a block tag that is alone on it. Go does
//! not, so an empty comment follows such a tag of Go's.

use crate::blocks::Blocks;
use crate::dialect::{Dialect, Environment};
use crate::emit::{operand, shows_watched, value_tag};
use crate::error::Error;
use crate::format::Format;
use crate::parser::{self, Expr, Statement};
use crate::place::Places;
use crate::tag::{Kind, Tag, has_go_mark};
use crate::{MAX_NESTING, cut};

/// A template in Handlebars.
#[derive(Debug)]
pub struct Translation {
    /// The text to register with Handlebars.
    pub source: String,
    /// True if it can show a field that its [`Dialect`] watches.
    pub shows_watched: bool,
    places: Places,
}

impl Translation {
    /// The byte of the original text for a line and a column of the translation, both from 1.
    pub fn original_place(&self, original: &str, line: usize, column: usize) -> usize {
        self.places.in_source(original, &self.source, (line, column))
    }

    /// Converts an error in the translation, such as one that Handlebars finds, to an error in the original text.
    pub fn error(&self, original: &str, line: usize, column: usize, message: impl Into<String>) -> Error {
        Error::at(original, self.original_place(original, line, column), message)
    }
}

/// Words of Handlebars that reach variables without naming them.
const REACHES_ALL: [&str; 4] = ["each", "lookup", "this", "with"];

/// Maximum bytes of a tag in an error message.
const MAX_SHOWN: usize = 60;

/// Translates a template.
///
/// # Errors
/// A tag is wrong or cannot be translated. The error has the place of the tag.
pub fn translate(source: &str, environment: Environment) -> Result<Translation, Error> {
    let Environment { format, dialect } = environment;
    let out =
        Translation { source: String::with_capacity(source.len()), shows_watched: false, places: Places::default() };
    let mut translator = Translator { format, dialect, out, blocks: Blocks::new(dialect), in_quotes: false };
    let mut rest = source;
    let mut trims = false;
    while let Some((text, after)) = rest.split_once("{{") {
        let place = source.len().saturating_sub(rest.len()).saturating_add(text.len());
        let error = |message: String, place: usize| Error::at(source, place, message);
        let in_go_block = translator.blocks.in_go_block();
        let tag = Tag::read(after, in_go_block).map_err(|message| error(message, place))?;
        // A plain field keeps Handlebars' way to trim, which differs next to a block tag of Handlebars.
        let is_go = tag.kind == Kind::GoComment || tag.kind == Kind::Go && !tag.is_plain_field();
        let trimmed = if trims { trim_start(text) } else { text };
        translator.text(if is_go && tag.trim_left { trim_end(trimmed) } else { trimmed });
        trims = is_go && tag.trim_right;
        rest = after.get(tag.len..).unwrap_or_default();
        let follows = if trims { trim_start(rest) } else { rest };
        translator.tag(&tag, place, follows).map_err(|message| error(message, place))?;
        translator.out.places.text(translator.out.source.len(), source.len().saturating_sub(follows.len()));
    }
    translator.text(if trims { trim_start(rest) } else { rest });
    translator.end().map_err(|(message, place)| Error::at(source, place, message))?;
    translator.out.shows_watched &= !dialect.watched.is_empty();
    Ok(translator.out)
}

/// Go trims these characters, and no other white space.
const TRIMMED: [char; 4] = [' ', '\t', '\r', '\n'];

fn trim_start(text: &str) -> &str {
    text.trim_start_matches(TRIMMED)
}

fn trim_end(text: &str) -> &str {
    text.trim_end_matches(TRIMMED)
}

struct Translator {
    format: Format,
    dialect: &'static Dialect,
    out: Translation,
    blocks: Blocks,
    /// True if the text so far ends inside the quotes of a CSV field.
    in_quotes: bool,
}

impl Translator {
    fn text(&mut self, text: &str) {
        self.out.source.push_str(text);
        for c in text.chars() {
            match c {
                '\n' => self.in_quotes = false,
                '"' => self.in_quotes = !self.in_quotes,
                _ => {}
            }
        }
    }

    /// Writes the translation of a tag. `follows` is the text after it.
    fn tag(&mut self, tag: &Tag<'_>, place: usize, follows: &str) -> Result<(), String> {
        match tag.kind {
            Kind::GoComment => Ok(()),
            Kind::Comment => {
                self.out.source.push_str("{{");
                self.out.source.push_str(tag.inner);
                Ok(())
            }
            Kind::Go => {
                self.out.places.tag(self.out.source.len(), place);
                let statement = parser::parse(tag.inner, self.dialect);
                let tildes = if tag.is_plain_field() { tag.tildes() } else { ("", "") };
                statement.and_then(|statement| self.go(statement, tildes, place, follows)).map_err(|message| {
                    let shown = cut(tag.inner, MAX_SHOWN);
                    format!("{{{{{shown}{}}}}}: {message}", if shown.len() < tag.inner.len() { "…" } else { "" })
                })
            }
            Kind::Raw | Kind::Expression => self.handlebars(tag, place),
        }
    }

    fn go(&mut self, statement: Statement, tildes: (&str, &str), place: usize, follows: &str) -> Result<(), String> {
        if let Statement::Print(value) = statement {
            self.out.shows_watched |= shows_watched(&value, self.dialect);
            let csv_quotes = self.format == Format::Csv && self.in_quotes;
            let scope = self.blocks.scope();
            let inner = match value_tag(&value, scope)? {
                _ if csv_quotes && matches!(value, Expr::Fields(..)) => {
                    format!("quoted {}", operand(&value, scope)?)
                }
                inner if csv_quotes => format!("quoted ({inner})"),
                inner => inner,
            };
            self.push(&inner, tildes);
            return Ok(());
        }
        let mut tags = Vec::new();
        let watched = self.blocks.go(statement, place, &mut tags)?;
        self.out.shows_watched |= watched;
        for tag in &tags {
            self.push(tag, ("", ""));
        }
        self.keep_line(follows);
        Ok(())
    }

    /// Writes a tag of Go's. The text before it must stay text.
    fn push(&mut self, inner: &str, (left, right): (&str, &str)) {
        let out = &mut self.out.source;
        if out.ends_with('\\') {
            // Handlebars reads a backslash before a tag as an escape. Go does not.
            out.push('\\');
        }
        // Three braces would be another kind of tag.
        let after_brace = out.ends_with('{');
        out.push_str(if after_brace { " {{~" } else { "{{" });
        out.push_str(if after_brace { "" } else { left });
        out.push_str(inner);
        out.push_str(right);
        out.push_str("}}");
    }

    fn keep_line(&mut self, follows: &str) {
        let line = follows.split('\n').next().unwrap_or_default();
        if line.chars().all(|c| c.is_ascii_whitespace()) {
            self.out.source.push_str("{{!}}");
        }
    }

    fn handlebars(&mut self, tag: &Tag<'_>, place: usize) -> Result<(), String> {
        let is_watched = |word: &str| self.dialect.watched.contains(&word) || REACHES_ALL.contains(&word);
        self.out.shows_watched |= words(tag.inner).any(is_watched);
        let mut closers = Vec::new();
        let is_escaped = self.out.source.ends_with('\\') && !self.out.source.ends_with("\\\\");
        let is_block = if tag.kind != Kind::Expression || is_escaped {
            tag.is_block()
        } else if tag.inner.starts_with('#') {
            self.blocks.open_handlebars(tag.word(), place)?;
            true
        } else if tag.inner.starts_with('/') {
            self.blocks.close_handlebars(tag.inner, &mut closers)?;
            true
        } else if tag.is_else() {
            self.blocks.else_handlebars(tag.inner, &mut closers)?;
            true
        } else {
            false
        };
        refuse_what_is_not_handlebars(tag)?;
        for closer in &closers {
            self.push(closer, ("", ""));
        }
        let expression = rename(tag.inner, self.dialect);
        let out = &mut self.out.source;
        let after_brace = out.ends_with('{');
        if after_brace {
            out.push(' ');
        }
        let (left, right) = tag.tildes();
        let left = if after_brace { "~" } else { left };
        let keeps_raw = tag.kind == Kind::Raw && matches!(self.format, Format::Html | Format::Text);
        if !is_block && self.format == Format::Csv && self.in_quotes {
            let is_call = expression.contains(|c: char| c.is_ascii_whitespace()) && !expression.starts_with('(');
            let value = if is_call { format!("({expression})") } else { expression };
            out.push_str(&format!("{{{{{left}quoted {value}{right}}}}}"));
        } else if keeps_raw {
            out.push_str(&format!("{{{{{{{left}{expression}{right}}}}}}}"));
        } else {
            out.push_str(&format!("{{{{{left}{expression}{right}}}}}"));
        }
        Ok(())
    }

    /// Closes the blocks at the end of the template.
    fn end(&mut self) -> Result<(), (String, usize)> {
        let mut closers = Vec::new();
        self.blocks.end(&mut closers)?;
        for closer in &closers {
            self.push(closer, ("", ""));
        }
        if !closers.is_empty() {
            self.keep_line("");
        }
        Ok(())
    }
}

fn refuse_what_is_not_handlebars(tag: &Tag<'_>) -> Result<(), String> {
    let inner = tag.inner;
    if inner.starts_with(['>', '*']) || inner.starts_with("#>") || inner.starts_with("#*") {
        return Err(format!("{{{{{inner}}}}}: partials and decorators are not supported; write the text out"));
    }
    let (before_names, _) = inner.split_once(" as |").unwrap_or((inner, ""));
    if has_go_mark(before_names) {
        return Err(format!(
            "{{{{{inner}}}}} is half Handlebars and half Go: write {{{{if eq .Type \"KeyExpired\"}}}} … {{{{end}}}}, \
             or {{{{#if (eq Type \"KeyExpired\")}}}} … {{{{/if}}}}"
        ));
    }
    let (mut depth, mut parentheses) = (0_usize, 0_i32);
    for (_, piece) in pieces(inner).filter(|(in_string, _)| !in_string) {
        match piece {
            "(" | "[" | "{" => depth = depth.saturating_add(1),
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_NESTING {
            return Err("parentheses are nested too deep".to_owned());
        }
        parentheses = parentheses.saturating_add(i32::from(piece == "(")).saturating_sub(i32::from(piece == ")"));
        if parentheses < 0 {
            return Err("a parenthesis is closed but was not opened".to_owned());
        }
    }
    if parentheses > 0 {
        return Err("a parenthesis has no end".to_owned());
    }
    Ok(())
}

/// Replaces former names outside string literals.
fn rename(expression: &str, dialect: &Dialect) -> String {
    pieces(expression).map(|(in_string, piece)| if in_string { piece } else { dialect.new_name(piece) }).collect()
}

/// The words of an expression, outside string literals.
fn words(expression: &str) -> impl Iterator<Item = &str> {
    pieces(expression).filter(|(in_string, _)| !in_string).map(|(_, piece)| piece)
}

/// Splits an expression into words and the text between them. `true` marks parts of string literals.
fn pieces(expression: &str) -> impl Iterator<Item = (bool, &str)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = expression;
    let mut quote = None;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let len = if is_word(first) { rest.find(|c| !is_word(c)).unwrap_or(rest.len()) } else { first.len_utf8() };
        let (piece, tail) = rest.split_at_checked(len)?;
        rest = tail;
        let in_string = quote.is_some();
        match (quote, first) {
            (None, '"' | '\'') => quote = Some(first),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
        Some((in_string, piece))
    })
}
