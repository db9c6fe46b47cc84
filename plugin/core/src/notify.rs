//! From something that happened to an event and its handlers.

use crate::answer::{AUTH_FAILURE, Outcome, RATE_LIMITED};
use crate::caller::Caller;
use crate::config::Config;
use crate::event::{Crossed, Event, EventKind, HostInfo, HostPlace, Management, Meta, Subject, client_text};
use crate::handler::{Action, Handler};
use crate::manage;
use crate::message::{Fate, Message};
use crate::metrics::Metric;
use crate::ports::Host;
use crate::quota::{Crossing, Scope};
use crate::repeats::{HeldBack, Repeats};
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
        message: &'static str,
        /// Why.
        outcome: Outcome,
    },
    /// Somebody else refused a request.
    Observed {
        /// As what.
        kind: EventKind,
        /// The event's message.
        message: &'static str,
        /// Why, in the proxy's words.
        reason: String,
    },
    /// The proxy's verdict on the upstream changed.
    Verdict {
        /// To what.
        kind: EventKind,
        /// The status of the response that showed it.
        status: u16,
    },
    /// A quota's usage crossed a threshold.
    Crossing(Crossing),
}

impl Occurrence {
    /// What a response of somebody else's is, by its status.
    pub fn of_status(status: u16, reason: &str) -> Option<Self> {
        let (kind, message) = match status {
            401 | 403 => (EventKind::AuthFailure, AUTH_FAILURE),
            429 => (EventKind::RatelimitExceeded, RATE_LIMITED),
            _ => return None,
        };
        Some(Occurrence::Observed { kind, message, reason: client_text(reason.as_bytes()) })
    }

    /// The type of its event.
    pub fn kind(&self) -> EventKind {
        match self {
            Occurrence::Refusal { kind, .. } | Occurrence::Observed { kind, .. } | Occurrence::Verdict { kind, .. } => {
                *kind
            }
            Occurrence::Crossing(_) => EventKind::TriggerExceeded,
        }
    }
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
    repeats: Repeats,
}

impl Notifier {
    /// See [`crate::engine::Engine::new`].
    pub fn new(vm: u64, now: UnixMillis, salt: u64) -> Self {
        Notifier { ids: EventIds { vm, started: now, salt, made: 0 }, repeats: Repeats::default() }
    }

    /// Forgets which events are held back: another VM may have released a claim.
    pub fn forget_repeats(&mut self) {
        self.repeats.clear();
    }

    /// Tells every handler of each. Whatever fails is logged and counted, and changes nothing for the request.
    #[cold]
    #[inline(never)]
    pub fn notify_all(
        &mut self,
        host: &impl Host,
        config: &Config,
        scene: &Scene<'_>,
        occurrences: &[Occurrence],
        now: UnixMillis,
    ) {
        for occurrence in occurrences {
            self.notify(host, config, scene, occurrence, now);
        }
    }

    fn notify(
        &mut self,
        host: &impl Host,
        config: &Config,
        scene: &Scene<'_>,
        occurrence: &Occurrence,
        now: UnixMillis,
    ) {
        let kind = occurrence.kind();
        host.count(Metric::Events(kind));
        let handlers = scene.api.handlers(kind);
        if handlers.is_empty() {
            return;
        }
        // It costs a hostcall, and a threshold has none.
        let is_of_request = !matches!(occurrence, Occurrence::Crossing(_));
        let origin = if is_of_request { scene.request.origin(&config.origin_headers) } else { String::new() };
        if let Some(messages) = self.repeats.held_back(scene, occurrence, &origin, now) {
            host.add(Metric::Suppressed, messages);
            return;
        }
        let mut event = Event {
            kind,
            id: self.ids.next(),
            at: now,
            meta: meta(config, scene, occurrence, &origin),
            fingerprint: scene.caller.fingerprint(),
            management: None,
            crossed: None,
        };
        if let Occurrence::Crossing(crossing) = occurrence {
            event.crossed = Some(Box::new(crossed(&event.meta, scene.caller, *crossing)));
        }
        let mut held_back = HeldBack::default();
        for handler in handlers.iter().filter_map(|index| config.handlers.get(*index)) {
            held_back.add(tell(host, config, handler, &event, scene.api, now));
        }
        self.repeats.remember(&held_back, now);
    }
}

