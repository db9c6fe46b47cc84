//! Signatures as in [Standard Webhooks](https://www.standardwebhooks.com): `webhook-id`, `webhook-timestamp` and
//! `webhook-signature`.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac_sha256::HMAC;
use serde::{Deserialize, Serialize};

use crate::base::UnixMillis;

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";

/// The headers that tollbell sets itself. A configuration cannot set them.
pub const HEADERS: [&str; 3] = [ID, TIMESTAMP, SIGNATURE];

const PREFIX: &str = "whsec_";

/// The lengths of secrets that the standard allows, in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A decoded secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey(Vec<u8>);

impl SigningKey {
    /// Parses `whsec_` and base64. `None` for any other text, and for an empty secret.
    pub fn parse(secret: &str) -> Option<Self> {
        let key = BASE64.decode(secret.strip_prefix(PREFIX)?).ok()?;
        (!key.is_empty()).then_some(SigningKey(key))
    }

    /// True if the standard allows a secret of this length.
    pub fn has_standard_length(&self) -> bool {
        LENGTHS.contains(&self.0.len())
    }

    fn sign(&self, id: &str, seconds: i64, body: &str) -> String {
        format!("v1,{}", BASE64.encode(HMAC::mac(format!("{id}.{seconds}.{body}"), &self.0)))
    }
}

impl fmt::Debug for SigningKey {
    /// The form for log lines, without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

/// The headers of one attempt. The id is always set, so that a receiver recognises duplicates; the others need a key.
pub fn headers(keys: &[SigningKey], id: &str, body: &str, now: UnixMillis) -> Vec<(String, String)> {
    let mut headers = vec![(ID.to_owned(), id.to_owned())];
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let signatures: Vec<String> = keys.iter().map(|key| key.sign(id, seconds, body)).collect();
    if !signatures.is_empty() {
        headers.push((TIMESTAMP.to_owned(), seconds.to_string()));
        headers.push((SIGNATURE.to_owned(), signatures.join(" ")));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_standards_own_example_is_reproduced() {
        let key = SigningKey::parse(SECRET).unwrap();
        assert!(key.has_standard_length());
        let body = r#"{"test": 2432232314}"#;
        let headers = headers(&[key], "msg_p5jXN8AQM9LWM0D4loKWxJek", body, UnixMillis(1_614_265_330_999));
        let value = |name: &str| headers.iter().find(|(known, _)| known == name).unwrap().1.as_str();
        assert_eq!(value("webhook-id"), "msg_p5jXN8AQM9LWM0D4loKWxJek");
        assert_eq!(value("webhook-timestamp"), "1614265330");
        assert_eq!(value("webhook-signature"), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_key_signs_while_secrets_rotate() {
        let keys =
            [SigningKey::parse(SECRET).unwrap(), SigningKey::parse("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap()];
        let headers = headers(&keys, "id", "", UnixMillis(0));
        assert_eq!(headers[2].1.split(' ').filter(|signature| signature.starts_with("v1,")).count(), 2);
    }

    #[test]
    fn without_a_key_there_is_only_the_id() {
        assert_eq!(headers(&[], "id", "", UnixMillis(0)), [("webhook-id".to_owned(), "id".to_owned())]);
    }

    #[test]
    fn invalid_secrets_are_refused_and_a_key_is_never_shown() {
        for bad in ["", "whsec_", "whsec_!", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert_eq!(SigningKey::parse(bad), None, "{bad}");
        }
        let unpadded = SigningKey::parse("whsec_c2VjcmV0cw").unwrap();
        assert_eq!(Some(&unpadded), SigningKey::parse("whsec_c2VjcmV0cw==").as_ref());
        assert!(!unpadded.has_standard_length());
        assert_eq!(format!("{unpadded:?}"), "SigningKey(…)");
    }
}
