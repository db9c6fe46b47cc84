//! Exchanges with an application, as data.

use serde_json::Value;

use super::super::sha256;

/// The form of a key of the organisation `5e2743567c1f8800018bdf35`.
pub(super) const RAW_KEY: &str = "5e2743567c1f8800018bdf35f00";

/// A key's hash in Tyk's default form: 32 bits.
pub(super) const HASH: &str = "6dc2dfc0";

pub(super) const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const HTML: &str = "text/html; charset=utf-8";

/// An exchange with an application, and its messages: a dashboard event's `data`, a portal event's `Message`.
pub(super) struct Exchange {
    pub(super) method: &'static str,
    pub(super) target: String,
    pub(super) request: (&'static str, Vec<u8>),
    pub(super) status: u16,
    pub(super) response: (&'static str, Vec<u8>),
    pub(super) location: &'static str,
    pub(super) expected: Vec<(&'static str, Value)>,
}

impl Exchange {
    pub(super) fn json(operation: &str, request: Value, response: Value, expected: &[(&'static str, Value)]) -> Self {
        let (method, target) = operation.split_once(' ').expect("a method and a target");
        let method = ["POST", "PUT", "PATCH", "DELETE"].into_iter().find(|known| *known == method).expect("a method");
        let request = if request.is_null() { Vec::new() } else { request.to_string().into_bytes() };
        Exchange {
            method,
            target: target.to_owned(),
            request: (if request.is_empty() { "" } else { JSON }, request),
            status: 200,
            response: (JSON, response.to_string().into_bytes()),
            location: "",
            expected: expected.to_vec(),
        }
    }

    /// A page: a form that is answered with a redirect.
    pub(super) fn form(target: &str, form: &str, location: &'static str, expected: &[(&'static str, Value)]) -> Self {
        Exchange {
            request: (FORM, form.as_bytes().to_vec()),
            status: 302,
            response: (HTML, b"<a href=/>Found</a>".to_vec()),
            location,
            ..Exchange::json(&format!("POST {target}"), Value::Null, Value::Null, expected)
        }
    }

    /// The same for a form that can carry files.
    pub(super) fn multipart(
        target: &str,
        fields: &[(&str, &str)],
        location: &'static str,
        expected: &[(&'static str, Value)],
    ) -> Self {
        let part = |(name, value): &(&str, &str)| {
            format!("--XyZ\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let body = fields.iter().map(part).collect::<String>() + "--XyZ--\r\n";
        Exchange {
            request: ("multipart/form-data; boundary=XyZ", body.into_bytes()),
            ..Exchange::form(target, "", location, expected)
        }
    }

    pub(super) fn with_status(self, status: u16) -> Self {
        Exchange { status, ..self }
    }
}

/// A key in the form for payloads.
pub(super) fn fingerprint(key: &str) -> String {
    format!("sha256:{}", sha256(key))
}

/// An object with one member added or replaced.
pub(super) fn with(object: &Value, name: &str, member: &Value) -> Value {
    let mut object = object.clone();
    object[name] = member.clone();
    object
}
