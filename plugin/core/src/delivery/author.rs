//! The interface through which delivery asks the code that makes messages.

use crate::base::UnixMillis;
use crate::delivery::{
    Claim, ClusterUse, Delivery, DeliveryOutcome, InFlightLimits, Placement, Slot, Succession, Tally,
};
use crate::host::{Callout, CalloutReply, Callouts, Host, StoreError};

/// Knows a configuration's handlers and the content of messages, which the dispatcher does not.
pub trait Author {
    fn placement(&self) -> &Placement;

    /// The maximum numbers of attempts in flight.
    fn limits(&self) -> InFlightLimits;

    /// The settings and targets that need a cluster.
    fn use_of(&self, cluster: &str) -> Option<&ClusterUse>;

    /// The request of an attempt that begins at `now`; `None` if the content does not decode.
    fn callout(&self, delivery: &Delivery, now: UnixMillis) -> Option<Callout>;

    /// The meaning of the reply to an attempt.
    fn outcome(
        &self,
        host: &impl Callouts,
        delivery: &Delivery,
        reply: &CalloutReply,
        now: UnixMillis,
    ) -> DeliveryOutcome;

    /// Converts a message of the former configuration to the current one; `None` if it no longer has the handler.
    fn adopt(&self, delivery: Delivery, now: UnixMillis) -> Option<Delivery>;

    /// Replaces a tally by its message, and returns the message. `None` if the tally is no longer there, belongs to
    /// another configuration, or an update removed its handler.
    ///
    /// # Errors
    /// Any error of an update of shared data. The tally stays then.
    fn close(
        &self,
        host: &impl Host,
        succession: &Succession,
        tally: (Slot, &Tally),
        now: UnixMillis,
    ) -> Result<Option<Delivery>, StoreError>;

    /// Releases the cool-down claim of a message that was not delivered.
    ///
    /// # Errors
    /// Any error of an update of shared data. The claim then lasts until its end.
    fn release(&self, host: &impl Host, claim: &Claim) -> Result<(), StoreError>;
}
