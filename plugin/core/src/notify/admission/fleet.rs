//! What the fleet needs to know of a message to hold it back.

use crate::delivery::{CauseDigest, FleetTerms, MessageCap, Stage, Tally};
use crate::host::Host;
use crate::notify::admission::{Admission, digest};

impl<H: Host> Admission<'_, H> {
    /// The cause of the cool-down. Members of a fleet may have different histories of configurations, which the local
    /// cause contains.
    pub(super) fn shared_cause(&self) -> [u8; 16] {
        CauseDigest::new(&self.handler.name, self.event.group(), self.checksum).0
    }

    /// Identifies the handler's cap for this kind of event.
    pub(super) fn shared_cap(&self) -> [u8; 16] {
        CauseDigest::new(&self.handler.name, self.event.group(), [0; 16]).0
    }

    /// A cause as the fleet knows it; `None` without a store.
    pub(super) fn in_fleet(&self, shared: fn(&Self) -> [u8; 16]) -> Option<[u8; 16]> {
        self.notifications.is_in_fleet.then(|| shared(self))
    }

    /// `None` without a store.
    pub fn terms(&self) -> Option<Box<FleetTerms>> {
        let Admission { notifications, handler, channel, event, cause, now, .. } = *self;
        if !notifications.is_in_fleet {
            return None;
        }
        let tally = channel.form.digest_recipient().map(|to| {
            let causes = (cause, self.in_fleet(Self::shared_cap));
            let tally = digest::begin(notifications, handler, to.cloned(), causes, event, now);
            Tally { stage: Stage::Closed, ..tally }
        });
        let most = u32::try_from(self.budget.most()).unwrap_or(u32::MAX);
        let cap = (most > 0).then(|| MessageCap { digest: self.shared_cap(), most });
        Some(Box::new(FleetTerms { cap, tally, counts_suppressed: channel.digest }))
    }
}
