//! Digests: one message for events that a cool-down or a cap held back.
//!
//! The count is a [`Tally`] in a slot of the outbox, where it survives the VM that began it. Whoever holds an event back
//! adds to it, by compare-and-swap; when its time is over, the dispatching VM puts the message in its place, by another,
//! so that every event is in one digest or the next.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Config;
use crate::cooldown::CauseDigest;
use crate::delivery::outbox::{self, ReserveError, Share, Slot, Tag};
use crate::delivery::succession::{Line, Origin, Succession};
use crate::delivery::{Delivery, Held};
use crate::event::{Crossed, Event, EventKind, Management, Meta, cut};
use crate::handler::{Action, Handler, HandlerRef, Recipient, Webhook};
use crate::mail::{Address, Mail, Mailbox};
use crate::manage;
use crate::message;
use crate::metrics::Metric;
use crate::ports::{Host, Metrics, SharedData};
use crate::store::StoreError;
use crate::units::{UnixMillis, set_right};

/// Bytes of one value of an event that a tally keeps: it is written again for every event that it counts.
const MAX_VALUE_BYTES: usize = 512;

/// Crossed thresholds that a digest names. Those beyond are a number.
pub const MAX_NAMED: usize = 1000;

/// Bytes that the names in a digest take together.
const MAX_NAMED_BYTES: usize = 128 * 1024;

/// Where events are counted, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The tally's slot.
    pub slot: Slot,
    /// When it becomes a message; with the cause, it tells this tally from a later one in the same slot.
    pub until: UnixMillis,
}

/// A count of events that were held back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// The id of the message that it becomes.
    pub id: String,
    /// The events' type.
    pub event: String,
    /// The handler that it is of.
    pub handler: HandlerRef,
    /// The configuration that it belongs to.
    pub origin: Origin,
    /// Of letters: whose they are.
    pub to: Option<Address>,
    /// Why they were held back.
    pub cause: CauseDigest,
    /// What the first of them said: a stored [`Meta`], which is read only when the message is written.
    pub meta: Vec<u8>,
    /// Of crossed thresholds: each of them, up to [`MAX_NAMED`].
    pub crossings: Vec<Crossed>,
    /// How many there are.
    pub suppressed: u64,
    /// When the first happened, in Unix milliseconds.
    pub first: u64,
    /// When the last happened, in Unix milliseconds.
    pub last: u64,
    /// When it becomes a message, in Unix milliseconds.
    pub until: u64,
}

impl Tally {
    /// One that has counted `event`.
    pub fn begin(
        config: &Config,
        handler: &Handler,
        to: Option<Address>,
        cause: CauseDigest,
        event: &Event,
        until: UnixMillis,
    ) -> Self {
        let crossings = named(event, to.is_some()).into_iter().collect();
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
            handler: config.handlers.reference(handler),
            origin: config.origin(),
            to,
            cause,
            meta: postcard::to_allocvec(&meta).unwrap_or_default(),
            crossings,
            suppressed: 1,
            first: event.at.0,
            last: event.at.0,
            until: until.0,
        }
    }

    /// When it becomes a message.
    pub fn until(&self) -> UnixMillis {
        UnixMillis(self.until)
    }

    /// Puts it into a slot of its own.
    ///
    /// # Errors
    /// When no slot is free for this share, or shared data fails.
    pub fn hold(
        self,
        host: &(impl SharedData + Metrics),
        table: (Line, u32),
        share: Share,
    ) -> Result<Link, ReserveError> {
        let slot = outbox::reserve(host, table, Tag::TALLY, share)?;
        let link = Link { slot, until: self.until() };
        if let Err(error) = outbox::fill(host, slot, &Held::Tally(self)) {
            outbox::free(host, slot)?;
            return Err(error.into());
        }
        Ok(link)
    }

    /// Whether it is for this configuration to write its message.
    pub fn belongs_to(&self, config: &Config, succession: &Succession) -> bool {
        self.origin == config.origin() || succession.takes_over(config.id, self.origin, UnixMillis(self.first))
    }

    /// Who writes its message, and who sends it: a digest of letters is a letter.
    fn author<'c>(&self, config: &'c Config) -> Option<Author<'c>> {
        let handler = config.handlers.find(&self.handler)?;
        let author = match (&handler.action, &self.to) {
            (Action::Webhook(webhook), None) => (&**webhook, None),
            (Action::Email(email), Some(_)) => match &email.to {
                Recipient::Fixed(to) => (&email.carried_by, Some((config.mail.as_ref()?, to))),
                Recipient::Developer => return None,
            },
            _ => return None,
        };
        Some(Author { handler, webhook: author.0, email: author.1 })
    }

    /// The event that its message tells of.
    fn event(&self, now: UnixMillis) -> Option<Event> {
        let kind = EventKind::from_name(&self.event)?;
        let mut meta = Meta {
            suppressed: self.suppressed,
            first_seen: UnixMillis(self.first).to_rfc3339(),
            last_seen: UnixMillis(self.last).to_rfc3339(),
            ..postcard::from_bytes(&self.meta).ok()?
        };
        if !self.crossings.is_empty() {
            let names: Vec<String> = self.crossings.iter().map(Crossed::to_string).collect();
            meta.unnamed = self.suppressed.saturating_sub(u64::try_from(names.len()).unwrap_or(u64::MAX));
            meta.message = format!("{}: {}", meta.message, names.join("; "));
            if meta.unnamed > 0 {
                meta.message.push_str(&format!("; and {} more", meta.unnamed));
            }
            meta.crossings.clone_from(&self.crossings);
        }
        let management = match kind {
            EventKind::Management(kind) => Some(Box::new(management(kind, &meta, now))),
            _ => None,
        };
        Some(Event { kind, id: self.id.clone(), at: now, meta, fingerprint: String::new(), management, crossed: None })
    }

    /// When it becomes a message, by a clock that may have been set back since it began.
    pub fn due(&self, now: UnixMillis) -> UnixMillis {
        set_right(self.until(), UnixMillis(self.first), now)
    }
}

