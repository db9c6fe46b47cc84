//! What of an exchange no payload may show: credentials, the values of headers, users and passwords in URLs, raw keys.
//!
//! An exchange is other people's business, which nobody has looked through. What an application posts itself, it has
//! chosen: that is passed on complete.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Map, Value};

use crate::access::KeyHash;

/// Members that are credentials wherever they stand: of Tyk's sessions (`basic_auth_data.password`, `jwt_data.secret`),
/// of its API definitions (`request_signing.secret`), of portal users (`JWTToken`). As [`plain`] writes them.
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

/// Those of them of which not even the shape is shown: the names of the members of `oauth_keys` are keys.
const WITHHELD_WHOLE: [&str; 2] = ["oauthkeys", "pwhistory"];

/// How the names of other credentials end, such as `shared_secret` and `X-Api-Key`.
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

/// What stands in the `components` of an OpenAPI document, as [`plain`] writes it.
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

/// Takes secrets out of a tree. `name` is that of the member that it is, empty for none.
pub(super) fn scrub(name: &str, value: &mut Value) {
    if is_withheld(name, value) {
        *value = Value::Object(Map::new());
        return;
    }
    // A rule may have picked these out of a developer.
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

/// Of a member that is not withheld. In a document of OpenAPI's the names are an API's vocabulary, which say nothing of
/// what the document itself holds.
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

/// Whether what stands below a member is OpenAPI's. Other people's payloads have members of these names, too, so it has
/// to look like it.
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

/// Whether the members of an object have names of an author's choice, which are those of no credentials: security
/// schemes, the grants of OAuth and the operations of an API.
fn names_freely(name: &str) -> bool {
    matches!(plain(name).as_str(), "securityschemes" | "flows" | "operations")
}

/// Whether an object describes values, as a schema, a header, a parameter or a grant of OAuth does, and has none.
fn is_schema(value: &Value) -> bool {
    const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];
    let is_type = |value: &Value| value.as_str().is_some_and(|name| TYPES.contains(&name));
    let has = |name: &str, is_right: &dyn Fn(&Value) -> bool| value.get(name).is_some_and(is_right);
    has("type", &|value| is_type(value) || value.as_array().is_some_and(|types| types.iter().all(is_type)))
        || has("$ref", &Value::is_string)
        || ["schema", "properties", "scopes"].iter().any(|name| has(name, &Value::is_object))
        || ["allOf", "anyOf", "enum", "oneOf"].iter().any(|name| has(name, &Value::is_array))
}

/// Leaves of an object that is named as a credential its shape only, since any text in it can be that credential.
fn withhold_texts(value: &mut Value) {
    match value {
        Value::Object(members) => members.retain(|_, value| !holds_text(value)),
        Value::Array(items) => items.iter_mut().for_each(withhold_texts),
        _ => {}
    }
}

/// Whether a member of that name is a credential, should its value be a text.
pub fn is_secret(name: &str) -> bool {
    let name = plain(name);
    is_credential(&name) || ends_as_secret(singular(&name))
}

/// Whether a JSON pointer leads to a credential, or into one, of which not even a fingerprint is shown.
pub fn leads_to_credential(pointer: &str) -> bool {
    let exactly = |name: &str| CREDENTIALS.contains(&plain(name).as_str());
    names_of(pointer).any(exactly) || last_name(pointer).is_some_and(|name| is_credential(&plain(name)))
}

/// Whether a JSON pointer leads to a secret: a credential, the value of a header, or a developer's keys.
pub fn leads_to_secret(pointer: &str) -> bool {
    let is_in_headers = || names_of(pointer).rev().skip(1).any(|name| names_headers(&plain(name)));
    let is_in_keys = || {
        let of_developer = names_of(pointer).skip_while(|name| plain(name) != "portaldeveloper").nth(1);
        of_developer.is_some_and(|name| matches!(plain(name).as_str(), "keys" | "subscriptions" | "apikeys"))
    };
    leads_to_credential(pointer) || last_name(pointer).is_some_and(is_secret) || is_in_headers() || is_in_keys()
}

/// The names of which a JSON pointer consists, but for paths.
fn names_of(pointer: &str) -> impl DoubleEndedIterator<Item = &str> {
    pointer.split('/').filter(|name| !is_path(name))
}

/// The name of what a JSON pointer leads to, or of the list that has it.
fn last_name(pointer: &str) -> Option<&str> {
    let name = pointer.rsplit('/').find(|name| name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_digit()));
    name.filter(|name| !is_path(name))
}

/// Whether a name is a path of an API's, perhaps as a JSON pointer writes it.
fn is_path(name: &str) -> bool {
    name.starts_with('/') || name.starts_with("~1")
}

/// In lower case, of letters and digits only, without a number at its end: `password_2` is a `password`.
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

/// By a name alone, only what can hold a secret goes, which is text and numbers, and lists of them: `true` says whether
/// there is one, and an object says by its own members what is secret, as that of the security scheme `authToken` does.
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
        // Of JWTs that are signed with a shared secret it is that secret.
        Value::String(_) if plain == "jwtsource" => !is_url(value),
        // Of `max_tokens` it is how many.
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

/// Whether there is text but for what a rule has made a fingerprint.
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

/// Whether a member is headers: `header_map`, `global_headers`, `add_headers`. Tyk's `transform_headers` is a list of
/// rules, which have such members; and a schema describes something that is called so.
fn is_header_map(name: &str, value: &Value) -> bool {
    let plain = plain(name);
    let is_of_rules = value.is_array() && plain.starts_with("transform");
    names_headers(&plain) && !is_path(name) && !is_of_rules && !is_schema(value)
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

/// A header as an object of its name and value.
fn is_pair(members: &Map<String, Value>) -> bool {
    let has = |wanted: &str| members.keys().any(|name| name.eq_ignore_ascii_case(wanted));
    has("value") && (has("name") || has("key"))
}

/// Whether an object is a portal's developer, whatever it is called.
fn is_developer(members: &Map<String, Value>) -> bool {
    let has = |wanted: &str| members.keys().any(|name| plain(name) == wanted);
    has("subscriptions") && ["keys", "apikeys", "ssokey", "pwhistory"].into_iter().any(has)
}

/// Of a portal's developer: `keys` are policies by key, `subscriptions` keys by policy, and of `api_keys` nothing says
/// which are the keys. The keys are hashes, or raw where Tyk does not hash them.
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
    let token = crate::base::json::parse(&bytes).ok()?;
    token.get("org").and_then(Value::as_str).filter(|org| !org.is_empty()).map(str::to_owned)
}
