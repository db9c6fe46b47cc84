//! Counts messages that are held back, in a tally if a digest reports them.

use crate::base::UnixMillis;
use crate::delivery::{CauseDigest, Delivery, Link, ReserveError, Share, Slot, outbox};
use crate::host::{Host, Metric, StoreError};
use crate::notify::admission::cap::WINDOW_MS;
use crate::notify::admission::cooldown::LiveClaim;
use crate::notify::admission::{Admission, MAX_TRIES, digest, share_of};
use crate::notify::{MessageOutcome, cooldown};

impl<H: Host> Admission<'_, H> {
    /// The outcome of a message that a cool-down holds back.
    pub(super) fn suppressed(&self, live: &LiveClaim) -> MessageOutcome {
        let Admission { host, channel, cause, now, .. } = *self;
        host.count(Metric::Suppressed);
        if !channel.digest || live.until <= now {
            return MessageOutcome::Suppressed { until: Some(live.until).filter(|_| !channel.digest) };
        }
        let link_of = |slot: Option<Slot>| slot.map(|slot| Link { slot, until: live.until });
        let outcome = MessageOutcome::Suppressed { until: None };
        let causes = (cause, Self::shared_cause as fn(&Self) -> _);
        self.tally(causes, live.until, link_of(live.tally), (Share::Tally, outcome), |seen, link| {
            let linked = cooldown::link(host, cause, live.until, seen.map(|link| link.slot), link.slot)?;
            Ok(linked.map_err(link_of))
        })
    }

    /// The outcome of a message that the handler's cap holds back.
    pub(super) fn capped(&self, seen: Option<Link>) -> MessageOutcome {
        self.host.count(Metric::Capped);
        self.tally_of_handler(seen, MessageOutcome::Capped)
    }

    /// Counts the event in the handler's own tally for its group.
    fn tally_of_handler(&self, seen: Option<Link>, outcome: MessageOutcome) -> MessageOutcome {
        let Admission { host, notifications, handler, event, now, ref budget, .. } = *self;
        // There are few of these tallies: the configuration bounds their number.
        let share = if share_of(event) == Share::All { Share::All } else { Share::Management };
        let group = notifications.group(event);
        let cause = CauseDigest::new(&handler.name, group, u128::from(budget.number()).to_le_bytes());
        self.tally((cause, Self::shared_cap), now.plus(WINDOW_MS), seen, (share, outcome), |seen, link| {
            Ok(if budget.link(host, seen, link)? { Ok(()) } else { Err(budget.tally(host)?) })
        })
    }

    /// Counts the event in the linked tally, or in a new one, which then replaces the link. `link` returns the tally
    /// that it found instead. Returns `outcome`, unless there was no room for a tally.
    fn tally(
        &self,
        (cause, shared): (CauseDigest, fn(&Self) -> [u8; 16]),
        until: UnixMillis,
        mut seen: Option<Link>,
        (share, outcome): (Share, MessageOutcome),
        link: impl Fn(Option<Link>, Link) -> Result<Result<(), Option<Link>>, StoreError>,
    ) -> MessageOutcome {
        let Admission { host, notifications, handler, channel, event, .. } = *self;
        let Some(to) = channel.form.digest_recipient() else { return outcome };
        let mut own = None;
        for _ in 0..MAX_TRIES {
            match seen.map(|link| digest::count(host, link, cause, (event, channel.form.shows_keys()))) {
                Some(Ok(true)) => {
                    // Unless it has already become a digest.
                    if let Some(Link { slot, .. }) = own
                        && let Err(error) = outbox::finish(host, slot, &Delivery::id_of(&event.id, &handler.name))
                    {
                        self.log(log::Level::Error, &format!("is counted twice: {error}"));
                    }
                    return outcome;
                }
                Some(Err(error)) => self.log(log::Level::Error, &format!("is not counted in its digest yet: {error}")),
                Some(Ok(false)) | None => {}
            }
            let mine = match own {
                Some(mine) => mine,
                None => {
                    let tally = digest::begin(
                        notifications,
                        handler,
                        to.cloned(),
                        (cause, self.in_fleet(shared)),
                        event,
                        until,
                    );
                    match digest::hold(tally, host, notifications.table(), share) {
                        Ok(mine) => *own.insert(mine),
                        Err(ReserveError::Full) if share == Share::Tally => {
                            return self.tally_of_handler(self.budget.tally(host).ok().flatten(), outcome);
                        }
                        Err(error) => return self.drop(&error),
                    }
                }
            };
            match link(seen, mine) {
                Ok(Err(found)) if found != seen => seen = found,
                // The tally stays: linked, or unlinked as a digest of one event.
                Ok(_) => return outcome,
                Err(error) => {
                    self.log(log::Level::Error, &format!("has a digest of its own: {error}"));
                    return outcome;
                }
            }
        }
        outcome
    }
}
