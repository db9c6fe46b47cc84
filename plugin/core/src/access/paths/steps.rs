//! What servers do to a path before they look at it, each step by itself. A step returns nothing where it changes nothing.

use std::borrow::Cow;

/// A step.
pub(super) type Step = fn(&[u8]) -> Option<Vec<u8>>;

/// What may happen to a path that is still encoded.
pub(super) const BEFORE_DECODING: &[Step] = &[
    decode_unreserved,
    decode_slashes,
    decode_units,
    backslashes,
    without_parameters,
    without_dots,
    without_endings,
    merged,
    without_blanks,
    before_query,
    before_fragment,
    before_parameters,
    before_nul,
];

/// What may happen to a path that is decoded; it may be decoded again.
pub(super) const AFTER_DECODING: &[Step] = &[
    decode_all_but_slashes,
    decode,
    decode_units,
    decode_overlong,
    backslashes,
    without_parameters,
    without_dots,
    without_endings,
    merged,
    without_blanks,
    before_query,
    before_fragment,
    before_parameters,
    before_nul,
];

/// What a target that does not begin with a slash, such as `*` or an absolute URL, is the beginning of.
pub(super) fn beginnings(path: &[u8]) -> Vec<Cow<'_, [u8]>> {
    if path.starts_with(b"/") {
        return vec![Cow::Borrowed(path)];
    }
    let is_scheme = |scheme: &[u8]| {
        scheme.first().is_some_and(u8::is_ascii_alphabetic)
            && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    };
    let trimmed = path.trim_ascii_start();
    let colon = trimmed.iter().position(|byte| *byte == b':');
    let behind_scheme = colon.and_then(|colon| {
        let (scheme, rest) = trimmed.split_at_checked(colon)?;
        is_scheme(scheme).then(|| rooted(rest.get(1..).unwrap_or_default()))
    });
    let mut all = vec![rooted(path)];
    all.extend(behind_scheme);
    all
}

/// With a slash in front.
fn rooted(path: &[u8]) -> Cow<'_, [u8]> {
    if path.starts_with(b"/") { Cow::Borrowed(path) } else { Cow::Owned([b"/", path].concat()) }
}

/// `//host/path` and `///host/path` to `host` and `/path`, as a URL that is relative to a scheme.
pub(super) fn take_authority(path: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    if !path.starts_with(b"//") {
        return None;
    }
    let start = path.iter().position(|byte| *byte != b'/').unwrap_or(path.len());
    let rest = path.get(start..)?;
    let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    Some((authority.to_vec(), rooted(path).into_owned()))
}

/// Undoes the encoding of every byte.
pub(super) fn decode(path: &[u8]) -> Option<Vec<u8>> {
    decode_if(path, |_| true)
}

/// Undoes the encoding of every byte but the slash, as servers do that keep `%2F` within a segment.
pub(super) fn decode_all_but_slashes(path: &[u8]) -> Option<Vec<u8>> {
    decode_if(path, |byte| byte != b'/')
}

fn decode_unreserved(path: &[u8]) -> Option<Vec<u8>> {
    decode_if(path, is_unreserved)
}

fn decode_slashes(path: &[u8]) -> Option<Vec<u8>> {
    decode_if(path, |byte| matches!(byte, b'/' | b'\\'))
}

