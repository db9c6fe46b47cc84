//! Preflights: a browser asks the upstream whether a page may send the real request. It sends no credentials with them.

use crate::access::request::{OTHER_METHODS, Request};

/// True if a request is a preflight (the Fetch standard, CORS-preflight request) and cannot be anything else: browsers
/// send no other method with these headers.
pub fn is_preflight(request: &Request<'_>) -> bool {
    let has = |name| request.header(name).is_some_and(|value| !value.trim_ascii().is_empty());
    let has_body = request.header("transfer-encoding").is_some()
        || request.lines("content-length").any(|(_, length)| length.trim_ascii() != b"0");
    request.header(":method") == Some(b"OPTIONS")
        && has("origin")
        && has("access-control-request-method")
        && !has_body
        && !OTHER_METHODS.iter().any(|name| request.header(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn only_requests_as_a_browser_sends_them_are_preflights() {
        let preflight =
            [(":method", "OPTIONS"), ("origin", "https://app.test"), ("access-control-request-method", "DELETE")];
        let is = |headers: &[(&str, &str)]| {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
            is_preflight(&Request { headers: &headers, property: &|_| None })
        };
        assert!(is(&preflight));
        assert!(is(&[&preflight[..], &[("content-length", "0"), ("access-control-request-headers", "x")]].concat()));
        for missing in 0..preflight.len() {
            let mut headers = preflight.to_vec();
            headers.remove(missing);
            assert!(!is(&headers), "{headers:?}");
            headers.push((preflight[missing].0, " "));
            assert!(!is(&headers), "{headers:?}");
        }
        for method in ["GET", "options", "HEAD", "POST"] {
            assert!(!is(&[&[(":method", method)][..], &preflight[1..]].concat()), "{method}");
        }
        for more in [
            ("content-length", "1"),
            ("transfer-encoding", "chunked"),
            ("x-http-method-override", "DELETE"),
            ("X-HTTP-Method", "DELETE"),
            ("x-method-override", ""),
        ] {
            assert!(!is(&[&preflight[..], &[more]].concat()), "{more:?}");
        }
    }
}
