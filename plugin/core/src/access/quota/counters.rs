//! Where requests are counted: in the process, or in a store that answers later.

use std::task::Poll;

use super::ledger::{self, Charge, Charged};
use crate::base::UnixMillis;
use crate::host::{CalloutId, CalloutReply, Callouts, Metrics, SharedData, StoreError, StreamId};

/// What came of a charge.
///
/// # Errors
/// When a counter cannot be read or written; the request is then counted on none.
pub type ChargeResult = Result<Charged, StoreError>;

/// A store of counters.
///
/// A store that answers later returns [`Poll::Pending`] for a charge. The request then waits, and its stream is one that
/// [`Counters::take_settled`] names with the answer: after any other call of this trait, and once for each charge.
pub trait Counters {
    /// Counts the request of a stream on all its limits, or finds the limit that refuses it.
    fn charge(
        &mut self,
        host: &(impl SharedData + Callouts + Metrics),
        stream: StreamId,
        charge: &Charge<'_>,
        now: UnixMillis,
    ) -> Poll<ChargeResult>;

    /// Answers that have come, by the streams that wait for them.
    fn take_settled(&mut self) -> Vec<(StreamId, ChargeResult)> {
        Vec::new()
    }

    /// Work at every tick.
    fn on_tick(&mut self, _host: &(impl SharedData + Callouts + Metrics), _now: UnixMillis) {}

    /// A callout ended. `true`: it was one of the store.
    fn on_callout_reply(
        &mut self,
        _host: &(impl SharedData + Callouts + Metrics),
        _id: CalloutId,
        _reply: &CalloutReply,
        _now: UnixMillis,
    ) -> bool {
        false
    }

    /// A stream that waits is gone, or waits no longer: its charge may have been counted or not.
    fn forget(&mut self, _stream: StreamId) {}

    /// How long a request may wait.
    fn patience_ms(&self) -> u64 {
        0
    }
}

/// The counters of this process, in shared data. They answer at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalCounters;

impl Counters for LocalCounters {
    fn charge(
        &mut self,
        host: &(impl SharedData + Callouts + Metrics),
        _stream: StreamId,
        charge: &Charge<'_>,
        now: UnixMillis,
    ) -> Poll<ChargeResult> {
        Poll::Ready(ledger::charge(host, charge, now))
    }
}
