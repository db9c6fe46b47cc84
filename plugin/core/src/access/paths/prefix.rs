//! Paths of the configuration: what the paths of requests begin with.

use super::Readings;
use super::steps::{AFTER_DECODING, decode, escape, is_unreserved};

/// The beginning of paths, such as a `listen_path`. It has one reading only.
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
    /// From its text, percent-encoded or not: `/café/` and `/caf%C3%A9/` are the same.
    ///
    /// # Errors
    /// Why no path begins with it, or why servers do not agree on which do, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            let url = if text.contains("://") { "; it is a path, not a URL" } else { "" };
            return Err(format!("{text:?} does not start with /{url}"));
        }
        for (mark, name) in [('?', "query"), ('#', "fragment")] {
            if let Some((path, _)) = text.split_once(mark) {
                return Err(format!("{text:?} has a {name}, and no request's path does: write {path:?}"));
            }
        }
        if let Some((before, _)) = text.split_once(['{', '}']) {
            return Err(format!(
                "{text:?} has braces, and a pattern is not understood here, only the beginning of a path: write {before:?}"
            ));
        }
        if text.contains(char::is_control) {
            return Err(format!("{text:?} has a control character, and no path has one"));
        }
        if text.contains(char::is_whitespace) {
            let encoded: String =
                text.chars().map(|c| if c == ' ' { "%20".to_owned() } else { c.to_string() }).collect();
            return Err(format!("{text:?} has a blank, which clients send encoded: write {encoded:?}"));
        }
        let bytes = text.as_bytes();
        let is_sign = |rest: &[u8]| rest.first() == Some(&b'%') && escape(rest).is_none();
        if let Some(at) = (0..bytes.len()).find(|at| bytes.get(*at..).is_some_and(is_sign)) {
            let (before, rest) = text.split_at_checked(at).unwrap_or_default();
            let encoded = format!("{before}%25{}", rest.get(1..).unwrap_or_default());
            return Err(format!("{text:?} has a percent sign that encodes nothing: write {encoded:?} if it is one"));
        }
        let readings = Readings::of(bytes).map_err(|unclear| format!("{text:?}: {unclear}"))?;
        let mut paths: Vec<&[u8]> = readings.decoded().iter().map(|reading| reading.path.as_ref()).collect();
        paths.sort_unstable();
        paths.dedup();
        if let [path] = paths[..] {
            return Ok(Prefix { decoded: path.to_vec(), written: respelled(bytes), is_strict: false });
        }
        let plain = plainest(bytes);
        Err(format!("{text:?} means different paths to different servers: write {:?}", String::from_utf8_lossy(&plain)))
    }

    /// With a slash at its end, it is not the path without that slash; without one, only whole segments continue it.
    #[must_use]
    pub fn strict(self) -> Self {
        Prefix { is_strict: true, ..self }
    }

    /// Percent-decoded.
    pub fn decoded(&self) -> &[u8] {
        &self.decoded
    }

    /// As text that may stand in a URL.
    pub fn respelled(&self) -> &[u8] {
        &self.written
    }

    /// Whether a path that is percent-decoded begins with it. Unless it is strict, `/orders/` also serves `/orders`: an
    /// upstream that treats both alike must not be reachable around the filter.
    pub fn serves(&self, path: &[u8]) -> bool {
        begins(path, &self.decoded, self.is_strict)
    }

    /// Whether a path that is [`respelled`] begins with it, to a server that decodes none of what separates parts.
    pub fn serves_respelled(&self, path: &[u8]) -> bool {
        begins(path, &self.written, self.is_strict)
    }

    /// What follows in a path that is not decoded, segment by segment; it begins with a slash.
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

/// A path in the one spelling that RFC 3986 makes of those that are equivalent: unreserved characters plain, what cannot
/// stand in a path encoded, reserved characters as they are, the digits of an encoding in upper case.
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

/// The characters that may stand in a path and are not unreserved; the percent sign begins an encoding.
fn is_reserved(byte: u8) -> bool {
    matches!(byte, b'/' | b':' | b'@' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

/// What is left of a path when a server does everything to it that servers do.
fn plainest(path: &[u8]) -> Vec<u8> {
    let mut path = path.to_vec();
    // Each step makes it shorter, or has nothing more to do.
    while let Some(next) = AFTER_DECODING.iter().find_map(|step| step(&path)) {
        path = next;
    }
    path
}
