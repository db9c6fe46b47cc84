//! The steps that servers apply to a path before they use it. A step returns `None` if it changes nothing.

use std::borrow::Cow;

pub(super) type Step = fn(&[u8]) -> Option<Vec<u8>>;

/// The steps for a path that is still encoded.
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

/// The steps for a decoded path, which may be decoded again.
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

/// The paths that a target without a slash at its start may mean, such as `*` or an absolute URL.
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

/// The path with a slash in front.
fn rooted(path: &[u8]) -> Cow<'_, [u8]> {
    if path.starts_with(b"/") { Cow::Borrowed(path) } else { Cow::Owned([b"/", path].concat()) }
}

/// Splits `//host/path` and `///host/path` into `host` and `/path`, as in a URL that is relative to a scheme.
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

/// Decodes every byte.
pub(super) fn decode(path: &[u8]) -> Option<Vec<u8>> {
    decode_if(path, |_| true)
}

/// Decodes every byte except the slash, like servers that keep `%2F` within a segment.
pub(super) fn decode_all_but_slashes(path: &[u8]) -> Option<Vec<u8>> {
    decode_if(path, |byte| byte != b'/')
}

fn decode_unreserved(path: &[u8]) -> Option<Vec<u8>> {
    decode_if(path, is_unreserved)
}

fn decode_slashes(path: &[u8]) -> Option<Vec<u8>> {
    decode_if(path, |byte| matches!(byte, b'/' | b'\\'))
}

/// True for characters that mean the same whether encoded or not (RFC 3986, section 2.3).
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

/// The byte that a percent sign and two digits at the beginning encode, and the rest.
pub(super) fn escape(rest: &[u8]) -> Option<(u8, &[u8])> {
    let [b'%', high, low, after @ ..] = rest else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(((digit(high)? << 4) | digit(low)?, after))
}

/// Decodes `%u002F`, as some servers do, and `%uFF0F`, the full-width form, which some of them map to the plain
/// character.
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

/// Decodes an ASCII character in more than one byte. This is invalid UTF-8, but some servers accept it.
fn decode_overlong(path: &[u8]) -> Option<Vec<u8>> {
    let (tail, last) = (|byte: u8| matches!(byte, 0x80..=0xbf), |byte: u8| byte & 0x3f);
    replace(path, |rest| match *rest {
        [first @ 0xc0..=0xc1, second, ..] if tail(second) => Some((((first & 1) << 6) | last(second), 2)),
        [0xe0, second @ 0x80..=0x81, third, ..] if tail(third) => Some((((second & 1) << 6) | last(third), 3)),
        [0xf0, 0x80, third @ 0x80..=0x81, fourth, ..] if tail(fourth) => Some((((third & 1) << 6) | last(fourth), 4)),
        _ => None,
    })
}

/// Replaces byte sequences by one byte. `find` returns the byte and the length of a sequence at the start of its input.
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

/// Converts `/a;b=c/d` to `/a/d`.
fn without_parameters(path: &[u8]) -> Option<Vec<u8>> {
    let name = |segment: &[u8]| segment.split(|byte| *byte == b';').next().unwrap_or_default().to_vec();
    path.contains(&b';').then(|| path.split(|byte| *byte == b'/').map(name).collect::<Vec<_>>().join(&b'/'))
}

/// Removes dot segments as in RFC 3986, section 5.2.4.
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

/// Converts `/a./b%20/c` to `/a/b/c`, like Windows, which drops dots and blanks at the end of a name.
fn without_endings(path: &[u8]) -> Option<Vec<u8>> {
    let name = |segment: &[u8]| -> Vec<u8> {
        let end =
            segment.iter().rposition(|byte| !matches!(byte, b'.' | b' ')).map_or(0, |last| last.saturating_add(1));
        // A segment of dots alone goes up, or is no name.
        segment.get(..end).filter(|name| !name.is_empty()).unwrap_or(segment).to_vec()
    };
    let named = path.split(|byte| *byte == b'/').map(name).collect::<Vec<_>>().join(&b'/');
    (named != path).then_some(named)
}

/// Converts `//` to `/`.
fn merged(path: &[u8]) -> Option<Vec<u8>> {
    if !path.windows(2).any(|pair| pair == b"//") {
        return None;
    }
    let mut merged = path.to_vec();
    merged.dedup_by(|a, b| *a == b'/' && *b == b'/');
    Some(merged)
}

/// Removes tabs and line ends, and controls and blanks at either end, as in WHATWG's URLs.
fn without_blanks(path: &[u8]) -> Option<Vec<u8>> {
    if !path.iter().any(|byte| *byte <= b' ') {
        return None;
    }
    let mut kept: Vec<u8> = path.iter().copied().filter(|byte| !matches!(byte, b'\t' | b'\r' | b'\n')).collect();
    while kept.last().is_some_and(|byte| *byte <= b' ') {
        kept.pop();
    }
    // The slash in front of them was added to a target that had none.
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

/// Cuts the path at a parameter, like servers that know parameters only at the end of a path.
fn before_parameters(path: &[u8]) -> Option<Vec<u8>> {
    before(path, b';')
}

/// Cuts the path at NUL, like servers whose paths are C strings.
fn before_nul(path: &[u8]) -> Option<Vec<u8>> {
    before(path, 0)
}

fn before(path: &[u8], end: u8) -> Option<Vec<u8>> {
    let at = path.iter().position(|byte| *byte == end)?;
    path.get(..at).map(|path| rooted(path).into_owned())
}
