//! What the core needs from the proxy that hosts it. The filter implements these on hostcalls,
//! [`crate::testing`] implements them in memory.
//!
//! Each port is a few methods wide, and a function asks only for the ports that it uses.

use thiserror::Error;

use crate::base::UnixMillis;
use crate::host::guess::Guesses;
use crate::host::metrics::{Gauge, Metric};

/// The period in which the host calls the engine's `on_tick`.
pub const TICK_MS: u64 = 500;

/// The host refused a call that cannot fail for a reason of ours: a restricted capability, say.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the host answered {call} with status {status}")]
pub struct HostError {
    /// The hostcall, by its ABI name without the `proxy_` prefix.
    pub call: &'static str,
    /// The proxy-wasm status code.
    pub status: u32,
}

/// A stored value and the number that a compare-and-swap must name to replace it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Never empty: an empty value counts as absent, since Envoy cannot delete a key.
    pub value: Vec<u8>,
    /// Changes with every write to the key; never 0.
    pub cas: u32,
}

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The key was never written.
    Absent,
    /// The key was written and emptied; its number is needed to write it again.
    Emptied {
        /// The number of the empty value.
        cas: u32,
    },
    /// The key holds a value.
    Present(Stored),
}

/// Key-value data shared by all VMs of one `vm_id` in the process (Envoy's shared data).
///
/// The host never frees a key, so the set of keys must be bounded by the configuration.
pub trait SharedData {
    /// Reads a key.
    fn get(&self, key: &str) -> Result<Entry, HostError>;

    /// Writes a key only where it is absent. `false`: somebody else wrote it first.
    fn insert(&self, key: &str, value: &[u8]) -> Result<bool, HostError>;

    /// Writes a key only where its number is still `cas`. `false`: somebody else wrote it since.
    fn replace(&self, key: &str, value: &[u8], cas: u32) -> Result<bool, HostError>;

    /// Writes a key whatever it holds.
    fn put(&self, key: &str, value: &[u8]) -> Result<(), HostError>;

    /// What this VM remembers of its own writes; `None` where the host's numbers allow no guess.
    fn guesses(&self) -> Option<&Guesses> {
        None
    }
}

/// The wake-up line from any VM to the one that dispatches (a proxy-wasm shared queue).
pub trait Wakeups {
    /// Makes this VM the one that is woken. The last caller wins.
    fn listen(&self) -> Result<(), HostError>;

    /// Wakes the listening VM, handing it `message`. A message that nobody listens for waits.
    fn wake(&self, message: &[u8]) -> Result<(), HostError>;

    /// Takes the oldest waiting message.
    fn take(&self) -> Result<Option<Vec<u8>>, HostError>;
}

/// One HTTP request on its way through a named cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callout {
    /// The Envoy cluster that carries it.
    pub cluster: String,
    /// Pseudo-headers (`:method`, `:path`, `:authority`, `:scheme`) and headers, lower case.
    pub headers: Vec<(String, String)>,
    /// Empty for none.
    pub body: Vec<u8>,
    /// At least 1: for Envoy, 0 would mean no time-out at all.
    pub timeout_ms: u64,
}

/// The host's name for a callout in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CalloutId(pub u32);

/// Why a callout did not start. No reply will come.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CalloutRefused {
    /// Envoy's BadArgument: above all, no cluster of that name.
    #[error("the cluster is unknown to the proxy")]
    UnknownCluster,
    /// Envoy's InternalFailure: no healthy host, circuit breaker open, name not resolved yet.
    #[error("the proxy refused the callout at once")]
    Immediately,
}

/// Why a reply's body cannot be had.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BodyError {
    /// It is longer than asked for.
    #[error("the answer is longer than {most} bytes")]
    TooLong {
        /// What was asked for.
        most: usize,
    },
    /// The host refused.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// How a callout ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CalloutReply {
    /// `None` when no response headers came: reset, or the cluster went away.
    pub status: Option<u16>,
    /// The `retry-after` header as sent.
    pub retry_after: Option<String>,
    /// The proxy answered, not the target: it found no connection, or waited too long.
    pub by_proxy: bool,
}

/// Outgoing HTTP.
pub trait Callouts {
    /// Starts a callout; its reply comes later, through the engine.
    fn send(&self, callout: &Callout) -> Result<CalloutId, CalloutRefused>;

    /// A header of the reply that is being handed over, by its name in lower case.
    fn reply_header(&self, name: &str) -> Option<String>;

    /// The body of the reply that is being handed over.
    ///
    /// # Errors
    /// When it is longer than `most` bytes, or cannot be read.
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

    /// Counts an attempt to send to a target, by what came of it: see [`crate::host::metrics::attempts_name`].
    fn count_attempt(&self, target: &str, outcome: &'static str);

    /// Sets a gauge.
    fn set(&self, gauge: Gauge, value: u64);

    /// Hands over what was summed since the last time, where a host sums.
    fn flush(&self) {}
}

/// Time.
pub trait Clock {
    /// The time.
    ///
    /// # Errors
    /// When the host does not tell it.
    fn now(&self) -> Result<UnixMillis, HostError>;

    /// The time; the epoch where the host does not tell it, which holds messages and lets no request through.
    fn now_or_epoch(&self) -> UnixMillis {
        self.now().unwrap_or_default()
    }

    /// Asks for a tick every so many milliseconds.
    fn tick_every(&self, period_ms: u64);
}

/// What a configuration asks for when it begins.
pub trait Setup {
    /// A property of the plugin, by the names on the way to it joined by NUL.
    fn property(&self, path: &str) -> Option<Vec<u8>>;

    /// Makes a property one that the streams of one downstream request inherit from each other. A host that cannot runs no
    /// filter twice for a request, or counts it twice.
    fn declare_request_property(&self, name: &str);
}

/// Everything above, for the engine.
pub trait Host: SharedData + Wakeups + Callouts + Metrics + Clock + Setup {}

impl<T: SharedData + Wakeups + Callouts + Metrics + Clock + Setup> Host for T {}
