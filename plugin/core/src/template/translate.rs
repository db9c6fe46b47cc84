//! From what users write to Handlebars: Tyk's Go tags become Handlebars tags, its old names the new ones, and raw
//! tags lose their rawness where it would break the format.
//!
//! The text between tags is copied as it is, and tags keep their lines, so that the lines of later errors hold.

use super::TemplateError;
use super::escape::Format;
use crate::event::VOLATILE;

/// A template in Handlebars.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Translated {
    pub(super) source: String,
    /// Whether it shows values that differ between two events of one cause.
    pub(super) volatile: bool,
}

/// Names of Tyk's first documentation, and today's.
const OLD_NAMES: [(&str, &str); 2] = [("EventType", "Type"), ("EventMetaData", "Meta")];

/// Handlebars words that reach variables without naming them.
const REACHES_ALL: [&str; 4] = ["each", "lookup", "this", "with"];

/// Go's template keywords that are no Handlebars words.
const GO_KEYWORDS: [&str; 9] = ["block", "break", "continue", "define", "end", "if", "range", "template", "with"];

/// Translates a template that writes `format`.
pub(super) fn translate(source: &str, format: Format) -> Result<Translated, TemplateError> {
    let mut out = Translated { source: String::with_capacity(source.len()), volatile: false };
    let mut rest = source;
    while let Some((text, after)) = rest.split_once("{{") {
        let place = source.len().saturating_sub(rest.len()).saturating_add(text.len());
        let error = |message: String| {
            let (line, column) = line_and_column(source, place);
            TemplateError { line, column, message }
        };
        out.source.push_str(text);
        let tag = Tag::read(after).map_err(error)?;
        rest = after.get(tag.len..).unwrap_or_default();
        if tag.kind == Kind::GoField && text.ends_with('\\') {
            // Handlebars reads a backslash before a tag as an escape; Go does not.
            out.source.push('\\');
        }
        if tag.kind == Kind::GoComment {
            // Handlebars has no comment that trims the text around it.
            if tag.trim_left {
                out.source.truncate(out.source.trim_end().len());
            }
            if tag.trim_right {
                rest = rest.trim_start();
            }
            continue;
        }
        out.source.push_str(&tag.to_handlebars(format, &out.source).map_err(error)?);
        out.volatile |= words(tag.inner).any(|word| VOLATILE.contains(&word) || REACHES_ALL.contains(&word));
    }
    out.source.push_str(rest);
    Ok(out)
}

/// One tag, without its opening braces.
struct Tag<'t> {
    /// Bytes up to and including the closing braces.
    len: usize,
    kind: Kind,
    trim_left: bool,
    trim_right: bool,
    /// What stands inside, without markers.
    inner: &'t str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `{{/* … */}}`
    GoComment,
    /// `{{.A.B}}`
    GoField,
    /// `{{!-- … --}}` or `{{! … }}`, copied with its braces.
    Comment,
    /// `{{{ … }}}` or `{{& … }}`
    Raw,
    /// Any other.
    Expression,
}

impl<'t> Tag<'t> {
    fn read(after: &'t str) -> Result<Self, String> {
        let start = after.trim_start_matches(['~']);
        if start.starts_with('!') {
            let end = if start.starts_with("!--") { "--}}" } else { "}}" };
            let (inner, _) = after.split_once(end).ok_or("a comment has no end")?;
            let len = inner.len().saturating_add(end.len());
            let inner = after.get(..len).unwrap_or_default();
            return Ok(Tag { len, kind: Kind::Comment, trim_left: false, trim_right: false, inner });
        }
        let go_comment = after.strip_prefix("- ").unwrap_or(after).trim_start().starts_with("/*");
        if go_comment {
            let (comment, tail) = after.split_once("*/").ok_or("a comment has no end")?;
            let (closing, _) = tail.split_once("}}").ok_or("a comment's tag has no end")?;
            return Ok(Tag {
                len: comment.len().saturating_add(closing.len()).saturating_add(4),
                kind: Kind::GoComment,
                trim_left: after.starts_with('-'),
                trim_right: closing.ends_with('-'),
                inner: "",
            });
        }
        if let Some(raw) = after.strip_prefix('{') {
            let (inner, _) = raw.split_once("}}}").ok_or("a tag {{{ has no end }}}")?;
            let len = inner.len().saturating_add(4);
            return Ok(Tag { len, kind: Kind::Raw, trim_left: false, trim_right: false, inner: inner.trim() });
        }
        let end = end_of_expression(after).or_else(|| after.find("}}")).ok_or("a tag {{ has no end }}")?;
        let whole = after.get(..end).unwrap_or_default();
        let (inner, trim_left) = match whole.strip_prefix("- ").or_else(|| whole.strip_prefix('~')) {
            Some(inner) => (inner, true),
            None => (whole, false),
        };
        let (inner, trim_right) = match inner.strip_suffix(" -").or_else(|| inner.strip_suffix('~')) {
            Some(inner) => (inner, true),
            None => (inner, false),
        };
        let inner = inner.trim();
        let (kind, inner) = match inner.strip_prefix('&') {
            Some(raw) => (Kind::Raw, raw.trim()),
            // `{{ {x} }}` and `{{~{x}~}}` are raw tags too.
            None if inner.starts_with('{') => (Kind::Raw, inner.trim_matches(['{', '}', ' '])),
            None if inner.starts_with('.') && !inner.starts_with("..") => (Kind::GoField, inner),
            None => (Kind::Expression, inner),
        };
        Ok(Tag { len: end.saturating_add(2), kind, trim_left, trim_right, inner })
    }

