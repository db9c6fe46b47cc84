//! The key that a request carries: where it is found, and how it is taken out again.

use std::borrow::Cow;

use crate::request::{HeaderChange, Request, decode_query_part, split_once};

/// Where a key may stand. The header is asked first, then the parameter, then the cookie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyLocation {
    /// The header, lower case; a leading `Bearer ` is dropped.
    pub header: String,
    /// The query parameter.
    pub parameter: Option<String>,
    /// The cookie.
    pub cookie: Option<String>,
}

impl KeyLocation {
    /// The key that a request carries; never empty.
    pub fn find<'r>(&self, request: &Request<'r>) -> Option<Cow<'r, [u8]>> {
        let header = request.header(&self.header).map(|value| Cow::Borrowed(without_bearer(value)));
        let filled = |key: &Cow<'r, [u8]>| !key.is_empty();
        header
            .filter(filled)
            .or_else(|| self.parameter.as_deref().and_then(|name| parameter(request, name)).filter(filled))
            .or_else(|| self.cookie.as_deref().and_then(|name| cookie(request, name)).filter(filled))
    }

    /// What takes every configured location out of the request.
    pub fn strip(&self, request: &Request<'_>) -> Vec<HeaderChange> {
        let mut changes = Vec::new();
        if request.header(&self.header).is_some() {
            changes.push(HeaderChange::Remove(self.header.clone()));
        }
        if let Some((name, query)) = self.parameter.as_deref().zip(request.query()) {
            let kept = without(query.split(|&byte| byte == b'&'), name.as_bytes(), b"&");
            if let Some(kept) = kept {
                let separator: &[u8] = if kept.is_empty() { b"" } else { b"?" };
                changes.push(HeaderChange::Replace(":path".into(), [request.path(), separator, &kept].concat()));
            }
        }
        if let Some((name, cookies)) = self.cookie.as_deref().zip(request.header("cookie")) {
            let kept = without(cookies.split(|&byte| byte == b';').map(<[u8]>::trim_ascii), name.as_bytes(), b"; ");
            changes.extend(kept.map(|kept| match kept.is_empty() {
                true => HeaderChange::Remove("cookie".into()),
                false => HeaderChange::Replace("cookie".into(), kept),
            }));
        }
        changes
    }
}

fn without_bearer(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    match value.split_at_checked(7) {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case(b"Bearer ") => key.trim_ascii(),
        _ if value.eq_ignore_ascii_case(b"Bearer") => b"",
        _ => value,
    }
}

fn parameter<'r>(request: &Request<'r>, name: &str) -> Option<Cow<'r, [u8]>> {
    let pairs = request.query()?.split(|&byte| byte == b'&');
    pairs
        .map(|pair| split_once(pair, b'=').unwrap_or((pair, b"")))
        .find_map(|(key, value)| (decode_query_part(key).as_ref() == name.as_bytes()).then(|| decode_query_part(value)))
}

fn cookie<'r>(request: &Request<'r>, name: &str) -> Option<Cow<'r, [u8]>> {
    let cookies = request.header("cookie")?.split(|&byte| byte == b';');
    let value = cookies.filter_map(|pair| split_once(pair.trim_ascii(), b'=')).find(|(key, _)| *key == name.as_bytes());
    value.map(|(_, value)| Cow::Borrowed(value))
}

/// The pairs that are not named `name`, joined again; `None` when none is.
fn without<'p>(pairs: impl Iterator<Item = &'p [u8]> + Clone, name: &[u8], joint: &[u8]) -> Option<Vec<u8>> {
    let is_named = |pair: &&[u8]| {
        let key = split_once(pair, b'=').map_or(*pair, |(key, _)| key);
        decode_query_part(key).as_ref() == name
    };
    if !pairs.clone().any(|pair| is_named(&pair)) {
        return None;
    }
    Some(pairs.filter(|pair| !is_named(pair)).collect::<Vec<_>>().join(joint))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn location() -> KeyLocation {
        KeyLocation {
            header: "authorization".into(),
            parameter: Some("api_key".into()),
            cookie: Some("session".into()),
        }
    }

    fn key(headers: &[(&str, &str)]) -> Option<String> {
        with(headers, |request| location().find(&request).map(|key| String::from_utf8_lossy(&key).into_owned()))
    }

    fn with<T>(headers: &[(&str, &str)], look: impl FnOnce(Request<'_>) -> T) -> T {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        look(Request { headers: &headers, source_address: &|| None })
    }

    #[test]
    fn the_header_is_asked_first_then_the_parameter_then_the_cookie() {
        let all = [("authorization", "h"), (":path", "/?api_key=p"), ("cookie", "a=b; session=c")];
        assert_eq!(key(&all).as_deref(), Some("h"));
        assert_eq!(key(&all[1..]).as_deref(), Some("p"));
        assert_eq!(key(&all[2..]).as_deref(), Some("c"));
        assert_eq!(key(&[]), None);
    }

    #[test]
    fn a_leading_bearer_is_dropped_whatever_its_case() {
        for value in ["k", "Bearer k", "bearer k", "BEARER  k "] {
            assert_eq!(key(&[("authorization", value)]).as_deref(), Some("k"), "{value}");
        }
        assert_eq!(key(&[("authorization", "Bearer ")]), None);
        assert_eq!(key(&[("authorization", "")]), None);
    }

    #[test]
    fn parameters_are_decoded() {
        assert_eq!(key(&[(":path", "/x?a&api%5Fkey=k%2B1")]).as_deref(), Some("k+1"));
        assert_eq!(key(&[(":path", "/x?api_key=")]), None);
    }

    #[test]
    fn stripping_leaves_the_rest_as_it_was() {
        let headers = [("authorization", "h"), (":path", "/x?a=1&api_key=p&b=%20"), ("cookie", "a=b; session=c; d=e")];
        let changes = with(&headers, |request| location().strip(&request));
        assert_eq!(
            changes,
            [
                HeaderChange::Remove("authorization".into()),
                HeaderChange::Replace(":path".into(), b"/x?a=1&b=%20".to_vec()),
                HeaderChange::Replace("cookie".into(), b"a=b; d=e".to_vec()),
            ]
        );
        let only = [(":path", "/x?api_key=p"), ("cookie", "session=c")];
        assert_eq!(
            with(&only, |request| location().strip(&request)),
            [HeaderChange::Replace(":path".into(), b"/x".to_vec()), HeaderChange::Remove("cookie".into())]
        );
        assert_eq!(with(&[(":path", "/x?y=api_key")], |request| location().strip(&request)), []);
    }
}
