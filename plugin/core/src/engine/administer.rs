//! Handles requests to the admin endpoints.

use serde_json::{Value, json};

use super::Engine;
use super::exchanges::Phase;
use super::request::Decision;
use crate::access::{AUTH_FAILURE, Answer, Caller, Charge, Counters, Readings, Request, RequestOutcome};
use crate::admin::{Command, MAX_BODY_BYTES, endpoints, resend, status};
use crate::base::UnixMillis;
use crate::event::EventKind;
use crate::host::{Host, Stream, StreamId};
use crate::notify::{Incident, MessageOutcome, Scene};

/// The period in which one AuthFailure reports all wrong tokens.
const ADMIN_FAILURES_MS: u64 = 60_000;

impl<C: Counters> Engine<C> {
    #[cold]
    #[inline(never)]
    pub(super) fn administer(
        &mut self,
        host: &impl Host,
        stream: StreamId,
        (request, readings): (&Request<'_>, &Readings<'_>),
        now: UnixMillis,
    ) -> Decision {
        let Some((admin, api)) = &self.admin else { return Decision::UNTOUCHED };
        if let Some(answer) = admin.page(request, readings) {
            return Decision::Refuse(answer);
        }
        if !admin.allows(request) {
            let kind = EventKind::AuthFailure;
            let incident = Incident::Refusal { kind, message: AUTH_FAILURE, outcome: RequestOutcome::UnknownKey };
            let scene = Scene { api, request, caller: &Caller::anonymous(None), is_observed: false };
            let once = ("admin", ADMIN_FAILURES_MS);
            self.notifier.notify_once(host, &self.notifications, once, &scene, incident, now);
            return Decision::Refuse(endpoints::unauthorised());
        }
        match admin.command(request, readings) {
            Err(answer) => Decision::Refuse(answer),
            Ok(Command::Status { offset, limit }) => {
                Decision::Refuse(endpoints::answer(200, &self.status(host, (offset, limit), now)))
            }
            Ok(Command::Events) => Decision::Collect,
            Ok(Command::Resend(id)) => Decision::Refuse(resend::resend(host, &self.notifications, &id, now)),
            Ok(Command::TestWebhook(name)) => match self.named.get(&name) {
                Some(target) => match self.tests.begin(host, stream, &name, target, &self.http_cluster, now) {
                    Some(answer) => Decision::Refuse(answer),
                    None => Decision::AwaitTest,
                },
                None => {
                    let known: Vec<&String> = self.named.keys().collect();
                    let body = json!({ "error": format!("no webhook has the name {name:?}"), "webhooks": known });
                    Decision::Refuse(endpoints::answer(404, &body))
                }
            },
        }
    }

    fn status(&self, host: &impl Host, page: (usize, usize), now: UnixMillis) -> Value {
        let Engine { access, directory, notifications, named, .. } = self;
        let usages = |charge: &Charge<'_>| self.counters.usages(host, charge, now);
        let store = self.counters.store(host, now);
        let store = store.as_ref();
        let shown = status::Shown { access, directory, usages: &usages };
        status::status(host, &status::Scope { shown, notifications, named, store }, page, now)
    }

    /// Answers a request whose body is complete or too long; `size` is its length.
    pub(super) fn end_collecting(&mut self, host: &impl Host, stream: &impl Stream, size: usize) {
        self.exchanges.hold(stream.id(), Phase::Held);
        let body = if size <= MAX_BODY_BYTES { stream.request_body(size) } else { Vec::new() };
        stream.answer(&self.on_posted(host, &body, size));
    }

    pub(super) fn on_posted(&mut self, host: &impl Host, body: &[u8], size: usize) -> Answer {
        let now = host.now_or_epoch();
        let Some((_, api)) = &self.admin else { return endpoints::unauthorised() };
        let occurrences = match endpoints::posted_events(body, size, now) {
            Ok(occurrences) => occurrences,
            Err(answer) => return answer,
        };
        let to = (&self.notifications, &self.directory);
        let outcomes: Vec<Vec<MessageOutcome>> = occurrences
            .iter()
            .map(|occurrence| self.notifier.notify_management(host, to, api, occurrence, now))
            .collect();
        endpoints::accepted(&outcomes)
    }
}
