//! The changes of the connection manager to a path, before filters and routes see it.

use crate::config::model::{ConnectionManager, EscapedSlashes};

/// A path after the changes of the connection manager.
#[derive(Debug, PartialEq, Eq)]
pub enum Prepared {
    /// The request continues with this path.
    Path(Vec<u8>),
    /// The answer is 400. The path is as far as it was prepared.
    Rejected(Vec<u8>),
    /// The answer is 307 with this path.
    Redirect(Vec<u8>),
}

/// Prepares `:path`, which includes the query, in Envoy's order: it unescapes slashes, normalizes the path, and merges
/// slashes.
pub fn prepare(manager: &ConnectionManager, path: &[u8]) -> Prepared {
    // A fragment is not for servers.
    if path.contains(&b'#') {
        return Prepared::Rejected(path.to_vec());
    }
    let whole = path;
    let (mut path, query) = match path.iter().position(|byte| *byte == b'?') {
        Some(at) => (path[..at].to_vec(), &path[at..]),
        None => (path.to_vec(), &b""[..]),
    };
    let mut redirects = false;
    if manager.escaped_slashes != EscapedSlashes::KeepUnchanged && has_escaped_slash(&path) {
        match manager.escaped_slashes {
            EscapedSlashes::RejectRequest => {
                return Prepared::Rejected([unescape_slashes(&path).as_slice(), query].concat());
            }
            EscapedSlashes::UnescapeAndRedirect => redirects = true,
            EscapedSlashes::UnescapeAndForward | EscapedSlashes::KeepUnchanged => {}
        }
        path = unescape_slashes(&path);
    }
    if manager.normalize_path {
        match normalize(&path) {
            Some(normal) => path = normal,
            None => return Prepared::Rejected(whole.to_vec()),
        }
    }
    if manager.merge_slashes {
        path = merge_slashes(&path);
    }
    path.extend_from_slice(query);
    if redirects { Prepared::Redirect(path) } else { Prepared::Path(path) }
}

/// Merges slashes. Envoy keeps two slashes of a path that has nothing else.
fn merge_slashes(path: &[u8]) -> Vec<u8> {
    if !path.windows(2).any(|pair| pair == b"//") {
        return path.to_vec();
    }
    let segments: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty()).collect();
    let slash_if = |is_there: bool| if is_there { b"/".as_slice() } else { b"" };
    [slash_if(path.starts_with(b"/")), &segments.join(&b'/'), slash_if(path.ends_with(b"/"))].concat()
}

/// Removes the parameters of a dot segment, if the dots are not escaped.
fn without_dot_parameters(path: &[u8]) -> Vec<u8> {
    let segments = path.split(|byte| *byte == b'/').map(|segment| match segment {
        [b'.', b';', ..] => b".".as_slice(),
        [b'.', b'.', b';', ..] => b"..",
        segment => segment,
    });
    segments.collect::<Vec<_>>().join(&b'/')
}

/// Normalizes a path by RFC 3986 like a browser: removes dot segments, replaces backslashes by slashes, unescapes
/// unreserved characters, and escapes characters that are not allowed in a path.
fn normalize(path: &[u8]) -> Option<Vec<u8>> {
    if path.first() != Some(&b'/') {
        return None;
    }
    let path = without_dot_parameters(path);
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path.as_slice();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => match escaped(after) {
                Some((0, _)) => return None,
                Some((value, after)) if is_unreserved(value) => {
                    plain.push(value);
                    rest = after;
                }
                _ => plain.push(b'%'),
            },
            b'\\' => plain.push(b'/'),
            0 => return None,
            byte if needs_escape(*byte) => plain.extend(format!("%{byte:02X}").into_bytes()),
            byte => plain.push(*byte),
        }
    }
    let mut segments: Vec<&[u8]> = Vec::new();
    let all: Vec<&[u8]> = plain.split(|byte| *byte == b'/').skip(1).collect();
    for (number, segment) in all.iter().enumerate() {
        let is_last = number + 1 == all.len();
        match *segment {
            b"." => {
                if is_last {
                    segments.push(b"");
                }
            }
            b".." => {
                segments.pop();
                if is_last {
                    segments.push(b"");
                }
            }
            segment => segments.push(segment),
        }
    }
    let mut normal = vec![b'/'];
    normal.extend(segments.join(&b'/'));
    Some(normal)
}

/// Decodes the two hexadecimal digits after a percent sign.
fn escaped(after: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, rest) = after.split_at_checked(2)?;
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    Some((u8::from_str_radix(text, 16).ok()?, rest))
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn needs_escape(byte: u8) -> bool {
    byte <= b' ' || byte >= 0x7f || matches!(byte, b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | b'^' | b'|')
}

fn has_escaped_slash(path: &[u8]) -> bool {
    path.windows(3).any(is_escaped_slash)
}

fn is_escaped_slash(part: &[u8]) -> bool {
    part.eq_ignore_ascii_case(b"%2f") || part.eq_ignore_ascii_case(b"%5c")
}

fn unescape_slashes(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        match rest.split_at_checked(3) {
            Some((part, behind)) if is_escaped_slash(part) => {
                plain.push(if part.eq_ignore_ascii_case(b"%2f") { b'/' } else { b'\\' });
                rest = behind;
            }
            _ => {
                plain.push(*byte);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalized() {
        let normal = |path: &str| normalize(path.as_bytes()).map(|path| String::from_utf8(path).unwrap());
        for (path, expected) in [
            ("/a/b", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/../a", "/a"),
            ("/a//b/", "/a//b/"),
            ("/%61%2e%2E/b", "/a../b"),
            ("/a/%2e%2e/b", "/b"),
            ("/a\\b", "/a/b"),
            ("/a\"{b}", "/a%22%7Bb%7D"),
            ("/a%2Fb%zz", "/a%2Fb%zz"),
            ("/a/..;x=1/b", "/b"),
            ("/a/.;x", "/a/"),
            ("/a/..;", "/"),
            ("/a/%2e%2e;/b", "/a/..;/b"),
            ("/a/b;/../c", "/a/c"),
        ] {
            assert_eq!(normal(path).as_deref(), Some(expected), "{path}");
        }
        assert_eq!(normal("a"), None);
        assert_eq!(normal("/%00"), None);
    }

    #[test]
    fn escaped_slashes_become_slashes() {
        assert_eq!(unescape_slashes(b"/a%2fb%5Cc%2"), b"/a/b\\c%2");
        assert!(has_escaped_slash(b"/%2F") && !has_escaped_slash(b"/%2"));
    }
}
