//! What happens to a message after an attempt.

use crate::base::UnixMillis;
use crate::delivery::dispatcher::{Attempt, REPLY_PATIENCE_MS};
use crate::delivery::{
    Author, Delivery, DeliveryOutcome, Dispatcher, Failure, Held, Slot, Tried, disabled, failed, outbox, tried,
};
use crate::host::{CalloutId, CalloutRefused, Host, Metric, TICK_MS};

const LAST_TRIED: &str = "the last attempts";

impl Dispatcher {
    /// Shows the attempts that ended to all VMs.
    pub(super) fn show_tried(&mut self, host: &impl Host) {
        if self.last_tried.is_empty() {
            return;
        }
        match tried::add(host, &std::mem::take(&mut self.last_tried)) {
            Ok(()) => self.troubles.works(LAST_TRIED),
            Err(error) => self.troubles.fails(LAST_TRIED, &error),
        }
    }

    /// Ends attempts whose reply is too late, because they would block their target for ever.
    pub(super) fn end_overdue(&mut self, host: &impl Host, author: &impl Author, now: UnixMillis) {
        // Measured in ticks, because a clock that is set forward must not end attempts in flight.
        let is_overdue = |attempt: &Attempt| {
            let lasted_ms = self.ticks.saturating_sub(attempt.began).saturating_mul(TICK_MS);
            lasted_ms > attempt.delivery.timeout_ms.saturating_add(REPLY_PATIENCE_MS)
        };
        let overdue: Vec<CalloutId> =
            self.in_flight.iter().filter(|(_, attempt)| is_overdue(attempt)).map(|(id, _)| *id).collect();
        for id in overdue {
            let Some(Attempt { slot, delivery, .. }) = self.in_flight.remove(&id) else { continue };
            log::error!("{}: the proxy never reported the result of an attempt", delivery);
            self.settle_unanswered(host, author, (slot, delivery), Failure::NoResponse, now);
        }
    }

    /// Settles an attempt that did not start, or never ended.
    pub(super) fn settle_unanswered(
        &mut self,
        host: &impl Host,
        author: &impl Author,
        message: (Slot, Delivery),
        why: Failure,
        now: UnixMillis,
    ) {
        let outcome = DeliveryOutcome::Failed(why);
        let tried = Tried::new(&outcome, None, None, now);
        self.settle(host, author, message, (&outcome, tried), now);
    }

    pub(super) fn settle(
        &mut self,
        host: &impl Host,
        author: &impl Author,
        (slot, mut delivery): (Slot, Delivery),
        (outcome, tried): (&DeliveryOutcome, Tried),
        now: UnixMillis,
    ) {
        host.count_attempt(&delivery.target.authority, outcome.label());
        self.last_tried.set(delivery.target.endpoint, tried);
        tried::remember(&mut delivery.tried, tried);
        delivery.attempts = delivery.attempts.saturating_add(1);
        if delivery.attempts == 1 {
            delivery.first_attempt = now.0;
        }
        if *outcome != DeliveryOutcome::Delivered && !self.leads(now) {
            // The VM that leads now sends it again and judges that attempt.
            return self.schedule.forget(slot);
        }
        let delay = match outcome {
            DeliveryOutcome::Failed(failure) => delivery.retries.next_delay_ms(&delivery, failure, now),
            DeliveryOutcome::Delivered | DeliveryOutcome::Refused(_) | DeliveryOutcome::Gone => None,
        };
        match delay {
            Some(delay) => self.retry(host, slot, delivery, outcome, delay, now),
            None if *outcome == DeliveryOutcome::Delivered => {
                if self.finish(host, slot, &delivery) {
                    host.count(Metric::Delivered);
                }
            }
            None => {
                if *outcome == DeliveryOutcome::Gone {
                    self.disable_endpoint(host, &delivery);
                }
                self.give_up(host, author, (slot, delivery), outcome, now);
            }
        }
    }

