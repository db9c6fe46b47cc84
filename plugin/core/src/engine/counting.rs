//! The counters that the configuration asks for: of this process, or of a fleet.

use std::task::Poll;

use crate::access::{
    Charge, ChargeResult, Counters, FleetCounters, FleetSettings, LimitScope, LocalCounters, Notice, StoreView, Usage,
};
use crate::base::UnixMillis;
use crate::host::{CalloutId, CalloutReply, Callouts, Metrics, SharedData, StoreError, StreamId};
use crate::store::FleetOutbox;

/// Counters, chosen by the configuration.
#[derive(Debug)]
pub enum Counting {
    /// In the shared data of this process.
    Local(LocalCounters),
    /// In the store of a fleet.
    Fleet(Box<FleetCounters>),
}

impl Counting {
    /// `born` distinguishes this VM from others of a fleet.
    pub(super) fn new(fleet: Option<FleetSettings>, born: String) -> Self {
        match fleet {
            None => Counting::Local(LocalCounters),
            Some(settings) => Counting::Fleet(Box::new(FleetCounters::new(settings, born))),
        }
    }
}

impl Counters for Counting {
    fn charge(
        &mut self,
        host: &(impl SharedData + Callouts + Metrics),
        stream: StreamId,
        charge: &Charge<'_>,
        now: UnixMillis,
    ) -> Poll<ChargeResult> {
        match self {
            Counting::Local(local) => local.charge(host, stream, charge, now),
            Counting::Fleet(fleet) => fleet.charge(host, stream, charge, now),
        }
    }

    fn look(
        &mut self,
        host: &(impl SharedData + Callouts + Metrics),
        stream: StreamId,
        charges: &[Charge<'_>],
        now: UnixMillis,
    ) -> Poll<Result<(), StoreError>> {
        match self {
            Counting::Local(local) => local.look(host, stream, charges, now),
            Counting::Fleet(fleet) => fleet.look(host, stream, charges, now),
        }
    }

    fn usages(&self, host: &impl SharedData, charge: &Charge<'_>, now: UnixMillis) -> Vec<(LimitScope, Usage)> {
        match self {
            Counting::Local(local) => local.usages(host, charge, now),
            Counting::Fleet(fleet) => fleet.usages(host, charge, now),
        }
    }

    fn store(&self, host: &impl SharedData, now: UnixMillis) -> Option<StoreView> {
        match self {
            Counting::Local(_) => None,
            Counting::Fleet(fleet) => fleet.store(host, now),
        }
    }

    fn outbox(&mut self, now: UnixMillis) -> Option<&mut FleetOutbox> {
        match self {
            Counting::Local(_) => None,
            Counting::Fleet(fleet) => fleet.outbox(now),
        }
    }

    fn send_due(&mut self, host: &(impl SharedData + Callouts + Metrics), now: UnixMillis) {
        if let Counting::Fleet(fleet) = self {
            fleet.send_due(host, now);
        }
    }

    fn take_settled(&mut self) -> Vec<(StreamId, ChargeResult)> {
        match self {
            Counting::Local(_) => Vec::new(),
            Counting::Fleet(fleet) => fleet.take_settled(),
        }
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        match self {
            Counting::Local(_) => Vec::new(),
            Counting::Fleet(fleet) => fleet.take_notices(),
        }
    }

    fn on_tick(&mut self, host: &(impl SharedData + Callouts + Metrics), now: UnixMillis) {
        if let Counting::Fleet(fleet) = self {
            fleet.on_tick(host, now);
        }
    }

    fn on_callout_reply(
        &mut self,
        host: &(impl SharedData + Callouts + Metrics),
        id: CalloutId,
        reply: &CalloutReply,
        now: UnixMillis,
    ) -> bool {
        match self {
            Counting::Local(_) => false,
            Counting::Fleet(fleet) => fleet.on_callout_reply(host, id, reply, now),
        }
    }

    fn on_shutdown(&mut self, host: &(impl SharedData + Callouts + Metrics), now: UnixMillis) {
        if let Counting::Fleet(fleet) = self {
            fleet.on_shutdown(host, now);
        }
    }

    fn forget(&mut self, stream: StreamId) {
        if let Counting::Fleet(fleet) = self {
            fleet.forget(stream);
        }
    }

    fn is_waiting(&self) -> bool {
        matches!(self, Counting::Fleet(fleet) if fleet.is_waiting())
    }

    fn patience_ms(&self) -> u64 {
        match self {
            Counting::Local(_) => 0,
            Counting::Fleet(fleet) => fleet.patience_ms(),
        }
    }
}
