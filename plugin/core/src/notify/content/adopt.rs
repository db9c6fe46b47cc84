//! Adapts held messages to an updated configuration.
//!
//! A message goes to the current target of its handler, with the current headers and secrets, and is retried by the
//! current policy. Its text stays as it was written. A removed handler sends nothing more.

use super::{Content, WebhookRequest};
use crate::base::UnixMillis;
use crate::delivery::Delivery;
use crate::notify::Notifications;
use crate::notify::handler::{Channel, Form, Recipient, Webhook};

/// The message as this configuration sends it; `None` if it no longer has the handler.
pub fn adopt(notifications: &Notifications, delivery: Delivery, now: UnixMillis) -> Option<Delivery> {
    let Notifications { handlers, mail, placement, delivery: policy, .. } = notifications;
    let handler = handlers.find(&delivery.handler)?;
    let Channel { form, target, timeout_ms, .. } = handler.action.channel()?;
    let content = match (form, Content::decode(&delivery.content)?) {
        (Form::Webhook(webhook), Content::Webhook(request)) => Content::Webhook(readdressed(webhook, request)),
        (Form::Email(to), Content::Email(mut email)) => {
            email.account = mail.as_ref()?.backend.account.clone();
            if let Recipient::Fixed(to) = to {
                email.message.to = to.clone();
            }
            Content::Email(email)
        }
        _ => return None,
    };
    // The new receiver has not got an attempt yet.
    let is_elsewhere = target.endpoint != delivery.target.endpoint;
    let (attempts, first_attempt, due, decided) = match is_elsewhere {
        true => (0, 0, now.0, now.0),
        false => (delivery.attempts, delivery.first_attempt, delivery.due, delivery.decided),
    };
    Some(Delivery {
        handler: handlers.reference(handler),
        origin: placement.origin(),
        target: target.clone(),
        content: content.encode(),
        timeout_ms: timeout_ms.unwrap_or(policy.timeout_ms),
        retries: policy.retries,
        attempts,
        first_attempt,
        due,
        decided,
        ..delivery
    })
}

/// The body keeps the format in which it was written, even if the handler's template has changed.
fn readdressed(webhook: &Webhook, request: WebhookRequest) -> WebhookRequest {
    let is_type = |(name, _): &(String, String)| name == "content-type";
    let written = request.headers.into_iter().find(is_type).filter(|_| webhook.has_body());
    let mut headers = webhook.headers.clone();
    if let Some(written) = written {
        headers.retain(|header| !is_type(header));
        headers.push(written);
    }
    WebhookRequest { method: webhook.method.to_owned(), headers, body: request.body, keys: webhook.keys.clone() }
}
