//! Paths in the configuration: prefixes of request paths.

use super::steps::{AFTER_DECODING, decode, escape, is_unreserved};
use super::{Readings, Unclear};

/// The reason why a text is not a prefix of paths, with the text to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    #[error("{0:?} does not start with /")]
    NoSlash(String),
    #[error("{0:?} does not start with /; it is a path, not a URL")]
    Url(String),
    #[error("{text:?} has a {part}, which no request's path has: write {path:?}")]
    NotOnlyPath { text: String, part: &'static str, path: String },
    #[error("{text:?} has braces; a pattern is not supported here, only the beginning of a path: write {before:?}")]
    Pattern { text: String, before: String },
    #[error("{0:?} has a control character, which no path has")]
    ControlCharacter(String),
    #[error("{text:?} has a blank, which clients send encoded: write {encoded:?}")]
    Blank { text: String, encoded: String },
    #[error("{text:?} has a percent sign that encodes nothing: write {encoded:?} to mean the sign itself")]
    PercentSign { text: String, encoded: String },
    #[error("{text:?}: {reason}")]
    Unclear { text: String, reason: Unclear },
    #[error("{text:?} means different paths to different servers: write {plain:?}")]
    Ambiguous { text: String, plain: String },
}

/// A prefix of paths, such as a `listen_path`. It has only one reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    decoded: Vec<u8>,
    written: Vec<u8>,
    is_strict: bool,
}

impl Default for Prefix {
    /// `/`
    fn default() -> Self {
        Prefix { decoded: b"/".to_vec(), written: b"/".to_vec(), is_strict: false }
    }
}

impl Prefix {
    /// Parses a prefix, percent-encoded or not: `/café/` and `/caf%C3%A9/` are the same.
    ///
    /// # Errors
    /// Why no path begins with the prefix, or why servers disagree on which paths do, with the text to write instead.
    pub fn parse(text: &str) -> Result<Self, PrefixError> {
        let owned = || text.to_owned();
        if !text.starts_with('/') {
            return Err(if text.contains("://") { PrefixError::Url(owned()) } else { PrefixError::NoSlash(owned()) });
        }
        for (mark, part) in [('?', "query"), ('#', "fragment")] {
            if let Some((path, _)) = text.split_once(mark) {
                return Err(PrefixError::NotOnlyPath { text: owned(), part, path: path.to_owned() });
            }
        }
        if let Some((before, _)) = text.split_once(['{', '}']) {
            return Err(PrefixError::Pattern { text: owned(), before: before.to_owned() });
        }
        if text.contains(char::is_control) {
            return Err(PrefixError::ControlCharacter(owned()));
        }
        if text.contains(char::is_whitespace) {
            let encoded: String =
                text.chars().map(|c| if c == ' ' { "%20".to_owned() } else { c.to_string() }).collect();
            return Err(PrefixError::Blank { text: owned(), encoded });
        }
        let bytes = text.as_bytes();
        let is_sign = |rest: &[u8]| rest.first() == Some(&b'%') && escape(rest).is_none();
        if let Some(at) = (0..bytes.len()).find(|at| bytes.get(*at..).is_some_and(is_sign)) {
            let (before, rest) = text.split_at_checked(at).unwrap_or_default();
            let encoded = format!("{before}%25{}", rest.get(1..).unwrap_or_default());
            return Err(PrefixError::PercentSign { text: owned(), encoded });
        }
        let readings = Readings::of(bytes).map_err(|reason| PrefixError::Unclear { text: owned(), reason })?;
        let mut paths: Vec<&[u8]> = readings.decoded().iter().map(|reading| reading.path.as_ref()).collect();
        paths.sort_unstable();
        paths.dedup();
        if let [path] = paths[..] {
            return Ok(Prefix { decoded: path.to_vec(), written: respelled(bytes), is_strict: false });
        }
        let plain = String::from_utf8_lossy(&plainest(bytes)).into_owned();
        Err(PrefixError::Ambiguous { text: owned(), plain })
    }

    /// Makes the prefix strict. With a slash at its end, it does not match the path without that slash. Without one, it
    /// matches only whole segments.
    #[must_use]
    pub fn strict(self) -> Self {
        Prefix { is_strict: true, ..self }
    }

    /// The prefix, percent-decoded.
    pub fn decoded(&self) -> &[u8] {
        &self.decoded
    }

    /// The prefix in the form of a URL.
    pub fn respelled(&self) -> &[u8] {
        &self.written
    }

    /// True if a percent-decoded path begins with the prefix. Unless the prefix is strict, `/orders/` also matches
    /// `/orders`: an upstream that treats both alike must not be reachable around the filter.
    pub fn serves(&self, path: &[u8]) -> bool {
        begins(path, &self.decoded, self.is_strict)
    }

    /// True if a [`respelled`] path begins with the prefix, for a server that does not decode separators.
    pub fn serves_respelled(&self, path: &[u8]) -> bool {
        begins(path, &self.written, self.is_strict)
    }

    /// The rest of an encoded path after the prefix, compared segment by segment; it begins with a slash.
    pub fn rest<'p>(&self, path: &'p str) -> Option<&'p str> {
        let mut rest = path;
        for segment in self.decoded.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty()) {
            let behind = rest.strip_prefix('/')?;
            let (part, after) = behind.split_at_checked(behind.find('/').unwrap_or(behind.len()))?;
            if part.as_bytes() != segment && decode(part.as_bytes()).as_deref() != Some(segment) {
                return None;
            }
            rest = after;
        }
        Some(if rest.is_empty() { "/" } else { rest })
    }
}

fn begins(path: &[u8], prefix: &[u8], is_strict: bool) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => !is_strict || prefix.ends_with(b"/") || rest.is_empty() || rest.starts_with(b"/"),
        None => !is_strict && prefix.strip_suffix(b"/") == Some(path),
    }
}

/// Converts a path to the canonical form of RFC 3986: unreserved characters plain, characters that a path cannot have
/// encoded, reserved characters unchanged, and hex digits in upper case.
pub fn respelled(path: &[u8]) -> Vec<u8> {
    let mut spelled = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        let (value, is_escape, after) = match escape(rest) {
            Some((value, after)) => (value, true, after),
            None => (byte, false, after),
        };
        rest = after;
        if is_unreserved(value) || !is_escape && is_reserved(value) {
            spelled.push(value);
        } else {
            spelled.extend_from_slice(percent_encoding::percent_encode_byte(value).as_bytes());
        }
    }
    spelled
}

/// True for the characters that a path may have and that are not unreserved. The percent sign begins an encoding.
fn is_reserved(byte: u8) -> bool {
    matches!(byte, b'/' | b':' | b'@' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

/// The path after every step that any server applies.
fn plainest(path: &[u8]) -> Vec<u8> {
    let mut path = path.to_vec();
    // Each step makes the path shorter or changes nothing.
    while let Some(next) = AFTER_DECODING.iter().find_map(|step| step(&path)) {
        path = next;
    }
    path
}
