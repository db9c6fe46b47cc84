//! The services that all guests share: the clock, the log, the requested callouts, the queues with messages.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proxy_wasm_host::abi::v0_2_1::types::LogLevel;
use proxy_wasm_host::abi::v0_2_1::{
    CalloutId, Callouts, Clock, ContextId, GuestId, HttpCall, HttpCallRefusal, Invocation, LogContext, LogSink,
};

/// A callout that a guest has requested.
pub(crate) struct Asked {
    pub(crate) guest: GuestId,
    pub(crate) context: ContextId,
    pub(crate) callout: CalloutId,
    pub(crate) call: HttpCall<'static>,
}

/// The services.
pub(crate) struct Services {
    /// Nanoseconds since 1970.
    now: AtomicU64,
    clusters: Vec<String>,
    warnings: Mutex<Vec<String>>,
    asked: Mutex<Vec<Asked>>,
    /// The number of messages that were put into queues.
    enqueued: Mutex<usize>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Services {
    pub(crate) fn new(now: u64, clusters: Vec<String>) -> Arc<Self> {
        Arc::new(Services {
            now: AtomicU64::new(now),
            clusters,
            warnings: Mutex::default(),
            asked: Mutex::default(),
            enqueued: Mutex::default(),
        })
    }

    pub(crate) fn now(&self) -> u64 {
        self.now.load(Ordering::SeqCst)
    }

    pub(crate) fn set_now(&self, nanos: u64) {
        self.now.store(nanos, Ordering::SeqCst);
    }

    pub(crate) fn enqueue(&self) {
        *lock(&self.enqueued) += 1;
    }

    pub(crate) fn take_enqueued(&self) -> usize {
        std::mem::take(&mut lock(&self.enqueued))
    }

    pub(crate) fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut lock(&self.asked))
    }

    pub(crate) fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.warnings))
    }
}

impl Clock for Services {
    fn realtime_nanos(&self) -> u64 {
        self.now()
    }

    fn monotonic_nanos(&self) -> u64 {
        self.now()
    }
}

impl LogSink for Services {
    fn log(&self, _: LogContext<'_>, level: LogLevel, message: &[u8]) {
        if matches!(level, LogLevel::Warn | LogLevel::Error | LogLevel::Critical) {
            lock(&self.warnings).push(String::from_utf8_lossy(message).into_owned());
        }
    }
}

impl Callouts for Services {
    fn http_call(&self, by: Invocation, callout: CalloutId, call: HttpCall<'_>) -> Result<(), HttpCallRefusal> {
        if !self.clusters.iter().any(|cluster| *cluster.as_bytes() == *call.upstream) {
            return Err(HttpCallRefusal::UnknownUpstream);
        }
        lock(&self.asked).push(Asked { guest: by.guest, context: by.context, callout, call: call.into_owned() });
        Ok(())
    }
}