/// The characters that mean the same encoded or not, by RFC 3986, section 2.3.
pub(super) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn decode_if(path: &[u8], wanted: impl Fn(u8) -> bool) -> Option<Vec<u8>> {
    if !path.contains(&b'%') {
        return None;
    }
    let mut decoded = Vec::with_capacity(path.len());
    let (mut rest, mut changed) = (path, false);
    while let Some((&byte, after)) = rest.split_first() {
        match escape(rest).filter(|(value, _)| wanted(*value)) {
            Some((value, after)) => {
                decoded.push(value);
                (rest, changed) = (after, true);
            }
            None => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    changed.then_some(decoded)
}

/// The byte that a percent sign and two digits at the beginning stand for, and what follows.
pub(super) fn escape(rest: &[u8]) -> Option<(u8, &[u8])> {
    let [b'%', high, low, after @ ..] = rest else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(((digit(high)? << 4) | digit(low)?, after))
}

/// `%u002F`, as some servers decode it, and `%uFF0F`, the full-width form, which some of them map to the plain character.
fn decode_units(path: &[u8]) -> Option<Vec<u8>> {
    let unit = |rest: &[u8]| match rest {
        [b'%', b'u' | b'U', b'0', b'0', high, low, ..] => escape(&[b'%', *high, *low]).map(|(value, _)| value),
        [b'%', b'u' | b'U', b'f' | b'F', b'f' | b'F', high, low, ..] => {
            let (value, _) = escape(&[b'%', *high, *low])?;
            matches!(value, 1..=0x5e).then(|| value.saturating_add(0x20))
        }
        _ => None,
    };
    replace(path, |rest| unit(rest).map(|byte| (byte, 6)))
}

/// A character of ASCII in more bytes than one, which is no UTF-8, and which some servers take for it.
fn decode_overlong(path: &[u8]) -> Option<Vec<u8>> {
    let (tail, last) = (|byte: u8| matches!(byte, 0x80..=0xbf), |byte: u8| byte & 0x3f);
    replace(path, |rest| match *rest {
        [first @ 0xc0..=0xc1, second, ..] if tail(second) => Some((((first & 1) << 6) | last(second), 2)),
        [0xe0, second @ 0x80..=0x81, third, ..] if tail(third) => Some((((second & 1) << 6) | last(third), 3)),
        [0xf0, 0x80, third @ 0x80..=0x81, fourth, ..] if tail(fourth) => Some((((third & 1) << 6) | last(fourth), 4)),
        _ => None,
    })
}

/// Puts a byte in the place of some, wherever `find` says so of what begins with them.
fn replace(path: &[u8], find: impl Fn(&[u8]) -> Option<(u8, usize)>) -> Option<Vec<u8>> {
    if !path.iter().any(|byte| matches!(byte, b'%' | 0xc0..)) {
        return None;
    }
    let mut replaced = Vec::with_capacity(path.len());
    let (mut rest, mut changed) = (path, false);
    while let Some(&byte) = rest.first() {
        let found = find(rest);
        changed |= found.is_some();
        let (byte, length) = found.unwrap_or((byte, 1));
        replaced.push(byte);
        rest = rest.get(length..).unwrap_or_default();
    }
    changed.then_some(replaced)
}

fn backslashes(path: &[u8]) -> Option<Vec<u8>> {
    let slash = |byte: &u8| if *byte == b'\\' { b'/' } else { *byte };
    path.contains(&b'\\').then(|| path.iter().map(slash).collect())
}

/// `/a;b=c/d` to `/a/d`.
fn without_parameters(path: &[u8]) -> Option<Vec<u8>> {
    let name = |segment: &[u8]| segment.split(|byte| *byte == b';').next().unwrap_or_default().to_vec();
    path.contains(&b';').then(|| path.split(|byte| *byte == b'/').map(name).collect::<Vec<_>>().join(&b'/'))
}

/// As RFC 3986, section 5.2.4.
fn without_dots(path: &[u8]) -> Option<Vec<u8>> {
    let all: Vec<&[u8]> = path.split(|byte| *byte == b'/').skip(1).collect();
    if !all.iter().any(|segment| matches!(*segment, b"." | b"..")) {
        return None;
    }
    let mut kept: Vec<&[u8]> = Vec::new();
    let last = all.len().saturating_sub(1);
    for (place, segment) in all.into_iter().enumerate() {
        match segment {
            b"." | b".." => {
                if segment == b".." {
                    kept.pop();
                }
                if place == last {
                    kept.push(b"");
                }
            }
            segment => kept.push(segment),
        }
    }
    Some([b"/", kept.join(&b'/').as_slice()].concat())
}

/// `/a./b%20/c` to `/a/b/c`, as Windows drops dots and blanks at the end of a name.
fn without_endings(path: &[u8]) -> Option<Vec<u8>> {
    let name = |segment: &[u8]| -> Vec<u8> {
        let end =
            segment.iter().rposition(|byte| !matches!(byte, b'.' | b' ')).map_or(0, |last| last.saturating_add(1));
        // What consists of dots goes up, or is no name.
        segment.get(..end).filter(|name| !name.is_empty()).unwrap_or(segment).to_vec()
    };
    let named = path.split(|byte| *byte == b'/').map(name).collect::<Vec<_>>().join(&b'/');
    (named != path).then_some(named)
}

/// `//` to `/`.
fn merged(path: &[u8]) -> Option<Vec<u8>> {
    if !path.windows(2).any(|pair| pair == b"//") {
        return None;
    }
    let mut merged = path.to_vec();
    merged.dedup_by(|a, b| *a == b'/' && *b == b'/');
    Some(merged)
}

/// As WHATWG's URLs: no tabs and line ends, and no controls and blanks at either end.
fn without_blanks(path: &[u8]) -> Option<Vec<u8>> {
    if !path.iter().any(|byte| *byte <= b' ') {
        return None;
    }
    let mut kept: Vec<u8> = path.iter().copied().filter(|byte| !matches!(byte, b'\t' | b'\r' | b'\n')).collect();
    while kept.last().is_some_and(|byte| *byte <= b' ') {
        kept.pop();
    }
    // In front of them is the slash that a target without one was given.
    let blanks = kept.iter().skip(1).take_while(|byte| **byte <= b' ').count();
    if blanks > 0 && matches!(kept.get(blanks.saturating_add(1)), Some(b'/' | b'\\')) {
        kept.drain(..=blanks);
        kept = rooted(&kept).into_owned();
    }
    (kept != path).then_some(kept)
}

fn before_query(path: &[u8]) -> Option<Vec<u8>> {
    before(path, b'?')
}

fn before_fragment(path: &[u8]) -> Option<Vec<u8>> {
    before(path, b'#')
}

/// As servers that know of parameters at the end of a path only.
fn before_parameters(path: &[u8]) -> Option<Vec<u8>> {
    before(path, b';')
}

/// As where paths are strings of C.
fn before_nul(path: &[u8]) -> Option<Vec<u8>> {
    before(path, 0)
}

fn before(path: &[u8], end: u8) -> Option<Vec<u8>> {
    let at = path.iter().position(|byte| *byte == end)?;
    path.get(..at).map(|path| rooted(path).into_owned())
}
