//! Mandrill, now Mailchimp Transactional:
//! [`messages/send`](https://mailchimp.com/developer/transactional/api/messages/).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::letter::EmailMessage;
use super::request::MailRequest;
use super::secret::Secret;
use crate::base::{Name, object};
use crate::delivery::Target;

/// Where the API is.
pub const BASE: &str = "https://mandrillapp.com";
/// What to post to.
pub const PATH: &str = "/api/1.0/messages/send.json";

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mandrill {
    pub target: Target,
    pub client_key: Secret,
}

impl Mandrill {
    pub(super) fn request(&self, letter: &EmailMessage) -> MailRequest {
        let optional = |object: &mut Map<String, Value>, name: &str, text: Option<&str>| {
            object.extend(text.map(|text| (name.to_owned(), text.into())));
        };
        let mut to = Map::new();
        to.insert("email".to_owned(), letter.to.address.as_str().into());
        to.insert("type".to_owned(), "to".into());
        optional(&mut to, "name", letter.to.name.as_ref().map(Name::as_str));
        let mut message = Map::new();
        message.insert("from_email".to_owned(), letter.from.address.as_str().into());
        message.insert("to".to_owned(), Value::Array(vec![Value::Object(to)]));
        message.insert("subject".to_owned(), letter.subject.as_str().into());
        optional(&mut message, "from_name", letter.from.name.as_ref().map(Name::as_str));
        optional(&mut message, "text", letter.text_part());
        optional(&mut message, "html", letter.html_part());
        // The API has no header for the key that its documentation names.
        let key = self.client_key.reveal().into();
        MailRequest::json(&self.target, &object(&mut [("key", key), ("message", Value::Object(message))]))
    }
}
