//! Mailgun: [`messages`](https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages) of its API
//! v3.
//!
//! The form is `multipart/form-data`: it is the only one that the documentation names for this request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::letter::EmailMessage;
use super::request::MailRequest;
use super::secret::Secret;
use crate::delivery::Target;

/// Where the API is.
pub const BASE: &str = "https://api.mailgun.net";
/// Where it is for the EU.
pub const EU_BASE: &str = "https://api.eu.mailgun.net";

/// A domain of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailgun {
    pub target: Target,
    pub private_key: Secret,
}

/// What to post to.
pub fn path(domain: &str) -> String {
    format!("/v3/{domain}/messages")
}

impl Mailgun {
    pub(super) fn request(&self, letter: &EmailMessage) -> MailRequest {
        let (from, to) = (letter.from.in_header(), letter.to.in_header());
        let mut fields = vec![("from", from.as_str()), ("to", to.as_str()), ("subject", letter.subject.as_str())];
        fields.extend(letter.text_part().map(|text| ("text", text)));
        fields.extend(letter.html_part().map(|html| ("html", html)));
        let boundary = boundary(&fields);
        let mut body = String::new();
        for (name, value) in &fields {
            body.push_str(&format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n"));
            body.push_str(&format!("content-type: text/plain; charset=utf-8\r\n\r\n{value}\r\n"));
        }
        body.push_str(&format!("--{boundary}--\r\n"));
        let user = format!("api:{}", self.private_key.reveal());
        MailRequest::new(&self.target, &format!("multipart/form-data; boundary={boundary}"), body)
            .with_authorization(format!("Basic {}", STANDARD.encode(user)))
    }
}

/// A line that stands in no value: half a SHA-256 of all of them, so that whoever wrote a value cannot have known it.
fn boundary(fields: &[(&str, &str)]) -> String {
    let mut hash = Sha256::new();
    for (name, value) in fields {
        hash.update(name);
        hash.update(value.len().to_le_bytes());
        hash.update(value);
    }
    let digest = hex::encode(hash.finalize());
    format!("tollbell-{}", digest.get(..32).unwrap_or_default())
}
