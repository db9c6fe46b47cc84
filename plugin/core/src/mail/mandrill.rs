//! Mandrill, now Mailchimp Transactional:
//! [`messages/send`](https://mailchimp.com/developer/transactional/api/messages/).

use serde::{Deserialize, Serialize};

use super::address::Name;
use super::letter::Letter;
use super::request::MailRequest;
use super::secret::Secret;
use crate::handler::Target;

/// Where the API is.
pub(crate) const BASE: &str = "https://mandrillapp.com";
/// What to post to.
pub(crate) const PATH: &str = "/api/1.0/messages/send.json";

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mandrill {
    pub(crate) target: Target,
    pub(crate) client_key: Secret,
}

#[derive(Serialize)]
struct Send<'l> {
    /// The API has no header for it that its documentation names.
    key: &'l str,
    message: Message<'l>,
}

#[derive(Serialize)]
struct Message<'l> {
    from_email: &'l str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_name: Option<&'l str>,
    to: [Recipient<'l>; 1],
    subject: &'l str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    html: Option<&'l str>,
}

#[derive(Serialize)]
struct Recipient<'l> {
    email: &'l str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'l str>,
    r#type: &'static str,
}

impl Mandrill {
    pub(super) fn request(&self, letter: &Letter) -> MailRequest {
        let message = Message {
            from_email: letter.from.address.as_str(),
            from_name: letter.from.name.as_ref().map(Name::as_str),
            to: [Recipient {
                email: letter.to.address.as_str(),
                name: letter.to.name.as_ref().map(Name::as_str),
                r#type: "to",
            }],
            subject: letter.subject.as_str(),
            text: letter.text_part(),
            html: letter.html_part(),
        };
        MailRequest::json(&self.target, &Send { key: self.client_key.reveal(), message })
    }
}
