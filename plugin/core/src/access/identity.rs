//! Identities: a key in the request, or a name that another filter, a trusted hop or the connection established.

use std::borrow::Cow;

use crate::access::key_location::{KeyLocation, KeyPlace};
use crate::access::request::Request;

/// A source of identities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentitySource {
    /// The filter's own keys.
    Key,
    /// Dynamic metadata.
    Metadata {
        /// The property. Its names are joined by NUL.
        name: String,
        /// The property that names the organisation.
        org: Option<String>,
    },
    /// A header that a trusted hop sets, lower case.
    Header(String),
    /// A property of the client's certificate.
    PeerCertificate(&'static str),
    /// The client's address.
    SourceAddress,
}

/// An identity as its source gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed<'r> {
    /// Never empty.
    pub name: Cow<'r, [u8]>,
    /// The organisation, if the source names one.
    pub org: Option<String>,
    /// The place of a key.
    pub place: Option<KeyPlace>,
    /// True if another key is in the same place, so that an upstream could read the other one.
    pub is_ambiguous: bool,
}

impl IdentitySource {
    /// The kinds of certificate identities, and the property of each.
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

    /// The name of the source. In the name of such an identity's session it is the part before the colon.
    pub fn label(&self) -> &'static str {
        match self {
            IdentitySource::Key => "key",
            IdentitySource::Metadata { .. } => "metadata",
            IdentitySource::Header(_) => "header",
            IdentitySource::PeerCertificate(_) => "peer_certificate",
            IdentitySource::SourceAddress => "source_address",
        }
    }

    /// Distinguishes sources that have the same label.
    pub fn place(&self) -> &str {
        match self {
            IdentitySource::Key | IdentitySource::SourceAddress => "",
            IdentitySource::Metadata { name, .. } => name,
            IdentitySource::Header(name) => name,
            IdentitySource::PeerCertificate(property) => property,
        }
    }

    /// The identity of a request; `None` if this source has none. Keys are at `location`.
    pub fn claim<'r>(&self, request: &Request<'r>, location: &KeyLocation) -> Option<Claimed<'r>> {
        let name = match self {
            IdentitySource::Key => {
                let found = location.find(request)?;
                let (place, is_ambiguous) = (Some(found.place), found.is_ambiguous);
                return Some(Claimed { name: found.key, org: None, place, is_ambiguous });
            }
            IdentitySource::Metadata { name, .. } => {
                request.text_property(name).map(|name| Cow::Owned(name.into_bytes()))
            }
            // One of several values may be the client's own, and it is unknown which.
            IdentitySource::Header(name) if request.lines(name).count() > 1 => None,
            IdentitySource::Header(name) => request.header(name).map(<[u8]>::trim_ascii).map(Cow::Borrowed),
            IdentitySource::PeerCertificate(property) => {
                request.text_property(property).map(|name| Cow::Owned(name.into_bytes()))
            }
            IdentitySource::SourceAddress => request.source_address().map(|name| Cow::Owned(name.into_bytes())),
        };
        let org = match self {
            IdentitySource::Metadata { org: Some(org), .. } => request.text_property(org),
            _ => None,
        };
        name.filter(|name| !name.is_empty()).map(|name| Claimed { name, org, ..Claimed::default() })
    }
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

    #[test]
    fn each_source_gives_its_identity() {
        let metadata = IdentitySource::Metadata {
            name: IdentitySource::metadata_property(&["jwt".into(), "sub".into()]),
            org: Some(IdentitySource::metadata_property(&["jwt".into(), "org".into()])),
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
        let claim = |source: &IdentitySource| {
            source
                .claim(&request, &location())
                .map(|claimed| (String::from_utf8(claimed.name.into_owned()).unwrap(), claimed.org))
        };
        assert_eq!(claim(&metadata), Some(("s".into(), Some("o".into()))));
        assert_eq!(claim(&IdentitySource::Header("x-id".into())), Some(("h".into(), None)));
        assert_eq!(claim(&IdentitySource::Header("x-other".into())), None);
        assert_eq!(claim(&IdentitySource::Header("x-twice".into())), None, "one of them may be the client's own");
        let certificate = IdentitySource::PeerCertificate(IdentitySource::CERTIFICATE_PROPERTIES[0].1);
        assert_eq!(claim(&certificate), Some(("spiffe://c".into(), None)));
        assert_eq!(claim(&IdentitySource::PeerCertificate("connection\0subject_peer_certificate")), None);
        assert_eq!(claim(&IdentitySource::SourceAddress), Some(("2001:db8::1".into(), None)));
        assert_eq!(claim(&IdentitySource::Key), Some(("k".into(), None)));
    }
}
