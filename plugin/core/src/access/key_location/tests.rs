use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn location() -> KeyLocation {
    KeyLocation { header: "authorization".into(), parameter: Some("api_key".into()), cookie: Some("session".into()) }
}

type Headers<'t> = &'t [(&'t str, &'t str)];

fn with<T>(headers: Headers<'_>, look: impl FnOnce(Request<'_>) -> T) -> T {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    look(Request { headers: &headers, property: &|_| None })
}

/// The key, with a `?` after it if it is ambiguous.
fn key(headers: Headers<'_>) -> Option<String> {
    with(headers, |request| {
        let found = location().find(&request)?;
        Some(String::from_utf8_lossy(&found.key).into_owned() + if found.is_ambiguous { "?" } else { "" })
    })
}

/// The request's headers after the key was removed, as `name: value`.
fn stripped(headers: Headers<'_>) -> Vec<String> {
    let mut kept: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    for change in with(headers, |request| location().strip(&request)) {
        match change {
            HeaderChange::Remove(name) => kept.retain(|(known, _)| *known != name),
            // Envoy replaces like this: the first line gets the value, and the other lines stay.
            HeaderChange::Replace(name, value) => {
                let value = String::from_utf8(value).unwrap();
                match kept.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, known)) => *known = value,
                    None => kept.push((name, value)),
                }
            }
        }
    }
    kept.into_iter().map(|(name, value)| format!("{name}: {value}")).collect()
}

#[test]
fn the_cookie_wins_over_the_parameter_and_the_parameter_over_the_header() {
    let all = [("cookie", "a=b; session=c"), (":path", "/?api_key=p"), ("authorization", "h")];
    assert_eq!(key(&all).as_deref(), Some("c"));
    assert_eq!(key(&all[1..]).as_deref(), Some("p"));
    assert_eq!(key(&all[2..]).as_deref(), Some("h"));
    assert_eq!(key(&[]), None);
    let empty = [("cookie", "session="), (":path", "/?api_key=&api_key"), ("authorization", "h")];
    assert_eq!(key(&empty).as_deref(), Some("h"), "an empty place is passed over");
}

#[test]
fn a_leading_bearer_is_dropped_in_every_place_whatever_its_case() {
    for value in ["k", "Bearer k", "bearer k", "BEARER  k ", " k", "\tBearer k"] {
        assert_eq!(key(&[("authorization", value)]).as_deref(), Some("k"), "{value}");
        assert_eq!(key(&[("cookie", &format!("session={value}; a=b"))]).as_deref(), Some("k"), "{value}");
        assert_eq!(key(&[("cookie", &format!("session=\"{value}\""))]).as_deref(), Some("k"), "{value}");
    }
    for target in ["/?api_key=Bearer+k", "/?api_key=Bearer%20k", "/?api_key=bearer%20%20k+", "/?api_key=+k"] {
        assert_eq!(key(&[(":path", target)]).as_deref(), Some("k"), "{target}");
    }
}

#[test]
fn bearer_alone_is_a_key_and_an_empty_value_is_none() {
    for value in ["Bearer", "Bearer ", "bearer", "BEARER \t "] {
        assert_eq!(key(&[("authorization", value)]), Some(value.trim().to_owned()), "{value:?}");
    }
    assert_eq!(key(&[(":path", "/?api_key=Bearer+")]).as_deref(), Some("Bearer"));
    assert_eq!(key(&[("cookie", "session=\"Bearer \"")]).as_deref(), Some("Bearer"));
    for nothing in ["", " ", "\t"] {
        assert_eq!(key(&[("authorization", nothing)]), None);
    }
    for cookie in ["session=", "session=\"\"", "session", "sessions=k", "session2=k", "Session=k", "s%65ssion=k"] {
        assert_eq!(key(&[("cookie", cookie)]), None, "{cookie}");
    }
}

