//! Conditions on paths, headers and query parameters.

use regex::Regex;

use super::bootstrap::reason;
use super::model::{HeaderMatch, PathMatch, QueryMatch, RouteMatch, ValueMatch};
use super::{Message, Place};

/// Conditions that the shim cannot check.
const UNSUPPORTED: [&str; 5] = ["cookies", "grpc", "tls_context", "dynamic_metadata", "filter_state"];

/// The reason why there is no condition.
pub(super) enum Not {
    /// The configuration has errors, which were reported.
    Valid,
    /// Envoy supports the condition and the shim does not. A warning was reported.
    Supported,
}

pub(super) fn route_match(place: &Place<'_>) -> Result<RouteMatch, Not> {
    let message = place.message("RouteMatch").ok_or(Not::Valid)?;
    let path = path(&message);
    let case_sensitive = message.get("case_sensitive").and_then(|place| place.bool()).unwrap_or(true);
    let headers: Vec<_> = message.items("headers").iter().map(header).collect();
    let parameters: Vec<_> = message.items("query_parameters").iter().map(query_parameter).collect();
    let mut is_supported = true;
    for other in UNSUPPORTED.iter().filter_map(|field| message.get(field)) {
        is_supported &= other.node.is_default();
        if !other.node.is_default() {
            other.warn("the shim does not support this condition: the route is skipped");
        }
    }
    if let Some(fraction) = message.get("runtime_fraction") {
        fraction.warn("the shim has no runtime: it uses 100 %");
    }
    message.done();
    let found = RouteMatch {
        path: path?,
        case_sensitive,
        headers: headers.into_iter().collect::<Result<_, _>>()?,
        query_parameters: parameters.into_iter().collect::<Result<_, _>>()?,
    };
    if is_supported { Ok(found) } else { Err(Not::Supported) }
}

/// Reads a `RegexMatcher` as an expression that must match the complete value.
fn regex(place: &Place<'_>) -> Option<Regex> {
    let message = place.message("RegexMatcher")?;
    let pattern = message.required_string("regex");
    message.done();
    let pattern = pattern?;
    match Regex::new(&pattern).and_then(|_| Regex::new(&format!(r"\A(?:{pattern})\z"))) {
        Ok(regex) => Some(regex),
        Err(error) => {
            place.error(format!("{pattern:?} is not a regular expression: {}", reason(&error)));
            None
        }
    }
}

/// Reads a `RegexMatchAndSubstitute`. In the syntax of RE2, `\1` is the match of the first group.
pub(super) fn substitution(place: &Place<'_>) -> Option<(Regex, String)> {
    let message = place.message("RegexMatchAndSubstitute")?;
    let pattern = message.required("pattern");
    let text = message.optional_string("substitution").unwrap_or_default();
    message.done();
    let pattern = pattern?.message("RegexMatcher")?;
    let regex = pattern.required("regex");
    pattern.done();
    let regex_place = regex?;
    let regex = match Regex::new(&regex_place.string()?) {
        Ok(regex) => regex,
        Err(error) => {
            regex_place.error(format!("not a regular expression: {}", reason(&error)));
            return None;
        }
    };
    let (mut replacement, mut rest) = (String::new(), text.chars());
    while let Some(c) = rest.next() {
        match (c, if c == '\\' { rest.next() } else { None }) {
            ('$', _) => replacement.push_str("$$"),
            ('\\', Some(digit)) if digit.is_ascii_digit() => replacement.push_str(&format!("${{{digit}}}")),
            ('\\', Some('\\')) => replacement.push('\\'),
            ('\\', _) => {
                place.error("a backslash in \"substitution\" must be before a digit or another backslash");
                return None;
            }
            (c, _) => replacement.push(c),
        }
    }
    Some((regex, replacement))
}

