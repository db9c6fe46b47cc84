//! Makes an event of an incident, and passes it to each handler.

use crate::access::{Api, Notice};
use crate::base::UnixMillis;
use crate::event::Event;
use crate::host::{Host, Metric};
use crate::notify::admission::{HeldBack, Repeats};
use crate::notify::incident::{Incident, Scene, crossed, kind_of, meta, quota_meta, subject};
use crate::notify::{Notifications, admission, report};

/// Makes events, and holds their messages for delivery.
#[derive(Debug)]
pub struct Notifier {
    pub(super) ids: EventIds,
    repeats: Repeats,
}

impl Notifier {
    /// `now` and `salt` make the event ids of this process unique.
    pub fn new(vm: u64, now: UnixMillis, salt: u64) -> Self {
        Notifier { ids: EventIds { vm, started: now, salt, made: 0 }, repeats: Repeats::default() }
    }

    /// Forgets which events are held back, because another VM may have released a claim.
    pub fn forget_repeats(&mut self) {
        self.repeats.clear();
    }

    /// Passes each incident to its handlers. Failures are logged and counted; they never change the answer to the
    /// request.
    #[cold]
    #[inline(never)]
    pub fn notify_all(
        &mut self,
        host: &impl Host,
        notifications: &Notifications,
        scene: &Scene<'_>,
        incidents: &[Incident],
        now: UnixMillis,
    ) {
        for incident in incidents {
            self.notify(host, notifications, scene, incident, now);
        }
    }

    /// Passes at most one incident of a cause to its handlers within the given milliseconds, whatever their cool-downs
    /// are.
    pub fn notify_once(
        &mut self,
        host: &impl Host,
        notifications: &Notifications,
        (cause, period_ms): (&str, u64),
        scene: &Scene<'_>,
        incident: Incident,
        now: UnixMillis,
    ) {
        if admission::is_first(host, cause, period_ms, now) {
            self.notify_all(host, notifications, scene, &[incident], now);
        }
    }

    /// Passes what the store of a fleet has reported of a quota to the handlers of its API.
    #[cold]
    #[inline(never)]
    pub fn notify_quota(
        &self,
        host: &impl Host,
        notifications: &Notifications,
        api: &Api,
        notice: Notice,
        now: UnixMillis,
    ) {
        let Notice { id, owner, news } = notice;
        let kind = kind_of(news.change);
        host.count(kind.metric());
        let (fingerprint, of_caller) = (owner.fingerprint.clone(), owner.subject);
        let meta = quota_meta(owner, news);
        let crossed = Some(Box::new(crossed(&meta, of_caller, news)));
        let event = Event { kind, id, at: now, meta, fingerprint, management: None, crossed };
        report::notify_handlers(host, notifications, api.handlers(kind), &event, api, now);
    }

    fn notify(
        &mut self,
        host: &impl Host,
        notifications: &Notifications,
        scene: &Scene<'_>,
        incident: &Incident,
        now: UnixMillis,
    ) {
        let kind = incident.kind();
        host.count(kind.metric());
        let handlers = scene.api.handlers(kind);
        if handlers.is_empty() && !report::is_wanted() {
            return;
        }
        // This costs a hostcall, and quotas do not need it.
        let of_quota = incident.of_quota();
        let origin =
            if of_quota.is_none() { scene.request.origin(&notifications.origin_headers) } else { String::new() };
        if let Some(messages) = self.repeats.held_back(scene, incident, &origin, now) {
            host.add(Metric::Suppressed, messages);
            report::repeat(notifications, scene, kind);
            return;
        }
        let mut event = Event {
            kind,
            id: self.ids.next(),
            at: now,
            meta: meta(notifications.hash_keys, scene, incident, &origin),
            fingerprint: scene.caller.fingerprint(),
            management: None,
            crossed: None,
        };
        if let Some(news) = of_quota {
            event.crossed = Some(Box::new(crossed(&event.meta, subject(scene.caller), news)));
        }
        let mut held_back = HeldBack::default();
        for outcome in report::notify_handlers(host, notifications, handlers, &event, scene.api, now) {
            held_back.add(outcome);
        }
        self.repeats.remember(&held_back, now);
    }
}

/// Ids of events: the VM's start in milliseconds, a salt, the VM's number and a running number, in hex.
#[derive(Debug)]
pub(super) struct EventIds {
    vm: u64,
    started: UnixMillis,
    salt: u64,
    made: u64,
}

impl EventIds {
    pub(super) fn next(&mut self) -> String {
        self.made = self.made.saturating_add(1);
        format!("{:011x}{:08x}{:04x}{:08x}", self.started.0, self.salt & 0xffff_ffff, self.vm, self.made)
    }
}
