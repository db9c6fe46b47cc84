//! The interface through which delivery asks the code that makes messages.

use crate::base::UnixMillis;
use crate::delivery::{
    Claim, ClusterUse, Delivery, DeliveryOutcome, Held, InFlightLimits, Placement, Slot, Succession, Table, Tally,
};
use crate::host::{Callout, CalloutReply, Callouts, Host, StoreError};
use crate::store::GivenBody;

/// Knows a configuration's handlers and the content of messages, which the dispatcher does not.
pub trait Author {
    fn placement(&self) -> &Placement;

    /// The part of the outbox for its messages.
    fn table(&self) -> Table;

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

    /// A message without what belongs to a configuration: the path of its target, headers, secrets, and the account of
    /// an email. Its content is the text alone.
    fn bare(&self, delivery: Delivery) -> Delivery;

    /// A bare message as this configuration sends it; `None` if it does not have the handler.
    fn address(&self, bare: Delivery, now: UnixMillis) -> Option<Delivery>;

    /// A message in the form for other members of a fleet, without secrets.
    fn share(&self, delivery: &Delivery) -> String;

    /// A tally in this form.
    fn share_tally(&self, tally: &Tally) -> String;

    /// What another member shared, as this configuration sends it.
    ///
    /// # Errors
    /// This configuration does not have the handler, or the form is not readable. The time is when the message was held
    /// first, if it is known.
    fn restore(&self, id: &str, body: &GivenBody, now: UnixMillis) -> Result<Held, Option<UnixMillis>>;

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

    /// Changes the end of a cool-down claim, because another member of the fleet began it before.
    ///
    /// # Errors
    /// Any error of an update of shared data.
    fn move_end(&self, host: &impl Host, claim: &Claim, until: UnixMillis) -> Result<(), StoreError>;
}
