//! The places of APIs, hosts and paths, and the handling of the place of an API that is left out.
//!
//! The place of an API that Tyk serves and that is left out must not fall to another API, which could have no keys. It
//! answers 404.

use std::collections::BTreeMap;

use super::api::Api;
use super::source::{At, File};

/// The hosts of an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// A host name; empty for any.
    Name(String),
    /// A regular expression for whole host names.
    Pattern(String),
}

/// The place of an API that is left out although Tyk serves it.
#[derive(Clone, Debug)]
pub(super) struct Absent {
    pub(super) host: Host,
    /// A regular expression for whole paths.
    pub(super) paths: String,
    /// The length that counts when the longest listen path wins.
    pub(super) length: usize,
    /// The name of the API for people.
    pub(super) what: String,
}

impl Absent {
    /// The place of an API that could be read.
    pub(super) fn of(api: &Api) -> Self {
        Absent::at(Host::Name(api.domain.clone()), &api.listen_path, &api.name)
    }

    /// A `listen_path` in Tyk's form: literal text, and patterns in braces.
    pub(super) fn at(host: Host, listen_path: &str, what: &str) -> Self {
        Absent {
            host,
            paths: format!("{}.*", path_regex(listen_path)),
            length: length(listen_path),
            what: what.to_owned(),
        }
    }
}

/// Checks the places of the APIs. An error that can be left out is added to the API's file.
pub(super) fn check(found: &[(&File, Api)]) {
    let mut ids: BTreeMap<&str, &Api> = BTreeMap::new();
    for (file, api) in found.iter().filter(|(_, api)| !api.id.is_empty()) {
        match ids.get(api.id.as_str()) {
            Some(first) => {
                file.add_error(format!("{}: its api_id {:?} is already that of {}", api.place, api.id, first.place));
            }
            None => {
                ids.insert(&api.id, api);
            }
        }
    }
    for (file, api) in found {
        let is_same = |other: &Api| {
            !api.internal && !other.internal && (&other.domain, &other.listen_path) == (&api.domain, &api.listen_path)
        };
        // If an id occurs twice, the second API is left out anyway.
        let others = found.iter().filter(|(_, other)| other.id != api.id && is_same(other));
        for (_, other) in others {
            file.add_error(format!("{}: {} has the same domain and listen path", api.place, other.place));
        }
    }
}

/// The domain in the form of tollbell and Envoy; `None` if it is a pattern.
pub(super) fn domain(name: &str) -> Option<String> {
    let name = name.trim_end_matches('.');
    let name = name.split_once(':').map_or(name, |(host, _)| host);
    let is_label =
        |label: &str| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    name.split('.').all(is_label).then(|| name.to_ascii_lowercase())
}

/// A domain that is a pattern, as a regular expression for whole names.
pub(super) fn host_pattern(name: &str) -> Host {
    Host::Pattern(format!("(?i){}\\.?(?::[0-9]+)?", template(name, "[^.]+", &|c| regex::escape(&c.to_string()))))
}

/// A listen path that is a prefix. An error describes the handling of its place, if Tyk serves it.
pub(super) fn listen_path(
    whole: &At<'_>,
    at: &At<'_>,
    host: &dyn Fn() -> Option<Host>,
    what: &str,
) -> Result<String, Option<Absent>> {
    let path = at.words();
    if at.value().is_none() {
        at.error("missing: the API has no path");
    }
    if path.is_empty() || path.contains(' ') {
        whole.left_out(
            "the API is left out: it has no listen path, or one with a blank, and Tyk does not load it either",
        );
        return Err(None);
    }
    let clean = clean(path);
    let is_pattern = |c: char| matches!(c, '{' | '}' | '*' | '(' | ')');
    // Servers read these characters in different ways, or no path has them.
    let is_odd = |c: char| matches!(c, '?' | '#' | '%' | ';' | '\\') || c.is_whitespace() || c.is_control();
    if path.contains(is_pattern) || path.contains(is_odd) {
        let problem = match path.contains(is_pattern) {
            true => "is a pattern, but tollbell supports only prefixes of paths",
            false => "has a character that servers read in different ways",
        };
        whole.left_out(format!(
            "the API is left out, and its paths are answered with 404: its listen path {path:?} {problem}"
        ));
        return Err(host().map(|host| Absent::at(host, &clean, what)));
    }
    if clean == path {
        at.carried();
    } else {
        at.changed(format!("{clean}, as Tyk reads it, too"));
    }
    Ok(clean)
}

/// Cleans a path as Tyk does: one slash at the beginning, no empty segments and no dots; a slash at the end stays.
fn clean(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let end = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    format!("/{}{end}", segments.join("/"))
}

/// Tyk counts a segment that is a pattern as empty.
fn length(listen_path: &str) -> usize {
    let is_pattern = |segment: &&str| segment.len() > 2 && segment.starts_with('{') && segment.ends_with('}');
    let plain = listen_path.split('/').filter(|segment| !is_pattern(segment)).map(str::len).sum::<usize>();
    plain + listen_path.matches('/').count()
}

