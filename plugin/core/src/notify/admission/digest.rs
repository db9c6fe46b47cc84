//! Digests: one message for the events that a cool-down or a cap held back.
//!
//! The count is a [`Tally`] in a slot of the outbox, so it survives the VM that started it. A VM that holds an event
//! back adds to it by compare-and-swap. When the tally's time is over, the dispatching VM replaces it by its message
//! with another compare-and-swap. So every event is in exactly one digest.

use serde_json::Value;
use thiserror::Error;

use crate::base::{Address, UnixMillis, cut};
use crate::delivery::{
    CauseDigest, Delivery, Held, Link, ReserveError, Share, Slot, Stage, Succession, Table, Tag, Tally, outbox,
};
use crate::event::{Crossed, Event, EventKind, Management, ManagementAction, Meta};
use crate::host::{Host, Metric, Metrics, SharedData, StoreError};
use crate::notify::content::{ContentError, body, email, webhook_request};
use crate::notify::handler::Handler;
use crate::notify::{Form, Notifications, Recipient, message};
use crate::observe::Occurrence;

/// Maximum bytes of one value of an event in a tally, which is written again for every event that it counts.
const MAX_VALUE_BYTES: usize = 512;

/// The maximum number of crossed thresholds that a digest lists. It counts the others.
pub const MAX_NAMED: usize = 1000;

/// Maximum bytes of all listed crossings together.
const MAX_NAMED_BYTES: usize = 128 * 1024;

/// A tally that has counted `event`. The causes are the one in this process and the one in a fleet.
pub fn begin(
    notifications: &Notifications,
    handler: &Handler,
    to: Option<Address>,
    (cause, shared): (CauseDigest, Option<[u8; 16]>),
    event: &Event,
    until: UnixMillis,
) -> Tally {
    let shows_keys = handler.action.channel().is_some_and(|channel| channel.form.shows_keys());
    let crossings = named(event, shows_keys).into_iter().collect();
    let meta = Meta {
        message: short(&event.meta.message),
        path: short(&event.meta.path),
        origin: short(&event.meta.origin),
        key: short(&event.meta.key),
        org_id: short(&event.meta.org_id),
        ..event.meta.clone()
    };
    Tally {
        id: Delivery::id_of(&event.id, &handler.name),
        event: event.kind.name().to_owned(),
        handler: notifications.handlers.reference(handler),
        origin: notifications.placement.origin(),
        to,
        cause,
        shared,
        stage: Stage::Counting,
        meta: postcard::to_allocvec(&(meta, &event.fingerprint)).unwrap_or_default(),
        crossings,
        suppressed: 1,
        first: event.at.0,
        last: event.at.0,
        until: until.0,
    }
}

/// Puts a tally into its own slot.
///
/// # Errors
/// No slot is free for this share, or shared data fails.
pub fn hold(
    tally: Tally,
    host: &(impl SharedData + Metrics),
    table: Table,
    share: Share,
) -> Result<Link, ReserveError> {
    let until = tally.until();
    let slot = outbox::hold(host, table, Tag::TALLY, share, &Held::Tally(tally))?;
    Ok(Link { slot, until })
}

/// The event that a tally's message reports.
fn event(tally: &Tally, now: UnixMillis) -> Option<Event> {
    let kind = EventKind::from_name(&tally.event)?;
    let (meta, fingerprint): (Meta, String) = postcard::from_bytes(&tally.meta).ok()?;
    let mut meta = Meta {
        suppressed: tally.suppressed,
        first_seen: UnixMillis(tally.first).to_rfc3339(),
        last_seen: UnixMillis(tally.last).to_rfc3339(),
        ..meta
    };
    if !tally.crossings.is_empty() {
        let names: Vec<String> = tally.crossings.iter().map(Crossed::to_string).collect();
        meta.unnamed = tally.suppressed.saturating_sub(u64::try_from(names.len()).unwrap_or(u64::MAX));
        meta.message = format!("{}: {}", meta.message, names.join("; "));
        if meta.unnamed > 0 {
            meta.message.push_str(&format!("; and {} more", meta.unnamed));
        }
        meta.crossings.clone_from(&tally.crossings);
    }
    let management = kind.is_management().then(|| Box::new(management(kind, &meta, now)));
    Some(Event { kind, id: tally.id.clone(), at: now, meta, fingerprint, management, crossed: None })
}

/// A text of an event, cut to the size for tallies.
fn short(text: &str) -> String {
    cut(text, MAX_VALUE_BYTES).to_owned()
}

/// A crossed threshold in the form for digests.
fn named(event: &Event, shows_keys: bool) -> Option<Crossed> {
    let crossed = event.crossed.as_deref().filter(|_| event.kind == EventKind::TriggerExceeded)?;
    let key = if shows_keys || crossed.key.is_empty() { &crossed.key } else { &event.fingerprint };
    Some(Crossed {
        key: short(key),
        alias: short(&crossed.alias),
        org_id: short(&crossed.org_id),
        api_id: short(&crossed.api_id),
        ..crossed.clone()
    })
}

/// Maximum bytes of a crossing in a tally.
fn size(crossed: &Crossed) -> usize {
    let texts = [&crossed.key, &crossed.alias, &crossed.org_id, &crossed.api_id, &crossed.trigger_limit];
    texts.into_iter().fold(32_usize, |sum, text| sum.saturating_add(text.len()))
}

