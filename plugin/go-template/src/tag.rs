//! One tag: its language and its end.

use crate::constant::is_number;
use crate::lexer::end_of_tag;

/// One tag, without its opening braces.
pub(crate) struct Tag<'t> {
    /// The bytes up to the end of the closing braces.
    pub(crate) len: usize,
    pub(crate) kind: Kind,
    pub(crate) trim_left: bool,
    pub(crate) trim_right: bool,
    /// The content without trim markers.
    pub(crate) inner: &'t str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `{{/* … */}}`
    GoComment,
    /// Go's `{{.A.B}}`, `{{if …}}`, …
    Go,
    /// `{{!-- … --}}` or `{{! … }}`, copied with its braces.
    Comment,
    /// `{{{ … }}}` or `{{& … }}`
    Raw,
    /// Any other tag of Handlebars.
    Expression,
}

/// Go's keywords that have no meaning in Handlebars.
const GO_KEYWORDS: [&str; 9] = ["block", "break", "continue", "define", "end", "if", "range", "template", "with"];

/// Go's functions that Handlebars does not have.
const GO_FUNCTIONS: [&str; 11] =
    ["call", "ge", "html", "index", "js", "le", "print", "printf", "println", "slice", "urlquery"];

impl<'t> Tag<'t> {
    /// Reads the tag at the start of `after`. `in_go_block` says whether an `else` belongs to a block of Go's.
    pub(crate) fn read(after: &'t str, in_go_block: bool) -> Result<Self, String> {
        let start = after.trim_start_matches(['~']);
        if start.starts_with('!') {
            let end = if start.starts_with("!--") { "--}}" } else { "}}" };
            let (inner, _) = after.split_once(end).ok_or("a comment has no end")?;
            let len = inner.len().saturating_add(end.len());
            let inner = after.get(..len).unwrap_or_default();
            return Ok(Tag { len, kind: Kind::Comment, trim_left: false, trim_right: false, inner });
        }
        if without_left_marker(after).unwrap_or(after).trim_start().starts_with("/*") {
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
        if let Some(end) = end_of_tag(after) {
            let tag = Tag::of(after, end, Kind::Go);
            if is_go(tag.inner, in_go_block) {
                return Ok(tag);
            }
        }
        let end = end_of_expression(after).or_else(|| after.find("}}")).ok_or("a tag {{ has no end }}")?;
        let mut tag = Tag::of(after, end, Kind::Expression);
        if is_go(tag.inner, in_go_block) {
            tag.kind = Kind::Go;
        } else if let Some(raw) = tag.inner.strip_prefix('&') {
            (tag.kind, tag.inner) = (Kind::Raw, raw.trim());
        } else if tag.inner.starts_with('{') {
            // `{{ {x} }}` and `{{~{x}~}}` are raw tags, too.
            (tag.kind, tag.inner) = (Kind::Raw, tag.inner.trim_matches(['{', '}', ' ']));
        }
        Ok(tag)
    }

    fn of(after: &'t str, end: usize, kind: Kind) -> Self {
        let whole = after.get(..end).unwrap_or_default();
        let (inner, trim_left) = match without_left_marker(whole).or_else(|| whole.strip_prefix('~')) {
            Some(inner) => (inner, true),
            None => (whole, false),
        };
        let without_right_marker = |inner: &'t str| {
            let bare = inner.strip_suffix('-')?;
            bare.ends_with(|c: char| c.is_ascii_whitespace()).then_some(bare)
        };
        let (inner, trim_right) = match without_right_marker(inner).or_else(|| inner.strip_suffix('~')) {
            Some(inner) => (inner, true),
            None => (inner, false),
        };
        Tag { len: end.saturating_add(2), kind, trim_left, trim_right, inner: inner.trim() }
    }

    /// The word after `#`, `/` or `^`, or the first one.
    pub(crate) fn word(&self) -> &'t str {
        let bare = self.inner.trim_start_matches(['#', '/', '^']).trim_start();
        bare.split(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default()
    }

    /// True for Go's `{{.A.B}}` alone.
    pub(crate) fn is_plain_field(&self) -> bool {
        let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        self.kind == Kind::Go && self.inner.strip_prefix('.').is_some_and(|names| names.split('.').all(is_name))
    }

    /// Handlebars' trim markers for the tag's own.
    pub(crate) fn tildes(&self) -> (&'static str, &'static str) {
        let tilde = |trims: bool| if trims { "~" } else { "" };
        (tilde(self.trim_left), tilde(self.trim_right))
    }

    /// True if the tag opens, divides or closes a block of Handlebars.
    pub(crate) fn is_block(&self) -> bool {
        self.inner.starts_with(['#', '/']) || self.is_else()
    }

    /// True for `else` of Handlebars.
    pub(crate) fn is_else(&self) -> bool {
        self.inner.starts_with('^') || self.inner == "else" || self.inner.starts_with("else ")
    }
}

/// `- ` with any white space.
fn without_left_marker(text: &str) -> Option<&str> {
    text.strip_prefix('-').filter(|inner| inner.starts_with(|c: char| c.is_ascii_whitespace()))
}

/// True for a tag of Go's. A tag that is valid in both languages counts as Handlebars.
fn is_go(inner: &str, in_go_block: bool) -> bool {
    let Some(first) = inner.chars().next() else { return false };
    let word = inner.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    let after = inner.get(word.len()..).unwrap_or_default();
    let ends_well = after.is_empty() || after.starts_with(|c: char| c.is_ascii_whitespace() || c == '(');
    match first {
        '.' => !inner.starts_with("..") && !inner.starts_with("./"),
        '$' | '"' | '\'' | '`' => true,
        // `{{1x}}` is a name in Handlebars.
        '0'..='9' => is_number(inner.split(|c: char| c.is_ascii_whitespace() || c == '|').next().unwrap_or_default()),
        '-' | '+' => inner.get(1..).is_some_and(|tail| tail.starts_with(|c: char| c.is_ascii_digit())),
        '(' => has_go_mark(inner),
        _ if ends_well && word == "else" => in_go_block,
        _ if ends_well && GO_KEYWORDS.contains(&word) => true,
        _ if !after.is_empty() && ends_well && GO_FUNCTIONS.contains(&word) => true,
        _ if first.is_alphabetic() || first == '_' => has_go_mark(inner),
        _ => false,
    }
}

/// True if a tag has something outside strings that only Go has: `.Key`, `.`, `$x`, `|`, `:=`, a raw string.
pub(crate) fn has_go_mark(inner: &str) -> bool {
    let mut quote = None;
    let mut in_segment = false;
    let mut escaped = false;
    let mut previous = ' ';
    for (at, c) in inner.char_indices() {
        let tail = inner.get(at.saturating_add(c.len_utf8())..).unwrap_or_default();
        let next = tail.chars().next().unwrap_or(' ');
        let begins = previous.is_ascii_whitespace() || previous == '(';
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => in_segment = true,
            (None, ']') => in_segment = false,
            (None, _) if in_segment => {}
            (None, '`' | '|') => return true,
            (None, ':') if next == '=' => return true,
            (None, '$') if begins => return true,
            (None, '.') if begins && !matches!(next, '.' | '/') => return true,
            _ => {}
        }
        previous = c;
    }
    false
}

/// The position of the `}}` that closes a tag, outside string literals.
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