    pub(super) fn retry(
        &mut self,
        host: &impl Host,
        slot: Slot,
        mut delivery: Delivery,
        outcome: &DeliveryOutcome,
        delay: u64,
        now: UnixMillis,
    ) {
        host.count(Metric::Retried);
        (delivery.due, delivery.decided) = (now.plus(delay).0, now.0);
        let (attempts, most) = (delivery.attempts, delivery.retries.max_attempts);
        // An unknown cluster has its own log line.
        let is_said = *outcome == DeliveryOutcome::Failed(Failure::NotStarted(CalloutRefused::UnknownCluster));
        let level = if is_said { log::Level::Debug } else { log::Level::Info };
        log::log!(level, "{}: attempt {attempts} of {most}: {outcome}; next in {delay} ms", delivery);
        self.schedule.forget(slot);
        // An update may have taken it over since the attempt began.
        let mut kept = None;
        let replaced = outbox::change(host, slot, |held| match held {
            Held::Message(held) if held.id == delivery.id => {
                let held = if held.target.endpoint == delivery.target.endpoint {
                    let Delivery { attempts, first_attempt, due, decided, ref tried, .. } = delivery;
                    Delivery { attempts, first_attempt, due, decided, tried: tried.clone(), ..held }
                } else {
                    held
                };
                kept = Some(Held::Message(held.clone()));
                Some(Held::Message(held))
            }
            _ => None,
        });
        match (replaced, kept) {
            (Ok(_), Some(held)) => self.wait(slot, &held, now),
            (Ok(_), None) => {}
            (Err(error), _) => log::error!("{}: slot {} stays as it is: {error}", delivery, slot.0),
        }
    }

    /// Ends a message that failed for good, unless an update has changed its URL since the attempt began.
    pub(super) fn give_up(
        &mut self,
        host: &impl Host,
        author: &impl Author,
        (slot, delivery): (Slot, Delivery),
        outcome: &DeliveryOutcome,
        now: UnixMillis,
    ) {
        let endpoint = delivery.target.endpoint;
        let is_meant = |held: &Held| matches!(held, Held::Message(held) if held.id == delivery.id && held.target.endpoint == endpoint);
        if !matches!(outbox::held(host, slot), Ok(Some(held)) if is_meant(&held)) {
            return self.schedule.forget(slot);
        }
        // This comes before the end of the message: if the VM dies in between, the failure is reported twice, not
        // never.
        host.count(Metric::Failed);
        log::error!("{}: failed for good after {} attempts: {outcome}", delivery, delivery.attempts);
        if self.finish_if(host, slot, &delivery, is_meant) {
            self.release(host, author, &delivery);
            let bare = Delivery { decided: now.0, ..author.bare(delivery) };
            if let Err(error) = failed::keep(host, bare) {
                log::warn!("a failed message cannot be sent again: {error}");
            }
        }
    }

    /// Ends a message that is not to be sent; `false` if another VM has done so.
    pub(super) fn end(&mut self, host: &impl Host, author: &impl Author, slot: Slot, delivery: &Delivery) -> bool {
        let is_held = self.finish(host, slot, delivery);
        if is_held {
            self.release(host, author, delivery);
        }
        is_held
    }

    pub(super) fn release(&mut self, host: &impl Host, author: &impl Author, delivery: &Delivery) {
        self.news.released.extend(delivery.claim.map(|claim| (delivery.id.clone(), claim.shared_cause())));
        if let Some(Err(error)) = delivery.claim.as_ref().map(|claim| author.release(host, claim)) {
            log::warn!("{}: its cool-down is not released: {error}", delivery);
        }
    }

    /// Frees a message's slot; `false` if another VM has done so, which has counted it then.
    pub(super) fn finish(&mut self, host: &impl Host, slot: Slot, delivery: &Delivery) -> bool {
        self.finish_if(host, slot, delivery, |held| held.id() == delivery.id)
    }

    pub(super) fn finish_if(
        &mut self,
        host: &impl Host,
        slot: Slot,
        delivery: &Delivery,
        is_meant: impl Fn(&Held) -> bool,
    ) -> bool {
        self.schedule.forget(slot);
        let is_ended = outbox::finish_if(host, slot, is_meant).unwrap_or_else(|error| {
            log::error!("{}: slot {} stays as it is: {error}", delivery, slot.0);
            false
        });
        if is_ended {
            self.news.ended.push((delivery.handler.name.clone(), delivery.id.clone()));
        }
        is_ended
    }

    pub(super) fn disable_endpoint(&mut self, host: &impl Host, delivery: &Delivery) {
        log::error!(
            "{}: the target of {} answered 410 Gone: nothing more is sent to it until the configuration changes",
            delivery.target.authority,
            delivery.handler.name
        );
        if let Err(error) = disabled::disable(host, delivery.origin.config, delivery.target.endpoint) {
            log::error!("{}: it will get messages again: {error}", delivery.target.authority);
        }
        self.news.disabled.push((delivery.handler.name.clone(), delivery.target.endpoint));
        self.look_at_disabled(host);
    }
}
