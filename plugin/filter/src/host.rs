//! The core's ports on hostcalls.

use std::cell::Cell;

use tollbell_core::answer::Answer;
use tollbell_core::cas::{CompareAndSwap, RawData};
use tollbell_core::guess::Guesses;
use tollbell_core::metrics::{Gauge, Metric};
use tollbell_core::ports::{
    BodyError, Callout, CalloutId, CalloutRefused, CalloutReply, Callouts, Entry, HostError, Metrics, SharedData,
    Wakeups,
};
use tollbell_core::request::{HeaderChange, is_header};
use tollbell_core::units::UnixMillis;

use crate::abi::{self, Body, Map, Status};
use crate::shared_data::RawSharedData;
use crate::statistics::Statistics;

const WAKEUP_QUEUE: &str = "tb1/wakeups";

/// The proxy.
pub(crate) struct ProxyHost {
    statistics: Statistics,
    wakeup_queue: Cell<Option<u32>>,
    /// This VM's `vm_id`, as far as the host tells it.
    vm_ids: Vec<Vec<u8>>,
    compare_and_swap: CompareAndSwap,
    guesses: Option<Guesses>,
}

impl ProxyHost {
    /// Defines the counters and gauges, and finds out what the host can do.
    pub(crate) fn new() -> Self {
        let compare_and_swap = CompareAndSwap::find_out(&RawSharedData);
        let guesses = compare_and_swap.numbers_all_writes(&RawSharedData).then(Guesses::default);
        log::debug!("what this VM wrote last is tried without a read: {}", guesses.is_some());
        ProxyHost {
            statistics: Statistics::define(),
            wakeup_queue: Cell::new(None),
            vm_ids: vm_ids(),
            guesses,
            compare_and_swap,
        }
    }

