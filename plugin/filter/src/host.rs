//! Implements the core's ports with hostcalls.

use std::cell::Cell;

use tollbell_core::UnixMillis;
use tollbell_core::engine;
use tollbell_core::host::{
    Answer, BodyError, Callout, CalloutId, CalloutRefused, CalloutReply, Callouts, Clock, CompareAndSwap, Entry, Flow,
    Gauge, Guesses, HostError, Metric, Metrics, RawData, Setup, SharedData, Stream, Wakeups,
};

use crate::abi::{self, Body, Map, Status};
use crate::shared_data::RawSharedData;
use crate::statistics::Statistics;
use crate::stream::{HostStream, header};

const WAKEUP_QUEUE: &str = "tb1/wakeups";

/// The proxy.
pub(crate) struct ProxyHost {
    statistics: Statistics,
    wakeup_queue: Cell<Option<u32>>,
    /// The possible values of this VM's `vm_id`.
    vm_ids: Vec<Vec<u8>>,
    compare_and_swap: CompareAndSwap,
    guesses: Option<Guesses>,
}

impl ProxyHost {
    /// Defines the counters and gauges, and tests the host's abilities.
    pub(crate) fn new() -> Self {
        let compare_and_swap = CompareAndSwap::find_out(&RawSharedData);
        let guesses = compare_and_swap.numbers_all_writes(&RawSharedData).then(Guesses::default);
        log::debug!("this VM writes its last values again without a read: {}", guesses.is_some());
        ProxyHost {
            statistics: Statistics::define(engine::metrics()),
            wakeup_queue: Cell::new(None),
            vm_ids: vm_ids(),
            guesses,
            compare_and_swap,
        }
    }

    /// Passes the counts since the last call to the host.
    pub(crate) fn hand_over_counts(&self) {
        self.statistics.hand_over();
    }

    fn wakeup_queue(&self) -> Result<u32, Status> {
        if let Some(queue) = self.wakeup_queue.get() {
            return Ok(queue);
        }
        let mut resolved = Err(Status::NOT_FOUND);
        for vm_id in &self.vm_ids {
            resolved = abi::resolve_queue(vm_id, WAKEUP_QUEUE);
            if resolved.is_ok() {
                break;
            }
        }
        let queue = resolved?;
        self.wakeup_queue.set(Some(queue));
        Ok(queue)
    }
}

/// The ids by which a queue of this VM can be found. The specification has the property `plugin_vm_id`. If a host does
/// not have it, an empty id means this VM's own, as in Envoy.
fn vm_ids() -> Vec<Vec<u8>> {
    let mut told: Vec<Vec<u8>> = ["plugin_vm_id", "vm_id"].into_iter().filter_map(property).collect();
    told.dedup();
    if told.is_empty() { vec![Vec::new()] } else { told }
}

pub(crate) fn refused(call: &'static str) -> impl Fn(Status) -> HostError {
    move |status| HostError { call, status: status.0 }
}

impl SharedData for ProxyHost {
    fn get(&self, key: &str) -> Result<Entry, HostError> {
        RawSharedData.get(key)
    }

    fn insert(&self, key: &str, value: &[u8]) -> Result<bool, HostError> {
        self.compare_and_swap.insert(&RawSharedData, key, value)
    }

    fn replace(&self, key: &str, value: &[u8], cas: u32) -> Result<bool, HostError> {
        RawSharedData.set(key, value, cas)
    }

    fn put(&self, key: &str, value: &[u8]) -> Result<(), HostError> {
        self.compare_and_swap.put(&RawSharedData, key, value)
    }

    fn guesses(&self) -> Option<&Guesses> {
        self.guesses.as_ref()
    }
}

impl Wakeups for ProxyHost {
    fn listen(&self) -> Result<(), HostError> {
        let queue = abi::register_queue(WAKEUP_QUEUE).map_err(refused("register_shared_queue"))?;
        self.wakeup_queue.set(Some(queue));
        Ok(())
    }

    fn wake(&self, message: &[u8]) -> Result<(), HostError> {
        let queue = self.wakeup_queue().map_err(refused("resolve_shared_queue"))?;
        abi::enqueue(queue, message).map_err(refused("enqueue_shared_queue"))
    }

    fn take(&self) -> Result<Option<Vec<u8>>, HostError> {
        let queue = self.wakeup_queue().map_err(refused("resolve_shared_queue"))?;
        match abi::dequeue(queue) {
            Ok(message) => Ok(Some(message)),
            Err(Status::EMPTY) => Ok(None),
            Err(status) => Err(refused("dequeue_shared_queue")(status)),
        }
    }
}

