//! Interpretations of a path by upstreams, written without the filter's own code: the crate `url` for WHATWG's URLs,
//! RFC 3986 by itself, and the habits of servers, in any order.

use proptest::prelude::*;
use url::Url;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// A way to read a request's target. `None` where it is an error.
type Habit = fn(&str) -> Option<String>;

const HABITS: &[Habit] = &[
    whatwg_relative,
    whatwg_absolute,
    rfc3986,
    rfc3986_dots,
    decode,
    decode_segments,
    go_clean,
    |path| Some(path.replace('\\', "/")),
    |path| Some(path.split('/').map(|part| part.split(';').next().unwrap_or("")).collect::<Vec<_>>().join("/")),
    |path| Some(path.chars().filter(|c| !matches!(c, '\t' | '\r' | '\n')).collect()),
    |path| path.split(['?', '#']).next().map(str::to_owned),
    |path| path.split('\0').next().map(str::to_owned),
    |path| Some(path.replace("%2F", "/").replace("%2f", "/")),
    |path| Some(path.replace("%2E", ".").replace("%2e", ".")),
    |path| path.split(';').next().map(str::to_owned),
    |path| Some(path.split('/').map(windows_name).collect::<Vec<_>>().join("/")),
];

fn windows_name(segment: &str) -> &str {
    let name = segment.trim_end_matches(['.', ' ']);
    if name.is_empty() { segment } else { name }
}

fn whatwg_relative(target: &str) -> Option<String> {
    Some(Url::parse("http://gw.test/").ok()?.join(target).ok()?.path().to_owned())
}

fn whatwg_absolute(target: &str) -> Option<String> {
    Some(
        Url::parse(&format!("http://gw.test{target}"))
            .ok()
            .filter(|url| url.host_str() == Some("gw.test"))?
            .path()
            .to_owned(),
    )
}

/// Appendix B.
fn rfc3986(target: &str) -> Option<String> {
    let target = target.split(['?', '#']).next()?;
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    let rest = target.split_once(':').filter(|(scheme, _)| is_scheme(scheme)).map_or(target, |(_, rest)| rest);
    let path = match rest.strip_prefix("//") {
        Some(authority) => authority.find('/').map_or("", |slash| &authority[slash..]),
        None => rest,
    };
    Some(if path.is_empty() { "/".to_owned() } else { path.to_owned() })
}

/// Section 5.2.4, step by step.
fn rfc3986_dots(path: &str) -> Option<String> {
    let (mut input, mut output) = (path.to_owned(), String::new());
    while !input.is_empty() {
        let up = |output: &mut String| output.truncate(output.rfind('/').unwrap_or(0));
        if let Some(rest) = input.strip_prefix("../").or(input.strip_prefix("./")) {
            input = rest.to_owned();
        } else if let Some(rest) = input.strip_prefix("/./") {
            input = format!("/{rest}");
        } else if input == "/." {
            input = "/".to_owned();
        } else if let Some(rest) = input.strip_prefix("/../") {
            input = format!("/{rest}");
            up(&mut output);
        } else if input == "/.." {
            input = "/".to_owned();
            up(&mut output);
        } else if input == "." || input == ".." {
            input.clear();
        } else {
            let end = input.char_indices().skip(1).find(|(_, c)| *c == '/').map_or(input.len(), |(at, _)| at);
            output.push_str(&input[..end]);
            input.drain(..end);
        }
    }
    Some(output)
}

fn decode(path: &str) -> Option<String> {
    Some(percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned())
}

/// Decodes like servers that keep an encoded slash.
fn decode_segments(path: &str) -> Option<String> {
    Some(decode(&path.replace("%2F", "%252F").replace("%2f", "%252f")).unwrap_or_default())
}

/// Cleans like Go's path.Clean, but keeps a final slash.
fn go_clean(path: &str) -> Option<String> {
    let mut kept: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            part => kept.push(part),
        }
    }
    let end = if path.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    Some(format!("/{}{end}", kept.join("/")))
}

fn is_below(path: &str, listen_path: &str) -> bool {
    path.starts_with(listen_path) || path == listen_path.trim_end_matches('/')
}

const PROTECTED: [&str; 3] = ["/orders/", "/café/", "/@acme/x/"];

