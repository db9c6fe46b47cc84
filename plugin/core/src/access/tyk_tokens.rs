//! Tyk's names for keys. If a key was made with a custom id, a client may send the id alone. Tyk makes the key's name
//! from the id and the organisation of the API.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The form of a name that Tyk makes from an organisation and an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The organisation, then the id.
    Legacy,
    /// JSON in base64, with the hash function that Tyk uses for storage.
    Json(&'static str),
}

const HASH_FUNCTIONS: [&str; 4] = ["murmur32", "murmur64", "murmur128", "sha256"];

/// Tyk takes the first characters of a key for an organisation if they are a hexadecimal id of this length.
const ORG_ID_LENGTH: usize = 24;

/// The forms of names that are tried for an unknown key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TykTokens {
    forms: Vec<Form>,
    min_length: usize,
}

impl TykTokens {
    /// Reads the words of the configuration, which the schema has checked. Keys shorter than `min_length` have no other
    /// name.
    pub fn new(forms: &[String], min_length: usize) -> Self {
        let form = |word: &String| match word.as_str() {
            "legacy" => Some(Form::Legacy),
            word => HASH_FUNCTIONS.into_iter().find(|name| *name == word).map(Form::Json),
        };
        TykTokens { forms: forms.iter().filter_map(form).collect(), min_length }
    }

    pub fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// The names of a key that a client sends to an API of `org`.
    pub fn of<'t>(&'t self, org: &'t str, key: &'t [u8]) -> impl Iterator<Item = Vec<u8>> + 't {
        let own = key.strip_prefix(org.as_bytes());
        let id = own.unwrap_or(key);
        let names_org = own.is_some_and(|id| !id.is_empty()) && is_org_id(org);
        let has_other = !org.is_empty() && key.len() >= self.min_length && !id.is_empty() && !names_org;
        self.forms.iter().filter(move |_| has_other).map(move |form| match form {
            Form::Legacy => [org.as_bytes(), id].concat(),
            Form::Json(function) => {
                let parts =
                    [br#"{"org":""#, org.as_bytes(), br#"","id":""#, id, br#"","h":""#, function.as_bytes(), br#""}"#];
                STANDARD.encode(parts.concat()).into_bytes()
            }
        })
    }
}

/// True if Tyk would take a key that begins with this text for a complete name.
fn is_org_id(org: &str) -> bool {
    org.len() == ORG_ID_LENGTH && org.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn names_are_tyks() {
        let tokens = TykTokens::new(&["sha256".into(), "legacy".into(), "murmur64".into()], 3);
        let token = |function: &str| STANDARD.encode(format!(r#"{{"org":"acme","id":"ten","h":"{function}"}}"#));
        let names = |org: &str, key: &str| {
            tokens.of(org, key.as_bytes()).map(|name| String::from_utf8(name).unwrap()).collect::<Vec<_>>()
        };
        let of_ten = [token("sha256"), "acmeten".to_owned(), token("murmur64")];
        assert_eq!(names("acme", "ten"), of_ten);
        assert_eq!(names("acme", "acmeten"), of_ten, "with the organisation before it");
        for (org, key) in [
            ("", "ten"),
            ("acme", "te"),
            ("acme", ""),
            ("acme", "acme"),
            ("5e9d9544a1dcd60001d0ed20", "5e9d9544a1dcd60001d0ed20ten"),
        ] {
            assert_eq!(names(org, key), Vec::<String>::new(), "{org} {key}");
        }
        assert_eq!(names("5e9d9544a1dcd60001d0ed20", "ten").len(), 3);
        assert_eq!(TykTokens::default().of("acme", b"ten").count(), 0);
    }
}
