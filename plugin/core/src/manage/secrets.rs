//! What of an exchange no payload may show: credentials, the values of headers, users and passwords in URLs, raw keys.
//!
//! An exchange is other people's business, which nobody has looked through. What an application posts itself, it has
//! chosen: that is passed on complete.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Map, Value};

use crate::session::KeyHash;

/// Members that are credentials wherever they stand and whatever their value is: of Tyk's sessions
/// (`basic_auth_data.password`, `jwt_data.secret`, `oauth_keys`), of its API definitions (`request_signing.secret`), of
/// portal users (`JWTToken`). As [`plain`] writes them.
const CREDENTIALS: [&str; 15] = [
    "accesstoken",
    "clientsecret",
    "hmacsecret",
    "hmacstring",
    "idtoken",
    "jwttoken",
    "oauthkeys",
    "passwd",
    "password",
    "passwordconfirmation",
    "privatekey",
    "refreshtoken",
    "resetpasswordtoken",
    "secret",
    "secretkey",
];

/// How the names of other credentials end, such as `shared_secret` and `X-Api-Key`.
const ENDINGS: [&str; 15] = [
    "accesskey",
    "apikey",
    "authorization",
    "credential",
    "encryptionkey",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "pwd",
    "rawkey",
    "secret",
    "secretkey",
    "signingkey",
    "token",
];

/// Takes secrets out of a tree. `name` is that of the member that it is, empty for none.
pub(super) fn scrub(name: &str, value: &mut Value) {
    match value {
        _ if is_header_map(name, value) => blank_headers(value),
        Value::Object(members) => {
            if name == "portal_developer" || members.contains_key("keys") && members.contains_key("subscriptions") {
                show_fingerprints(members);
            }
            members.retain(|name, value| !is_withheld(name, value));
            if members.contains_key("signingMethod") {
                members.retain(|name, value| name != "source" || is_url(value));
            }
            members.iter_mut().for_each(|(name, value)| scrub(name, value));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| scrub("", item)),
        Value::String(text) if text.contains("://") && text.contains('@') => *text = without_user_info(text),
        _ => {}
    }
}

/// Whether a member of that name is a credential, should its value be a text.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = plain(name);
    CREDENTIALS.contains(&name.as_str()) || ends_as_secret(&name)
}

/// Whether a JSON pointer leads to a credential, or into one, of which not even a fingerprint is shown.
pub(crate) fn leads_to_credential(pointer: &str) -> bool {
    pointer.split('/').any(|name| CREDENTIALS.contains(&plain(name).as_str()))
}

/// Whether a JSON pointer leads to a secret: a credential, or the value of a header.
pub(crate) fn leads_to_secret(pointer: &str) -> bool {
    let mut names = pointer.split('/').map(plain).rev();
    let ends = names.next().is_some_and(|name| ends_as_secret(&name));
    ends || leads_to_credential(pointer) || names.any(|name| names_headers(&name))
}

/// In lower case, of letters and digits only, without a number at its end: `password_2` is a `password`.
fn plain(name: &str) -> String {
    let kept: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    kept.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned()
}

fn ends_as_secret(plain: &str) -> bool {
    ENDINGS.iter().any(|ending| plain.ends_with(ending))
}

/// By the end of a name alone, only what can hold a secret goes, which is text and numbers, and lists of them: `true`
/// says whether there is one, and an object says by its own members what is secret, as that of the security scheme
/// `authToken` does.
fn is_withheld(name: &str, value: &Value) -> bool {
    let name = plain(name);
    let is_of_text = |value: &Value| value.is_string() || value.is_number();
    match value {
        _ if CREDENTIALS.contains(&name.as_str()) => true,
        // A rule has made it one.
        Value::String(text) if is_fingerprint(text) => false,
        // Of JWTs that are signed with a shared secret it is that secret.
        Value::String(_) if name == "jwtsource" => !is_url(value),
        Value::Array(items) if items.iter().any(is_of_text) => ends_as_secret(name.strip_suffix('s').unwrap_or(&name)),
        value => is_of_text(value) && ends_as_secret(&name),
    }
}

