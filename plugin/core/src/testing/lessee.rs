//! The counters of one VM of a fleet, for simulations of many.

use std::task::Poll;

use crate::access::{
    Charge, ChargeLine, ChargeResult, Counters, FleetCounters, FleetSettings, Home, LimitScope, MakeOwner, OnLoss,
    Owner, PageName, Quota, QuotaChange,
};
use crate::base::{Percent, UnixMillis};
use crate::event::Subject;
use crate::host::{CalloutId, CalloutReply, Callouts, Metrics, SharedData, StreamId};
use crate::store::Settings;

/// How the VMs of a simulated fleet count.
#[derive(Clone, Copy, Debug)]
pub struct LesseeSettings {
    /// Whether they read ahead.
    pub reads_ahead: bool,
    /// How long a request waits.
    pub patience_ms: u64,
    /// How long a call waits for its reply.
    pub timeout_ms: u64,
    /// The policy: `share`, `refuse` or `admit`.
    pub on_loss: &'static str,
}

/// A key's limit.
#[derive(Clone, Copy, Debug)]
pub struct LesseeLimit {
    /// The number of the key.
    pub key: u64,
    /// Requests per window.
    pub max: u64,
    /// The window.
    pub window_ms: u64,
    /// The threshold in percent.
    pub threshold: f64,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LesseeVerdict {
    /// It passes.
    Admitted,
    /// The limit refuses it.
    Refused,
    /// The store did not answer in time.
    Unavailable,
}

impl LesseeVerdict {
    fn of(result: &ChargeResult) -> Self {
        match result {
            Ok(charged) if charged.refused_by.is_none() => LesseeVerdict::Admitted,
            Ok(_) => LesseeVerdict::Refused,
            Err(_) => LesseeVerdict::Unavailable,
        }
    }
}

/// The counters of one VM.
pub struct Lessee(FleetCounters);

impl Lessee {
    /// A VM that has counted nothing. `born` tells it from others.
    pub fn new(settings: LesseeSettings, born: String) -> Self {
        let LesseeSettings { reads_ahead, patience_ms, timeout_ms, on_loss } = settings;
        let on_loss = match on_loss {
            "refuse" => OnLoss::Refuse,
            "admit" => OnLoss::Admit,
            _ => OnLoss::Share,
        };
        let store = Settings { cluster: "store".to_owned(), timeout_ms, ..Settings::default() };
        let settings = FleetSettings { store, key_prefix: "t".to_owned(), reads_ahead, patience_ms, on_loss };
        Lessee(FleetCounters::new(settings, born))
    }

    /// Counts a request. `None` means that it waits.
    pub fn charge(
        &mut self,
        host: &(impl SharedData + Callouts + Metrics),
        stream: u32,
        limit: LesseeLimit,
        now: UnixMillis,
    ) -> Option<LesseeVerdict> {
        let LesseeLimit { key, max, window_ms, threshold } = limit;
        let quota = Quota::new(max, Some(window_ms), Percent::new(threshold));
        let owner = || Owner {
            api_id: String::new(),
            key: key.to_string(),
            fingerprint: String::new(),
            org_id: String::new(),
            alias: String::new(),
            tags: Vec::new(),
            meta_data: std::collections::BTreeMap::new(),
            subject: Subject::Key,
        };
        let line = ChargeLine {
            scope: LimitScope::KeyQuota,
            subject: key,
            quota: &quota,
            home: Home::Own(PageName::Own(key)),
        };
        let charge =
            Charge { lines: [line].into_iter().collect(), owner: Some(MakeOwner(&owner)), ..Charge::default() };
        match self.0.charge(host, StreamId(stream), &charge, now) {
            Poll::Ready(result) => Some(LesseeVerdict::of(&result)),
            Poll::Pending => None,
        }
    }

    /// Called every half second, and every 25 ms while requests wait.
    pub fn tick(&mut self, host: &(impl SharedData + Callouts + Metrics), now: UnixMillis) {
        self.0.on_tick(host, now);
    }

    /// Takes the reply to a call; no status if none came.
    pub fn reply(
        &mut self,
        host: &(impl SharedData + Callouts + Metrics),
        id: CalloutId,
        status: Option<u16>,
        now: UnixMillis,
    ) {
        self.0.on_callout_reply(host, id, &CalloutReply { status, ..CalloutReply::default() }, now);
    }

    /// The streams whose wait is over.
    pub fn take_settled(&mut self) -> Vec<(u32, LesseeVerdict)> {
        self.0.take_settled().iter().map(|(stream, result)| (stream.0, LesseeVerdict::of(result))).collect()
    }

    /// The keys whose threshold was reported to this VM.
    pub fn take_crossed(&mut self) -> Vec<u64> {
        let notices = self.0.take_notices();
        let crossed = notices.iter().filter(|notice| matches!(notice.news.change, QuotaChange::Crossed(_)));
        crossed.filter_map(|notice| notice.owner.key.parse().ok()).collect()
    }

    /// True while requests wait.
    pub fn is_waiting(&self) -> bool {
        self.0.is_waiting()
    }

    /// The counters that it has leases of.
    pub fn leases(&self) -> usize {
        self.0.store(&super::MemoryHost::default(), UnixMillis(0)).map_or(0, |store| store.leases)
    }
}
