//! Removes secrets from the payloads of observed exchanges: credentials, values of headers, users and passwords in
//! URLs, raw keys.
//!
//! An observed exchange contains other people's data, which no one has checked. An application that posts an event has
//! chosen its content, so posted events are passed on completely.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Map, Value};

use crate::access::KeyHash;

/// Fields that are always credentials: of Tyk's sessions (`basic_auth_data.password`, `jwt_data.secret`), of its API
/// definitions (`request_signing.secret`) and of portal users (`JWTToken`). The names are in the form of [`plain`].
const CREDENTIALS: [&str; 17] = [
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
    "pwhistory",
    "refreshtoken",
    "resetpasswordtoken",
    "secret",
    "secretkey",
    "ssokey",
];

/// The credentials whose structure is not shown either: the names of the fields of `oauth_keys` are keys.
const WITHHELD_WHOLE: [&str; 2] = ["oauthkeys", "pwhistory"];

/// The endings of the names of other credentials, such as `shared_secret` and `X-Api-Key`.
const ENDINGS: [&str; 16] = [
    "accesskey",
    "apikey",
    "authorization",
    "credential",
    "encryptionkey",
    "nonce",
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

/// The sections in `components` of an OpenAPI document, in the form of [`plain`].
const COMPONENTS: [&str; 10] = [
    "callbacks",
    "examples",
    "headers",
    "links",
    "parameters",
    "pathitems",
    "requestbodies",
    "responses",
    "schemas",
    "securityschemes",
];

/// Removes secrets from a tree. `name` is the name of the field that holds it, or empty.
pub(super) fn scrub(name: &str, value: &mut Value) {
    if is_withheld(name, value) {
        *value = Value::Object(Map::new());
        return;
    }
    // A rule may have taken these fields from a developer.
    let is_of_policies = |value: &Value| value.is_array() || value.is_null();
    let is_of_keys = match value.as_object() {
        Some(members) if plain(name) == "keys" => members.values().all(is_of_policies),
        _ => plain(name) == "subscriptions",
    };
    if is_of_keys {
        show_fingerprints(name, value);
    }
    scrub_member(name, value, false);
}

/// Removes secrets from a field that is not withheld. In an OpenAPI document the names are an API's vocabulary, so they
/// do not say what the document itself contains.
fn scrub_member(name: &str, value: &mut Value, is_in_document: bool) {
    let is_in_document = !name.starts_with("x-") && is_in_document || is_document(name, value);
    if !is_in_document && is_header_map(name, value) {
        return blank_headers(value);
    }
    match value {
        Value::Object(members) => {
            if plain(name) == "portaldeveloper" || is_developer(members) {
                members.iter_mut().for_each(|(name, value)| show_fingerprints(name, value));
            }
            let is_of_basic_auth = plain(name) == "basicauthdata";
            let is_of_jwt = members.keys().any(|name| plain(name) == "signingmethod");
            members.retain(|name, value| match plain(name).as_str() {
                "hash" if is_of_basic_auth => !holds_text(value),
                "source" if is_of_jwt => is_url(value) || !holds_text(value),
                _ => !is_withheld(name, value),
            });
            let is_named_freely = is_in_document || names_freely(name);
            for (name, value) in members.iter_mut() {
                if !is_named_freely && is_credential(&plain(name)) && !is_schema(value) {
                    withhold_texts(value);
                }
                scrub_member(name, value, is_in_document);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| scrub_member("", item, is_in_document)),
        Value::String(text) if text.contains("://") && text.contains('@') => *text = without_user_info(text),
        _ => {}
    }
}

/// True if the content of a field is OpenAPI. Other payloads have fields with these names, too, so the content must
/// look like OpenAPI.
fn is_document(name: &str, value: &Value) -> bool {
    let Value::Object(members) = value else { return false };
    let all_names = |is_right: fn(&str) -> bool| members.keys().all(|name| is_right(name) || name.starts_with("x-"));
    match name {
        "paths" => all_names(is_path),
        "components" => all_names(|name| COMPONENTS.contains(&plain(name).as_str())),
        "properties" | "patternProperties" | "schemas" | "definitions" | "$defs" => {
            let is_empty = |value: &Value| value.as_object().is_some_and(Map::is_empty);
            members.values().all(|value| value.is_boolean() || is_empty(value) || is_schema(value))
        }
        "schema" => is_schema(value),
        _ => false,
    }
}

/// True if the author chooses the names of an object's fields, so that they do not mean credentials: security schemes,
/// OAuth grants, and the operations of an API.
fn names_freely(name: &str) -> bool {
    matches!(plain(name).as_str(), "securityschemes" | "flows" | "operations")
}

/// True if an object describes values without containing them, like a schema, a header, a parameter or an OAuth grant.
fn is_schema(value: &Value) -> bool {
    const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];
    let is_type = |value: &Value| value.as_str().is_some_and(|name| TYPES.contains(&name));
    let has = |name: &str, is_right: &dyn Fn(&Value) -> bool| value.get(name).is_some_and(is_right);
    has("type", &|value| is_type(value) || value.as_array().is_some_and(|types| types.iter().all(is_type)))
        || has("$ref", &Value::is_string)
        || ["schema", "properties", "scopes"].iter().any(|name| has(name, &Value::is_object))
        || ["allOf", "anyOf", "enum", "oneOf"].iter().any(|name| has(name, &Value::is_array))
}

/// Keeps only the structure of an object whose name is a credential's, because any text in it may be the credential.
fn withhold_texts(value: &mut Value) {
    match value {
        Value::Object(members) => members.retain(|_, value| !holds_text(value)),
        Value::Array(items) => items.iter_mut().for_each(withhold_texts),
        _ => {}
    }
}

/// True if a field with this name is a credential if its value is text.
pub fn is_secret(name: &str) -> bool {
    let name = plain(name);
    is_credential(&name) || ends_as_secret(singular(&name))
}

/// True if a JSON pointer leads to a credential or into one. Not even a fingerprint of it is shown.
pub fn leads_to_credential(pointer: &str) -> bool {
    let exactly = |name: &str| CREDENTIALS.contains(&plain(name).as_str());
    names_of(pointer).any(exactly) || last_name(pointer).is_some_and(|name| is_credential(&plain(name)))
}

/// True if a JSON pointer leads to a secret: a credential, the value of a header, or a developer's keys.
pub fn leads_to_secret(pointer: &str) -> bool {
    let is_in_headers = || names_of(pointer).rev().skip(1).any(|name| names_headers(&plain(name)));
    let is_in_keys = || {
        let of_developer = names_of(pointer).skip_while(|name| plain(name) != "portaldeveloper").nth(1);
        of_developer.is_some_and(|name| matches!(plain(name).as_str(), "keys" | "subscriptions" | "apikeys"))
    };
    leads_to_credential(pointer) || last_name(pointer).is_some_and(is_secret) || is_in_headers() || is_in_keys()
}

/// The names in a JSON pointer, without paths.
fn names_of(pointer: &str) -> impl DoubleEndedIterator<Item = &str> {
    pointer.split('/').filter(|name| !is_path(name))
}

/// The name of the field that a JSON pointer leads to, or of the list that contains the value.
fn last_name(pointer: &str) -> Option<&str> {
    let name = pointer.rsplit('/').find(|name| name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_digit()));
    name.filter(|name| !is_path(name))
}