    /// Hands the host what was counted since the last time.
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

/// What a queue of this VM can be resolved by. The specification has the property `plugin_vm_id`; where a host has none,
/// an empty id is this VM's own, as in Envoy.
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
        // One byte more than is wanted tells that there is more.
        match abi::body(Body::Reply, most.saturating_add(1)) {
            Ok(body) if body.len() > most => Err(BodyError::TooLong { most }),
            Ok(body) => Ok(body),
            Err(status) => Err(refused("get_buffer_bytes")(status).into()),
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
}

/// The time in nanoseconds since the epoch.
pub(crate) fn now_nanos() -> Result<u64, Status> {
    abi::now_nanos()
}

/// The time; the epoch where the host has no clock, which holds messages and lets none through.
pub(crate) fn now() -> UnixMillis {
    UnixMillis::from_nanos(now_nanos().unwrap_or_default())
}

/// Asks for [`tollbell_core::engine::TICK_MS`].
pub(crate) fn start_ticking(period_ms: u64) {
    let period = u32::try_from(period_ms).unwrap_or(u32::MAX);
    if let Err(status) = abi::set_tick_period(period) {
        log::error!("no ticks (status {}): messages wait for ever", status.0);
    }
}

/// The plugin's configuration; empty where there is none.
pub(crate) fn configuration(size: usize) -> Result<Vec<u8>, Status> {
    if size == 0 { Ok(Vec::new()) } else { abi::plugin_configuration(size) }
}

/// What a decision needs: the request's headers, serialized for [`abi::parse_pairs`], and the time.
pub(crate) fn request_facts() -> Result<(Vec<u8>, UnixMillis), Status> {
    Ok((abi::header_pairs(Map::Request)?, UnixMillis::from_nanos(now_nanos()?)))
}

/// A property, by the names on the way to it joined by NUL.
pub(crate) fn property(path: &str) -> Option<Vec<u8>> {
    abi::property(path).ok()
}

/// Makes a property one that the streams of one downstream request inherit. A host that cannot runs no filter twice for a
/// request, or counts it twice.
pub(crate) fn declare_pass(name: &str) {
    if let Err(status) = abi::declare_request_property(name) {
        log::debug!("{name} is not inherited (status {})", status.0);
    }
}

/// Sets the property that [`declare_pass`] declared.
pub(crate) fn leave_to_next_pass(name: &str, pass: &[u8]) {
    if let Err(status) = abi::set_property(name, pass) {
        log::debug!("{name} could not be set (status {})", status.0);
    }
}

/// Whether the host has a cluster. Envoy does not tell; `host-shim check` does.
pub(crate) fn has_cluster(name: &str) -> Option<bool> {
    property(&format!("clusters\0{name}")).map(|value| value != [0])
}

/// What the host shows of a body now; empty where it shows nothing.
pub(crate) fn body(which: Body, size: usize) -> Vec<u8> {
    if size == 0 { Vec::new() } else { abi::body(which, size).unwrap_or_default() }
}

/// The response's headers, serialized for [`abi::parse_pairs`].
pub(crate) fn response_headers() -> Vec<u8> {
    abi::header_pairs(Map::Response).unwrap_or_default()
}

/// Makes further calls those of a stream. `false`: it is gone.
pub(crate) fn enter(stream: u32) -> bool {
    abi::set_effective_context(stream).is_ok()
}

/// A header of the response that is a number. Where it is absent, only a host that keeps the case of names, as it did in
/// those headers of the request, is asked again.
pub(crate) fn response_number(name: &str, request_headers: &[u8]) -> Option<u16> {
    let value = abi::header(Map::Response, name).ok().or_else(|| {
        let keeps_case =
            abi::parse_pairs(request_headers).iter().any(|(name, _)| name.iter().any(u8::is_ascii_uppercase));
        keeps_case.then(|| header(Map::Response, name)).flatten()
    });
    std::str::from_utf8(&value?).ok()?.parse().ok()
}

/// The first value of a header, by its name in lower case. A host that keeps the case of names may not find it by that.
fn header(map: Map, name: &str) -> Option<Vec<u8>> {
    abi::header(map, name).ok().or_else(|| {
        let pairs = abi::header_pairs(map).ok()?;
        let (_, value) = abi::parse_pairs(&pairs).into_iter().find(|(known, _)| is_header(known, name))?;
        Some(value.to_vec())
    })
}

/// Applies changes to the request's headers. `false`: the host did not take one, and the request still has its key.
pub(crate) fn change_request(changes: &[HeaderChange]) -> bool {
    changes.iter().all(|change| {
        let changed = match change {
            HeaderChange::Remove(name) => abi::remove_header(Map::Request, name),
            HeaderChange::Replace(name, value) => abi::replace_header(Map::Request, name, value),
        };
        if let Err(status) = changed {
            log::error!("a request header could not be changed (status {})", status.0);
        }
        changed.is_ok()
    })
}

/// Answers the request, or logs that the host did not take the answer.
pub(crate) fn send_answer(answer: &Answer) {
    let headers = answer.headers.iter().map(|(name, value)| (*name, value.as_str()));
    let sent = abi::send_local_response(u32::from(answer.status), &answer.details, headers, &answer.body);
    if let Err(status) = sent {
        log::error!("a refusal could not be sent (status {}): the request is held", status.0);
    }
}

/// Sets a header of the response.
pub(crate) fn set_response_header(name: &str, value: &str) {
    if let Err(status) = abi::replace_header(Map::Response, name, value.as_bytes()) {
        log::debug!("{name} could not be set (status {})", status.0);
    }
}

/// Of a test's build: see the feature `faults`.
#[cfg(feature = "faults")]
pub(crate) fn trap_if_asked() {
    abi::trap_if_asked();
}

/// A header of the reply to a callout, by its name in lower case.
fn reply_header(name: &str) -> Option<String> {
    String::from_utf8(header(Map::CallResponse, name)?).ok()
}

/// The reply to a callout, while the host shows it. With no headers there is nothing to ask for.
pub(crate) fn callout_reply(header_count: usize) -> CalloutReply {
    if header_count == 0 {
        return CalloutReply::default();
    }
    let status = reply_header(":status").and_then(|status| status.parse().ok());
    match status {
        Some(200..=299) => CalloutReply { status, ..CalloutReply::default() },
        // Envoy sets this header on what an upstream answered, and only there.
        _ => {
            let retry_after = reply_header("retry-after");
            // Other hosts do not. Envoy's own answers ask for no other try.
            let by_proxy = retry_after.is_none() && reply_header("x-envoy-upstream-service-time").is_none();
            CalloutReply { status, retry_after, by_proxy }
        }
    }
}
