//! What the fleet needs to know of a message to hold it back.

use crate::delivery::{CauseDigest, FleetTerms, MessageCap, Stage, Tally};
use crate::host::Host;
use crate::notify::admission::{Admission, digest};
use crate::notify::{Form, Recipient};

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

    /// `None` without a store.
    pub fn terms(&self) -> Option<Box<FleetTerms>> {
        let Admission { notifications, handler, channel, event, cause, now, .. } = *self;
        if !notifications.is_in_fleet {
            return None;
        }
        let to = match &channel.form {
            Form::Webhook(_) => Some(None),
            Form::Email(Recipient::Fixed(to)) => Some(Some(to.address.clone())),
            Form::Email(Recipient::Developer) => None,
        };
        let tally = to.map(|to| {
            let tally = digest::begin(notifications, handler, to, (cause, self.shared_cap()), event, now);
            Tally { stage: Stage::Closed, ..tally }
        });
        let most = u32::try_from(self.budget.most()).unwrap_or(u32::MAX);
        let cap = (most > 0).then(|| MessageCap { digest: self.shared_cap(), most });
        Some(Box::new(FleetTerms { cap, tally, counts_suppressed: channel.digest }))
    }
}