impl Callouts for ProxyHost {
    fn send(&self, callout: &Callout) -> Result<CalloutId, CalloutRefused> {
        let headers = callout.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let timeout_ms = u32::try_from(callout.timeout_ms).unwrap_or(u32::MAX).max(1);
        match abi::http_call(&callout.cluster, headers, &callout.body, timeout_ms) {
            Ok(call) => Ok(CalloutId(call)),
            Err(Status::BAD_ARGUMENT) => Err(CalloutRefused::UnknownCluster),
            Err(_) => Err(CalloutRefused::Immediately),
        }
    }

    fn reply_header(&self, name: &str) -> Option<String> {
        reply_header(name)
    }

    fn reply_body(&self, most: usize) -> Result<Vec<u8>, BodyError> {
        // One byte more than allowed shows that the body is longer.
        match abi::body(Body::Reply, most.saturating_add(1)) {
            Ok(body) if body.len() > most => Err(BodyError::TooLong { most }),
            Ok(body) => Ok(body),
            Err(status) => Err(refused("get_buffer_bytes")(status).into()),
        }
    }
}

impl Clock for ProxyHost {
    fn now(&self) -> Result<UnixMillis, HostError> {
        now_nanos().map(UnixMillis::from_nanos).map_err(refused("get_current_time_nanoseconds"))
    }

    fn tick_every(&self, period_ms: u64) {
        let period = u32::try_from(period_ms).unwrap_or(u32::MAX);
        if let Err(status) = abi::set_tick_period(period) {
            log::error!("no ticks (status {}): messages wait for ever", status.0);
        }
    }
}

impl Setup for ProxyHost {
    fn property(&self, path: &str) -> Option<Vec<u8>> {
        property(path)
    }

    fn declare_request_property(&self, name: &str) {
        if let Err(status) = abi::declare_request_property(name) {
            log::debug!("{name} is not inherited (status {})", status.0);
        }
    }
}

impl Metrics for ProxyHost {
    fn add(&self, metric: Metric, n: u64) {
        self.statistics.add(metric, n);
    }

    fn count_attempt(&self, target: &str, outcome: &'static str) {
        self.statistics.count_attempt(target, outcome);
    }

    fn set(&self, gauge: Gauge, value: u64) {
        self.statistics.set(gauge, value);
    }

    fn change(&self, gauge: Gauge, by: i64) {
        self.statistics.change(gauge, by);
    }

    fn flush(&self) {
        self.hand_over_counts();
    }
}

/// The time in nanoseconds since the epoch.
pub(crate) fn now_nanos() -> Result<u64, Status> {
    abi::now_nanos()
}

/// The plugin's configuration; empty if there is none.
pub(crate) fn configuration(size: usize) -> Result<Vec<u8>, Status> {
    if size == 0 { Ok(Vec::new()) } else { abi::plugin_configuration(size) }
}

/// A property. `path` has the names of its path, joined by NUL.
pub(crate) fn property(path: &str) -> Option<Vec<u8>> {
    abi::property(path).ok()
}

/// Whether the host has a cluster. Envoy does not tell; `host-shim check` does.
pub(crate) fn has_cluster(name: &str) -> Option<bool> {
    property(&format!("clusters\0{name}")).map(|value| value != [0])
}

/// Refuses a request whose headers or time the host does not give.
pub(crate) fn refuse_unseen(stream: u32) -> Flow {
    HostStream(stream).answer(&Answer::unseen());
    Flow::Pause
}

/// For a test's build: see the feature `faults`.
#[cfg(feature = "faults")]
pub(crate) fn trap_if_asked() {
    abi::trap_if_asked();
}

/// A header of the reply to a callout, by its name in lower case.
fn reply_header(name: &str) -> Option<String> {
    String::from_utf8(header(Map::CallResponse, name)?).ok()
}

/// The reply to a callout, while the host shows it. A reply without headers has nothing to read.
pub(crate) fn callout_reply(header_count: usize) -> CalloutReply {
    if header_count == 0 {
        return CalloutReply::default();
    }
    let status = reply_header(":status").and_then(|status| status.parse().ok());
    match status {
        Some(200..=299) => CalloutReply { status, ..CalloutReply::default() },
        // Envoy sets this header only on answers of an upstream.
        _ => {
            let retry_after = reply_header("retry-after");
            // Other hosts do not set it. Envoy's own answers have no `retry-after`.
            let by_proxy = retry_after.is_none() && reply_header("x-envoy-upstream-service-time").is_none();
            CalloutReply { status, retry_after, by_proxy }
        }
    }
}
