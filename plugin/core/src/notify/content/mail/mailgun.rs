//! Mailgun: [`messages`](https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages) of its API
//! v3.
//!
//! The form is `multipart/form-data`, the only one that the documentation names for this request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::providers::MailProvider;
use super::secret::Secret;
use super::{EmailMessage, MailRequest, ProviderAnswer, ProviderVerdict, Settings};
use crate::base::{UnixMillis, is_domain};
use crate::delivery::Target;

/// The URL of the API.
const BASE: &str = "https://api.mailgun.net";
/// The URL of the API in the EU.
const EU_BASE: &str = "https://api.eu.mailgun.net";

/// A domain of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailgun {
    target: Target,
    private_key: Secret,
}

/// The path of the API's request.
fn path(domain: &str) -> String {
    format!("/v3/{domain}/messages")
}

impl MailProvider for Mailgun {
    const CODE: &'static str = "mailgun";
    const SETTINGS: &'static [&'static str] = &["Domain", "PrivateKey", "PublicKey", "Endpoint", "Region"];

    fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let private_key = settings.key("PrivateKey");
        let domain = settings.needed("Domain");
        let legal = domain.filter(|domain| is_domain(domain));
        if domain.is_some() && legal.is_none() {
            settings.error("Domain", "is not a domain such as mg.example.com");
        }
        let base = settings.us_or_eu(BASE, EU_BASE);
        let target = settings.target(base, &path(legal.unwrap_or_default()));
        legal?;
        Some(Mailgun { target: target?, private_key: private_key? })
    }

    fn target(&self) -> &Target {
        &self.target
    }

    fn request(&self, email: &EmailMessage) -> MailRequest {
        let (from, to) = (email.from.in_header(), email.to.in_header());
        let mut fields = vec![("from", from.as_str()), ("to", to.as_str()), ("subject", email.subject.as_str())];
        fields.extend(email.text_part().map(|text| ("text", text)));
        fields.extend(email.html_part().map(|html| ("html", html)));
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

    /// Success is 200.
    fn judge(answer: &ProviderAnswer<'_>, now: UnixMillis) -> ProviderVerdict {
        match answer.status {
            200 => ProviderVerdict::Delivered,
            402 => answer.refused("the account must pay, or has reached its limit"),
            404 => answer.refused("no such domain, or it is in the other region"),
            _ => answer.by_status(now),
        }
    }
}

/// A boundary that no value contains: half a SHA-256 of all values, so that the author of a value cannot know it.
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
