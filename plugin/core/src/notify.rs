//! From something that happened to an event and its handlers.

use crate::config::Config;
use crate::engine::Caller;
use crate::event::{Event, EventKind, Meta, client_text};
use crate::handler::Action;
use crate::message::Message;
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
        for handler in handlers.iter().filter_map(|index| config.handlers.get(*index)) {
            match &handler.action {
                Action::Log { prefix } => log_event(prefix, scene.api, &event),
                Action::Webhook(webhook) => {
                    Message { host, config, handler: &handler.name, webhook, event: &event, now }.hold();
                }
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
