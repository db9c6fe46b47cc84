//! The status page. It is one static file without data, so it needs no token; its script asks for the token, and reads
//! `status` with it.

use std::io::Read;

use flate2::read::DeflateDecoder;

use crate::access::Answer;

/// The page as `build.rs` has compressed it: each VM has a copy, and few of them ever serve it.
const PAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/page.deflate"));

/// Allows the page's own script and style by their hashes, and requests to its own origin.
const POLICY: &str = include_str!(concat!(env!("OUT_DIR"), "/page.csp"));

/// The page.
pub fn page() -> Answer {
    let mut body = String::new();
    if let Err(error) = DeflateDecoder::new(PAGE).read_to_string(&mut body) {
        log::error!("the status page is not readable: {error}");
    }
    let headers = [
        ("content-type", "text/html; charset=utf-8"),
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ];
    answer(200, &headers, body)
}

/// The answer to a request for the page without a slash at its end. The script finds the endpoints beside the page, and
/// a relative target is right behind a proxy that changes the path, too.
pub fn redirect(path: &str) -> Answer {
    let segment = path.rsplit('/').next().unwrap_or_default();
    answer(307, &[("location", &format!("./{segment}/")), ("cache-control", "no-store")], String::new())
}

fn answer(status: u16, headers: &[(&'static str, &str)], body: String) -> Answer {
    Answer {
        status,
        headers: headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
        body,
        details: format!("{}admin", Answer::DETAILS_PREFIX),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use sha2::{Digest, Sha256};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// The text of the only element of this name.
    fn content<'p>(page: &'p str, name: &str) -> &'p str {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        assert_eq!((page.matches(&open).count(), page.matches(&close).count()), (1, 1), "{name}");
        page.split_once(&open).unwrap().1.split_once(&close).unwrap().0
    }

    #[test]
    fn the_policy_allows_the_scripts_and_styles_of_the_page_and_nothing_else() {
        let answer = page();
        let hash = |name| STANDARD.encode(Sha256::digest(content(&answer.body, name)));
        let policy = answer.headers.iter().find(|(name, _)| *name == "content-security-policy").unwrap();
        let expected = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
            hash("script"),
            hash("style")
        );
        assert_eq!(policy.1, expected);
    }

    #[test]
    fn the_page_is_small_and_loads_nothing() {
        let page = page().body;
        assert!(page.len() < 30_000, "{} bytes", page.len());
        let known = ["href=\"#"];
        for link in ["src=", "href=", "url(", "@import", "http:", "https:", "innerHTML", "style="] {
            let allowed: usize =
                known.iter().filter(|known| known.starts_with(link)).map(|k| page.matches(k).count()).sum();
            assert_eq!(page.matches(link).count(), allowed, "{link}");
        }
    }

    #[test]
    fn a_redirect_stays_in_its_folder() {
        for (path, target) in [("/.tollbell", "./.tollbell/"), ("/a/b:c", "./b:c/"), ("/%2etollbell", "./%2etollbell/")]
        {
            assert!(redirect(path).headers.contains(&("location", target.to_owned())), "{path}");
        }
    }
}
