//! Who is calling: a key that the request carries, or what another filter, a trusted hop or the connection established.

use std::borrow::Cow;

use crate::request::{HeaderChange, Request, decode_query_part, split_once};

/// Where an identity may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The filter's own keys.
    Key,
    /// Dynamic metadata.
    Metadata {
        /// The property, its names joined by NUL.
        name: String,
        /// The property that names the organisation.
        org: Option<String>,
    },
    /// A header of a trusted hop, lower case.
    Header(String),
    /// A property of the client's certificate.
    PeerCertificate(&'static str),
    /// The client's address.
    SourceAddress,
}

/// An identity as its source has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed<'r> {
    /// Never empty.
    pub name: Cow<'r, [u8]>,
    /// The organisation, where the source names one.
    pub org: Option<String>,
}

impl Source {
    /// What a certificate is known by, and the property that holds it.
    pub const CERTIFICATE_PROPERTIES: [(&str, &str); 4] = [
        ("uri_san", "connection\0uri_san_peer_certificate"),
        ("dns_san", "connection\0dns_san_peer_certificate"),
        ("subject", "connection\0subject_peer_certificate"),
        ("sha256", "connection\0sha256_peer_certificate_digest"),
    ];

    /// The property of dynamic metadata.
    pub fn metadata_property(names: &[String]) -> String {
        format!("metadata\0filter_metadata\0{}", names.join("\0"))
    }

    /// The source's name: what stands before the colon in the name of such an identity's session.
    pub fn label(&self) -> &'static str {
        match self {
            Source::Key => "key",
            Source::Metadata { .. } => "metadata",
            Source::Header(_) => "header",
            Source::PeerCertificate(_) => "peer_certificate",
            Source::SourceAddress => "source_address",
        }
    }

    /// What tells it from other sources of the same label.
    pub fn place(&self) -> &str {
        match self {
            Source::Key | Source::SourceAddress => "",
            Source::Metadata { name, .. } => name,
            Source::Header(name) => name,
            Source::PeerCertificate(property) => property,
        }
    }

    /// What it says of a request; `None` where it says nothing. Keys stand at `location`.
    pub fn claim<'r>(&self, request: &Request<'r>, location: &KeyLocation) -> Option<Claimed<'r>> {
        let name = match self {
            Source::Key => location.find(request),
            Source::Metadata { name, .. } => request.text_property(name).map(|name| Cow::Owned(name.into_bytes())),
            // Of several values one may be the client's own, and nobody says which.
            Source::Header(name)
                if request.headers.iter().filter(|(known, _)| *known == name.as_bytes()).count() > 1 =>
            {
                None
            }
            Source::Header(name) => request.header(name).map(<[u8]>::trim_ascii).map(Cow::Borrowed),
            Source::PeerCertificate(property) => {
                request.text_property(property).map(|name| Cow::Owned(name.into_bytes()))
            }
            Source::SourceAddress => request.source_address().map(|name| Cow::Owned(name.into_bytes())),
        };
        let org = match self {
            Source::Metadata { org: Some(org), .. } => request.text_property(org),
            _ => None,
        };
        name.filter(|name| !name.is_empty()).map(|name| Claimed { name, org })
    }
}

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
        look(Request { headers: &headers, property: &|_| None })
    }

    #[test]
    fn sources_answer_with_what_they_have() {
        let metadata = Source::Metadata {
            name: Source::metadata_property(&["jwt".into(), "sub".into()]),
            org: Some(Source::metadata_property(&["jwt".into(), "org".into()])),
        };
        let headers =
            [(&b"x-id"[..], &b" h "[..]), (b"authorization", b"k"), (b"x-twice", b"vip"), (b"x-twice", b"me")];
        let property = |path: &str| match path {
            "metadata\0filter_metadata\0jwt\0sub" => Some(b"s".to_vec()),
            "metadata\0filter_metadata\0jwt\0org" => Some(b"o".to_vec()),
            "connection\0uri_san_peer_certificate" => Some(b"spiffe://c".to_vec()),
            "source\0address" => Some(b"[2001:db8::1]:80".to_vec()),
            _ => None,
        };
        let request = Request { headers: &headers, property: &property };
        let claim = |source: &Source| {
            source
                .claim(&request, &location())
                .map(|claimed| (String::from_utf8(claimed.name.into_owned()).unwrap(), claimed.org))
        };
        assert_eq!(claim(&metadata), Some(("s".into(), Some("o".into()))));
        assert_eq!(claim(&Source::Header("x-id".into())), Some(("h".into(), None)));
        assert_eq!(claim(&Source::Header("x-other".into())), None);
        assert_eq!(claim(&Source::Header("x-twice".into())), None, "one of them may be the client's own");
        let certificate = Source::PeerCertificate(Source::CERTIFICATE_PROPERTIES[0].1);
        assert_eq!(claim(&certificate), Some(("spiffe://c".into(), None)));
        assert_eq!(claim(&Source::PeerCertificate("connection\0subject_peer_certificate")), None);
        assert_eq!(claim(&Source::SourceAddress), Some(("2001:db8::1".into(), None)));
        assert_eq!(claim(&Source::Key), Some(("k".into(), None)));
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