#[test]
fn all_lines_and_all_occurrences_count() {
    let cases: [(Headers<'_>, Option<&str>); 14] = [
        (&[("cookie", "a=b"), ("cookie", "session=k"), ("cookie", "c=d")], Some("k")),
        (&[("cookie", "a=b; session = \"k\" ;c=d")], Some("k")),
        (&[("cookie", "session=k; session=k"), ("cookie", "session=\"k\"")], Some("k")),
        (&[("cookie", "session=k; session=other")], Some("k?")),
        (&[("cookie", "session=k"), ("cookie", "a=b; session=other")], Some("k?")),
        (&[("cookie", "session=; session=k")], Some("k")),
        (&[(":path", "/x?a&api%5Fkey=k%2B1")], Some("k+1")),
        (&[(":path", "/x?api_key=k&api_key=k")], Some("k")),
        (&[(":path", "/x?api_key=k&b=c&api%5fkey=other")], Some("k?")),
        (&[(":path", "/x?api_key=&api_key=k")], Some("k")),
        (&[("authorization", "k"), ("authorization", "Bearer k")], Some("k")),
        (&[("authorization", "k"), ("x", "y"), ("authorization", "other")], Some("k?")),
        (&[("authorization", ""), ("authorization", "k")], Some("k")),
        (&[("Authorization", "k"), ("AUTHORIZATION", "other")], Some("k?")),
    ];
    for (headers, expected) in cases {
        assert_eq!(key(headers).as_deref(), expected, "{headers:?}");
    }
}

#[test]
fn header_names_have_no_case() {
    assert_eq!(key(&[("Authorization", "Bearer k")]).as_deref(), Some("k"));
    assert_eq!(key(&[("COOKIE", "session=k")]).as_deref(), Some("k"));
    let headers = [("Authorization", "k"), ("AUTHORIZATION", "k"), ("Cookie", "a=b; session=k"), ("X", "y")];
    assert_eq!(stripped(&headers), ["Cookie: a=b", "X: y"]);
    let headers = [("Cookie", "a=b"), ("cookie", "session=k"), ("Cookie", "c=d")];
    assert_eq!(stripped(&headers), ["Cookie: a=b; c=d"]);
}

#[test]
fn stripping_removes_every_occurrence_and_nothing_else() {
    let cases: [(Headers<'_>, &[&str]); 15] = [
        (&[("authorization", "k"), ("accept", "a"), ("authorization", "other")], &["accept: a"]),
        (&[(":path", "/x?a=1&api_key=p&b=%20")], &[":path: /x?a=1&b=%20"]),
        (&[(":path", "/x?api_key=p&&api%5Fkey=q&api_key")], &[":path: /x?"]),
        (&[(":path", "/x?api_key=p")], &[":path: /x"]),
        (&[(":path", "/x?y=api_key")], &[":path: /x?y=api_key"]),
        (&[("cookie", "a=b; session=c; d=e")], &["cookie: a=b; d=e"]),
        (&[("cookie", "a=b;session=c;d=\"e f\"; ;g")], &["cookie: a=b;d=\"e f\"; ;g"]),
        (&[("cookie", "session=c; a=b; session=\"d\"; session")], &["cookie: a=b"]),
        (&[("cookie", "session=c")], &[]),
        (&[("cookie", "session=c"), ("cookie", "session=d")], &[]),
        (&[("cookie", "a=b"), ("cookie", "session=c")], &["cookie: a=b"]),
        (&[("cookie", "a=b"), ("cookie", "c=d; session=c"), ("cookie", "e=f")], &["cookie: a=b; c=d; e=f"]),
        (&[("cookie", "a=b"), ("cookie", "c=d")], &["cookie: a=b", "cookie: c=d"]),
        (
            &[("cookie", "sessions=1; xsession=2; Session=3; s%65ssion=4")],
            &["cookie: sessions=1; xsession=2; Session=3; s%65ssion=4"],
        ),
        (&[("cookie", "a=session=c")], &["cookie: a=session=c"]),
    ];
    for (headers, expected) in cases {
        assert_eq!(stripped(headers), expected, "{headers:?}");
    }
}

proptest! {
    /// For any request: after stripping, no place has a key, and all other cookies are there in their order.
    #[test]
    fn a_stripped_key_is_not_found_again_and_other_cookies_stay(
        lines in proptest::collection::vec("[ a-c=;\"]{0,12}(; ?session=[a-c\"]{0,3})?(; ?d=e)?", 0..4),
        query in "[a-c=&%]{0,8}(&api(_|%5f|%5F)key=[a-c]{0,3})?(&x=y)?",
    ) {
        let target = format!("/x?{query}");
        let mut headers = vec![(":path", target.as_str()), ("authorization", "k"), ("Authorization", "Bearer")];
        headers.extend(lines.iter().map(|line| ("cookie", line.as_str())));
        let left = stripped(&headers);
        let pairs: Vec<(&str, &str)> = left.iter().filter_map(|line| line.split_once(": ")).collect();
        prop_assert_eq!(key(&pairs), None);
        let others = |headers: Headers<'_>| -> Vec<String> {
            let cookies = headers.iter().filter(|(name, _)| *name == "cookie").flat_map(|(_, line)| line.split(';'));
            let name = |pair: &str| pair.split('=').next().unwrap_or_default().trim().to_owned();
            cookies.filter(|pair| !pair.trim().is_empty() && name(pair) != "session").map(|pair| pair.trim().to_owned()).collect()
        };
        prop_assert_eq!(others(&pairs), others(&headers));
    }
}