/// True if a name is a path of an API, possibly in the escaped form of JSON pointers.
fn is_path(name: &str) -> bool {
    name.starts_with('/') || name.starts_with("~1")
}

/// The name in lower case, only letters and digits, without a number at its end: `password_2` is a `password`.
fn plain(name: &str) -> String {
    let kept: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    kept.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned()
}

fn singular(plain: &str) -> &str {
    plain.strip_suffix('s').unwrap_or(plain)
}

fn is_credential(plain: &str) -> bool {
    CREDENTIALS.contains(&plain) || CREDENTIALS.contains(&singular(plain))
}

fn ends_as_secret(plain: &str) -> bool {
    ENDINGS.iter().any(|ending| plain.ends_with(ending))
}

/// By its name alone, only a value that can contain a secret is withheld: text, numbers, and lists of them. A boolean
/// only says whether a secret exists. The fields of an object show what is secret in it, as in the security scheme
/// `authToken`.
fn is_withheld(name: &str, value: &Value) -> bool {
    if is_path(name) {
        return false;
    }
    let plain = plain(name);
    if WITHHELD_WHOLE.contains(&plain.as_str()) {
        return !value.is_boolean() && !is_schema(value);
    }
    if is_credential(&plain) {
        return holds_text(value);
    }
    match value {
        // For JWTs that are signed with a shared secret, this is the secret.
        Value::String(_) if plain == "jwtsource" => !is_url(value),
        // In `max_tokens`, this is a number of tokens.
        Value::Number(_) => ends_as_secret(&plain),
        value => holds_raw_text(value) && ends_as_secret(singular(&plain)),
    }
}

