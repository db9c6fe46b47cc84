//! What an update of the configuration makes of the messages that are still held.
//!
//! They go where their handler sends now, with its present headers and secrets, as often as is configured now. What they
//! say stays as it was written. A handler that was removed sends nothing more.

use crate::config::Config;
use crate::delivery::{Content, Delivery, WebhookRequest};
use crate::handler::{Action, Recipient, Webhook};
use crate::units::UnixMillis;

/// The message as this configuration sends it; `None` where it has no such handler.
pub fn taken_over(config: &Config, delivery: Delivery, now: UnixMillis) -> Option<Delivery> {
    let handler = config.handlers.find(&delivery.handler)?;
    let (webhook, content) = match (&handler.action, delivery.content) {
        (Action::Webhook(webhook), Content::Webhook(request)) => {
            (&**webhook, Content::Webhook(readdressed(webhook, request)))
        }
        (Action::Email(action), Content::Email(mut email)) => {
            email.account = config.mail.as_ref()?.backend.account.clone();
            if let Recipient::Fixed(to) = &action.to {
                email.letter.to = to.clone();
            }
            (&action.carried_by, Content::Email(email))
        }
        _ => return None,
    };
    // Another receiver has not been asked yet.
    let is_elsewhere = webhook.target.endpoint != delivery.target.endpoint;
    let (attempts, first_attempt, due, decided) = match is_elsewhere {
        true => (0, 0, now.0, now.0),
        false => (delivery.attempts, delivery.first_attempt, delivery.due, delivery.decided),
    };
    Some(Delivery {
        handler: config.handlers.reference(handler),
        origin: config.origin(),
        target: webhook.target.clone(),
        content,
        timeout_ms: webhook.timeout_ms.unwrap_or(config.delivery.timeout_ms),
        retries: config.delivery.retries,
        attempts,
        first_attempt,
        due,
        decided,
        ..delivery
    })
}

/// The body was written in its own format, whatever the handler's template is now.
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
