//! The paths and methods that a right allows: Tyk's `allowed_urls`.
//!
//! A rule is a regular expression that must match somewhere in the path, which includes the listen path. Tyk's short
//! forms are `{id}` for one segment, `/*/` for one segment, and `/*` for any number. Go uses RE2's syntax. A rule is
//! refused when it is read if this crate's engine does not support it or would match differently.

use std::collections::HashMap;
use std::sync::Arc;

use regex_lite::{Regex, RegexBuilder};

/// Maximum bytes of a compiled rule. A rule of a thousand characters fits.
const MAX_COMPILED_BYTES: usize = 256 * 1024;

/// Maximum number of compiled rules that are kept. A document of a hundred thousand keys may have as many rules.
const MAX_COMPILED: usize = 256;

/// A rule in Tyk's form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UrlRule {
    /// The regular expression.
    pub url: String,
    /// The methods that the rule is for, in upper case.
    pub methods: Vec<String>,
}

/// The rules of a right. A request needs one rule that allows its method and path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AllowedUrls(Vec<Rule>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Rule {
    pattern: Arc<str>,
    /// True if the rule ignores case. Go uses Unicode's rules for this, and this engine ASCII's.
    ignores_case: bool,
    methods: Vec<String>,
}

/// The compiled rules that were used last, by their text.
#[derive(Debug, Default)]
pub struct CompiledUrls(HashMap<Arc<str>, Option<Regex>>);

impl AllowedUrls {
    /// Checks rules in Tyk's form.
    ///
    /// # Errors
    /// The index of the first wrong rule, and the reason.
    pub fn new(rules: &[UrlRule]) -> Result<Self, (usize, String)> {
        let rule = |(place, UrlRule { url, methods }): (usize, &UrlRule)| {
            let pattern = prepare(url);
            let ignores_case = check(&pattern).map_err(|why| (place, why))?;
            compile(&pattern).map_err(|why| (place, why))?;
            Ok(Rule { pattern: pattern.into(), ignores_case, methods: methods.clone() })
        };
        Ok(AllowedUrls(rules.iter().enumerate().map(rule).collect::<Result<_, _>>()?))
    }

    /// True if the rules allow the request in every reading of its path.
    pub fn allow<'p>(
        &self,
        compiled: &mut CompiledUrls,
        method: &[u8],
        mut readings: impl Iterator<Item = &'p [u8]>,
    ) -> bool {
        readings.all(|path| {
            // A vertical tab is white space in this engine, and not in Go.
            let path = std::str::from_utf8(path).ok().filter(|path| !path.contains('\u{b}'));
            path.is_some_and(|path| self.0.iter().any(|rule| rule.allows(compiled, method, path)))
        })
    }
}

impl Rule {
    fn allows(&self, compiled: &mut CompiledUrls, method: &[u8], path: &str) -> bool {
        self.methods.iter().any(|allowed| allowed.as_bytes() == method)
            && (!self.ignores_case || path.is_ascii())
            && compiled.get(&self.pattern).is_some_and(|regex| regex.is_match(path))
    }
}

