#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn read(path: &[u8]) -> Vec<String> {
    let readings = Readings::of(path).unwrap();
    readings.decoded().iter().map(|reading| String::from_utf8_lossy(&reading.path).into_owned()).collect()
}

#[test]
fn a_plain_path_is_borrowed() {
    for path in
        ["/", "/orders/1", "/.well-known/x", "/a.b/..c/.d", "/@a:b/c,d;".trim_end_matches(';'), "/a~b-c_d!$&'()*+=|{}"]
    {
        let readings = Readings::of(path.as_bytes()).unwrap();
        assert!(readings.is_one(), "{path}");
        assert!(matches!(readings.decoded(), [Reading { path: Cow::Borrowed(_), authority: None }]), "{path}");
        assert_eq!(readings.encoded(), readings.decoded());
    }
}

#[test]
fn the_first_reading_keeps_encoded_slashes_and_readings_are_unique() {
    for (path, expected) in [
        ("/%40acme/1", &["/@acme/1"][..]),
        ("/caf%C3%A9/1", &["/café/1"]),
        ("/caf%c3%a9", &["/café"]),
        ("/a%20b", &["/a b"]),
        ("/%zz", &["/%zz"]),
        ("/orders/a%2Fb", &["/orders/a%2Fb", "/orders/a/b"]),
        ("/a/../b", &["/a/../b", "/b"]),
        ("/%2540", &["/%40", "/@"]),
        ("", &["/"]),
        ("*", &["/*"]),
    ] {
        assert_eq!(read(path.as_bytes()), expected, "{path}");
    }
}

/// Paths, each with readings of it by some server.
#[test]
fn each_interpretation_by_a_server_is_a_reading() {
    for path in [
        "/%6frders/1",
        "/%6Frders/1",
        "/orders%2F1",
        "/orders%2f1",
        "/orders./1",
        "/orders%2E%20/1",
        "/%uff0forders/1",
        "/%uFF0Forders%uff0f1",
        "/%2e%2e/orders/1;/../../x",
        "/orders/1;/../../x",
        "/./orders/1",
        "//orders/1",
        "///orders//1",
        "/x/../orders/1",
        "/x/%2e%2e/orders/1",
        "/x/.%2E/orders/1",
        "/x%2F..%2Forders/1",
        "/x%2f%2e%2e%2forders%2f1",
        "/x/..%2forders/1",
        "/%252e/orders/1",
        "/%6f%72%64%65%72%73/1",
        "/%256frders/1",
        "/%25256frders/1",
        "\\orders\\1",
        "/x\\..\\orders/1",
        "/x%5C..%5Corders%5C1",
        "/orders;a=b/1",
        "/x/..;/orders/1",
        "/x/..%3b/orders/1",
        "/x;/../orders;/1",
        "/or\tders/1",
        "/or%09ders/1",
        "/or%0d%0aders/1",
        "/orders/1#x",
        "/orders/1%23/../..",
        "/orders/1%3Fa",
        "/orders/1%00.html",
        "http://h.test/orders/1",
        "HTTP:\\\\h\\orders/1",
        "//h.test/orders/1",
        "/\\h/orders/1",
        "/\t/h/orders/1",
        "http:orders/1",
        "orders/1",
        " /orders/1",
        "/%20/../orders/1",
        "/%u006frders/1",
        "/orders%u002f1",
        "/x/..%c0%afORDERS/../orders/1",
        "/orders%c0%af1",
        "/orders%e0%80%af1",
        "/x/%c0%ae%c0%ae/orders/1",
        "/a/../orders/%2e%2e/../1",
        "/orders/1/",
        "/orders/1;x",
        "/orders/./1",
        "/orders/x/../1",
        "/orders/%2e/1",
        "/orders//1",
    ] {
        let found = read(path.as_bytes());
        assert!(found.iter().any(|path| path.trim_end_matches('/') == "/orders/1"), "{path:?}: {found:?}");
    }
}

