//! Decides whether a rule of `allowed_urls` can be carried over. The filter does not support all of Go's regular
//! expressions. Only expressions that every engine reads alike are accepted. `tests/it/rights.rs` compares this with
//! the filter.

use std::str::Chars;

/// The filter compiles rules of this many characters, and longer ones.
const MAX_CHARS: usize = 500;

/// Escapes with the same meaning in all engines: classes, and the end of a word.
const ESCAPES: [char; 8] = ['d', 'D', 'w', 'W', 's', 'S', 'b', 'B'];

/// True if a rule's `url` can be carried over unchanged.
pub(super) fn is_usable(url: &str) -> bool {
    let pattern = prepare(url);
    !url.is_empty() && pattern.chars().count() <= MAX_CHARS && is_plain(&pattern) && regex::Regex::new(&pattern).is_ok()
}

/// Expands Tyk's short forms: `{id}` for one segment, `/*/` for one segment, `/*` for any number.
fn prepare(url: &str) -> String {
    let opened = url.matches('{').count();
    let mut pattern = String::new();
    let mut rest = url;
    if opened > 0 && opened == url.matches('}').count() {
        while let Some((before, behind)) = rest.split_once('{') {
            pattern.push_str(before);
            match behind.split_once('}') {
                Some((name, after)) if !name.is_empty() => {
                    pattern.push_str("([^/]+)");
                    rest = after;
                }
                _ => {
                    pattern.push('{');
                    rest = behind;
                }
            }
        }
    }
    pattern.push_str(rest);
    pattern.replace("/*/", "/[^/]+/").replace("/*", "/.*")
}

/// True for literal text, `.`, classes, groups, alternatives, anchors, and single repetitions of these.
fn is_plain(pattern: &str) -> bool {
    let mut rest = pattern.chars();
    // True if the part before can be repeated.
    let mut repeatable = false;
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                repeatable = true;
                match rest.next() {
                    Some(escaped) if escaped.is_ascii_punctuation() && !matches!(escaped, '<' | '>') => {}
                    Some(escaped) if ESCAPES.contains(&escaped) => repeatable = !matches!(escaped, 'b' | 'B'),
                    _ => return false,
                }
            }
            '[' => {
                if !is_plain_class(&mut rest) {
                    return false;
                }
                repeatable = true;
            }
            '(' => {
                if rest.as_str().starts_with('?') {
                    if !rest.as_str().starts_with("?:") {
                        return false;
                    }
                    rest.next();
                    rest.next();
                }
                repeatable = false;
            }
            '*' | '+' | '?' => {
                if !repeatable {
                    return false;
                }
                if rest.as_str().starts_with('?') {
                    rest.next();
                }
                repeatable = false;
            }
            '|' | '^' | '$' => repeatable = false,
            '{' | '}' | ']' => return false,
            c if c.is_control() => return false,
            _ => repeatable = true,
        }
    }
    true
}

/// Reads a class to its end: letters, digits and a few signs, ranges of them, and escapes.
fn is_plain_class(rest: &mut Chars<'_>) -> bool {
    if rest.as_str().starts_with('^') {
        rest.next();
    }
    let mut is_empty = true;
    let mut last = ' ';
    while let Some(c) = rest.next() {
        match c {
            ']' => return !is_empty,
            '\\' => match rest.next() {
                Some(escaped) if ESCAPES.contains(&escaped) && !matches!(escaped, 'b' | 'B') => {}
                Some(escaped) if escaped.is_ascii_punctuation() && !matches!(escaped, '<' | '>') => {}
                _ => return false,
            },
            // In some languages, two of the same sign are an operation on classes.
            '&' | '-' | '~' | '[' | '^' if c == '[' || c == '^' || c == last => return false,
            c if c.is_control() || c.is_whitespace() => return false,
            _ => {}
        }
        (is_empty, last) = (false, c);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_every_engine_reads_alike_is_usable() {
        for url in [
            "/orders/public",
            "^/orders/{id}$",
            "/orders/*",
            "/orders/*/lines",
            "/(?:a|b)/[a-z0-9_-]+",
            r"^/v1\.0/\d+$",
            "/a.*?b",
            "/caf\u{e9}",
            "(a|)",
        ] {
            assert!(is_usable(url), "{url}");
        }
        for url in [
            "",
            "/(public",
            r"\pL",
            r"\p{Greek}",
            r"\Qa\E",
            r"\<a",
            r"\x41",
            r"\101",
            r"\z",
            "a{2,3}{",
            "}a{",
            "a**",
            "a+*",
            "*a",
            "(?i)a",
            "(?P<n>a)",
            "(?=a)",
            "[]a]",
            "[[:alpha:]]",
            "[a&&b]",
            "[a--b]",
            "[z-a]",
            "[]",
            "[a",
            "a\u{b}b",
            "a)",
            "^*",
        ] {
            assert!(!is_usable(url), "{url}");
        }
        assert!(!is_usable(&"a".repeat(501)));
    }
}
