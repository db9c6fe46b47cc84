//! Every way in which a server may read the path of a request.
//!
//! The filter and the upstream behind it need not agree on what a path means: whether `%2F` separates segments, whether
//! `..;` goes up, whether `//` is one slash, whether a path is decoded once or twice. What the filter decides by a path,
//! it therefore decides for every [reading](Readings) of it, and the strictest decision holds. Letter case is not part of
//! this: paths are case-sensitive.
//!
//! Almost every path has one reading, which one look at its bytes shows; it is borrowed.

mod prefix;
mod steps;

use std::borrow::Cow;

pub use prefix::{Prefix, respelled};

/// The number of readings, before and after decoding, beyond which a path is [`Unclear`].
const MAX_READINGS: usize = 96;

/// Their size together, in bytes: a path as long as Envoy admits may have an encoded slash.
const MAX_BYTES: usize = 256 * 1024;

/// One way to read a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading<'r> {
    /// The path. It begins with a slash, and has neither a query nor, in this reading, anything else behind it.
    pub path: Cow<'r, [u8]>,
    /// The host that the request's target names, if it is read as an absolute URL or as `//host/path`.
    pub authority: Option<Vec<u8>>,
}

/// Every way to read the path of one request: at least one.
#[derive(Debug)]
pub struct Readings<'r>(Inner<'r>);

#[derive(Debug)]
enum Inner<'r> {
    One(Reading<'r>),
    Several { encoded: Vec<Reading<'r>>, decoded: Vec<Reading<'r>> },
}

/// A path has more readings than are looked at. No client sends such a path by accident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path can be read in too many ways")]
pub struct Unclear;

impl<'r> Readings<'r> {
    /// Of a request's path as sent, without its query.
    ///
    /// # Errors
    /// When there are too many.
    pub fn of(path: &'r [u8]) -> Result<Self, Unclear> {
        let reading = |path| Reading { path, authority: None };
        if is_plain(path) {
            return Ok(Readings(Inner::One(reading(Cow::Borrowed(path)))));
        }
        let mut encoded = Search::default();
        for start in steps::beginnings(path) {
            encoded.add(reading(start))?;
        }
        encoded.follow(steps::BEFORE_DECODING)?;
        let mut decoded = Search { size: encoded.size, earlier: encoded.found.len(), found: Vec::new() };
        for start in &encoded.found {
            for decode in [steps::decode_all_but_slashes, steps::decode] {
                let path = decode(&start.path).map_or_else(|| start.path.clone(), Cow::Owned);
                decoded.add(Reading { path, authority: start.authority.clone() })?;
            }
        }
        decoded.follow(steps::AFTER_DECODING)?;
        Ok(Readings(Inner::Several { encoded: encoded.found, decoded: decoded.found }))
    }

    /// The readings, percent-decoded at least once. The first is the nearest to what was sent: there, only `%2F` is not
    /// decoded.
    ///
    /// A rule that admits requests by their path must admit all of these.
    pub fn decoded(&self) -> &[Reading<'r>] {
        match &self.0 {
            Inner::One(reading) => std::slice::from_ref(reading),
            Inner::Several { decoded, .. } => decoded,
        }
    }

    /// The readings before percent-decoding, for what takes a path apart before it decodes the parts. The first is what
    /// was sent.
    pub fn encoded(&self) -> &[Reading<'r>] {
        match &self.0 {
            Inner::One(reading) => std::slice::from_ref(reading),
            Inner::Several { encoded, .. } => encoded,
        }
    }

    /// Whether there is only one, which is the path as sent.
    pub fn is_one(&self) -> bool {
        matches!(self.0, Inner::One(_))
    }
}

/// Whether a path has one reading only: nothing in it is encoded, or has a meaning to some servers.
fn is_plain(path: &[u8]) -> bool {
    if path.first() != Some(&b'/') {
        return false;
    }
    let mut after_slash = false;
    for (at, &byte) in path.iter().enumerate() {
        match byte {
            b'/' if after_slash => return false,
            b'/' => after_slash = true,
            b'.' if matches!(path.get(at.saturating_add(1)), None | Some(b'/')) => return false,
            b'%' | b';' | b'\\' | b'#' | b'?' | ..=b' ' | 0x7f.. => return false,
            _ => after_slash = false,
        }
    }
    true
}

/// What follows from readings by steps, in any order and any number.
#[derive(Default)]
struct Search<'r> {
    found: Vec<Reading<'r>>,
    /// Bytes of these and of those found earlier.
    size: usize,
    earlier: usize,
}

impl<'r> Search<'r> {
    fn add(&mut self, reading: Reading<'r>) -> Result<(), Unclear> {
        if self.found.contains(&reading) {
            return Ok(());
        }
        self.size = self.size.saturating_add(reading.path.len());
        self.found.push(reading);
        let count = self.earlier.saturating_add(self.found.len());
        if count > MAX_READINGS || self.size > MAX_BYTES { Err(Unclear) } else { Ok(()) }
    }

    fn follow(&mut self, steps: &[steps::Step]) -> Result<(), Unclear> {
        let mut next = 0;
        while let Some(reading) = self.found.get(next).cloned() {
            for step in steps {
                if let Some(path) = step(&reading.path) {
                    self.add(Reading { path: Cow::Owned(path), authority: reading.authority.clone() })?;
                }
            }
            if let Some((authority, path)) = steps::take_authority(&reading.path) {
                self.add(Reading { path: Cow::Owned(path), authority: Some(authority) })?;
            }
            next = next.saturating_add(1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
