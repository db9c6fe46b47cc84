//! The core's view of the proxy that hosts it: [`ports`], and the modules that use the ports directly.

pub mod cas;
pub mod guess;
pub mod headers;
pub mod metrics;
pub mod ports;
pub mod store;
pub mod stream;

pub use cas::{CompareAndSwap, RawData};
pub use guess::Guesses;
pub use headers::{HeaderChange, HeaderPair, Headers, is_header};
pub use metrics::{Fetch, Gauge, Label, Metric, StoreCall, attempts_name};
pub use ports::{
    BodyError, Callout, CalloutId, CalloutRefused, CalloutReply, Callouts, Clock, Entry, Host, HostError, Metrics,
    Setup, SharedData, Stored, TICK_MS, Wakeups,
};
pub use store::{Change, CorruptRecord, StoreError, read, update, update_often};
pub use stream::{Answer, Flow, Stream, StreamId, Streams};
