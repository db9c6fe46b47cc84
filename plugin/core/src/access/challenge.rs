//! The challenge of a 401: `WWW-Authenticate` (RFC 9110, section 11.6.1).

use crate::access::answer::RequestOutcome;
use crate::access::identity::IdentitySource;
use crate::access::key_location::KeyLocation;

/// Maximum characters of a name in a realm.
const MAX_REALM: usize = 128;

/// The challenge of an API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// True if the API takes `Authorization: Bearer <key>` (RFC 6750). Otherwise the scheme is `ApiKey`, which is not
    /// registered. No browser opens a login window for it.
    is_bearer: bool,
    /// A quoted string.
    realm: String,
}

impl Challenge {
    /// Makes the challenge of the API `name`. `sources` identify its callers, and `location` says where its keys are.
    pub fn new(name: &str, sources: &[IdentitySource], location: &KeyLocation) -> Self {
        let takes_bearer = |source: &IdentitySource| match source {
            IdentitySource::Key => location.header == "authorization",
            // Such as the claims of a JWT.
            IdentitySource::Metadata { .. } => true,
            IdentitySource::Header(_) | IdentitySource::PeerCertificate(_) | IdentitySource::SourceAddress => false,
        };
        Challenge { is_bearer: sources.iter().any(takes_bearer), realm: quoted(name) }
    }

    /// The value of the header for a refusal with 401.
    pub fn value(&self, outcome: RequestOutcome) -> String {
        let scheme = if self.is_bearer { "Bearer" } else { "ApiKey" };
        let error = match outcome.refusal() {
            // RFC 6750, section 3.1: a request without a key gets no error code.
            Some((_, text)) if self.is_bearer && outcome == RequestOutcome::KeyExpired => {
                format!(r#", error="invalid_token", error_description="{text}""#)
            }
            _ => String::new(),
        };
        format!("{scheme} realm={}{error}", self.realm)
    }
}

/// Makes a quoted string of ASCII only. Other characters are percent-encoded, because clients read them in different
/// charsets, and control characters are not allowed in a header.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars().take(MAX_REALM) {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ => quoted.extend(percent_encoding::percent_encode(
                c.encode_utf8(&mut [0; 4]).as_bytes(),
                percent_encoding::NON_ALPHANUMERIC,
            )),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn value(name: &str, sources: &[IdentitySource], header: &str, outcome: RequestOutcome) -> String {
        let location = KeyLocation { header: header.to_owned(), ..KeyLocation::default() };
        Challenge::new(name, sources, &location).value(outcome)
    }

    #[test]
    fn the_scheme_follows_from_the_place_of_the_key() {
        let of = |sources: &[IdentitySource], header| value("Orders", sources, header, RequestOutcome::MissingKey);
        let metadata = IdentitySource::Metadata { name: "metadata".into(), org: None };
        assert_eq!(of(&[IdentitySource::Key], "authorization"), r#"Bearer realm="Orders""#);
        assert_eq!(of(&[IdentitySource::Key], "x-api-key"), r#"ApiKey realm="Orders""#);
        assert_eq!(of(&[IdentitySource::Key], ""), r#"ApiKey realm="Orders""#);
        assert_eq!(of(&[metadata], "authorization"), r#"Bearer realm="Orders""#);
        assert_eq!(of(&[IdentitySource::Header("x-id".into())], "authorization"), r#"ApiKey realm="Orders""#);
    }

    #[test]
    fn an_expired_key_is_an_invalid_token() {
        let expired = |header| value("Orders", &[IdentitySource::Key], header, RequestOutcome::KeyExpired);
        assert_eq!(
            expired("authorization"),
            r#"Bearer realm="Orders", error="invalid_token", error_description="Key has expired, please renew""#
        );
        assert_eq!(expired("x-api-key"), r#"ApiKey realm="Orders""#);
    }

    #[test]
    fn any_name_makes_a_legal_realm() {
        for (name, realm) in [
            ("", r#""""#),
            ("a \"b\" \\c", r#""a \"b\" \\c""#),
            ("Café", r#""Caf%C3%A9""#),
            ("a\r\nx: y\t\0\u{7f}", r#""a%0D%0Ax: y%09%00%7F""#),
            ("😀", r#""%F0%9F%98%80""#),
        ] {
            assert_eq!(quoted(name), realm);
        }
        for name in ["\u{0}".repeat(1000), "é".repeat(1000), "\"".repeat(1000)] {
            let value = value(&name, &[IdentitySource::Key], "", RequestOutcome::MissingKey);
            assert!(value.len() < 1000 && http::HeaderValue::from_str(&value).is_ok(), "{value}");
            assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{value}");
        }
    }
}
