//! SendGrid: [`mail/send`](https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send) of its API v3.

use serde::{Deserialize, Serialize};

use super::address::{Mailbox, Name};
use super::letter::Letter;
use super::request::MailRequest;
use super::secret::Secret;
use crate::handler::Target;

/// Where the API is.
pub(crate) const BASE: &str = "https://api.sendgrid.com";
/// Where it is for the EU.
pub(crate) const EU_BASE: &str = "https://api.eu.sendgrid.com";
/// What to post to.
pub(crate) const PATH: &str = "/v3/mail/send";

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SendGrid {
    pub(crate) target: Target,
    pub(crate) client_key: Secret,
}

#[derive(Serialize)]
struct Send<'l> {
    personalizations: [Personalization<'l>; 1],
    from: Person<'l>,
    subject: &'l str,
    content: Vec<Content<'l>>,
}

#[derive(Serialize)]
struct Personalization<'l> {
    to: [Person<'l>; 1],
}

#[derive(Serialize)]
struct Person<'l> {
    email: &'l str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

#[derive(Serialize)]
struct Content<'l> {
    r#type: &'static str,
    value: &'l str,
}

impl SendGrid {
    pub(super) fn request(&self, letter: &Letter) -> MailRequest {
        let parts = [("text/plain", letter.text_part()), ("text/html", letter.html_part())];
        let send = Send {
            personalizations: [Personalization { to: [recipient(&letter.to)] }],
            from: person(&letter.from, letter.from.name.clone()),
            subject: letter.subject.as_str(),
            // Plain text must come first, or the API answers 400.
            content: parts.into_iter().filter_map(|(r#type, value)| Some(Content { r#type, value: value? })).collect(),
        };
        MailRequest::json(&self.target, &send).with_authorization(format!("Bearer {}", self.client_key.reveal()))
    }
}

fn person<'l>(mailbox: &'l Mailbox, name: Option<Name>) -> Person<'l> {
    Person { email: mailbox.address.as_str(), name: name.map(|name| name.as_str().to_owned()) }
}

/// [The API refuses](https://docs.sendgrid.com/api-reference/mail-send/limitations) names of recipients with a comma or
/// a semicolon.
fn recipient(mailbox: &Mailbox) -> Person<'_> {
    let plain = |name: &Name| Name::lossy(&name.as_str().replace([',', ';'], " "));
    person(mailbox, mailbox.name.as_ref().and_then(plain))
}
