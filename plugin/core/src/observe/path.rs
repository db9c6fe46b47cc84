//! Path templates: `/keys/{id}`.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::access::decode_query_part;

/// The reason why a text is not a path template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathTemplateError {
    #[error("{0:?} does not start with /")]
    NoSlash(String),
    #[error("{0:?} is not a path: it has blanks, a query or a fragment")]
    NotPath(String),
    /// No segment of a request's path can equal this one.
    #[error("{segment:?} {reason}")]
    NeverMatches { segment: String, reason: &'static str },
    #[error("{0:?} is neither literal nor a name in braces, such as {{id}}")]
    Segment(String),
    #[error("{0:?} is used twice")]
    UsedTwice(String),
}

/// A path with named places: each segment is a literal, or `{name}` for any segment that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// The literal, percent-decoded.
    Literal(String),
    Name(String),
}

/// The values at the named places, percent-decoded.
pub type Captures = Vec<(String, String)>;

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// The template does not begin with a slash, or no request's path can match it, or a name in it is invalid or
    /// repeated.
    pub fn parse(text: &str) -> Result<Self, PathTemplateError> {
        let Some(rest) = text.strip_prefix('/') else { return Err(PathTemplateError::NoSlash(text.to_owned())) };
        if text.contains(|c: char| matches!(c, '?' | '#') || c.is_whitespace()) {
            return Err(PathTemplateError::NotPath(text.to_owned()));
        }
        let mut segments: Vec<Segment> = Vec::new();
        for part in rest.split('/') {
            let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
            if let Some(reason) = never_matches(part) {
                return Err(PathTemplateError::NeverMatches { segment: part.to_owned(), reason });
            }
            let segment = match name {
                Some(name) if is_word(name) => Segment::Name(name.to_owned()),
                None if !part.contains(['{', '}']) => Segment::Literal(decoded(part).into_owned()),
                _ => return Err(PathTemplateError::Segment(part.to_owned())),
            };
            if matches!(segment, Segment::Name(_)) && segments.contains(&segment) {
                return Err(PathTemplateError::UsedTwice(part.to_owned()));
            }
            segments.push(segment);
        }
        Ok(Template(segments))
    }

    /// True if the template has a place with this name.
    pub fn has(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }

    /// The names of its places.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|segment| match segment {
            Segment::Name(name) => Some(name.as_str()),
            Segment::Literal(_) => None,
        })
    }

    /// True if a path matches the template.
    pub fn matches(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix('/') else { return false };
        let mut parts = rest.split('/');
        let fits = self.0.iter().all(|segment| match (segment, parts.next()) {
            (Segment::Literal(literal), Some(part)) => *literal == decoded(part),
            (Segment::Name(_), Some(part)) => !part.is_empty(),
            (_, None) => false,
        });
        fits && parts.next().is_none()
    }

    /// The values at the named places of a matching path.
    pub fn captures(&self, path: &str) -> Captures {
        let parts = path.strip_prefix('/').unwrap_or(path).split('/');
        let named = self.0.iter().zip(parts).filter_map(|(segment, part)| match segment {
            Segment::Name(name) => Some((name.clone(), decoded(part).into_owned())),
            Segment::Literal(_) => None,
        });
        named.collect()
    }

    /// Orders two templates that match the same path: from the left, the one with a literal where the other has a name
    /// comes first, as `/keys/create` before `/keys/{name}`.
    pub fn precedence(&self, other: &Template) -> Ordering {
        let names = |template: &Template| -> Vec<bool> {
            template.0.iter().map(|segment| matches!(segment, Segment::Name(_))).collect()
        };
        names(self).cmp(&names(other))
    }
}

/// The reason why no segment of a request's path can equal this one, if there is one.
fn never_matches(part: &str) -> Option<&'static str> {
    let mut escapes = part.split('%').skip(1);
    let is_escape = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|digit| digit.is_ascii_hexdigit());
    if matches!(&*decoded(part), "." | "..") {
        Some("is not a segment: proxies take it out of a path")
    } else if part.contains('\\') {
        Some("has a backslash, which proxies make a slash")
    } else if !escapes.all(is_escape) {
        Some("has a percent sign that encodes nothing: write %25 to mean the sign itself")
    } else {
        None
    }
}

/// True for a valid name of a place: a letter or underscore, then letters, underscores and digits.
fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn decoded(part: &str) -> Cow<'_, str> {
    if part.contains('%') {
        percent_encoding::percent_decode_str(part).decode_utf8_lossy()
    } else {
        Cow::Borrowed(part)
    }
}

/// The first non-empty value of a query parameter.
pub fn query_value(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let decode = |text: &str| String::from_utf8_lossy(&decode_query_part(text.as_bytes())).into_owned();
    pairs.find_map(|(key, value)| (decode(key) == name && !value.is_empty()).then(|| decode(value)))
}
