//! From something that happened to held messages: event, handlers, template, cool-down, outbox.

use crate::config::Config;
use crate::cooldown::{self, CauseDigest, request_checksum};
use crate::delivery::Delivery;
use crate::delivery::outbox::{self, ReserveError};
use crate::engine::Caller;
use crate::event::{Event, EventKind, Meta, client_text};
use crate::handler::{Action, Handler, Webhook};
use crate::metrics::Metric;
use crate::ports::Host;
use crate::quota::{Crossing, Scope};
use crate::request::Request;
use crate::route::Api;
use crate::units::UnixMillis;

/// Something that somebody may want to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Occurrence {
    /// A request was refused.
    Refusal {
        /// As what.
        kind: EventKind,
        /// The event's message.
        message: String,
    },
    /// A quota's usage crossed a threshold.
    Crossing(Crossing),
}

/// The request at which it happened.
#[derive(Clone, Copy)]
pub struct Scene<'s> {
    /// The API that it was for.
    pub api: &'s Api,
    /// The request.
    pub request: &'s Request<'s>,
    /// Who sent it.
    pub caller: &'s Caller<'s>,
}

/// Makes events and hands their messages over.
#[derive(Debug)]
pub struct Notifier {
    ids: EventIds,
}

impl Notifier {
    /// See [`crate::engine::Engine::new`].
    pub fn new(vm: u64, now: UnixMillis, salt: u64) -> Self {
        Notifier { ids: EventIds { vm, started: now, salt, made: 0 } }
    }

    /// Tells every handler. Whatever fails is logged and counted, and changes nothing for the request.
    pub fn notify(
        &mut self,
        host: &impl Host,
        config: &Config,
        scene: &Scene<'_>,
        occurrence: &Occurrence,
        now: UnixMillis,
    ) {
        let kind = match occurrence {
            Occurrence::Refusal { kind, .. } => *kind,
            Occurrence::Crossing(_) => EventKind::TriggerExceeded,
        };
        host.count(Metric::Events(kind));
        let handlers = scene.api.handlers(kind);
        if handlers.is_empty() {
            return;
        }
        let event = Event {
            kind,
            id: self.ids.next(),
            at: now,
            meta: meta(config, scene, occurrence),
            fingerprint: scene.caller.fingerprint(),
        };
        for handler in handlers.iter().filter_map(|index| config.handlers.get(index.0)) {
            match &handler.action {
                Action::Log { prefix } => log_event(prefix, scene.api, &event),
                Action::Webhook(webhook) => hold_message(host, config, handler, webhook, &event, now),
            }
        }
    }
}

fn meta(config: &Config, scene: &Scene<'_>, occurrence: &Occurrence) -> Meta {
    let Scene { request, caller, .. } = scene;
    match occurrence {
        Occurrence::Refusal { kind, message } => Meta {
            message: message.clone(),
            path: client_text(request.path()),
            origin: client_text(request.origin(config.origin_header.as_deref()).as_bytes()),
            key: match kind {
                EventKind::OrgQuotaExceeded => caller.org_id().to_owned(),
                _ => caller.key_text(config.hash_keys),
            },
            org_id: caller.org_id().to_owned(),
            ..Meta::default()
        },
        Occurrence::Crossing(crossing) => {
            let key = match crossing.scope {
                Scope::Org => String::new(),
                Scope::Key => caller.key_text(config.hash_keys),
            };
            Meta::trigger(caller.org_id(), &key, crossing.limit, crossing.count, crossing.max)
        }
    }
}

/// One line of JSON. It carries the key's fingerprint, never the key.
fn log_event(prefix: &str, api: &Api, event: &Event) {
    let line = serde_json::json!({
        "event": event.kind.name(),
        "id": event.id,
        "time": event.at.to_rfc3339(),
        "api": api.id,
        "org": event.meta.org_id,
        "key": event.fingerprint,
        "message": event.meta.message,
        "path": event.meta.path,
        "origin": event.meta.origin,
        "trigger_limit": event.meta.trigger_limit,
    });
    let separator = if prefix.is_empty() { "" } else { " " };
    log::warn!("{prefix}{separator}{line}");
}

