//! The answer to `GET status`. It contains no secret: a key appears as its fingerprint, and a target as its host.

use litemap::LiteMap;
use serde_json::Value;

use crate::access::{Access, AllowanceScope, Caller, Charge, Directory, LimitScope, Limits, Session, StoreView, Usage};
use crate::base::{UnixMillis, object};
use crate::delivery::{Delivery, Held, Target, Tried, disabled, failed, outbox, tried};
use crate::host::Host;
use crate::notify::Notifications;

/// The maximum number of held messages that are shown.
const MAX_HELD: usize = 100;

/// The parts that show the use of limits.
#[derive(Clone, Copy)]
pub struct Shown<'e> {
    pub access: &'e Access,
    /// Sessions and organisations.
    pub directory: &'e Directory,
    /// The usage of limits.
    pub usages: &'e dyn Fn(&Charge<'_>) -> Vec<(LimitScope, Usage)>,
}

/// The parts of the status.
#[derive(Clone, Copy)]
pub struct Scope<'e> {
    pub shown: Shown<'e>,
    /// Handlers and messages.
    pub notifications: &'e Notifications,
    /// The targets of named webhooks.
    pub named: &'e LiteMap<String, Target>,
    /// The store of a fleet.
    pub store: Option<&'e StoreView>,
}

/// The answer, with `limit` sessions from the one at `offset`.
pub fn status(host: &impl Host, scope: &Scope<'_>, (offset, limit): (usize, usize), now: UnixMillis) -> Value {
    let Scope { shown: scope, notifications, named, store } = scope;
    let directory = scope.directory;
    let sessions: Vec<Value> =
        directory.sessions().skip(offset).take(limit).map(|session| shown_session(scope, session)).collect();
    let organisations: Vec<Value> = directory
        .orgs()
        .map(|org| {
            let caller = Caller::anonymous(Some(org));
            let limits = shown((scope.usages)(&caller.org_charge()));
            let id = org.id.as_str().into();
            object(&mut [("id", id), ("is_inactive", org.is_inactive.into()), ("limits", limits.into())])
        })
        .collect();
    let held = outbox::taken(host).map(|slots| slots.len());
    let deliveries = object(&mut [
        ("held", held.ok().into()),
        ("capacity", notifications.delivery.capacity.into()),
        ("messages", held_messages(host, notifications, now)),
    ]);
    let webhook = |(name, target): (&String, &Target)| {
        object(&mut [("name", name.as_str().into()), ("host", target.authority.as_str().into())])
    };
    let (targets, disabled) = targets(host, notifications);
    let mut status = object(&mut [
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("time", now.to_rfc3339().into()),
        ("observed", observed(scope.access)),
        ("keys", sessions.into()),
        ("keys_total", directory.len().into()),
        ("organisations", organisations.into()),
        ("deliveries", deliveries),
        ("failed", failed_messages(host, notifications)),
        ("disabled_targets", disabled.into()),
        ("targets", targets.into()),
        ("webhooks", named.iter().map(webhook).collect()),
    ]);
    if let Some((store, status)) = store.zip(status.as_object_mut()) {
        status.insert("store".to_owned(), shown_store(store));
    }
    status
}

/// The ids of the APIs whose refusals are only observed.
fn observed(access: &Access) -> Value {
    access.routes.iter().filter(|(_, api)| api.is_observed).map(|(_, api)| Value::from(api.id.as_str())).collect()
}

fn shown_store(store: &StoreView) -> Value {
    let calls = object(&mut [
        ("answered", store.calls.into()),
        ("mean_ms", store.mean_ms.into()),
        ("longest_ms", store.longest_ms.into()),
    ]);
    object(&mut [
        ("cluster", store.cluster.as_str().into()),
        ("is_answering", (store.failures == 0).into()),
        ("last_answer", (store.last_answer.0 > 0).then(|| store.last_answer.to_rfc3339()).into()),
        ("failures", store.failures.into()),
        ("trouble", store.trouble.as_str().into()),
        ("members", store.members.into()),
        ("calls", calls),
        ("leases", store.leases.into()),
        ("stock", store.stock.into()),
        ("waiting", store.waiting.into()),
    ])
}

/// A session with the use of its limits.
pub fn shown_session(scope: &Shown<'_>, session: &Session) -> Value {
    let Shown { access, directory, usages } = *scope;
    let caller = Caller::of_session(directory, session);
    let own = (String::new(), AllowanceScope::default(), &session.plan.limits);
    let of_rights = session.plan.rights.iter().flatten();
    let rights = of_rights.filter_map(|(api, right)| Some((api.clone(), right.scope, right.limits.as_ref()?)));
    let limits = std::iter::once(own).chain(rights).flat_map(|(api, scope, limits): (String, _, &Limits)| {
        let mut shown = shown(usages(&caller.key_charge(access, scope, limits)));
        if !api.is_empty() {
            let fields = shown.iter_mut().filter_map(Value::as_object_mut);
            fields.for_each(|fields| drop(fields.insert("api".to_owned(), api.as_str().into())));
        }
        shown
    });
    object(&mut [
        ("key", session.hash.fingerprint().into()),
        ("alias", session.about.as_ref().map_or("", |about| about.alias.as_str()).into()),
        ("org", caller.org_id().into()),
        ("is_inactive", session.is_inactive.into()),
        ("expires", session.expires.map(UnixMillis::to_rfc3339).into()),
        ("limits", limits.collect()),
    ])
}