#[test]
fn the_host_in_a_target_is_kept() {
    for (path, host) in
        [("http://h.test:80/orders/1", "h.test:80"), ("//u@h/orders/1", "u@h"), ("/%2F/h/orders/1", "h")]
    {
        let readings = Readings::of(path.as_bytes()).unwrap();
        let found =
            readings.decoded().iter().find(|reading| *reading.path == *b"/orders/1" && reading.authority.is_some());
        assert_eq!(found.and_then(|reading| reading.authority.as_deref()), Some(host.as_bytes()), "{path}");
    }
}

#[test]
fn a_path_with_too_many_readings_is_unclear() {
    let nested = format!("/%{}40", "25".repeat(200));
    assert!(matches!(Readings::of(nested.as_bytes()), Err(Unclear)));
    let long = format!("/{}%2F;//..\\/", "a".repeat(60_000));
    assert!(matches!(Readings::of(long.as_bytes()), Err(Unclear)));
    let (long, link) = (format!("/{}%2F", "a".repeat(60_000)), "/img/https%3A%2F%2Fa.test%2Fb%3Fc%3Dd%26e%2523;v=1");
    for path in [long.as_str(), link, "/img/https://a.test//b;c/%7Bd%7D%2F..", "/Fotos/%C3%9Cber%20uns/a%2Bb;v=1//c"] {
        assert!(Readings::of(path.as_bytes()).is_ok(), "{:.60}", path);
    }
}

#[test]
fn an_error_in_a_prefix_says_what_to_write_instead() {
    for text in [
        "/",
        "/orders/",
        "/orders",
        "/@acme/",
        "/%40acme/",
        "/café/",
        "/caf%C3%A9/",
        "/my%20api/",
        "/.tollbell",
        "/v1-",
    ] {
        assert!(Prefix::parse(text).is_ok(), "{text}: {:?}", Prefix::parse(text));
    }
    for (text, instead) in [
        ("/a?b", "/a"),
        ("/a/#b", "/a/"),
        ("/my api/", "/my%20api/"),
        ("/100%/", "/100%25/"),
        ("/a%zz/", "/a%25zz/"),
        ("/a/../b/", "/b/"),
        ("/./a", "/a"),
        ("/a/%2e%2e/b/", "/b/"),
        ("//a/", "/a/"),
        ("/a//b/", "/a/b/"),
        ("/a%2Fb/", "/a/b/"),
        ("/a\\b/", "/a/b/"),
        ("/a%5cb/", "/a/b/"),
        ("/a;v=1/", "/a/"),
        ("/%2540/", "/@/"),
        ("/a%3Fb/", "/a"),
        ("/a%23b/", "/a"),
        ("/a%00/", "/a"),
        ("/a%09b/", "/ab/"),
        ("/orders/{id}/", "/orders/"),
    ] {
        let error = Prefix::parse(text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{text:?}")) && error.contains(&format!("{instead:?}")), "{error}");
    }
    for text in ["", "a", "https://h/a", "*", "\t/a", "/a\tb"] {
        assert!(Prefix::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_prefix_is_found_in_any_spelling_and_respelling_is_canonical() {
    assert_eq!(Prefix::parse("/café/").unwrap().decoded(), Prefix::parse("/caf%c3%a9/").unwrap().decoded());
    for (path, expected) in [
        ("/%7euser/%40/%2f", "/~user/%40/%2F"),
        ("/caf\u{e9}|", "/caf%C3%A9%7C"),
        ("/100%", "/100%25"),
        ("/a@b;c=", "/a@b;c="),
    ] {
        assert_eq!(String::from_utf8(respelled(path.as_bytes())).unwrap(), expected, "{path}");
    }
    let prefix = Prefix::parse("/café/x/").unwrap();
    for (path, rest) in [
        ("/caf%C3%A9/x/1", Some("/1")),
        ("/café/%78", Some("/")),
        ("/café/x/a%2Fb", Some("/a%2Fb")),
        ("/café", None),
        ("/café/xy", None),
        ("/", None),
    ] {
        assert_eq!(prefix.rest(path), rest, "{path}");
    }
    assert_eq!(Prefix::default().rest("/a/b"), Some("/a/b"));
}
