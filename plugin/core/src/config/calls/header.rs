//! Names and values of headers, by RFC 9110. The crate http has the same checks, but with a table of all known names
//! that is larger than many filters.

/// Maximum bytes of a name, as in the crate http.
const MAX_NAME_BYTES: usize = 65_535;

/// A header's name in lower case; `None` if it is invalid.
pub fn name(text: &str) -> Option<String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_name = !text.is_empty() && text.len() <= MAX_NAME_BYTES && text.bytes().all(is_token);
    is_name.then(|| text.to_ascii_lowercase())
}

/// True for a valid value of a header: no control characters except tabs.
pub fn is_value(text: &str) -> bool {
    text.bytes().all(|byte| !byte.is_ascii_control() || byte == b'\t')
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn names_and_values_are_checked_as_in_the_crate_http() {
        for text in (0..=0x17f_u32).filter_map(char::from_u32).map(|c| format!("X{c}")).chain([String::new()]) {
            let known = http::HeaderName::from_bytes(text.as_bytes()).ok().map(|name| name.as_str().to_owned());
            assert_eq!(name(&text), known, "{text:?}");
            assert_eq!(is_value(&text), http::HeaderValue::from_str(&text).is_ok(), "{text:?}");
        }
        for len in [MAX_NAME_BYTES, MAX_NAME_BYTES + 1] {
            let long = "x".repeat(len);
            assert_eq!(name(&long).is_some(), http::HeaderName::from_bytes(long.as_bytes()).is_ok(), "{len}");
        }
    }
}
