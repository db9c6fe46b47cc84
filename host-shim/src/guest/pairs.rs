//! The serialized form of header maps: the count, then pairs of lengths, then names and values, each with a zero byte
//! at its end.
//!
//! All numbers are 32-bit and little-endian. The limits are those of Envoy's proxy-wasm-cpp-host.

use crate::base::{Headers, MapKind};

const MAX_BYTES: usize = 1 << 20;
const MAX_PAIRS: usize = 1024;
const WORD: usize = 4;

/// Serializes headers for a guest. An empty map has no bytes.
pub fn encode<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Vec<u8> {
    let count = pairs.clone().count();
    if count == 0 {
        return Vec::new();
    }
    let bytes: usize = pairs.clone().map(|(name, value)| name.len() + value.len() + 2).sum();
    let mut out = Vec::with_capacity(WORD + count * 2 * WORD + bytes);
    let word = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    out.extend(word(count));
    for (name, value) in pairs.clone() {
        out.extend(word(name.len()));
        out.extend(word(value.len()));
    }
    for (name, value) in pairs {
        out.extend_from_slice(name);
        out.push(0);
        out.extend_from_slice(value);
        out.push(0);
    }
    out
}

/// Parses headers of a guest. As in Envoy, the result is empty if they are too large or malformed.
pub fn decode(kind: MapKind, bytes: &[u8]) -> Headers {
    decode_checked(kind, bytes).unwrap_or_default()
}

fn decode_checked(kind: MapKind, bytes: &[u8]) -> Option<Headers> {
    if bytes.len() > MAX_BYTES {
        return None;
    }
    let (count, rest) = split_word(bytes)?;
    if count > MAX_PAIRS {
        return None;
    }
    let (mut lengths, mut text) = rest.split_at_checked(count.checked_mul(2 * WORD)?)?;
    let mut headers = Headers::default();
    for _ in 0..count {
        let (name_len, rest) = split_word(lengths)?;
        let (value_len, rest) = split_word(rest)?;
        lengths = rest;
        let (name, rest) = split_text(text, name_len)?;
        let (value, rest) = split_text(rest, value_len)?;
        text = rest;
        headers.append(kind, name, value);
    }
    text.is_empty().then_some(headers)
}

fn split_word(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (word, rest) = bytes.split_first_chunk::<WORD>()?;
    Some((usize::try_from(u32::from_le_bytes(*word)).ok()?, rest))
}

/// Splits off a text of the given length and its zero byte.
fn split_text(bytes: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    let (text, rest) = bytes.split_at_checked(length)?;
    let (zero, rest) = rest.split_first()?;
    (*zero == 0).then_some((text, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serialized_pairs_can_be_parsed() {
        let mut headers = Headers::default();
        headers.add(b"a", b"1");
        headers.add(b"b", b"");
        headers.add(b"", b"\0x");
        assert_eq!(decode(MapKind::Request, &encode(headers.iter())), headers);
    }

    #[test]
    fn the_layout_is_that_of_the_specification() {
        let mut headers = Headers::default();
        headers.add(b"ab", b"c");
        assert_eq!(encode(headers.iter()), b"\x01\0\0\0\x02\0\0\0\x01\0\0\0ab\0c\0");
        assert_eq!(encode(Headers::default().iter()), b"");
    }

    #[test]
    fn malformed_pairs_give_an_empty_map() {
        for bytes in [
            &b""[..],
            b"\0",
            b"\x01\0\0\0",
            b"\x01\0\0\0\xff\xff\xff\xff\x01\0\0\0ab\0c\0",
            b"\x01\0\0\0\x02\0\0\0\x01\0\0\0ab\0c",
            b"\x01\0\0\0\x02\0\0\0\x01\0\0\0abXc\0",
            b"\x01\0\0\0\x02\0\0\0\x01\0\0\0ab\0c\0more",
            b"\xff\xff\xff\xff\x02\0\0\0",
        ] {
            assert_eq!(decode(MapKind::Request, bytes), Headers::default(), "{bytes:?}");
        }
    }
}
