//! Mandrill, now Mailchimp Transactional:
//! [`messages/send`](https://mailchimp.com/developer/transactional/api/messages/).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::providers::MailProvider;
use super::secret::Secret;
use super::verdict::{Kind, find};
use super::{EmailMessage, MailRequest, ProviderAnswer, ProviderVerdict, Settings};
use crate::base::UnixMillis;
use crate::base::{Name, object};
use crate::delivery::Target;

/// The URL of the API.
const BASE: &str = "https://mandrillapp.com";
/// The path of the API's request.
const PATH: &str = "/api/1.0/messages/send.json";

/// Mandrill's errors, by the `name` in its answer. Most have the status 500. Errors about features that tollbell's
/// emails do not use, such as webhooks, are left out.
const MANDRILL: [(&str, Kind); 9] = [
    ("Invalid_Key", Kind::Final),
    ("PaymentRequired", Kind::Final),
    ("PoorReputation", Kind::Final),
    ("Unknown_Subaccount", Kind::Final),
    ("Unknown_Template", Kind::Final),
    ("ValidationError", Kind::Final),
    ("GeneralError", Kind::Passing),
    ("ServiceUnavailable", Kind::Passing),
    ("RateLimitExceeded", Kind::Passing),
];

/// Mandrill's reasons to reject a recipient.
const MANDRILL_REJECTS: [&str; 10] = [
    "hard-bounce",
    "soft-bounce",
    "spam",
    "unsub",
    "custom",
    "invalid-sender",
    "invalid",
    "test-mode-limit",
    "unsigned",
    "rule",
];

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mandrill {
    target: Target,
    client_key: Secret,
}

impl MailProvider for Mandrill {
    const CODE: &'static str = "mandrill";
    const SETTINGS: &'static [&'static str] = &["ClientKey", "Endpoint"];

    fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let client_key = settings.key("ClientKey");
        let target = settings.target(BASE, PATH);
        Some(Mandrill { target: target?, client_key: client_key? })
    }

    fn target(&self) -> &Target {
        &self.target
    }

    fn request(&self, email: &EmailMessage) -> MailRequest {
        let optional = |object: &mut Map<String, Value>, name: &str, text: Option<&str>| {
            object.extend(text.map(|text| (name.to_owned(), text.into())));
        };
        let mut to = Map::new();
        to.insert("email".to_owned(), email.to.address.as_str().into());
        to.insert("type".to_owned(), "to".into());
        optional(&mut to, "name", email.to.name.as_ref().map(Name::as_str));
        let mut message = Map::new();
        message.insert("from_email".to_owned(), email.from.address.as_str().into());
        message.insert("to".to_owned(), Value::Array(vec![Value::Object(to)]));
        message.insert("subject".to_owned(), email.subject.as_str().into());
        optional(&mut message, "from_name", email.from.name.as_ref().map(Name::as_str));
        optional(&mut message, "text", email.text_part());
        optional(&mut message, "html", email.html_part());
        // The documentation names no header for the key, so it is in the body.
        let key = self.client_key.reveal().into();
        MailRequest::json(&self.target, &object(&mut [("key", key), ("message", Value::Object(message))]))
    }

    /// Success is 200 with a status for each recipient, and there is one recipient. Errors have a name.
    fn judge(answer: &ProviderAnswer<'_>, now: UnixMillis) -> ProviderVerdict {
        let json = answer.json();
        if let Some((name, kind)) = find(&MANDRILL, json.get("name").and_then(Value::as_str)) {
            return answer.by_name(name, kind, now);
        }
        let results = json.as_array().filter(|_| answer.status == 200);
        let Some(first) = results.and_then(|results| results.first()) else { return answer.by_status(now) };
        let text = |name: &str| first.get(name).and_then(Value::as_str).unwrap_or_default();
        match text("status") {
            "sent" | "queued" | "scheduled" => ProviderVerdict::Delivered,
            "invalid" => answer.refused("the recipient is invalid"),
            "rejected" => {
                let given = text("reject_reason");
                let known = MANDRILL_REJECTS.into_iter().find(|reason| *reason == given);
                answer.refused(known.unwrap_or("the recipient is rejected"))
            }
            _ => answer.by_status(now),
        }
    }
}
