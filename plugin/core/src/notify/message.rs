//! From an event to one handler's message: content, admission, outbox.

use crate::base::UnixMillis;
use crate::delivery::{Claim, Delivery};
use crate::event::Event;
use crate::host::{Host, Metric};
use crate::notify::admission::Admission;
use crate::notify::content::{ContentError, draft};
use crate::notify::handler::Handler;
use crate::notify::{Channel, Content, MessageOutcome, Notifications};

/// Makes a handler's message for an event and holds it for delivery, unless admission refuses it. Failures are logged
/// and counted.
pub fn send(
    host: &impl Host,
    notifications: &Notifications,
    (handler, channel): (&Handler, &Channel),
    event: &Event,
    now: UnixMillis,
) -> MessageOutcome {
    let fail = |error: ContentError| {
        host.count(Metric::Failed);
        log::error!("{}: {} {} is not sent: {error}", handler.name, event.kind.name(), event.id);
        MessageOutcome::Failed
    };
    let draft = match draft(notifications, channel, event) {
        Ok(Some(draft)) => draft,
        Ok(None) => return MessageOutcome::NoRecipient,
        Err(error) => return fail(error),
    };
    let admission = Admission::new(host, notifications, (handler, channel), event, draft.checksum, now);
    // In a flood most messages are held back, so this path must not write.
    if let Some(outcome) = admission.refused_at_sight() {
        return outcome;
    }
    let content = match draft.write(event) {
        Ok(content) => content,
        Err(error) => return fail(error),
    };
    match admission.admit() {
        Ok(permit) => {
            let message = delivery(notifications, (handler, channel), event, &content, permit.claim(), now);
            permit.hold(Delivery { terms: admission.terms(), ..message })
        }
        Err(outcome) => outcome,
    }
}

/// Makes a message with all data that stays the same in every attempt.
pub fn delivery(
    notifications: &Notifications,
    (handler, channel): (&Handler, &Channel),
    event: &Event,
    content: &Content,
    claim: Option<Claim>,
    now: UnixMillis,
) -> Delivery {
    let Notifications { handlers, placement, delivery: policy, .. } = notifications;
    Delivery {
        id: Delivery::id_of(&event.id, &handler.name),
        event: event.kind.name().to_owned(),
        handler: handlers.reference(handler),
        origin: placement.origin(),
        claim,
        terms: notifications.is_in_fleet.then(Box::default),
        target: channel.target.clone(),
        content: content.encode(),
        timeout_ms: channel.timeout_ms.unwrap_or(policy.timeout_ms),
        retries: policy.retries,
        attempts: 0,
        since: now.0,
        first_attempt: 0,
        due: now.0,
        decided: now.0,
        tried: Vec::new(),
    }
}
