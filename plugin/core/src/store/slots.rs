//! The slots of a Redis Cluster: which part of a key decides where it is.

use crc::{CRC_16_XMODEM, Crc, NoTable};

/// The number of slots.
pub const SLOTS: u16 = 16_384;

const CHECKSUM: Crc<u16, NoTable> = Crc::<u16, NoTable>::new(&CRC_16_XMODEM);

/// The slot of a key.
pub fn slot(key: &str) -> u16 {
    CHECKSUM.checksum(hashed_part(key).as_bytes()) & (SLOTS - 1)
}

/// The text between the first `{` and the next `}`, or the whole key if there is none.
fn hashed_part(key: &str) -> &str {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    tag.filter(|tag| !tag.is_empty()).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn the_checksum_is_that_of_redis() {
        // The example of Redis's specification, and what CLUSTER KEYSLOT of Redis 7.0 answers.
        assert_eq!(CHECKSUM.checksum(b"123456789"), 0x31c3);
        let cases = [
            ("123456789", 12739),
            ("foo", 12182),
            ("{user1000}.following", 3443),
            ("{user1000}.followers", 3443),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("foo{bar}{zap}", 5061),
            ("", 0),
            ("ä", 13929),
        ];
        for (key, wanted) in cases {
            assert_eq!(slot(key), wanted, "{key}");
        }
    }

    #[test]
    fn only_a_closed_tag_with_a_text_is_hashed() {
        for (key, wanted) in [("a{b}c", "b"), ("{b}{c}", "b"), ("a{}c", "a{}c"), ("a{b", "a{b"), ("a}b{c}", "c")] {
            assert_eq!(hashed_part(key), wanted);
        }
    }
}
