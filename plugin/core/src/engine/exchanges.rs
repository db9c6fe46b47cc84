//! What is remembered of the streams of one engine.

use rustc_hash::FxHashMap;

use super::response::Followup;
use crate::access::Pass;
use crate::base::UnixMillis;
use crate::host::{Flow, Headers, StreamId};
use crate::observe::Watched;

/// A request and its response.
#[derive(Default)]
pub(super) struct OpenStream {
    pub(super) phase: Phase,
    /// What its response needs to know.
    pub(super) followup: Option<Followup>,
    /// The request's headers, where the response may be an event.
    pub(super) headers: Headers,
}

/// How far a request is.
#[derive(Default)]
pub(super) enum Phase {
    /// It went on, and its response has not come.
    #[default]
    Passing,
    /// Its response has come.
    Answered,
    /// It was answered here, or the host did not take the answer: nothing behind its headers goes on.
    Held,
    /// An admin request that is answered when its body is whole.
    Collecting {
        since: UnixMillis,
        /// Bytes of the body that the host keeps; `None` until it shows any.
        size: Option<usize>,
    },
    /// It is answered when a connection test ends.
    AwaitsTest,
    /// It waits for a store that counts it.
    AwaitsCharge {
        since: UnixMillis,
        headers: Headers,
        /// What earlier passes of the request have left.
        earlier: Option<Box<Pass>>,
    },
}

impl OpenStream {
    /// The exchange that is watched, to which bodies and response headers are handed as they pass.
    pub(super) fn watched(&mut self) -> Option<&mut Watched> {
        self.followup.as_mut()?.watched.as_deref_mut()
    }

    /// What becomes of what follows the request's headers.
    pub(super) fn flow(&self) -> Flow {
        if matches!(self.phase, Phase::Passing | Phase::Answered) { Flow::Continue } else { Flow::Pause }
    }
}

/// By the host's numbers.
#[derive(Default)]
pub(super) struct OpenStreams(FxHashMap<StreamId, OpenStream>);

impl OpenStreams {
    pub(super) fn get(&mut self, stream: StreamId) -> Option<&mut OpenStream> {
        self.0.get_mut(&stream)
    }

    pub(super) fn remove(&mut self, stream: StreamId) -> Option<OpenStream> {
        self.0.remove(&stream)
    }

    /// Keeps what the response of a request that goes on needs.
    pub(super) fn remember(&mut self, stream: StreamId, followup: Followup, headers: Headers) {
        let headers = if followup.observed.is_some() { headers } else { Headers::default() };
        self.0.insert(stream, OpenStream { phase: Phase::Passing, followup: Some(followup), headers });
    }

    /// Lets nothing of a request go on.
    pub(super) fn hold(&mut self, stream: StreamId, phase: Phase) -> Flow {
        self.0.entry(stream).or_default().phase = phase;
        Flow::Pause
    }

    /// The streams in a phase.
    pub(super) fn find(&self, is_wanted: impl Fn(&Phase) -> bool) -> Vec<StreamId> {
        self.0.iter().filter(|(_, exchange)| is_wanted(&exchange.phase)).map(|(stream, _)| *stream).collect()
    }

    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
