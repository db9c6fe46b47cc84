//! Values in shared data: a version, then postcard.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The bytes to store.
pub fn encode(version: u8, value: &impl Serialize) -> Vec<u8> {
    // Serializing plain data into a growing vector has no way to fail.
    postcard::to_extend(value, vec![version]).unwrap_or_default()
}

/// From stored bytes; `None` where they are of another version, or not whole.
pub fn decode<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(bytes.strip_prefix(&[version])?).ok()?;
    rest.is_empty().then_some(value)
}
