//! SendGrid: [`mail/send`](https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send) of its API v3.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::providers::MailProvider;
use super::secret::Secret;
use super::{EmailMessage, MailRequest, ProviderAnswer, ProviderVerdict, Settings};
use crate::base::UnixMillis;
use crate::base::{Mailbox, Name, object};
use crate::delivery::Target;

/// The URL of the API.
const BASE: &str = "https://api.sendgrid.com";
/// The URL of the API in the EU.
const EU_BASE: &str = "https://api.eu.sendgrid.com";
/// The path of the API's request.
const PATH: &str = "/v3/mail/send";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendGrid {
    target: Target,
    client_key: Secret,
}

impl MailProvider for SendGrid {
    const CODE: &'static str = "sendgrid";
    const SETTINGS: &'static [&'static str] = &["ClientKey", "Endpoint", "Region"];

    fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let client_key = settings.key("ClientKey");
        let base = settings.us_or_eu(BASE, EU_BASE);
        let target = settings.target(base, PATH);
        Some(SendGrid { target: target?, client_key: client_key? })
    }

    fn target(&self) -> &Target {
        &self.target
    }

    fn request(&self, email: &EmailMessage) -> MailRequest {
        let parts = [("text/plain", email.text_part()), ("text/html", email.html_part())];
        let part =
            |(name, value): (&str, Option<&str>)| Some(object(&mut [("type", name.into()), ("value", value?.into())]));
        let to = Value::Array(vec![recipient(&email.to)]);
        let send = object(&mut [
            ("personalizations", Value::Array(vec![object(&mut [("to", to)])])),
            ("from", person(&email.from, email.from.name.as_ref().map(Name::as_str))),
            ("subject", email.subject.as_str().into()),
            // Plain text must come first, or the API answers 400.
            ("content", parts.into_iter().filter_map(part).collect()),
        ]);
        MailRequest::json(&self.target, &send).with_authorization(format!("Bearer {}", self.client_key.reveal()))
    }

    /// Success is 202. A 429 has `X-RateLimit-Reset` in Unix seconds.
    fn judge(answer: &ProviderAnswer<'_>, now: UnixMillis) -> ProviderVerdict {
        match (answer.status, answer.by_status(now)) {
            (202, _) => ProviderVerdict::Delivered,
            (429, ProviderVerdict::Retry { reason, after_ms: None }) => {
                let reset = (answer.header)("x-ratelimit-reset").and_then(|value| value.trim().parse::<u64>().ok());
                let after_ms = reset.map(|seconds| UnixMillis(seconds.saturating_mul(1000)).since(now));
                ProviderVerdict::Retry { reason, after_ms: after_ms.filter(|ms| *ms > 0) }
            }
            (_, verdict) => verdict,
        }
    }
}

fn person(mailbox: &Mailbox, name: Option<&str>) -> Value {
    let email = mailbox.address.as_str().into();
    match name {
        Some(name) => object(&mut [("email", email), ("name", name.into())]),
        None => object(&mut [("email", email)]),
    }
}

/// [The API refuses](https://docs.sendgrid.com/api-reference/mail-send/limitations) names of recipients with a comma or
/// a semicolon.
fn recipient(mailbox: &Mailbox) -> Value {
    let plain = |name: &Name| Name::lossy(&name.as_str().replace([',', ';'], " "));
    person(mailbox, mailbox.name.as_ref().and_then(plain).as_ref().map(Name::as_str))
}