/// The target with some parts in another spelling.
fn respelled(path: &str) -> impl Strategy<Value = String> + use<> {
    let inserted = prop::sample::select(
        &[
            "",
            "",
            "",
            "",
            "",
            "./",
            "x/../",
            "/",
            "..;/",
            "x/..;a=b/",
            "x/%2e%2E/",
            "x\\..\\",
            "%2e/",
            "x%2F..%2f",
            "x/..%5c",
            "\t",
            "%0A",
            ";a=b/../",
            "x;/%252e%252e/",
        ][..],
    );
    let chars: Vec<_> = path
        .chars()
        .map(|c| {
            let mut text = [0; 4];
            let bytes = c.encode_utf8(&mut text).bytes();
            let encoded: String = bytes.clone().map(|byte| format!("%{byte:02X}")).collect();
            let twice = encoded.replace('%', "%25");
            let plain = if c.is_ascii() { c.to_string() } else { encoded.clone() };
            let as_slash = if c == '/' { "\\".to_owned() } else { plain.clone() };
            let choices = vec![plain.clone(), plain.clone(), plain, encoded.to_lowercase(), encoded, twice, as_slash];
            (prop::sample::select(choices), inserted.clone())
                .prop_map(move |(text, inserted)| if c == '/' { text + inserted } else { text })
        })
        .collect();
    let before = prop::sample::select(
        &[
            "",
            "",
            "",
            "",
            "",
            "/x/..",
            "/.",
            "/",
            "//h.test",
            "http://h.test:80",
            "http:",
            "/x/..;",
            "/x%2f..",
            "\\h",
            "/open/..%2F..",
            " ",
        ][..],
    );
    let after =
        prop::sample::select(&["", "", "", "/", "#x", "%23", "%3Fa", ";v=1", "?a=/../", "%00", "%20", "/%2e%2e/1"][..]);
    (before, chars, after).prop_map(|(before, chars, after)| format!("{before}{}{after}", chars.concat()))
}

fn anything() -> impl Strategy<Value = String> {
    let parts = &[
        "/",
        "/",
        "/",
        "orders",
        "orders",
        "x",
        ".",
        "..",
        "..",
        ";",
        ";a",
        "\\",
        "%2F",
        "%2f",
        "%5c",
        "%2e",
        "%2E",
        "%25",
        "%252f",
        "#",
        "%23",
        "%3f",
        "?",
        "\t",
        "%09",
        "%00",
        "%20",
        " ",
        "@acme",
        "%40acme",
        "caf%C3%A9",
        "http:",
        "h",
        ":80",
        "u@",
        "1",
    ][..];
    prop::collection::vec(prop::sample::select(parts), 1..14).prop_map(|parts| format!("/{}", parts.concat()))
}

/// True if no key is required.
fn is_open(routes: &Routes, target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    let Ok(readings) = Readings::of(path.as_bytes()) else { return false };
    match routes.find(&readings, b"gw.test") {
        Route::Api { api, doubt, .. } => api.use_keyless && doubt.is_none(),
        Route::None => true,
    }
}

fn check(target: &str, habits: &[usize]) -> Result<(), TestCaseError> {
    // The query is not part of a path. An upstream that is a URL parser sees it, others get the path.
    let mut path = target.split('?').next().unwrap_or_default().to_owned();
    for habit in habits {
        match HABITS[*habit](&path) {
            Some(next) => path = next,
            None => return Ok(()),
        }
        if let Some(listen_path) = PROTECTED.into_iter().find(|listen_path| {
            is_below(&path, listen_path) || is_below(&decode(&path).unwrap_or_default(), listen_path)
        }) {
            let protected: Vec<_> = PROTECTED.into_iter().map(|listen_path| ("keyed", "", listen_path)).collect();
            for others in [&[][..], &[("open", "", "/")], &[("open", "", "/x/"), ("limited", "", "/open/")]] {
                let routes = routes("pass", &[&protected, others].concat());
                prop_assert!(!is_open(&routes, target), "{target:?} may be {path:?}, which is below {listen_path}");
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_unchecked_request_reaches_a_path_that_the_upstream_reads_as_protected(
        target in prop_oneof![
            PROTECTED.map(|path| respelled(&format!("{path}1")).boxed()).into_iter().reduce(|a, b| prop_oneof![a, b].boxed()).unwrap(),
            anything(),
        ],
        habits in prop::collection::vec(0..HABITS.len(), 0..6),
    ) {
        check(&target, &habits)?;
    }

    #[test]
    fn necessary_encoding_does_not_change_the_api(name in "[a-zA-Z0-9 @:+,=!$'()*~_é-]{1,12}") {
        let encoded: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let routes = routes("refuse", &[("keyed", "", "/orders/"), ("open", "", "/open/")]);
        for (path, api) in [("/orders/", "keyed"), ("/open/", "open")] {
            prop_assert_eq!(found(&routes, "gw.test", &format!("{path}x{encoded}x")), api);
        }
    }
}