    fn to_handlebars(&self, format: Format, before: &str) -> Result<String, String> {
        let expression = match self.kind {
            Kind::Comment => return Ok(format!("{{{{{}", self.inner)),
            Kind::GoComment => return Ok(String::new()),
            Kind::GoField => go_field(self.inner)?,
            Kind::Raw | Kind::Expression => {
                refuse_go(self.inner)?;
                rename(self.inner)
            }
        };
        let is_value = self.kind == Kind::GoField
            || self.kind == Kind::Raw
            || !expression.starts_with(['#', '/', '^', '>', '*', '!'])
                && expression != "else"
                && !expression.starts_with("else ");
        if is_value && format == Format::Csv && stands_in_quotes(before) {
            return Ok(self.wrap(&format!("quoted {expression}"), ("{{", "}}")));
        }
        let keeps_raw = self.kind == Kind::Raw && matches!(format, Format::Html | Format::Text);
        Ok(self.wrap(&expression, if keeps_raw { ("{{{", "}}}") } else { ("{{", "}}") }))
    }

    fn wrap(&self, expression: &str, (open, close): (&str, &str)) -> String {
        let (left, right) = (if self.trim_left { "~" } else { "" }, if self.trim_right { "~" } else { "" });
        format!("{open}{left}{expression}{right}{close}")
    }
}

/// Where `}}` closes a tag, string literals passed over.
fn end_of_expression(after: &str) -> Option<usize> {
    let mut quote = None;
    let mut previous = '\0';
    for (at, c) in after.char_indices() {
        match quote {
            Some(open) if c == open && previous != '\\' => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if after.get(at..).is_some_and(|tail| tail.starts_with("}}")) => return Some(at),
            None => {}
        }
        previous = c;
    }
    None
}

/// `.Meta.Key` to `Meta.Key`.
fn go_field(inner: &str) -> Result<String, String> {
    let fields = inner.strip_prefix('.').unwrap_or(inner);
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if fields.split('.').all(is_name) {
        return Ok(rename(fields));
    }
    Err(format!("{{{{{inner}}}}} cannot be translated: of Go's templates, plain fields such as {{{{.Meta.Key}}}} are"))
}

fn refuse_go(inner: &str) -> Result<(), String> {
    if inner.starts_with(['>', '*']) || inner.starts_with("#>") || inner.starts_with("#*") {
        return Err(format!("{{{{{inner}}}}}: partials and decorators are not supported; write the text out"));
    }
    let first = inner.split_whitespace().next().unwrap_or_default();
    let outside_strings: String = pieces(inner).filter(|(in_string, _)| !in_string).map(|(_, piece)| piece).collect();
    let has_go_field =
        outside_strings.split(" .").skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()));
    if GO_KEYWORDS.contains(&first) || first.starts_with('$') || outside_strings.contains(" | ") || has_go_field {
        return Err(format!(
            "{{{{{inner}}}}} cannot be translated: of Go's templates, plain fields such as {{{{.Meta.Key}}}} are; \
             write conditions and loops in Handlebars, as {{{{#if (eq Type \"AuthFailure\")}}}} … {{{{/if}}}}"
        ));
    }
    Ok(())
}

/// Replaces the old names, outside string literals.
fn rename(expression: &str) -> String {
    let mut out = String::with_capacity(expression.len());
    for (in_string, piece) in pieces(expression) {
        let new_name = OLD_NAMES.iter().find(|(old, _)| *old == piece).map(|(_, new)| *new);
        out.push_str(if in_string { piece } else { new_name.unwrap_or(piece) });
    }
    out
}

/// The words of an expression, outside string literals.
fn words(expression: &str) -> impl Iterator<Item = &str> {
    pieces(expression).filter(|(in_string, _)| !in_string).map(|(_, piece)| piece)
}

/// An expression cut into words and what is between them; `true` marks what stands in a string literal.
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

/// Whether a CSV template has an open quote at its end so far.
fn stands_in_quotes(before: &str) -> bool {
    let line = before.rsplit_once('\n').map_or(before, |(_, line)| line);
    let mut outside_tags = line;
    let mut quotes = 0_usize;
    while let Some((text, tag)) = outside_tags.split_once("{{") {
        quotes = quotes.saturating_add(text.matches('"').count());
        outside_tags = tag.split_once("}}").map_or("", |(_, after)| after);
    }
    !quotes.saturating_add(outside_tags.matches('"').count()).is_multiple_of(2)
}

/// Both from 1; columns count characters.
fn line_and_column(source: &str, at: usize) -> (usize, usize) {
    let before = source.get(..at).unwrap_or(source);
    let line_start = before.rfind('\n').map_or(0, |newline| newline.saturating_add(1));
    let column = before.get(line_start..).unwrap_or_default().chars().count();
    (before.matches('\n').count().saturating_add(1), column.saturating_add(1))
}