impl CompiledUrls {
    fn get(&mut self, pattern: &Arc<str>) -> Option<&Regex> {
        // If a right has more rules than are kept, it must not evict the rules that it needs next.
        if self.0.len() >= MAX_COMPILED && !self.0.contains_key(pattern) {
            let any = self.0.keys().next().cloned();
            any.map(|any| self.0.remove(&any));
        }
        self.0.entry(Arc::clone(pattern)).or_insert_with(|| compile(pattern).ok()).as_ref()
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(pattern).size_limit(MAX_COMPILED_BYTES).build();
    built.map_err(|error| format!("is not a regular expression that tollbell can use: {}", mistake(&error.to_string())))
}

/// Common mistakes, by a part of the parser's message.
const MISTAKES: [(&str, &str); 16] = [
    ("open group", "a parenthesis is not closed"),
    ("closing ')', but", "a parenthesis is not closed"),
    ("closing ')'", "a parenthesis closes nothing"),
    ("look-around", "(?=…), (?!…) and (?<…) are not supported, neither here nor in Go"),
    ("Unicode", "Unicode classes (\\p{…}) are not supported"),
    ("backreferences", "references to groups are not supported, neither here nor in Go"),
    ("start of escape", "there is a backslash at the end"),
    ("escape sequence", "there is a backslash before a character that needs none"),
    ("repetition operator must", "there is nothing before a repetition"),
    ("nested", "classes in classes are not supported"),
    ("intersection", "&& in a class is not supported"),
    ("symmetric", "~~ in a class is not supported"),
    ("difference", "-- in a class is not supported"),
    ("bracket", "a class is not closed with ]"),
    ("unclosed character class", "a class is not closed with ]"),
    ("range", "a range in a class ends before it begins"),
];

fn mistake(said: &str) -> &str {
    MISTAKES.iter().find(|(part, _)| said.contains(part)).map_or("it is too long, or unusual", |(_, mistake)| mistake)
}

/// Expands Tyk's short forms, as Tyk's `PreparePathRegexp` does.
fn prepare(url: &str) -> String {
    let opened = url.matches('{').count();
    let mut pattern =
        if opened > 0 && opened == url.matches('}').count() { without_names(url) } else { url.to_owned() };
    if pattern.contains("/*") {
        pattern = pattern.replace("/*/", "/[^/]+/").replace("/*", "/.*");
    }
    pattern
}

/// Replaces `{id}` by `([^/]+)`.
fn without_names(url: &str) -> String {
    let mut pattern = String::new();
    let mut rest = url;
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
    pattern + rest
}

#[derive(Clone, Copy)]
enum Class {
    Opened,
    Negated,
    Further,
}

/// Refuses rules that Go and this crate's engine read differently. Returns whether the rule may ignore case.
fn check(pattern: &str) -> Result<bool, String> {
    let refuse = |what: &str| Err(format!("{what} cannot be used here"));
    let mut ignores_case = false;
    let mut repeated = 0_u32;
    // The position in a class: at its beginning, after its ^, or further on.
    let mut class = None;
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        let next = rest.clone().next();
        match (c, class) {
            ('\\', _) => match rest.next() {
                Some(escaped @ ('<' | '>' | 'u' | 'U')) => return refuse(&format!("\\{escaped}")),
                _ => class = class.map(|_| Class::Further),
            },
            // A bracket that comes first does not close the class.
            (']', Some(Class::Further)) => class = None,
            ('[', Some(_)) if next == Some(':') => match rest.as_str().split_once(":]") {
                Some((_, behind)) => (rest, class) = (behind.chars(), Some(Class::Further)),
                None => return refuse("an open [:"),
            },
            ('^', Some(Class::Opened)) => class = Some(Class::Negated),
            (_, Some(_)) => class = Some(Class::Further),
            ('[', None) => class = Some(Class::Opened),
            ('{' | '}', None) => return refuse("a brace without its counterpart, or a number of repetitions,"),
            ('?', None) if repeated == 1 => repeated = 2,
            ('*' | '+' | '?', None) if repeated > 0 => return refuse("a repetition of a repetition"),
            ('*' | '+' | '?', None) => {
                repeated = 1;
                continue;
            }
            ('(', None) if next == Some('?') => {
                rest.next();
                let flags: String = rest.clone().take_while(|c| c.is_ascii_alphabetic() || *c == '-').collect();
                if flags.starts_with('P') {
                    rest.next();
                } else if let Some(flag) = flags.chars().find(|flag| matches!(flag, 'x' | 'R' | 'u')) {
                    return refuse(&format!("the flag {flag}"));
                }
                ignores_case |= !flags.starts_with('P') && flags.contains('i');
            }
            _ => {}
        }
        if repeated != 2 || c != '?' {
            repeated = 0;
        }
    }
    Ok(ignores_case)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn rules(url: &str) -> Result<AllowedUrls, (usize, String)> {
        let methods = vec!["GET".to_owned(), "POST".to_owned()];
        AllowedUrls::new(&[UrlRule { url: url.to_owned(), methods }])
    }

    fn allows(url: &str, method: &str, paths: &[&str]) -> bool {
        let readings = paths.iter().map(|path| path.as_bytes());
        rules(url).unwrap().allow(&mut CompiledUrls::default(), method.as_bytes(), readings)
    }