/// Limits as JSON.
pub fn shown(usages: Vec<(LimitScope, Usage)>) -> Vec<Value> {
    let limit = |(scope, usage): (LimitScope, Usage)| {
        object(&mut [
            ("limit", if scope.is_rate() { "rate" } else { "quota" }.into()),
            ("max", usage.max.into()),
            ("used", usage.count.into()),
            ("remaining", usage.remaining().into()),
            ("renews", usage.renews.map(UnixMillis::to_rfc3339).into()),
        ])
    };
    usages.into_iter().map(limit).collect()
}

/// The first held messages of this configuration and its predecessors.
fn held_messages(host: &impl Host, notifications: &Notifications, now: UnixMillis) -> Value {
    let line = notifications.placement.line;
    let slots = outbox::taken_by(host, line).unwrap_or_default().into_iter();
    let held = slots.filter_map(|(slot, _)| outbox::held(host, slot).ok().flatten());
    held.filter(|held| held.origin().line == line).take(MAX_HELD).map(|held| shown_held(&held, now)).collect()
}

fn shown_held(held: &Held, now: UnixMillis) -> Value {
    match held {
        Held::Message(delivery) => shown_message(delivery, ("due", delivery.due(now))),
        Held::Tally(tally) => object(&mut [
            ("id", tally.id.as_str().into()),
            ("event", tally.event.as_str().into()),
            ("handler", tally.handler.name.as_str().into()),
            ("counts", tally.suppressed.into()),
            ("since", UnixMillis(tally.first).to_rfc3339().into()),
            ("due", tally.due(now).to_rfc3339().into()),
        ]),
    }
}

/// The messages that can be sent again, the latest first.
fn failed_messages(host: &impl Host, notifications: &Notifications) -> Value {
    let kept = failed::all(host).unwrap_or_default();
    let own = kept.iter().filter(|bare| bare.origin.line == notifications.placement.line);
    own.map(|bare| shown_message(bare, ("failed", UnixMillis(bare.decided)))).collect()
}

fn shown_message(delivery: &Delivery, (name, time): (&str, UnixMillis)) -> Value {
    let tried = delivery.tried.iter().map(|tried| shown_tried(Tried::unpack(*tried)));
    object(&mut [
        ("id", delivery.id.as_str().into()),
        ("event", delivery.event.as_str().into()),
        ("handler", delivery.handler.name.as_str().into()),
        ("host", delivery.target.authority.as_str().into()),
        ("attempts", delivery.attempts.into()),
        ("tried", tried.collect()),
        ("since", UnixMillis(delivery.since).to_rfc3339().into()),
        (name, time.to_rfc3339().into()),
    ])
}

fn shown_tried(tried: Tried) -> Value {
    object(&mut [
        ("time", tried.at.to_rfc3339().into()),
        ("outcome", tried.label().into()),
        ("status", tried.status.into()),
        ("took_ms", tried.took_ms.into()),
    ])
}

/// The targets of this configuration, each with the handlers that use it and its last attempt; and the handlers whose
/// target answered 410.
fn targets(host: &impl Host, notifications: &Notifications) -> (Vec<Value>, Vec<Value>) {
    let gone = disabled::disabled(host).unwrap_or_default();
    let last = tried::last(host).unwrap_or_default();
    let mut targets: Vec<(&Target, Vec<Value>)> = Vec::new();
    let mut disabled = Vec::new();
    for handler in notifications.handlers.iter() {
        let Some(channel) = handler.action.channel() else { continue };
        let (target, name) = (&channel.target, Value::from(handler.name.as_str()));
        if gone.contains(notifications.placement.id, target.endpoint) {
            disabled.push(object(&mut [("handler", name.clone()), ("host", target.authority.as_str().into())]));
        }
        match targets.iter_mut().find(|(known, _)| known.endpoint == target.endpoint) {
            Some((_, handlers)) => handlers.push(name),
            None => targets.push((target, vec![name])),
        }
    }
    let shown = |(target, handlers): (&Target, Vec<Value>)| {
        object(&mut [
            ("host", target.authority.as_str().into()),
            ("handlers", handlers.into()),
            ("is_disabled", gone.contains(notifications.placement.id, target.endpoint).into()),
            ("last", last.of(target.endpoint).map_or(Value::Null, shown_tried)),
        ])
    };
    (targets.into_iter().map(shown).collect(), disabled)
}
