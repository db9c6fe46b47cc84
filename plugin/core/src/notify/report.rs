//! Passes an event to its handlers, and says at debug level what became of it at each.
//!
//! A line at debug level is `event ` and one line of JSON, with the fields of an `eh_log_handler` and `handlers`, a list
//! of pairs of a handler's name and the outcome: `sent`, or a name of [`MessageOutcome::REASONS`]. It contains no key.

use serde_json::{Value, json};

use crate::access::Api;
use crate::base::{HandlerIndex, UnixMillis};
use crate::event::{Event, EventKind};
use crate::host::Host;
use crate::notify::handler::{Action, Handler};
use crate::notify::incident::Scene;
use crate::notify::{MessageOutcome, Notifications, message};

/// Passes an event to those of its handlers whose conditions it meets. Returns the outcome of each.
pub fn notify_handlers<'n>(
    host: &impl Host,
    notifications: &'n Notifications,
    handlers: impl IntoIterator<Item = &'n HandlerIndex>,
    event: &Event,
    api: &Api,
    now: UnixMillis,
) -> Vec<MessageOutcome> {
    let handlers = handlers.into_iter().filter_map(|index| notifications.handlers.get(*index));
    let outcomes: Vec<_> = handlers
        .filter(|handler| handler.when.holds(event))
        .map(|handler| (handler.name.as_str(), notify_handler(host, notifications, handler, event, api, now)))
        .collect();
    if is_wanted() {
        write_event(api, event, &outcomes);
    }
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

fn notify_handler(
    host: &impl Host,
    notifications: &Notifications,
    handler: &Handler,
    event: &Event,
    api: &Api,
    now: UnixMillis,
) -> MessageOutcome {
    match &handler.action {
        Action::Log { prefix } => {
            log_event(prefix, api, event);
            MessageOutcome::Taken
        }
        Action::Send(channel) => message::send(host, notifications, (handler, channel), event, now),
    }
}

/// Writes one line of JSON. It contains the key's fingerprint, never the key.
fn log_event(prefix: &str, api: &Api, event: &Event) {
    let line = described(api, event);
    let separator = if prefix.is_empty() { "" } else { " " };
    log::warn!("{prefix}{separator}{line}");
}

/// True if lines at debug level are written.
pub fn is_wanted() -> bool {
    log::log_enabled!(log::Level::Debug)
}

/// The fields of an event that a log may show: the key's fingerprint, never the key.
pub fn described(api: &Api, event: &Event) -> Value {
    let mut line = json!({
        "event": event.kind.name(),
        "id": event.id,
        "time": event.at.to_rfc3339(),
        "api": api.id,
        "org": event.meta.org_id,
        "key": event.fingerprint,
        "message": event.meta.message,
        "path": event.meta.path,
        "origin": event.meta.origin,
        "reason": event.meta.reason,
        "trigger_limit": event.meta.trigger_limit,
    });
    if let Some(fields) = line.as_object_mut().filter(|_| event.meta.would_refuse) {
        fields.insert("would_refuse".to_owned(), true.into());
    }
    line
}

#[cold]
#[inline(never)]
fn write_event(api: &Api, event: &Event, outcomes: &[(&str, MessageOutcome)]) {
    let mut line = described(api, event);
    if let Some(fields) = line.as_object_mut() {
        if let Some(crossed) = &event.crossed {
            fields.insert("subject".to_owned(), crossed.subject.name().into());
            fields.insert("alias".to_owned(), crossed.alias.as_str().into());
            fields.insert("used".to_owned(), crossed.used.into());
            fields.insert("max".to_owned(), crossed.max.into());
        }
        let pair = |(name, outcome): &(&str, MessageOutcome)| json!([name, outcome.reason().unwrap_or("sent")]);
        fields.insert("handlers".to_owned(), outcomes.iter().map(pair).collect());
    }
    log::debug!("event {line}");
}

/// Writes the line of an event all of whose messages are held back, without making the event.
#[cold]
#[inline(never)]
pub fn repeat(notifications: &Notifications, scene: &Scene<'_>, kind: EventKind) {
    if !is_wanted() {
        return;
    }
    let handlers = scene.api.handlers(kind).iter().filter_map(|index| notifications.handlers.get(*index));
    let line = json!({
        "event": kind.name(),
        "api": scene.api.id,
        "org": scene.caller.org_id(),
        "key": scene.caller.fingerprint(),
        "handlers": handlers.map(|handler| json!([handler.name, "suppressed"])).collect::<Vec<_>>(),
    });
    log::debug!("event {line}");
}
