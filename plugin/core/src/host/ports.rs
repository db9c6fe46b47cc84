//! The interface that the core needs from the proxy that hosts it. The filter implements these traits with hostcalls,
//! [`crate::testing`] in memory.
//!
//! Each trait has a few methods, and a function requires only the traits that it uses.

use thiserror::Error;

use crate::base::UnixMillis;
use crate::host::guess::Guesses;
use crate::host::metrics::{Gauge, Metric};

/// The interval at which the host calls the engine's `on_tick`.
pub const TICK_MS: u64 = 500;

/// The host refused a call for a reason outside of tollbell, such as a restricted capability.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the host answered {call} with status {status}")]
pub struct HostError {
    /// The hostcall's ABI name without the `proxy_` prefix.
    pub call: &'static str,
    /// The proxy-wasm status code.
    pub status: u32,
}

/// A stored value, and the number that a compare-and-swap must name to replace it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Never empty. An empty value counts as absent, because Envoy cannot delete a key.
    pub value: Vec<u8>,
    /// A number that changes with every write to the key; never 0.
    pub cas: u32,
}

/// The result of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The key was never written.
    Absent,
    /// The key holds an empty value. Its number is needed to write it again.
    Emptied {
        /// The number of the empty value.
        cas: u32,
    },
    /// The key holds a value.
    Present(Stored),
}

/// Key-value data shared by all VMs of one `vm_id` in the process (Envoy's shared data).
///
/// The host never frees a key, so the configuration must bound the set of keys.
pub trait SharedData {
    /// Reads a key.
    fn get(&self, key: &str) -> Result<Entry, HostError>;

    /// Writes a key only if it is absent. `false` means that another VM wrote it first.
    fn insert(&self, key: &str, value: &[u8]) -> Result<bool, HostError>;

    /// Writes a key only if its number is still `cas`. `false` means that another VM wrote it since.
    fn replace(&self, key: &str, value: &[u8], cas: u32) -> Result<bool, HostError>;

    /// Writes a key unconditionally.
    fn put(&self, key: &str, value: &[u8]) -> Result<(), HostError>;

    /// This VM's own last writes; `None` if the host's numbers allow no guess.
    fn guesses(&self) -> Option<&Guesses> {
        None
    }
}

/// Wakes the VM that dispatches, from any VM (a proxy-wasm shared queue).
pub trait Wakeups {
    /// Makes this VM the one that is woken. The last caller wins.
    fn listen(&self) -> Result<(), HostError>;

    /// Wakes the listening VM and gives it `message`. Without a listening VM, the message waits.
    fn wake(&self, message: &[u8]) -> Result<(), HostError>;

    /// Takes the oldest waiting message.
    fn take(&self) -> Result<Option<Vec<u8>>, HostError>;
}

/// An HTTP request that goes through a named cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callout {
    /// The Envoy cluster that sends it.
    pub cluster: String,
    /// Pseudo-headers (`:method`, `:path`, `:authority`, `:scheme`) and headers, lower case.
    pub headers: Vec<(String, String)>,
    /// Empty for a request without a body.
    pub body: Vec<u8>,
    /// At least 1. In Envoy, 0 would mean no time-out at all.
    pub timeout_ms: u64,
}

/// The host's id of a callout in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CalloutId(pub u32);

/// Why a callout did not start. No reply will come.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CalloutRefused {
    /// Envoy's BadArgument: in most cases there is no cluster of that name.
    #[error("the cluster is unknown to the proxy")]
    UnknownCluster,
    /// Envoy's InternalFailure: no healthy host, an open circuit breaker, or a name that is not resolved yet.
    #[error("the proxy refused the callout at once")]
    Immediately,
}

/// Why the body of a reply is not available.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BodyError {
    /// The body is longer than allowed.
    #[error("the answer is longer than {most} bytes")]
    TooLong {
        /// The allowed length.
        most: usize,
    },
    /// The host refused.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// The result of a callout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CalloutReply {
    /// `None` if no response headers came: the stream was reset, or the cluster was removed.
    pub status: Option<u16>,
    /// The value of the `retry-after` header.
    pub retry_after: Option<String>,
    /// True if the proxy answered instead of the target, because it found no connection or a time-out passed.
    pub by_proxy: bool,
}

/// HTTP requests to other hosts.
pub trait Callouts {
    /// Starts a callout. The engine receives its reply later.
    fn send(&self, callout: &Callout) -> Result<CalloutId, CalloutRefused>;

    /// A header of the current reply, by its name in lower case.
    fn reply_header(&self, name: &str) -> Option<String>;

    /// The body of the current reply.
    ///
    /// # Errors
    /// The body is longer than `most` bytes, or it cannot be read.
    fn reply_body(&self, most: usize) -> Result<Vec<u8>, BodyError>;
}

/// Counters and gauges.
pub trait Metrics {
    /// Adds `n` to a counter.
    fn add(&self, metric: Metric, n: u64);

    /// Adds 1 to a counter.
    fn count(&self, metric: Metric) {
        self.add(metric, 1);
    }

    /// Counts an attempt to send to a target, by outcome: see [`crate::host::metrics::attempts_name`].
    fn count_attempt(&self, target: &str, outcome: &'static str);

    /// Sets a gauge.
    fn set(&self, gauge: Gauge, value: u64);

    /// Changes a gauge to which each VM adds its own part.
    fn change(&self, gauge: Gauge, by: i64);

    /// Passes the sums since the last call to the host, where the implementation sums.
    fn flush(&self) {}
}

/// The clock.
pub trait Clock {
    /// The current time.
    ///
    /// # Errors
    /// The host does not give the time.
    fn now(&self) -> Result<UnixMillis, HostError>;

    /// The current time, or the epoch if the host does not give the time. At the epoch, messages stay held and no
    /// request passes.
    fn now_or_epoch(&self) -> UnixMillis {
        self.now().unwrap_or_default()
    }

    /// Asks for a tick every `period_ms` milliseconds.
    fn tick_every(&self, period_ms: u64);
}

/// Calls that are for the start of a configuration.
pub trait Setup {
    /// A property of the plugin. `path` has the names of its path, joined by NUL.
    fn property(&self, path: &str) -> Option<Vec<u8>>;

    /// Declares a property that the streams of one downstream request share. Without it, a request that runs through
    /// the filter twice is counted twice.
    fn declare_request_property(&self, name: &str);
}

/// All ports together, for the engine.
pub trait Host: SharedData + Wakeups + Callouts + Metrics + Clock + Setup {}

impl<T: SharedData + Wakeups + Callouts + Metrics + Clock + Setup> Host for T {}
