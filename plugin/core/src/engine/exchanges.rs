//! The data that an engine keeps for each stream.

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
    /// The data that the response needs.
    pub(super) followup: Option<Followup>,
    /// The request's headers, if the response may be an event.
    pub(super) headers: Headers,
}

/// The state of a request.
#[derive(Default)]
pub(super) enum Phase {
    /// It went upstream, and its response has not come.
    #[default]
    Passing,
    /// Its response has come.
    Answered,
    /// The filter answered it, or the host did not take the answer. Nothing after its headers passes.
    Held,
    /// An admin request that is answered when its body is complete.
    Collecting {
        since: UnixMillis,
        /// The bytes of the body that the host holds; `None` until it shows any.
        size: Option<usize>,
    },
    /// An admin request that is answered when a connection test ends.
    AwaitsTest,
    /// It waits for the store that counts it.
    AwaitsCharge {
        since: UnixMillis,
        headers: Headers,
        /// The data of earlier passes of the request.
        earlier: Option<Box<Pass>>,
    },
}

impl OpenStream {
    /// The watched exchange, which gets bodies and response headers as they pass.
    pub(super) fn watched(&mut self) -> Option<&mut Watched> {
        self.followup.as_mut()?.watched.as_deref_mut()
    }

    /// What the host does with the parts after the request's headers.
    pub(super) fn flow(&self) -> Flow {
        if matches!(self.phase, Phase::Passing | Phase::Answered) { Flow::Continue } else { Flow::Pause }
    }
}

/// The open streams by the host's ids.
#[derive(Default)]
pub(super) struct OpenStreams(FxHashMap<StreamId, OpenStream>);

impl OpenStreams {
    pub(super) fn get(&mut self, stream: StreamId) -> Option<&mut OpenStream> {
        self.0.get_mut(&stream)
    }

    pub(super) fn remove(&mut self, stream: StreamId) -> Option<OpenStream> {
        self.0.remove(&stream)
    }

    /// Keeps the data that the response of an admitted request needs.
    pub(super) fn remember(&mut self, stream: StreamId, followup: Followup, headers: Headers) {
        let headers = if followup.observed.is_some() { headers } else { Headers::default() };
        self.0.insert(stream, OpenStream { phase: Phase::Passing, followup: Some(followup), headers });
    }

    /// Holds a request, so that nothing of it passes.
    pub(super) fn hold(&mut self, stream: StreamId, phase: Phase) -> Flow {
        self.0.entry(stream).or_default().phase = phase;
        Flow::Pause
    }

    /// The streams in a certain phase.
    pub(super) fn find(&self, is_wanted: impl Fn(&Phase) -> bool) -> Vec<StreamId> {
        self.0.iter().filter(|(_, exchange)| is_wanted(&exchange.phase)).map(|(stream, _)| *stream).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
