//! Implements delivery's [`Author`] for a configuration's notifications.

use crate::base::UnixMillis;
use crate::delivery::{
    Author, Claim, ClusterUse, Delivery, DeliveryOutcome, Held, InFlightLimits, Placement, Slot, Succession, Table,
    Tally,
};
use crate::host::{Callout, CalloutReply, Callouts, Host, StoreError};
use crate::notify::admission::digest;
use crate::notify::{Content, Notifications, content, cooldown, sharing};
use crate::store::GivenBody;

impl Author for Notifications {
    fn placement(&self) -> &Placement {
        &self.placement
    }

    fn table(&self) -> Table {
        Notifications::table(self)
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

    fn bare(&self, delivery: Delivery) -> Delivery {
        content::bare(delivery)
    }

    fn address(&self, bare: Delivery, now: UnixMillis) -> Option<Delivery> {
        content::address(self, bare, now)
    }

    fn share(&self, delivery: &Delivery) -> String {
        sharing::share(delivery)
    }

    fn share_tally(&self, tally: &Tally) -> String {
        sharing::share_tally(tally)
    }

    fn restore(&self, id: &str, body: &GivenBody, now: UnixMillis) -> Result<Held, Option<UnixMillis>> {
        sharing::restore(self, id, body, now)
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

    fn move_end(&self, host: &impl Host, claim: &Claim, until: UnixMillis) -> Result<(), StoreError> {
        cooldown::move_end(host, claim, until)
    }
}