fn path(message: &Message<'_>) -> Result<PathMatch, Not> {
    let names = ["prefix", "path", "safe_regex", "path_separated_prefix", "connect_matcher", "path_match_policy"];
    let (kind, place) = message.required_one_of(&names).ok_or(Not::Valid)?;
    let text = || place.string().ok_or(Not::Valid);
    match kind {
        "prefix" => Ok(PathMatch::Prefix(text()?)),
        "path" => Ok(PathMatch::Exact(text()?)),
        "safe_regex" => regex(&place).map(PathMatch::Regex).ok_or(Not::Valid),
        "path_separated_prefix" => {
            let prefix = text()?;
            if !prefix.starts_with('/') || prefix.ends_with('/') || prefix.contains(['?', '#']) {
                place.error(format!("{prefix:?} does not begin with a slash, or ends with one, or contains ? or #"));
                return Err(Not::Valid);
            }
            Ok(PathMatch::PathSeparatedPrefix(prefix))
        }
        "connect_matcher" => Ok(PathMatch::Connect),
        _ => {
            place.warn("the shim does not support this condition: the route is skipped");
            Err(Not::Supported)
        }
    }
}

fn header(place: &Place<'_>) -> Result<HeaderMatch, Not> {
    let message = place.message("HeaderMatcher").ok_or(Not::Valid)?;
    let name = message.required_string("name");
    let names = [
        "string_match",
        "present_match",
        "exact_match",
        "prefix_match",
        "suffix_match",
        "contains_match",
        "safe_regex_match",
        "range_match",
    ];
    let found = message.one_of(&names);
    let invert = message.bool("invert_match");
    message.done();
    let condition = condition(found)?;
    Ok(HeaderMatch { name: name.ok_or(Not::Valid)?.to_ascii_lowercase(), condition, invert })
}

fn query_parameter(place: &Place<'_>) -> Result<QueryMatch, Not> {
    let message = place.message("QueryParameterMatcher").ok_or(Not::Valid)?;
    let name = message.required_string("name");
    let found = message.one_of(&["string_match", "present_match"]);
    message.done();
    let condition = condition(found)?;
    Ok(QueryMatch { name: name.ok_or(Not::Valid)?, condition })
}

/// Reads a condition. Without one, the value must exist.
fn condition(found: Option<(&str, Place<'_>)>) -> Result<ValueMatch, Not> {
    let Some((kind, place)) = found else { return Ok(ValueMatch::Present(true)) };
    match kind {
        "string_match" => string_match(&place),
        "present_match" => place.bool().map(ValueMatch::Present).ok_or(Not::Valid),
        "safe_regex_match" => regex(&place).map(ValueMatch::Regex).ok_or(Not::Valid),
        "range_match" => Err(unsupported(&place)),
        _ => text_match(&place, kind.trim_end_matches("_match"), false),
    }
}

fn string_match(place: &Place<'_>) -> Result<ValueMatch, Not> {
    let message = place.message("StringMatcher").ok_or(Not::Valid)?;
    let found = message.required_one_of(&["exact", "prefix", "suffix", "contains", "safe_regex", "custom"]);
    let ignores_case = message.bool("ignore_case");
    message.done();
    let (kind, place) = found.ok_or(Not::Valid)?;
    match kind {
        "safe_regex" if ignores_case => {
            place.error("ignore_case has no effect on a regular expression: begin it with (?i)");
            Err(Not::Valid)
        }
        "safe_regex" => regex(&place).map(ValueMatch::Regex).ok_or(Not::Valid),
        "custom" => Err(unsupported(&place)),
        _ => text_match(&place, kind, ignores_case),
    }
}

fn text_match(place: &Place<'_>, kind: &str, ignores_case: bool) -> Result<ValueMatch, Not> {
    let text = place.string().ok_or(Not::Valid)?;
    if text.is_empty() && kind != "exact" {
        place.error("empty");
        return Err(Not::Valid);
    }
    Ok(match kind {
        "exact" => ValueMatch::Exact(text, ignores_case),
        "prefix" => ValueMatch::Prefix(text, ignores_case),
        "suffix" => ValueMatch::Suffix(text, ignores_case),
        _ => ValueMatch::Contains(text, ignores_case),
    })
}

fn unsupported(place: &Place<'_>) -> Not {
    place.warn("the shim does not support this condition: the route is skipped");
    Not::Supported
}
