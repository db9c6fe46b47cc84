//! Bytes as text and back.

use std::fmt::Write;

/// Longer results are shown by their beginning and their length.
const SHOWN: usize = 300;

/// Bytes in quotes, with everything escaped except printable ASCII.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for byte in bytes.iter().take(SHOWN) {
        match byte {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            0 => text.push_str("\\0"),
            b' '..=b'~' => text.push(char::from(*byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(text, "\\x{byte:02x}")),
        }
    }
    text.push('"');
    if bytes.len() > SHOWN {
        let _ = write!(text, ".. {} bytes", bytes.len());
    }
    text
}

/// The bytes before the closing quote, and the rest.
pub(crate) fn unescape(text: &str) -> (Vec<u8>, &str) {
    let mut bytes = Vec::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (bytes, text.get(at.saturating_add(1)..).unwrap_or_default()),
            '\\' => match chars.next() {
                Some((_, 'n')) => bytes.push(b'\n'),
                Some((_, 'r')) => bytes.push(b'\r'),
                Some((_, 't')) => bytes.push(b'\t'),
                Some((_, '0')) => bytes.push(0),
                Some((at, 'x')) => {
                    let digits = text.get(at.saturating_add(1)..at.saturating_add(3)).unwrap_or_default();
                    bytes.push(u8::from_str_radix(digits, 16).unwrap_or(b'?'));
                    chars.next();
                    chars.next();
                }
                Some((_, other)) => push(&mut bytes, other),
                None => {}
            },
            other => push(&mut bytes, other),
        }
    }
    (bytes, "")
}

fn push(bytes: &mut Vec<u8>, char: char) {
    bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
}

/// A name and a value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// Pairs in the ABI's form: a count, the lengths of names and values, then both, each with a NUL after it.
pub(crate) fn serialize(pairs: &[Pair]) -> Vec<u8> {
    let length = |bytes: &[u8]| crate::abi::size(bytes.len()).to_le_bytes();
    let mut bytes = crate::abi::size(pairs.len()).to_le_bytes().to_vec();
    for (name, value) in pairs {
        bytes.extend_from_slice(&length(name));
        bytes.extend_from_slice(&length(value));
    }
    for part in pairs.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend_from_slice(part);
        bytes.push(0);
    }
    bytes
}

/// Serialized pairs as `["name: value", …]`, or as bytes if they are malformed.
pub(crate) fn show_pairs(bytes: &[u8]) -> String {
    match parse_pairs(bytes) {
        Some(pairs) => list(&pairs),
        None => format!("malformed {}", quote(bytes)),
    }
}

/// The same for pairs in the order of a hash map.
pub(crate) fn show_sorted_pairs(bytes: &[u8]) -> String {
    match parse_pairs(bytes) {
        Some(mut pairs) => {
            pairs.sort_unstable();
            list(&pairs)
        }
        None => format!("malformed {}", quote(bytes)),
    }
}

fn list(pairs: &[(&[u8], &[u8])]) -> String {
    let items: Vec<String> = pairs.iter().map(|(name, value)| quote(&[*name, b": ", *value].concat())).collect();
    format!("[{}]", items.join(", "))
}

fn parse_pairs(bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    let (lengths, mut data) = rest.split_at_checked((u32::from_le_bytes(*count) as usize).checked_mul(8)?)?;
    let mut take = |len: &[u8; 4]| {
        let (taken, behind) = data.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        data = behind.strip_prefix(&[0])?;
        Some(taken)
    };
    let mut pairs = Vec::new();
    for length in lengths.chunks_exact(8) {
        pairs.push((take(length.first_chunk::<4>()?)?, take(length.last_chunk::<4>()?)?));
    }
    data.is_empty().then_some(pairs)
}
