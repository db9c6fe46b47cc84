//! Text with a maximum length.

/// Maximum bytes of one value in an event that a client chooses; the rest is cut. This bounds the size of a held
/// message.
pub const MAX_VALUE_BYTES: usize = 4096;

/// Text for an event from bytes that a client chose. Invalid UTF-8 becomes U+FFFD, and the text is cut at
/// [`MAX_VALUE_BYTES`].
pub fn client_text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.len() <= MAX_VALUE_BYTES { text.into_owned() } else { cut(&text, MAX_VALUE_BYTES).to_owned() }
}

/// The beginning of a text, at most `most` bytes.
pub fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or_default();
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn client_bytes_become_valid_text_of_limited_length() {
        assert_eq!(client_text(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(client_text(&[0xff; 5000]).len(), 4095);
        assert_eq!(client_text(&[b'x'; 5000]).len(), MAX_VALUE_BYTES);
    }
}
