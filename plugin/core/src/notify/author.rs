//! Implements delivery's [`Author`] for a configuration's notifications.

use crate::base::UnixMillis;
use crate::delivery::{
    Author, Claim, ClusterUse, Delivery, DeliveryOutcome, InFlightLimits, Placement, Slot, Succession, Tally,
};
use crate::host::{Callout, CalloutReply, Callouts, Host, StoreError};
use crate::notify::admission::digest;
use crate::notify::{Content, Notifications, content, cooldown};

impl Author for Notifications {
    fn placement(&self) -> &Placement {
        &self.placement
    }

    fn limits(&self) -> InFlightLimits {
        self.delivery.limits
    }

    fn use_of(&self, cluster: &str) -> Option<&ClusterUse> {
        self.clusters.get(cluster)
    }

    fn callout(&self, delivery: &Delivery, now: UnixMillis) -> Option<Callout> {
        Some(Content::decode(&delivery.content)?.callout(delivery, now))
    }

    fn outcome(
        &self,
        host: &impl Callouts,
        delivery: &Delivery,
        reply: &CalloutReply,
        now: UnixMillis,
    ) -> DeliveryOutcome {
        content::outcome(host, delivery, reply, now)
    }

    fn adopt(&self, delivery: Delivery, now: UnixMillis) -> Option<Delivery> {
        content::adopt(self, delivery, now)
    }

    fn close(
        &self,
        host: &impl Host,
        succession: &Succession,
        tally: (Slot, &Tally),
        now: UnixMillis,
    ) -> Result<Option<Delivery>, StoreError> {
        digest::close(host, self, succession, tally, now)
    }

    fn release(&self, host: &impl Host, claim: &Claim) -> Result<(), StoreError> {
        cooldown::release(host, claim)
    }
}
