//! A store of counters that answers later.

use std::task::Poll;

use crate::access::{Charge, ChargeResult, Counters, LocalCounters};
use crate::base::UnixMillis;
use crate::host::{Callouts, Metrics, SharedData, StreamId};

/// Counts as the process does, and delays each answer by some ticks.
#[derive(Debug)]
pub struct LateCounters {
    ticks: u32,
    patience_ms: u64,
    waiting: Vec<(u32, StreamId, ChargeResult)>,
    settled: Vec<(StreamId, ChargeResult)>,
    /// The streams that were forgotten.
    pub forgotten: Vec<StreamId>,
}

impl LateCounters {
    /// Answers `ticks` ticks after the charge; at once for 0.
    pub fn after_ticks(ticks: u32, patience_ms: u64) -> Self {
        LateCounters { ticks, patience_ms, waiting: Vec::new(), settled: Vec::new(), forgotten: Vec::new() }
    }
}

impl Counters for LateCounters {
    fn charge(
        &mut self,
        host: &(impl SharedData + Callouts + Metrics),
        stream: StreamId,
        charge: &Charge<'_>,
        now: UnixMillis,
    ) -> Poll<ChargeResult> {
        match LocalCounters.charge(host, stream, charge, now) {
            Poll::Ready(charged) if self.ticks > 0 => {
                self.waiting.push((self.ticks, stream, charged));
                Poll::Pending
            }
            charged => charged,
        }
    }

    fn take_settled(&mut self) -> Vec<(StreamId, ChargeResult)> {
        std::mem::take(&mut self.settled)
    }

    fn on_tick(&mut self, _host: &(impl SharedData + Callouts + Metrics), _now: UnixMillis) {
        for (ticks, stream, charged) in std::mem::take(&mut self.waiting) {
            match ticks.saturating_sub(1) {
                0 => self.settled.push((stream, charged)),
                ticks => self.waiting.push((ticks, stream, charged)),
            }
        }
    }

    fn forget(&mut self, stream: StreamId) {
        self.waiting.retain(|(_, waiting, _)| *waiting != stream);
        self.settled.retain(|(settled, _)| *settled != stream);
        self.forgotten.push(stream);
    }

    fn patience_ms(&self) -> u64 {
        self.patience_ms
    }
}
