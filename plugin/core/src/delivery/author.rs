//! What delivery asks of those who write messages.

use crate::base::UnixMillis;
use crate::delivery::{
    Claim, ClusterUse, Delivery, DeliveryOutcome, InFlightLimits, Placement, Slot, Succession, Tally,
};
use crate::host::{Callout, CalloutReply, Callouts, Host, StoreError};

/// Knows the handlers of a configuration and what a message says. The dispatcher knows neither.
pub trait Author {
    /// The configuration.
    fn placement(&self) -> &Placement;

    /// How many attempts may be under way.
    fn limits(&self) -> InFlightLimits;

    /// What needs a cluster.
    fn use_of(&self, cluster: &str) -> Option<&ClusterUse>;

    /// The request of an attempt that begins `now`; `None` where the content does not decode.
    fn callout(&self, delivery: &Delivery, now: UnixMillis) -> Option<Callout>;

    /// What the reply to an attempt means.
    fn outcome(
        &self,
        host: &impl Callouts,
        delivery: &Delivery,
        reply: &CalloutReply,
        now: UnixMillis,
    ) -> DeliveryOutcome;

    /// A message of the configuration before, as this one sends it; `None` where it has no such handler.
    fn adopt(&self, delivery: Delivery, now: UnixMillis) -> Option<Delivery>;

    /// Puts a tally's message in its place, and returns it. `None`: the tally is no longer there, belongs to another
    /// configuration, or its handler was removed.
    ///
    /// # Errors
    /// As for any update of shared data; the tally then stays.
    fn close(
        &self,
        host: &impl Host,
        succession: &Succession,
        tally: (Slot, &Tally),
        now: UnixMillis,
    ) -> Result<Option<Delivery>, StoreError>;

    /// Gives the claim of a message back that was not delivered.
    ///
    /// # Errors
    /// As for any update of shared data; the claim then lasts to its end.
    fn release(&self, host: &impl Host, claim: &Claim) -> Result<(), StoreError>;
}
