//! Streams that wait: for a connection test, for a body, or for the store that counts them.

use super::Engine;
use super::exchanges::Phase;
use super::request::{Decision, Waited};
use crate::access::{ChargeResult, Counters, Request};
use crate::admin::{BODY_PATIENCE_MS, endpoints};
use crate::base::UnixMillis;
use crate::delivery::outbox;
use crate::host::{Host, StoreError, Stream, StreamId, Streams};

impl<C: Counters> Engine<C> {
    /// Answers or resumes the streams whose answer or charge has arrived.
    pub(super) fn answer_waiting(&mut self, host: &impl Host, streams: &impl Streams, now: UnixMillis) {
        for (id, answer) in std::mem::take(&mut self.answers) {
            let Some(exchange) = self.exchanges.get(id).filter(|exchange| matches!(exchange.phase, Phase::AwaitsTest))
            else {
                continue;
            };
            exchange.phase = Phase::Held;
            if let Some(stream) = streams.enter(id) {
                stream.answer(&answer);
            }
        }
        for notice in self.counters.take_notices() {
            let api = self.access.routes.iter().find(|(_, api)| api.id == notice.owner.api_id);
            // Two VMs of this process can get the same notice.
            if let Some((_, api)) = api
                && !outbox::all(host).any(|held| held.id().starts_with(&notice.id))
            {
                self.notifier.notify_quota(host, &self.notifications, api, notice, now);
            }
        }
        for (id, charged) in self.counters.take_settled() {
            self.resume(host, streams, id, charged, now);
        }
    }

    /// Ends streams that have waited too long: a request for its charge, or an admin request for a body that the proxy
    /// does not pass on.
    pub(super) fn give_up_waiting(&mut self, host: &impl Host, streams: &impl Streams, now: UnixMillis) {
        if self.exchanges.is_empty() {
            return;
        }
        let patience_ms = self.counters.patience_ms();
        let late = self
            .exchanges
            .find(|phase| matches!(phase, Phase::AwaitsCharge { since, .. } if now.since(*since) >= patience_ms));
        for id in late {
            self.counters.forget(id);
            self.resume(host, streams, id, Err(StoreError::Late), now);
        }
        let without_body = self.exchanges.find(
            |phase| matches!(phase, Phase::Collecting { since, size: None } if now.since(*since) >= BODY_PATIENCE_MS),
        );
        for id in without_body {
            self.exchanges.hold(id, Phase::Held);
            if let Some(stream) = streams.enter(id) {
                stream.answer(&endpoints::no_body());
            }
        }
    }

    /// Decides on a request that waited for its charge.
    fn resume(
        &mut self,
        host: &impl Host,
        streams: &impl Streams,
        id: StreamId,
        charged: ChargeResult,
        now: UnixMillis,
    ) {
        let Some(exchange) = self.exchanges.get(id) else { return };
        let (headers, earlier) = match std::mem::replace(&mut exchange.phase, Phase::Held) {
            Phase::AwaitsCharge { headers, earlier, .. } => (headers, earlier),
            other => {
                exchange.phase = other;
                return;
            }
        };
        let Some(stream) = streams.enter(id) else { return };
        let decision = {
            let pairs = headers.pairs();
            let request = Request { headers: &pairs, property: &|path| stream.property(path) };
            self.judge_again(host, &stream, &request, now, Some(Waited { charged, earlier }))
        };
        match decision {
            Decision::Continue { changes, followup } => {
                if stream.change_request(&changes).is_err() {
                    self.refuse_unseen(&stream);
                    return;
                }
                match followup {
                    Some(followup) => self.exchanges.remember(id, followup, headers),
                    None => drop(self.exchanges.remove(id)),
                }
                stream.resume_request();
            }
            Decision::Refuse(answer) => stream.answer(&answer),
            // A charged request is not for an admin endpoint, and is not charged again.
            Decision::Collect | Decision::AwaitTest | Decision::AwaitCharge(_) => {
                self.refuse_unseen(&stream);
            }
        }
    }
}