/// Counts an event in a tally; `false` if the tally has become a message since.
///
/// # Errors
/// Any error of an update of shared data.
pub fn count(
    host: &(impl SharedData + Metrics),
    link: Link,
    cause: CauseDigest,
    (event, shows_keys): (&Event, bool),
) -> Result<bool, StoreError> {
    outbox::change(host, link.slot, |held| match held {
        Held::Tally(mut tally)
            if tally.stage == Stage::Counting && tally.cause == cause && tally.until() == link.until =>
        {
            tally.suppressed = tally.suppressed.saturating_add(1);
            tally.last = tally.last.max(event.at.0);
            let crossed = named(event, shows_keys);
            list(&mut tally, crossed);
            Some(Held::Tally(tally))
        }
        _ => None,
    })
}

/// Lists crossings, up to the limits of a digest.
fn list(tally: &mut Tally, crossings: impl IntoIterator<Item = Crossed>) {
    let mut bytes = tally.crossings.iter().map(size).fold(0, usize::saturating_add);
    for crossed in crossings {
        bytes = bytes.saturating_add(size(&crossed));
        if tally.crossings.len() < MAX_NAMED && bytes <= MAX_NAMED_BYTES {
            tally.crossings.push(crossed);
        }
    }
}

/// Adds the events of another member's tally.
pub fn merge(tally: &mut Tally, other: Tally) {
    tally.suppressed = tally.suppressed.saturating_add(other.suppressed);
    tally.first = tally.first.min(other.first);
    tally.last = tally.last.max(other.last);
    list(tally, other.crossings);
}

/// How long a tally waits after its time for a VM of its own configuration; several configurations can share a `vm_id`.
const PATIENCE_MS: u64 = 10_000;

/// Replaces a tally by its message. `None` if the tally is no longer there, belongs to another configuration, or its
/// handler was removed.
///
/// # Errors
/// Any error of an update of shared data. The tally stays then.
pub fn close(
    host: &impl Host,
    notifications: &Notifications,
    succession: &Succession,
    (slot, seen): (Slot, &Tally),
    now: UnixMillis,
) -> Result<Option<Delivery>, StoreError> {
    let why = if !seen.belongs_to(&notifications.placement, succession) {
        Some(DigestError::Foreign)
    } else if notifications.handlers.find(&seen.handler).is_none() {
        log::warn!(
            "{}: an update removed this handler: its digest of {} events is not sent",
            seen.handler.name,
            seen.suppressed
        );
        if outbox::finish(host, slot, &seen.id)? {
            host.count(Metric::Withdrawn);
        }
        return Ok(None);
    } else {
        let mut failed = None;
        let is_closed = outbox::change(host, slot, |held| match held {
            Held::Tally(tally) if tally.id == seen.id => {
                compose(notifications, &tally, now).map_err(|why| failed = Some(why)).ok().map(Held::Message)
            }
            _ => None,
        })?;
        if is_closed {
            let Some(Held::Message(delivery)) = outbox::held(host, slot)? else { return Ok(None) };
            host.count(Metric::Digests);
            log::debug!("digest {} {} {}", seen.suppressed, seen.event, seen.handler.name);
            return Ok(Some(delivery));
        }
        failed
    };
    if let Some(why) = why
        && now.since(seen.due(now)) >= PATIENCE_MS
        && outbox::finish(host, slot, &seen.id)?
    {
        host.count(Metric::Failed);
        log::error!("{} by {}: {} events are not reported: {why}", seen.event, seen.handler.name, seen.suppressed);
    }
    Ok(None)
}

/// A payload in the form of its type, with the counts instead of a single event's data.
fn management(kind: EventKind, meta: &Meta, now: UnixMillis) -> Management {
    let names = match kind.is_portal() {
        true => ["Suppressed", "FirstSeen", "LastSeen"],
        false => ["suppressed", "first_seen", "last_seen"],
    };
    let values = [meta.suppressed.into(), meta.first_seen.as_str().into(), meta.last_seen.as_str().into()];
    let payload = names.map(str::to_owned).into_iter().zip(values).collect();
    // The message of a management event is its name.
    let action = meta.message.split_once('.').and_then(|(_, action)| ManagementAction::from_name(action));
    let occurrence = Occurrence::new(kind, action, None, Value::Object(payload));
    Management {
        name: occurrence.name(),
        action: action.map_or("", ManagementAction::name),
        body: occurrence.body(now),
        stable: occurrence.stable_body(),
        payload: occurrence.payload,
        concerned: None,
    }
}

/// Why the message of a tally cannot be made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
enum DigestError {
    #[error("its configuration no longer exists")]
    Foreign,
    #[error("an update changed the kind of its handler")]
    OtherHandler,
    #[error("its event type no longer exists")]
    NoEvent,
    #[error(transparent)]
    Content(#[from] ContentError),
}

/// Makes the message of a digest. A digest of emails is an email.
fn compose(notifications: &Notifications, tally: &Tally, now: UnixMillis) -> Result<Delivery, DigestError> {
    let handler = notifications.handlers.find(&tally.handler).ok_or(DigestError::OtherHandler)?;
    let channel = handler.action.channel().ok_or(DigestError::OtherHandler)?;
    let event = event(tally, now).ok_or(DigestError::NoEvent)?;
    let content = match (&channel.form, &tally.to) {
        (Form::Webhook(webhook), None) => {
            webhook_request(webhook, body(notifications, webhook, &event).map_err(ContentError::from)?)
        }
        (Form::Email(Recipient::Fixed(to)), Some(_)) => {
            let mail = notifications.mail.as_ref().ok_or(DigestError::OtherHandler)?;
            email(mail, event.kind.name(), &event, to.clone())?
        }
        _ => return Err(DigestError::OtherHandler),
    };
    let message = message::delivery(notifications, (handler, channel), &event, &content, None, now);
    Ok(Delivery { id: tally.id.clone(), ..message })
}
