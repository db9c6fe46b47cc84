//! What of an exchange no payload may show.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::Value;

use crate::session::KeyHash;

/// Members, in lower case, that are credentials wherever they stand: of Tyk's sessions (`basic_auth_data.password`,
/// `jwt_data.secret`, `oauth_keys`), of its API definitions (`request_signing.secret`), of portal users (`JWTToken`).
const SECRET_MEMBERS: [&str; 20] = [
    "access_token",
    "client_secret",
    "clientsecret",
    "hmac_secret",
    "hmac_string",
    "id_token",
    "jwttoken",
    "oauth_keys",
    "passwd",
    "password",
    "password1",
    "password2",
    "password_confirmation",
    "private_key",
    "privatekey",
    "rawkey",
    "refresh_token",
    "resetpasswordtoken",
    "secret",
    "secretkey",
];

/// Takes credentials out of a tree, by the names of its members.
pub(super) fn scrub(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !is_secret(name));
            members.values_mut().for_each(scrub);
        }
        Value::Array(items) => items.iter_mut().for_each(scrub),
        _ => {}
    }
}

/// Whether a member of that name is a credential.
pub(super) fn is_secret(name: &str) -> bool {
    SECRET_MEMBERS.contains(&name.to_ascii_lowercase().as_str())
}

/// A key as a payload shows it.
pub(super) fn fingerprint(key: &str) -> String {
    KeyHash::of(key.as_bytes()).fingerprint()
}

/// The organisation that a key of Tyk's names: its first 24 characters, in hex, or the `org` of the JSON object that it
/// is in base64.
pub(super) fn org_of_key(key: &str) -> Option<String> {
    const ORG_ID_LEN: usize = 24;
    let prefix = key.get(..ORG_ID_LEN)?;
    if key.len() > ORG_ID_LEN && prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some(prefix.to_owned());
    }
    let bytes = STANDARD.decode(key).or_else(|_| STANDARD_NO_PAD.decode(key)).ok()?;
    let token: Value = serde_json::from_slice(&bytes).ok()?;
    token.get("org").and_then(Value::as_str).filter(|org| !org.is_empty()).map(str::to_owned)
}