    #[test]
    fn rules_are_read_as_tyk_reads_them() {
        for (url, allowed, refused) in [
            ("/orders/public", vec!["/orders/public", "/orders/public/1", "/x/orders/public"], vec!["/orders/secret"]),
            ("^/orders/public$", vec!["/orders/public"], vec!["/orders/public/1", "/x/orders/public"]),
            (
                "/orders/{id}/lines",
                vec!["/orders/7/lines", "/orders/7/lines/1"],
                vec!["/orders/7/8/lines", "/orders//lines"],
            ),
            ("^/orders/{id}$", vec!["/orders/7"], vec!["/orders/7/8", "/orders/"]),
            ("^/orders/*/lines$", vec!["/orders/7/lines"], vec!["/orders/7/8/lines"]),
            ("^/orders/*$", vec!["/orders/", "/orders/7/8"], vec!["/orders", "/x/orders/7"]),
            ("^/[a-z]+/(public|open)$", vec!["/orders/open"], vec!["/orders/opens", "/ORDERS/open"]),
            ("(?i)^/orders$", vec!["/ORDERS"], vec!["/orders/"]),
            ("^/[^/]+/x$", vec!["/é/x"], vec!["/a/b/x"]),
            (r"^/v\d+/", vec!["/v12/x"], vec!["/vx/"]),
            ("", vec!["/anything"], vec![]),
        ] {
            for path in allowed {
                assert!(allows(url, "GET", &[path]), "{url} allows {path}");
            }
            for path in refused {
                assert!(!allows(url, "GET", &[path]), "{url} does not allow {path}");
            }
        }
    }

    #[test]
    fn methods_are_compared_exactly_and_paths_in_every_reading() {
        assert!(allows("/public", "POST", &["/public"]) && !allows("/public", "DELETE", &["/public"]));
        assert!(!allows("/public", "get", &["/public"]) && !allows("/public", "", &["/public"]));
        assert!(!allows("/public", "GET", &["/public/../secret", "/secret"]));
        assert!(allows("/public", "GET", &["/public/./1", "/public/1"]));
        assert!(!allows(".*", "GET", &["/a\u{b}b"]) && !allows("(?i)[^é]", "GET", &["/É"]));
        let without_methods = AllowedUrls::new(&[UrlRule { url: "/public".into(), methods: Vec::new() }]).unwrap();
        assert!(!without_methods.allow(&mut CompiledUrls::default(), b"GET", [&b"/public"[..]].into_iter()));
        let not_text = [&b"/public\xff"[..]].into_iter();
        assert!(!rules("/public").unwrap().allow(&mut CompiledUrls::default(), b"GET", not_text));
    }

    #[test]
    fn rules_that_go_reads_differently_are_refused_with_a_reason() {
        for (url, why) in [
            (r"\pL", "Unicode classes"),
            (r"\Qa\E", "there is a backslash before"),
            (r"(a)\1", "references to groups"),
            ("(?=a)", "(?=…)"),
            ("(?x) a", "the flag x"),
            ("(?R)a", "the flag R"),
            ("(?u:a)", "the flag u"),
            (r"\<a", r"\<"),
            (r"\u0041", r"\u"),
            ("a{2", "a brace"),
            ("a{}", "a brace"),
            ("}", "a brace"),
            ("/a**", "a repetition of a repetition"),
            ("a+*", "a repetition of a repetition"),
            ("a???", "a repetition of a repetition"),
            ("[[a]b]", "classes in classes"),
            ("[a&&b]", "&&"),
            ("[^^]a{2", "a brace"),
            ("[]]a{2", "a brace"),
            ("(a", "a parenthesis is not closed"),
            ("a)", "a parenthesis closes nothing"),
            ("*a", "there is nothing before a repetition"),
            (r"a\", "there is a backslash at the end"),
            ("[z-a]", "a range"),
            ("[a", "a class is not closed"),
        ] {
            let refused = rules(url).unwrap_err();
            assert!(refused.0 == 0 && refused.1.to_lowercase().contains(&why.to_lowercase()), "{url}: {refused:?}");
        }
        for good in [
            "a+?b*?c??",
            "[]*+?]+",
            "[^]x]*",
            "[^^]a",
            "[[:alpha:]*]*",
            r"[\]*]*",
            "(?P<name>a)",
            "(?i:a)",
            "(?:x)",
            r"\*\*",
        ] {
            assert!(rules(good).is_ok(), "{good}: {:?}", rules(good));
        }
    }

    #[test]
    fn a_limited_number_of_rules_is_kept_compiled() {
        let mut compiled = CompiledUrls::default();
        for n in 0..MAX_COMPILED * 3 {
            let (url, path) = (format!("^/users/{n}/"), format!("/users/{n}/x"));
            assert!(rules(&url).unwrap().allow(&mut compiled, b"GET", [path.as_bytes()].into_iter()));
            assert!(compiled.0.len() <= MAX_COMPILED);
        }
    }
}