fn hold_message(
    host: &impl Host,
    config: &Config,
    handler: &Handler,
    webhook: &Webhook,
    event: &Event,
    now: UnixMillis,
) {
    let rendered = match config.templates.render(&webhook.template, event) {
        Ok(rendered) => rendered,
        Err(error) => {
            host.count(Metric::Failed);
            log::error!("{}: {} {} is not sent: {error}", handler.name, event.kind.name(), event.id);
            return;
        }
    };
    let target = &webhook.target;
    let checksum = request_checksum(webhook.method, &target.path_and_query, &target.authority, rendered.stable());
    let cause = CauseDigest::new(&handler.name, checksum);

    // The look before the reservation keeps a flood, most of which is suppressed or finds the table full, from
    // writing anything.
    let cools_down = webhook.event_timeout_ms > 0;
    if cools_down && cooldown::is_claimed(host, cause, now).unwrap_or(false) {
        host.count(Metric::Suppressed);
        return;
    }
    let slot = match outbox::reserve(host, room(config.delivery.capacity, event.kind)) {
        Ok(slot) => slot,
        Err(error) => {
            host.count(Metric::Dropped);
            if error != ReserveError::Full || event.kind == EventKind::TriggerExceeded {
                log::error!("{}: {} {} is dropped: {error}", handler.name, event.kind.name(), event.id);
            }
            return;
        }
    };
    let claim = if cools_down { cooldown::claim(host, cause, webhook.event_timeout_ms, now) } else { Ok(None) };
    let claim = match claim {
        Ok(None) if cools_down => {
            host.count(Metric::Suppressed);
            if let Err(error) = outbox::free(host, slot) {
                log::error!("slot {} stays taken for a while: {error}", slot.0);
            }
            return;
        }
        Ok(claim) => claim,
        Err(error) => {
            log::error!("{}: {} {} goes out without a cool-down: {error}", handler.name, event.kind.name(), event.id);
            None
        }
    };
    let delivery = Delivery {
        id: event.id.clone(),
        event: event.kind.name().to_owned(),
        handler: handler.name.clone(),
        claim,
        cluster: target.cluster.clone(),
        headers: request_headers(webhook),
        body: if webhook.has_body() { rendered.body } else { String::new() },
        timeout_ms: config.delivery.timeout_ms,
        attempts: 0,
        due: now.0,
    };
    if let Err(error) = outbox::fill(host, slot, &delivery) {
        host.count(Metric::Dropped);
        log::error!("{}: {} {} is dropped: {error}", handler.name, event.kind.name(), event.id);
        // Where the host refuses one write, it may refuse these too; the claim then ends by itself.
        let _ = delivery.claim.map(|claim| cooldown::release(host, &claim));
        let _ = outbox::free(host, slot);
    } else if let Err(error) = host.wake(&slot.0.to_le_bytes()) {
        log::debug!("{} {} waits for the dispatcher's next tick: {error}", event.kind.name(), event.id);
    }
}

/// The slots that an event may take. A crossing never comes again, so an eighth of the table is kept for them: clients
/// can fill the rest.
fn room(capacity: u32, kind: EventKind) -> u32 {
    match kind {
        EventKind::TriggerExceeded => capacity,
        _ => capacity.saturating_sub(capacity / 8).max(1),
    }
}

fn request_headers(webhook: &Webhook) -> Vec<(String, String)> {
    let target = &webhook.target;
    let pseudo = [
        (":method", webhook.method),
        (":path", target.path_and_query.as_str()),
        (":authority", target.authority.as_str()),
        (":scheme", target.scheme),
    ];
    let pseudo = pseudo.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    pseudo.chain(webhook.headers.iter().cloned()).collect()
}

/// Ids for events: the VM's start in milliseconds, a salt, the VM's number and a running number, in hex.
#[derive(Debug)]
struct EventIds {
    vm: u64,
    started: UnixMillis,
    salt: u64,
    made: u64,
}

impl EventIds {
    fn next(&mut self) -> String {
        self.made = self.made.saturating_add(1);
        format!("{:011x}{:08x}{:04x}{:08x}", self.started.0, self.salt & 0xffff_ffff, self.vm, self.made)
    }
}
