//! The encoding of values in shared data: a version byte, then postcard.

use serde::Serialize;
use serde::de::DeserializeOwned;

pub fn encode(version: u8, value: &impl Serialize) -> Vec<u8> {
    // Serializing plain data into a growing vector cannot fail.
    postcard::to_extend(value, vec![version]).unwrap_or_default()
}

/// Decodes stored bytes; `None` if they have another version or are incomplete.
pub fn decode<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(bytes.strip_prefix(&[version])?).ok()?;
    rest.is_empty().then_some(value)
}
