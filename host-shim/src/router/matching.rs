//! Matches requests with the conditions of routes.

use crate::base::Headers;
use crate::config::model::{HeaderMatch, PathMatch, RouteMatch, ValueMatch};

/// Whether a request meets all conditions of a route.
pub fn matches(route: &RouteMatch, headers: &Headers) -> bool {
    let path = headers.get(":path").map(String::from_utf8_lossy).unwrap_or_default();
    let (path, query) = path.split_once('?').unwrap_or((&path, ""));
    let is_connect = headers.get(":method") == Some(b"CONNECT");
    is_connect == matches!(route.path, PathMatch::Connect)
        && matches_path(route, path)
        && route.headers.iter().all(|condition| matches_header(condition, headers))
        && route.query_parameters.iter().all(|condition| {
            let value = query.split('&').find_map(|part| {
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                (name == condition.name).then_some(value)
            });
            matches_value(&condition.condition, value)
        })
}

fn matches_path(route: &RouteMatch, path: &str) -> bool {
    let fold = |text: &str| if route.case_sensitive { text.to_owned() } else { text.to_ascii_lowercase() };
    match &route.path {
        PathMatch::Prefix(prefix) => fold(path).starts_with(&fold(prefix)),
        PathMatch::Exact(exact) => fold(path) == fold(exact),
        PathMatch::PathSeparatedPrefix(prefix) => {
            fold(path).strip_prefix(&fold(prefix)).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        PathMatch::Regex(regex) => regex.is_match(path),
        PathMatch::Connect => true,
    }
}

/// Tests each value of a header. Without a value, only a condition on the presence can match.
fn matches_header(condition: &HeaderMatch, headers: &Headers) -> bool {
    let mut values = headers.get_all(&condition.name).map(String::from_utf8_lossy).peekable();
    if let ValueMatch::Present(present) = condition.condition {
        return (values.peek().is_some() == present) != condition.invert;
    }
    values.peek().is_some() && values.any(|value| matches_value(&condition.condition, Some(&value))) != condition.invert
}

fn matches_value(condition: &ValueMatch, value: Option<&str>) -> bool {
    let Some(value) = value else { return matches!(condition, ValueMatch::Present(false)) };
    let compare = |pattern: &str, ignore_case: bool, how: fn(&str, &str) -> bool| {
        if ignore_case { how(&value.to_ascii_lowercase(), &pattern.to_ascii_lowercase()) } else { how(value, pattern) }
    };
    match condition {
        ValueMatch::Present(present) => *present,
        ValueMatch::Exact(pattern, ignore) => compare(pattern, *ignore, |value, pattern| value == pattern),
        ValueMatch::Prefix(pattern, ignore) => compare(pattern, *ignore, |value, pattern| value.starts_with(pattern)),
        ValueMatch::Suffix(pattern, ignore) => compare(pattern, *ignore, |value, pattern| value.ends_with(pattern)),
        ValueMatch::Contains(pattern, ignore) => compare(pattern, *ignore, |value, pattern| value.contains(pattern)),
        ValueMatch::Regex(regex) => regex.is_match(value),
    }
}