impl Notifier {
    /// Tells every handler of a management event: those of the API that it was seen on, or of all APIs, and those that
    /// the organisation has named. Returns what became of it at each.
    pub fn notify_management(
        &mut self,
        host: &impl Host,
        config: &Config,
        api: &Api,
        occurrence: &manage::Occurrence,
        now: UnixMillis,
    ) -> Vec<Fate> {
        let kind = EventKind::Management(occurrence.kind);
        host.count(Metric::Events(kind));
        let api_org = config.directory.org(api.org).map(|org| org.id.as_str());
        let is_known = |id: &str| config.directory.org_index(id).is_some();
        let org = occurrence.org_id.or(api_org, is_known).unwrap_or_default();
        let of_org = config.org_handlers.get(org).and_then(|lists| lists.get(kind.index()));
        let handlers: Vec<_> = api.handlers(kind).iter().chain(of_org.into_iter().flatten()).collect();
        if handlers.is_empty() {
            return Vec::new();
        }
        let body = occurrence.body(now);
        if body.len() > MAX_MANAGEMENT_BYTES {
            host.count(Metric::Failed);
            log::error!("{} of {org:?}: {} bytes are too many for a message", occurrence.name(), body.len());
            return vec![Fate::Failed; handlers.len()];
        }
        let event = Event {
            kind,
            id: self.ids.next(),
            at: now,
            meta: Meta {
                message: occurrence.name(),
                org_id: org.to_owned(),
                org: org.to_owned(),
                api_id: api.id.clone(),
                ..Meta::default()
            },
            fingerprint: String::new(),
            management: Some(Box::new(Management {
                name: occurrence.name(),
                action: occurrence.action.map_or("", manage::Action::name),
                body,
                stable: occurrence.stable_body(),
                payload: occurrence.payload.clone(),
                concerned: occurrence.concerned.clone(),
            })),
            crossed: None,
        };
        let handlers = handlers.iter().filter_map(|index| config.handlers.get(**index));
        handlers.map(|handler| tell(host, config, handler, &event, api, now)).collect()
    }
}

/// Hands one event to one handler.
fn tell(host: &impl Host, config: &Config, handler: &Handler, event: &Event, api: &Api, now: UnixMillis) -> Fate {
    let message = |webhook, to| Message { host, config, handler, webhook, to, event, now };
    match &handler.action {
        Action::Log { prefix } => {
            log_event(prefix, api, event);
            Fate::Taken
        }
        Action::Webhook(webhook) => message(webhook, None).hold(),
        Action::Email(email) => message(&email.carried_by, Some(&email.to)).hold(),
    }
}

/// A management event that says more is not sent: what is held takes memory until it is delivered.
const MAX_MANAGEMENT_BYTES: usize = 256 * 1024;

fn meta(config: &Config, scene: &Scene<'_>, occurrence: &Occurrence, origin: &str) -> Meta {
    let Scene { api, request, caller } = scene;
    let about = caller.about().cloned().unwrap_or_default();
    let base = Meta {
        org_id: caller.org_id().to_owned(),
        org: caller.org_id().to_owned(),
        api_id: api.id.clone(),
        alias: about.alias,
        tags: about.tags,
        meta_data: about.meta_data,
        ..Meta::default()
    };
    let of_request = |message: &str, key: String, base: Meta| Meta {
        message: message.to_owned(),
        path: client_text(request.path()),
        origin: client_text(origin.as_bytes()),
        key,
        ..base
    };
    let key_text = || caller.key_text(config.hash_keys);
    match occurrence {
        Occurrence::Refusal { message, outcome, .. } => {
            let key = match outcome {
                Outcome::OrgQuotaExceeded | Outcome::OrgRateLimited => caller.org_id().to_owned(),
                // As Tyk names the limit of an API.
                Outcome::ApiRateLimited => format!("apilimiter-{}{}", caller.org_id(), api.id),
                _ => key_text(),
            };
            // As Tyk says why a version is refused.
            let is_reason = occurrence.kind() == EventKind::VersionFailure;
            let reason = outcome.refusal().filter(|_| is_reason).map(|(_, text)| text.to_owned());
            Meta { reason: reason.unwrap_or_default(), ..of_request(message, key, base) }
        }
        Occurrence::Observed { message, reason, .. } => {
            Meta { reason: reason.clone(), ..of_request(message, key_text(), base) }
        }
        Occurrence::Verdict { kind, status } => {
            let (message, circuit_event) = match kind {
                EventKind::HostDown => ("Uptime test failed", ""),
                EventKind::HostUp => ("Uptime test succeeded", ""),
                EventKind::BreakerReset => ("Breaker Reset", "1"),
                _ => ("Breaker Tripped", "0"),
            };
            let cluster = request.text_property("xds\0cluster_name").unwrap_or_default();
            let host_info = HostInfo {
                check_url: client_text(request.path()),
                response_code: *status,
                is_tcp_error: *kind == EventKind::HostDown,
                meta_data: HostPlace { host_name: cluster.clone(), api_id: api.id.clone() },
            };
            let circuit_event = circuit_event.to_owned();
            Meta { circuit_event, cluster, host_info, ..of_request(message, String::new(), base) }
        }
        Occurrence::Crossing(crossing) => {
            let key = if crossing.scope == Scope::KeyQuota { key_text() } else { String::new() };
            Meta {
                tags: base.tags,
                meta_data: base.meta_data,
                alias: base.alias,
                api_id: base.api_id,
                ..Meta::trigger(&base.org_id, &key, crossing.limit, crossing.count, crossing.max)
            }
        }
    }
}

fn crossed(meta: &Meta, caller: &Caller<'_>, crossing: Crossing) -> Crossed {
    Crossed {
        subject: match crossing.scope {
            Scope::OrgQuota | Scope::OrgRate => Subject::Organisation,
            _ if caller.has_session() => Subject::Key,
            _ => Subject::Identity,
        },
        key: meta.key.clone(),
        alias: meta.alias.clone(),
        org_id: meta.org_id.clone(),
        api_id: meta.api_id.clone(),
        trigger_limit: meta.trigger_limit.clone(),
        used: crossing.count,
        max: crossing.max,
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
        "reason": event.meta.reason,
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
