//! The stores that count requests: in the process, or in a store that answers later.

use std::task::Poll;

use super::ledger::{self, Charge, Charged, LimitScope};
use super::{Notice, Usage};
use crate::base::UnixMillis;
use crate::host::{CalloutId, CalloutReply, Callouts, Metrics, SharedData, StoreError, StreamId};
use crate::store::FleetOutbox;

/// The result of a charge.
///
/// # Errors
/// A counter cannot be read or written. The request is then counted on no limit.
pub type ChargeResult = Result<Charged, StoreError>;

/// A store of counters.
///
/// A store that answers later returns [`Poll::Pending`] for a charge, and the request waits. [`Counters::take_settled`]
/// returns its stream with the answer, once for each charge. It is called after any other call of this trait.
pub trait Counters {
    /// Counts the request of a stream on all its limits, or finds the limit that refuses it.
    fn charge(
        &mut self,
        host: &(impl SharedData + Callouts + Metrics),
        stream: StreamId,
        charge: &Charge<'_>,
        now: UnixMillis,
    ) -> Poll<ChargeResult>;

    /// The answers that have arrived, with the streams that wait for them.
    fn take_settled(&mut self) -> Vec<(StreamId, ChargeResult)> {
        Vec::new()
    }

    /// Called at every tick.
    fn on_tick(&mut self, _host: &(impl SharedData + Callouts + Metrics), _now: UnixMillis) {}

    /// Called when a callout ends. `true` means that the callout was the store's.
    fn on_callout_reply(
        &mut self,
        _host: &(impl SharedData + Callouts + Metrics),
        _id: CalloutId,
        _reply: &CalloutReply,
        _now: UnixMillis,
    ) -> bool {
        false
    }

    /// Gets the present usage of limits, so that [`Counters::usages`] knows it. Like a charge, it may be answered later.
    ///
    /// # Errors
    /// The store does not answer.
    fn look(
        &mut self,
        _host: &(impl SharedData + Callouts + Metrics),
        _stream: StreamId,
        _charges: &[Charge<'_>],
        _now: UnixMillis,
    ) -> Poll<Result<(), StoreError>> {
        Poll::Ready(Ok(()))
    }

    /// The usage of limits, without counting, in the order of the charge. Limits whose usage is not known are left out.
    fn usages(&self, host: &impl SharedData, charge: &Charge<'_>, now: UnixMillis) -> Vec<(LimitScope, Usage)> {
        ledger::usages(host, charge, now)
    }

    /// The store of a fleet as this VM sees it; `None` if there is none.
    fn store(&self, _host: &impl SharedData, _now: UnixMillis) -> Option<StoreView> {
        None
    }

    /// The outbox of a fleet; `None` if there is none.
    fn outbox(&mut self, _now: UnixMillis) -> Option<&mut FleetOutbox> {
        None
    }

    /// Sends what is due to the store: called after the outbox was used.
    fn send_due(&mut self, _host: &(impl SharedData + Callouts + Metrics), _now: UnixMillis) {}

    /// Thresholds that the store has reported.
    fn take_notices(&mut self) -> Vec<Notice> {
        Vec::new()
    }

    /// True while requests wait. Ticks come faster then.
    fn is_waiting(&self) -> bool {
        false
    }

    /// Called when the configuration is removed, or the process ends.
    fn on_shutdown(&mut self, _host: &(impl SharedData + Callouts + Metrics), _now: UnixMillis) {}

    /// Called when a waiting stream ended or stopped waiting. Its charge may or may not have been counted.
    fn forget(&mut self, _stream: StreamId) {}

    /// The maximum time that a request may wait.
    fn patience_ms(&self) -> u64 {
        0
    }
}

/// The store of a fleet as one VM sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreView {
    /// The Envoy cluster.
    pub cluster: String,
    /// The time of the last good answer; 0 for none.
    pub last_answer: UnixMillis,
    /// The number of failed calls since.
    pub failures: u32,
    /// Why the last call failed; empty if it did not.
    pub trouble: String,
    /// The living members of the fleet, as the store last said.
    pub members: u64,
    /// The answered calls of this VM, and how long they took on average and at most, in milliseconds.
    pub calls: u64,
    pub mean_ms: u64,
    pub longest_ms: u64,
    /// The counters that this VM has leases of, and the requests that it may admit without asking.
    pub leases: usize,
    pub stock: u64,
    /// The requests that wait.
    pub waiting: usize,
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
