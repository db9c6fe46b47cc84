//! Adapts held messages to an updated configuration.
//!
//! A message goes to the current target of its handler, with the current headers and secrets, and is retried by the
//! current policy. Its text stays as it was written. A removed handler sends nothing more.

use serde::{Deserialize, Serialize};

use super::mail::EmailMessage;
use super::{Content, Email, WebhookRequest};
use crate::base::UnixMillis;
use crate::delivery::{Delivery, EncodedContent, Target};
use crate::notify::Notifications;
use crate::notify::handler::{Channel, Form, Recipient, Webhook};

/// The text of a message, without target, headers, secrets and account. These belong to a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Written {
    Webhook {
        /// The format in which the body was written.
        content_type: Option<String>,
        body: String,
    },
    Email(Box<EmailMessage>),
}

impl Written {
    fn of(content: Content) -> Self {
        match content {
            Content::Webhook(request) => {
                let content_type = request.headers.into_iter().find(|(name, _)| name == CONTENT_TYPE);
                Written::Webhook { content_type: content_type.map(|(_, value)| value), body: request.body }
            }
            Content::Email(email) => Written::Email(Box::new(email.message)),
        }
    }
}

const CONTENT_TYPE: &str = "content-type";

/// The message as this configuration sends it; `None` if it no longer has the handler.
pub fn adopt(notifications: &Notifications, delivery: Delivery, now: UnixMillis) -> Option<Delivery> {
    let written = Written::of(Content::decode(&delivery.content)?);
    rewrite(notifications, delivery, written, now)
}

/// See [`Author::bare`](crate::delivery::Author::bare).
pub fn bare(delivery: Delivery) -> Delivery {
    let written = Content::decode(&delivery.content).map(Written::of);
    let target = Target { path_and_query: String::new(), ..delivery.target };
    // Serializing plain data into a growing vector cannot fail.
    let content = EncodedContent(postcard::to_allocvec(&written).unwrap_or_default());
    Delivery { target, content, terms: None, ..delivery }
}

/// See [`Author::address`](crate::delivery::Author::address).
pub fn address(notifications: &Notifications, bare: Delivery, now: UnixMillis) -> Option<Delivery> {
    let written: Option<Written> = postcard::from_bytes(&bare.content.0).ok()?;
    rewrite(notifications, bare, written?, now)
}

/// The message with this text, as this configuration sends it. The content of `delivery` is not read.
fn rewrite(notifications: &Notifications, delivery: Delivery, written: Written, now: UnixMillis) -> Option<Delivery> {
    let Notifications { handlers, mail, placement, delivery: policy, .. } = notifications;
    let handler = handlers.find(&delivery.handler)?;
    let Channel { form, target, timeout_ms, .. } = handler.action.channel()?;
    let content = match (form, written) {
        (Form::Webhook(webhook), Written::Webhook { content_type, body }) => {
            Content::Webhook(request(webhook, content_type, body))
        }
        (Form::Email(to), Written::Email(mut message)) => {
            let account = mail.as_ref()?.backend.account.clone();
            if let Recipient::Fixed(to) = to {
                message.to = to.clone();
            }
            Content::Email(Box::new(Email { account, message: *message }))
        }
        _ => return None,
    };
    // The new receiver has not got an attempt yet.
    let is_elsewhere = target.endpoint != delivery.target.endpoint;
    let delivery = if is_elsewhere { delivery.afresh(now) } else { delivery };
    Some(Delivery {
        handler: handlers.reference(handler),
        origin: placement.origin(),
        target: target.clone(),
        content: content.encode(),
        timeout_ms: timeout_ms.unwrap_or(policy.timeout_ms),
        retries: policy.retries,
        ..delivery
    })
}

/// The body keeps the format in which it was written, even if the handler's template has changed.
fn request(webhook: &Webhook, content_type: Option<String>, body: String) -> WebhookRequest {
    let mut headers = webhook.headers.clone();
    if let Some(written) = content_type.filter(|_| webhook.has_body()) {
        headers.retain(|(name, _)| name != CONTENT_TYPE);
        headers.push((CONTENT_TYPE.to_owned(), written));
    }
    let (secrets, keys) = (webhook.secrets.clone(), webhook.keys.clone());
    WebhookRequest { method: webhook.method.to_owned(), headers, body, secrets, keys }
}
