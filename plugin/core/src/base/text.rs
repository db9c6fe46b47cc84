//! Text of bounded length.

/// Bytes of one client-chosen value that an event carries; the rest is cut. It bounds what a held delivery takes.
pub const MAX_VALUE_BYTES: usize = 4096;

/// Text for an event from bytes that a client chose: invalid UTF-8 becomes U+FFFD, and what is too long is cut.
pub fn client_text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.len() <= MAX_VALUE_BYTES { text.into_owned() } else { cut(&text, MAX_VALUE_BYTES).to_owned() }
}

/// The beginning of a text, of at most so many bytes.
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
    fn client_bytes_become_bounded_text() {
        assert_eq!(client_text(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(client_text(&[0xff; 5000]).len(), 4095);
        assert_eq!(client_text(&[b'x'; 5000]).len(), MAX_VALUE_BYTES);
    }
}