/// A listen path as a regular expression that matches every spelling that decodes to it.
pub(super) fn path_regex(listen_path: &str) -> String {
    template(listen_path, "[^/]+", &spellings)
}

/// The spellings of a character in a path: itself, if it is allowed there, and percent-encoded. Envoy has already
/// decoded the unreserved ones.
pub(super) fn spellings(c: char) -> String {
    if is_unreserved(c) {
        return regex::escape(&c.to_string());
    }
    let hex = |digit: u8| match char::from_digit(u32::from(digit), 16).unwrap_or_default() {
        digit if digit.is_ascii_digit() => digit.to_string(),
        digit => format!("[{}{digit}]", digit.to_ascii_uppercase()),
    };
    let encoded =
        c.to_string().bytes().map(|byte| format!("%{}{}", hex(byte >> 4), hex(byte & 15))).collect::<String>();
    match c {
        '?' | '#' | '%' => encoded,
        c => format!("(?:{}|{encoded})", regex::escape(&c.to_string())),
    }
}

pub(super) fn is_unreserved(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~')
}

/// Parses Gorilla's templates: `{name}` for `default`, `{name:pattern}`, and literal text.
fn template(text: &str, default: &str, literal: &dyn Fn(char) -> String) -> String {
    let (mut regex, mut pattern, mut depth) = (String::new(), String::new(), 0);
    for c in text.chars() {
        match c {
            '{' if depth == 0 => depth = 1,
            '}' if depth == 1 => {
                depth = 0;
                let own = pattern.split_once(':').map_or("", |(_, own)| own);
                let own = if own.is_empty() { default } else { own };
                // Envoy supports Go's expressions. A pattern that this reader does not support matches anything.
                let own = if regex::Regex::new(own).is_ok() { own } else { ".*" };
                regex.push_str(&format!("(?:{own})"));
                pattern.clear();
            }
            c if depth > 0 => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                pattern.push(c);
            }
            c => regex.push_str(&literal(c)),
        }
    }
    // An unclosed brace matches everything that follows.
    if depth > 0 { regex + ".*" } else { regex }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn matches(regex: &str, text: &str) -> bool {
        regex::Regex::new(&format!("^(?:{regex})$")).unwrap().is_match(text)
    }

    #[test]
    fn listen_paths_are_cleaned_as_in_tyk() {
        for (path, expected) in [
            ("a", "/a"),
            ("/a/", "/a/"),
            ("//a//b/", "/a/b/"),
            ("/a/./b/../c/", "/a/c/"),
            ("/", "/"),
            ("///", "/"),
            ("/../a", "/a"),
        ] {
            assert_eq!(clean(path), expected, "{path}");
        }
    }

    #[test]
    fn every_spelling_of_a_left_out_path_belongs_to_it() {
        let cases = [
            ("/a/{id}/", "/a/5/x", true),
            ("/a/{id}/", "/a%2F5%2fx", true),
            ("/a/{id}/", "/a/5", false),
            ("/a/{id:[0-9]+}", "/a/5", true),
            ("/a/{id:[0-9]{2}}/", "/a/55/x", true),
            ("/a/{id:[0-9]{2}}/", "/a/5/x", false),
            ("/a/{id:(?=x)}/", "/a/anything/", true),
            ("/a/{id", "/a/anything", true),
            ("/a*b/", "/a%2Ab/1", true),
            ("/a*b/", "/axb/1", false),
            ("/50%/", "/50%25/", true),
            ("/caf\u{e9}/", "/caf%C3%a9/1", true),
            ("/orders/", "/orders", false),
        ];
        for (listen_path, path, expected) in cases {
            let absent = Absent::at(Host::Name(String::new()), listen_path, "");
            assert_eq!(matches(&absent.paths, path), expected, "{listen_path} {path}: {}", absent.paths);
        }
    }

    #[test]
    fn hosts_that_are_patterns_match_whole_names() {
        for (domain, host, expected) in [
            ("{sub}.acme.test", "api.acme.test", true),
            ("{sub}.acme.test", "API.acme.test:8080", true),
            ("{sub}.acme.test", "api.acme.test.", true),
            ("{sub}.acme.test", "a.b.acme.test", false),
            ("{sub:.*}.acme.test", "a.b.acme.test", true),
            ("{?:a.test|b.test}", "b.test", true),
            ("*.acme.test", "x.acme.test", false),
        ] {
            let Host::Pattern(regex) = host_pattern(domain) else { panic!() };
            assert_eq!(matches(&regex, host), expected, "{domain} {host}: {regex}");
        }
    }

    #[test]
    fn a_pattern_makes_a_listen_path_no_longer() {
        assert_eq!(length("/a/{id}/"), length("/a//"));
        assert_eq!(length("/a/b/"), 5);
    }
}