fn is_url(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with("http://") || text.starts_with("https://"))
}

fn names_headers(plain: &str) -> bool {
    plain.ends_with("headers") || plain.ends_with("headermap")
}

/// Whether a member is headers: `header_map`, `global_headers`, `add_headers`. Tyk's `transform_headers` is a list of
/// rules, which have such members.
fn is_header_map(name: &str, value: &Value) -> bool {
    let name = plain(name);
    names_headers(&name) && !(value.is_array() && name.starts_with("transform"))
}

/// Blanks the values of headers and keeps their names, whatever the headers are called. Objects are no values: OpenAPI
/// describes headers by them.
fn blank_headers(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members.iter_mut() {
                match value {
                    // Of names, whose headers are taken away.
                    Value::Array(_) if name == "remove" => {}
                    value if is_header_map(name, value) => blank_headers(value),
                    Value::Array(items) => items.iter_mut().for_each(blank_header),
                    value => blank_header(value),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                match item {
                    // A name, or a line.
                    Value::String(line) => line.truncate(line.find(':').unwrap_or(line.len())),
                    Value::Object(members) if !is_pair(members) => blank_headers(item),
                    item => blank_header(item),
                }
            }
        }
        value => blank_header(value),
    }
}

fn blank_header(value: &mut Value) {
    match value {
        Value::String(text) if is_fingerprint(text) => {}
        Value::String(_) | Value::Number(_) => *value = Value::from(""),
        Value::Object(members) => {
            for (name, value) in members.iter_mut() {
                if name.eq_ignore_ascii_case("value") { blank_header(value) } else { scrub(name, value) }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(blank_header),
        _ => {}
    }
}

/// A header as an object of its name and value.
fn is_pair(members: &Map<String, Value>) -> bool {
    let has = |wanted: &str| members.keys().any(|name| name.eq_ignore_ascii_case(wanted));
    has("value") && (has("name") || has("key"))
}

/// Of a portal's developer: `keys` are policies by key, `subscriptions` keys by policy. The keys are hashes, or raw where
/// Tyk does not hash them.
fn show_fingerprints(developer: &mut Map<String, Value>) {
    if let Some(Value::Object(keys)) = developer.get_mut("keys") {
        *keys = std::mem::take(keys).into_iter().map(|(key, policies)| (shown(&key), policies)).collect();
    }
    if let Some(Value::Object(subscriptions)) = developer.get_mut("subscriptions") {
        for key in subscriptions.values_mut() {
            if let Value::String(text) = key {
                *text = shown(text);
            }
        }
    }
}

fn shown(key: &str) -> String {
    if key.is_empty() || is_hash(key) || is_fingerprint(key) { key.to_owned() } else { fingerprint(key) }
}

/// A text without what stands before the `@` of the URLs in it. A comma can stand in a password, so it ends no host.
fn without_user_info(text: &str) -> String {
    let mut pieces = text.split("://");
    let first = pieces.next().unwrap_or_default();
    let ends = |c: char| matches!(c, '/' | '?' | '#' | '"' | '<' | '>') || c.is_whitespace();
    let rest = pieces.map(|piece| {
        let authority = piece.split(ends).next().unwrap_or_default();
        authority.rfind('@').and_then(|at| piece.get(at.saturating_add(1)..)).unwrap_or(piece)
    });
    std::iter::once(first).chain(rest).collect::<Vec<_>>().join("://")
}

/// Whether a text has the form of a hash of Tyk's: murmur32, murmur64, murmur128 or SHA-256, in hex.
pub(super) fn is_hash(text: &str) -> bool {
    matches!(text.len(), 8 | 16 | 32 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_fingerprint(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|digits| digits.len() == 64 && is_hash(digits))
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