fn holds_text(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(holds_text),
        value => value.is_string() || value.is_number(),
    }
}

/// True if there is text that no rule has turned into a fingerprint.
fn holds_raw_text(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(holds_raw_text),
        Value::String(text) => !is_fingerprint(text),
        value => value.is_number(),
    }
}

fn is_url(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with("http://") || text.starts_with("https://"))
}

fn names_headers(plain: &str) -> bool {
    plain.ends_with("headers") || plain.ends_with("headermap")
}

/// True if a field contains headers: `header_map`, `global_headers`, `add_headers`. Tyk's `transform_headers` is a list
/// of rules that have such fields. A schema only describes a field with this name.
fn is_header_map(name: &str, value: &Value) -> bool {
    let plain = plain(name);
    let is_of_rules = value.is_array() && plain.starts_with("transform");
    names_headers(&plain) && !is_path(name) && !is_of_rules && !is_schema(value)
}

/// Blanks the values of headers and keeps their names. Objects are not values: OpenAPI describes headers with them.
fn blank_headers(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members.iter_mut() {
                match value {
                    // The names of headers to remove.
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
                    // A name, or a whole line.
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
            let is_value = |name: &str| name.eq_ignore_ascii_case("value");
            members.retain(|name, value| is_value(name) || !is_withheld(name, value));
            for (name, value) in members.iter_mut() {
                if is_value(name) { blank_header(value) } else { scrub_member(name, value, false) }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(blank_header),
        _ => {}
    }
}

/// True for a header in the form of an object with its name and value.
fn is_pair(members: &Map<String, Value>) -> bool {
    let has = |wanted: &str| members.keys().any(|name| name.eq_ignore_ascii_case(wanted));
    has("value") && (has("name") || has("key"))
}

/// True if an object is a portal's developer, whatever its name is.
fn is_developer(members: &Map<String, Value>) -> bool {
    let has = |wanted: &str| members.keys().any(|name| plain(name) == wanted);
    has("subscriptions") && ["keys", "apikeys", "ssokey", "pwhistory"].into_iter().any(has)
}

/// Shows keys of a portal's developer as fingerprints: `keys` are policies by key, `subscriptions` keys by policy, and
/// in `api_keys` either side may be the keys. The keys are hashes, or raw if Tyk does not hash them.
fn show_fingerprints(name: &str, value: &mut Value) {
    let (are_names, are_values) = match plain(name).as_str() {
        "keys" => (true, false),
        "subscriptions" => (false, true),
        "apikeys" => (true, true),
        _ => return,
    };
    let Value::Object(members) = value else { return };
    if are_names {
        *members = std::mem::take(members).into_iter().map(|(key, value)| (shown(&key), value)).collect();
    }
    if are_values {
        for value in members.values_mut() {
            if let Value::String(key) = value {
                *key = shown(key);
            }
        }
    }
}

fn shown(key: &str) -> String {
    if key.is_empty() || is_hash(key) || is_fingerprint(key) { key.to_owned() } else { fingerprint(key) }
}

/// The text without the part before the `@` of each URL. A password can contain a comma, so a comma does not end a
/// host.
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

/// True if a text has the form of one of Tyk's hashes: murmur32, murmur64, murmur128 or SHA-256, in hex.
pub(super) fn is_hash(text: &str) -> bool {
    matches!(text.len(), 8 | 16 | 32 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_fingerprint(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|digits| digits.len() == 64 && is_hash(digits))
}

/// A key in the form for payloads.
pub(super) fn fingerprint(key: &str) -> String {
    KeyHash::of(key.as_bytes()).fingerprint()
}

/// The organisation in a Tyk key: its first 24 characters, in hex, or the `org` of the base64 JSON object that the key
/// is.
pub(super) fn org_of_key(key: &str) -> Option<String> {
    const ORG_ID_LEN: usize = 24;
    let prefix = key.get(..ORG_ID_LEN)?;
    if key.len() > ORG_ID_LEN && prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some(prefix.to_owned());
    }
    let bytes = STANDARD.decode(key).or_else(|_| STANDARD_NO_PAD.decode(key)).ok()?;
    let token = crate::base::json::parse(&bytes).ok()?;
    token.get("org").and_then(Value::as_str).filter(|org| !org.is_empty()).map(str::to_owned)
}
