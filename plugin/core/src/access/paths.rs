//! All ways in which a server may read the path of a request.
//!
//! The filter and the upstream may disagree on what a path means: whether `%2F` separates segments, whether `..;` goes
//! up, whether `//` is one slash, whether a path is decoded once or twice. So the filter makes each decision on a path
//! for every [reading](Readings) of it, and the strictest decision holds. Case is not part of this: paths are
//! case-sensitive.
//!
//! Almost every path has only one reading, which one scan of its bytes shows. That reading is borrowed.

mod prefix;
mod steps;

use std::borrow::Cow;

pub use prefix::{Prefix, respelled};

/// The maximum number of readings, before and after decoding. A path with more is [`Unclear`].
const MAX_READINGS: usize = 96;

/// The maximum size of all readings together, in bytes. The longest path that Envoy admits may have an encoded slash.
const MAX_BYTES: usize = 256 * 1024;

/// One way to read a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading<'r> {
    /// The path. It begins with a slash and has no query. In this reading, nothing else follows it.
    pub path: Cow<'r, [u8]>,
    /// The host in the request's target, if the target is read as an absolute URL or as `//host/path`.
    pub authority: Option<Vec<u8>>,
}

/// All readings of the path of a request; at least one.
#[derive(Debug)]
pub struct Readings<'r>(Inner<'r>);

#[derive(Debug)]
enum Inner<'r> {
    One(Reading<'r>),
    Several { encoded: Vec<Reading<'r>>, decoded: Vec<Reading<'r>> },
}

/// A path has more readings than the filter checks. No client sends such a path by accident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path can be read in too many ways")]
pub struct Unclear;

impl<'r> Readings<'r> {
    /// Finds the readings of a request's path as sent, without its query.
    ///
    /// # Errors
    /// There are too many readings.
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

    /// The readings, percent-decoded at least once. The first is the closest to the path as sent: only `%2F` is not
    /// decoded in it.
    ///
    /// A rule that admits requests by their path must admit all of these readings.
    pub fn decoded(&self) -> &[Reading<'r>] {
        match &self.0 {
            Inner::One(reading) => std::slice::from_ref(reading),
            Inner::Several { decoded, .. } => decoded,
        }
    }

    /// The readings before percent-decoding, for code that splits a path before it decodes the parts. The first is the
    /// path as sent.
    pub fn encoded(&self) -> &[Reading<'r>] {
        match &self.0 {
            Inner::One(reading) => std::slice::from_ref(reading),
            Inner::Several { encoded, .. } => encoded,
        }
    }

    /// True if there is only one reading, the path as sent.
    pub fn is_one(&self) -> bool {
        matches!(self.0, Inner::One(_))
    }
}

/// True if a path has only one reading: nothing in it is encoded or has a special meaning to some servers.
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

/// The readings that follow from others by steps, in any order and any number.
#[derive(Default)]
struct Search<'r> {
    found: Vec<Reading<'r>>,
    /// The bytes of these readings and of those found earlier.
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
