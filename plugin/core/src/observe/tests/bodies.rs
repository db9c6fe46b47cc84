//! Reading bodies.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const LIMIT: usize = 256;
const URL_ENCODED: &str = "application/x-www-form-urlencoded";

fn body(content_type: &str, encoding: &str, bytes: &[u8]) -> Body {
    let mut collector = Collector::new(Some(content_type), Some(encoding), LIMIT, &BodyPool::default());
    bytes.chunks(7).for_each(|chunk| collector.push(chunk));
    collector.finish()
}

fn unreadable(why: &str) -> Body {
    Body::Unreadable(why.to_owned())
}

fn form(fields: &[(&str, &str)]) -> Body {
    Body::Form(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn json_is_read() {
    let value = Body::Json(json!({ "a": [1] }));
    for kind in [
        "application/json",
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "application/hal+json",
        "",
        "text/plain",
        URL_ENCODED,
    ] {
        assert_eq!(body(kind, "", b" {\"a\": [1]}"), value, "{kind}");
    }
    assert_eq!(body("application/json", "", b"null"), Body::Json(Value::Null));
    assert_eq!(body("application/json", "", b""), Body::None);
    assert_eq!(body("application/json", "", b"{\"a\": [1]"), unreadable("not JSON"));
    assert_eq!(body("application/json", "", b"{}{}"), unreadable("not JSON"));
    assert_eq!(body("application/json", "", &[b'['; 200]), unreadable("not JSON"));
    assert_eq!(body("", "", b"12"), unreadable("not JSON, and without a content type"));
    assert_eq!(body("text/html", "", b"{}"), unreadable("of the type text/html"));
    assert_eq!(body("<b>\r\n", "", b"{}"), unreadable("of an invalid type"));
}

#[test]
fn forms_are_read() {
    assert_eq!(
        body(URL_ENCODED, "", b"email=a%40b.test&first=J+D&&x"),
        form(&[("email", "a@b.test"), ("first", "J D"), ("x", "")])
    );
    assert_eq!(body(URL_ENCODED, "", b"a=%ff"), unreadable("a form that is not UTF-8"));
}

#[test]
fn multipart_forms_are_read_without_their_files() {
    let text = concat!(
        "--b\r\nContent-Disposition: form-data; name=\"a\\\"b\"\r\n\r\n1\r\n2\r\n",
        "--b\r\ncontent-disposition: form-data; name=\"f\"; filename=\"x;.png\"\r\n",
        "Content-Type: image/png\r\n\r\n\0\r\n",
        "--b\r\nContent-Disposition: form-data; name=c\r\n\r\n\r\n--b--\r\n"
    );
    let kind = "multipart/form-data; boundary=\"b\"";
    assert_eq!(body(kind, "", text.as_bytes()), form(&[("a\"b", "1\r\n2"), ("c", "")]));
    assert_eq!(body(kind, "", b"--b--"), form(&[]));
    for (bad, why) in [
        ("x--b--", "it does not start with its boundary"),
        ("--b--x", "there is data after its end"),
        ("--bx", "a boundary is not on a line of its own"),
        ("--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1", "a part has no end"),
        ("--b\r\nContent-Disposition: form-data; name=a\r\n--b--", "a part has no headers"),
        ("--b\r\nContent-Disposition: attachment; name=a\r\n\r\n\r\n--b--", "a part does not belong to a form"),
        ("--b\r\nContent-Disposition: form-data\r\n\r\n\r\n--b--", "a part has no name"),
        ("--b\r\nContent-Disposition: form-data; name=a; name=b\r\n\r\n\r\n--b--", "a part has two names"),
        ("--b\r\nContent-Transfer-Encoding: base64\r\n\r\n\r\n--b--", "a part has a transfer encoding"),
    ] {
        assert_eq!(body(kind, "", bad.as_bytes()), unreadable(&format!("not a multipart form: {why}")), "{bad:?}");
    }
    assert_eq!(body("multipart/form-data", "", b"--b--"), unreadable("a multipart form without a boundary"));
}

#[test]
fn compressed_bodies_are_read() {
    let text = br#"{"a": 1}"#;
    let value = Body::Json(json!({ "a": 1 }));
    assert_eq!(body("application/json", "gzip", &gzip(text)), value);
    assert_eq!(body("application/json", "X-Gzip, identity", &gzip(text)), value);
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    zlib.write_all(text).unwrap();
    assert_eq!(body("application/json", "deflate", &zlib.finish().unwrap()), value);
    let mut bare = DeflateEncoder::new(Vec::new(), Compression::best());
    bare.write_all(text).unwrap();
    assert_eq!(body("application/json", "deflate", &bare.finish().unwrap()), value);
    assert_eq!(body("application/json", "gzip", text), unreadable("not gzip, although its content-encoding says so"));
    let whole = gzip(text);
    assert_eq!(
        body("application/json", "gzip", &whole[..whole.len() - 4]),
        unreadable("not gzip, although its content-encoding says so")
    );
    assert_eq!(body("application/json", "br", text), unreadable("compressed with br"));
    assert_eq!(body("application/json", "zstd", text), unreadable("compressed with zstd"));
    assert_eq!(body("application/json", "gzip, gzip", text), unreadable("compressed more than once"));
}

#[test]
fn a_body_that_is_too_large_is_dropped() {
    assert_eq!(body("application/json", "", &[b' '; LIMIT + 1]), unreadable("larger than 256 bytes"));
    let bomb = gzip(&vec![b' '; 100_000]);
    assert!(bomb.len() < LIMIT, "{}", bomb.len());
    assert_eq!(body("application/json", "gzip", &bomb), unreadable("larger than 256 bytes, decompressed"));
    let mut collector = Collector::new(Some("application/json"), None, 4, &BodyPool::default());
    collector.push(b"{}   ");
    assert!(!collector.wants_more());
    collector.push(b"{}");
    assert_eq!(collector.finish(), unreadable("larger than 4 bytes"));
    assert!(!Collector::new(Some("text/html"), None, 4, &BodyPool::default()).wants_more());
}

proptest! {
    #[test]
    fn no_body_panics(
        kind in prop_oneof![
            Just("application/json".to_owned()), Just(URL_ENCODED.to_owned()),
            Just("multipart/form-data; boundary=b".to_owned()), ".{0,24}"
        ],
        encoding in prop_oneof![Just(String::new()), Just("gzip".to_owned()), Just("deflate".to_owned()), ".{0,8}"],
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = body(&kind, &encoding, &bytes);
    }

    #[test]
    fn no_multipart_form_panics(text in "(--b|\r\n|Content-Disposition: form-data; name=|\"a\"|:|x|--){0,20}") {
        let _ = body("multipart/form-data; boundary=b", "", text.as_bytes());
    }

    #[test]
    fn the_size_of_the_parts_makes_no_difference(bytes in prop::collection::vec(any::<u8>(), 0..300), size in 1_usize..64) {
        let mut collector = Collector::new(Some(URL_ENCODED), None, LIMIT, &BodyPool::default());
        bytes.chunks(size).for_each(|chunk| collector.push(chunk));
        prop_assert_eq!(collector.finish(), body(URL_ENCODED, "", &bytes));
    }
}
