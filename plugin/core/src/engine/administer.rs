//! Requests to the endpoints that the filter answers itself.

use serde_json::json;

use super::{Decision, Engine};
use crate::admin::{self, Command};
use crate::answer::{AUTH_FAILURE, Answer, Outcome};
use crate::caller::Caller;
use crate::connection_test::StreamId;
use crate::cooldown::{self, CauseDigest};
use crate::event::EventKind;
use crate::message::Fate;
use crate::notify::{Occurrence, Scene};
use crate::paths::Readings;
use crate::ports::Host;
use crate::request::Request;
use crate::units::UnixMillis;

/// How long one AuthFailure tells of all wrong tokens.
const ADMIN_FAILURES_MS: u64 = 60_000;

impl Engine {
    #[cold]
    #[inline(never)]
    pub(super) fn administer(
        &mut self,
        host: &impl Host,
        stream: StreamId,
        (request, readings): (&Request<'_>, &Readings<'_>),
        now: UnixMillis,
    ) -> Decision {
        let config = &self.config;
        let Some((admin, api)) = &config.admin else { return Decision::UNTOUCHED };
        if !admin.allows(request) {
            // One event tells of any number of tries.
            let cause = CauseDigest::new("admin", 0, [0; 16]);
            if matches!(cooldown::claim(host, cause, ADMIN_FAILURES_MS, now), Ok(Some(_))) {
                let occurrence = Occurrence::Refusal {
                    kind: EventKind::AuthFailure,
                    message: AUTH_FAILURE,
                    outcome: Outcome::UnknownKey,
                };
                let scene = Scene { api, request, caller: &Caller::nobody(None) };
                self.notifier.notify_all(host, config, &scene, &[occurrence], now);
            }
            return Decision::Refuse(admin::unauthorised());
        }
        match admin.command(request, readings) {
            Err(answer) => Decision::Refuse(answer),
            Ok(Command::Status { offset, limit }) => {
                Decision::Refuse(admin::answer(200, &admin::status(host, config, (offset, limit), now)))
            }
            Ok(Command::Events) => Decision::Collect,
            Ok(Command::TestWebhook(name)) => match config.named.get(&name) {
                Some(target) => match self.tests.begin(host, stream, &name, target, &config.http_cluster, now) {
                    Some(answer) => Decision::Refuse(answer),
                    None => Decision::Await,
                },
                None => {
                    let known: Vec<&String> = config.named.keys().collect();
                    let body = json!({ "error": format!("no webhook has the name {name:?}"), "webhooks": known });
                    Decision::Refuse(admin::answer(404, &body))
                }
            },
        }
    }

    /// The body of a request for [`Decision::Collect`], of so many bytes, of which those beyond
    /// [`admin::MAX_BODY_BYTES`] are not there.
    pub fn on_admin_body(&mut self, host: &impl Host, body: &[u8], size: usize, now: UnixMillis) -> Answer {
        let config = &self.config;
        let Some((_, api)) = &config.admin else { return admin::unauthorised() };
        let occurrences = match admin::posted_events(body, size, now) {
            Ok(occurrences) => occurrences,
            Err(answer) => return answer,
        };
        let told: Vec<Vec<Fate>> = occurrences
            .iter()
            .map(|occurrence| self.notifier.notify_management(host, config, api, occurrence, now))
            .collect();
        admin::told(&told)
    }
}