/// A text of an event, short enough to be kept.
fn short(text: &str) -> String {
    cut(text, MAX_VALUE_BYTES).to_owned()
}

/// What a digest says of a crossed threshold. No email shows a key.
fn named(event: &Event, is_email: bool) -> Option<Crossed> {
    let crossed = event.crossed.as_deref()?;
    let key = if is_email && !crossed.key.is_empty() { &event.fingerprint } else { &crossed.key };
    Some(Crossed {
        key: short(key),
        alias: short(&crossed.alias),
        org_id: short(&crossed.org_id),
        api_id: short(&crossed.api_id),
        ..crossed.clone()
    })
}

/// Bytes that a crossing takes in a tally, at most.
fn size(crossed: &Crossed) -> usize {
    let texts = [&crossed.key, &crossed.alias, &crossed.org_id, &crossed.api_id, &crossed.trigger_limit];
    texts.into_iter().fold(32_usize, |sum, text| sum.saturating_add(text.len()))
}

/// Counts an event in a tally; `false` where it has become a message since.
///
/// # Errors
/// As for any update of shared data.
pub fn count(
    host: &(impl SharedData + Metrics),
    link: Link,
    cause: CauseDigest,
    event: &Event,
) -> Result<bool, StoreError> {
    outbox::change(host, link.slot, |held| match held {
        Held::Tally(mut tally) if tally.cause == cause && tally.until() == link.until => {
            tally.suppressed = tally.suppressed.saturating_add(1);
            tally.last = tally.last.max(event.at.0);
            if let Some(crossed) = named(event, tally.to.is_some()) {
                let bytes = tally.crossings.iter().chain([&crossed]).map(size).fold(0, usize::saturating_add);
                if tally.crossings.len() < MAX_NAMED && bytes <= MAX_NAMED_BYTES {
                    tally.crossings.push(crossed);
                }
            }
            Some(Held::Tally(tally))
        }
        _ => None,
    })
}

/// How long after its time a tally waits for a VM of its configuration: several can share a `vm_id`.
const PATIENCE_MS: u64 = 10_000;

/// Puts the message in the tally's place. `None`: the tally is not there any more, or is another configuration's, or its
/// handler was removed.
///
/// # Errors
/// As for any update of shared data; the tally then stays.
pub fn close(
    host: &impl Host,
    config: &Config,
    succession: &Succession,
    (slot, seen): (Slot, &Tally),
    now: UnixMillis,
) -> Result<Option<Delivery>, StoreError> {
    let why = if !seen.belongs_to(config, succession) {
        "its configuration is gone".to_owned()
    } else if config.handlers.find(&seen.handler).is_none() {
        log::warn!(
            "{}: removed from the configuration: a digest of {} events is not sent",
            seen.handler.name,
            seen.suppressed
        );
        if outbox::finish(host, slot, &seen.id)? {
            host.count(Metric::Withdrawn);
        }
        return Ok(None);
    } else {
        let mut failed = String::new();
        let is_closed = outbox::change(host, slot, |held| match held {
            Held::Tally(tally) if tally.id == seen.id => {
                compose(config, &tally, now).map_err(|why| failed = why).ok().map(Held::Message)
            }
            _ => None,
        })?;
        if is_closed {
            let Some(Held::Message(delivery)) = outbox::held(host, slot)? else { return Ok(None) };
            host.count(Metric::Digests);
            return Ok(Some(delivery));
        }
        failed
    };
    if !why.is_empty() && now.since(seen.due(now)) >= PATIENCE_MS && outbox::finish(host, slot, &seen.id)? {
        host.count(Metric::Failed);
        log::error!("{} by {}: {} events are not reported: {why}", seen.event, seen.handler.name, seen.suppressed);
    }
    Ok(None)
}

struct Author<'c> {
    handler: &'c Handler,
    webhook: &'c Webhook,
    email: Option<(&'c Mail, &'c Mailbox)>,
}

/// A payload in the form of its kind, with the count in the place of what a single event says.
fn management(kind: manage::Kind, meta: &Meta, now: UnixMillis) -> Management {
    let names = match kind.is_portal() {
        true => ["Suppressed", "FirstSeen", "LastSeen"],
        false => ["suppressed", "first_seen", "last_seen"],
    };
    let values = [meta.suppressed.into(), meta.first_seen.as_str().into(), meta.last_seen.as_str().into()];
    let payload = names.map(str::to_owned).into_iter().zip(values).collect();
    // The message of a management event is its name.
    let action = meta.message.split_once('.').and_then(|(_, action)| manage::Action::from_name(action));
    let occurrence = manage::Occurrence::new(kind, action, None, Value::Object(payload));
    Management {
        name: occurrence.name(),
        action: action.map_or("", manage::Action::name),
        body: occurrence.body(now),
        stable: occurrence.stable_body(),
        payload: occurrence.payload,
        concerned: None,
    }
}

fn compose(config: &Config, tally: &Tally, now: UnixMillis) -> Result<Delivery, String> {
    let Author { handler, webhook, email } = tally.author(config).ok_or("its handler does something else now")?;
    let event = tally.event(now).ok_or("there is no such event any more")?;
    let content = match email {
        None => message::request_of(webhook, config.templates.render(&webhook.template, &event)?),
        Some((mail, to)) => message::email_of(mail, event.kind.name(), &event, to.clone())?,
    };
    Ok(Delivery { id: tally.id.clone(), ..message::delivery(config, handler, webhook, &event, content, None, now) })
}
