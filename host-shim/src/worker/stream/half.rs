//! One half of a stream, request or response: what waits at which filter.

use std::collections::VecDeque;

/// The most that a filter can hold of a body: Envoy's `per_connection_buffer_limit_bytes`.
pub const BUFFER_LIMIT: usize = 1 << 20;

pub struct Half {
    pub stages: Vec<Stage>,
    pub stopped: bool,
    /// The last of it has come in.
    pub end_seen: bool,
}

/// A filter on the way.
pub struct Stage {
    pub filter: usize,
    pub hold: Hold,
    /// The headers wait here, while bodies are shown to the filter.
    pub holds_headers: bool,
    /// They were the last of the half.
    pub headers_end: bool,
    /// What came while everything was held: the filter has not seen it.
    pub unseen: VecDeque<Piece>,
    /// What waits behind this filter without being shown to it again: Envoy's StopIterationAndWatermark.
    pub unshown: Vec<u8>,
    /// Whether what the filter holds of the body is the last of it.
    pub body_end: bool,
    pub holds_trailers: bool,
    /// The filter let its half go on while it was called.
    pub goes_on: bool,
    pub is_called: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    Nothing,
    /// Bodies and trailers still reach this filter.
    Single,
    /// Nothing reaches it.
    All,
}

pub enum Piece {
    Data(Vec<u8>, bool),
    Trailers,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Request,
    Response,
}

impl Half {
    pub fn new(filters: impl Iterator<Item = usize>) -> Self {
        let stage = |filter| Stage {
            filter,
            hold: Hold::Nothing,
            holds_headers: false,
            headers_end: false,
            unseen: VecDeque::new(),
            unshown: Vec::new(),
            body_end: false,
            holds_trailers: false,
            goes_on: false,
            is_called: false,
        };
        Half { stages: filters.map(stage).collect(), stopped: false, end_seen: false }
    }

    pub fn stop(&mut self) {
        self.stopped = true;
    }

    pub fn held_bytes(&self, bodies: &[Option<Vec<u8>>]) -> usize {
        let unseen = self.stages.iter().flat_map(|stage| &stage.unseen).map(|piece| match piece {
            Piece::Data(data, _) => data.len(),
            Piece::Trailers => 0,
        });
        let unshown = self.stages.iter().map(|stage| stage.unshown.len());
        unseen.chain(unshown).sum::<usize>() + bodies.iter().flatten().map(Vec::len).sum::<usize>()
    }

    pub fn stage_of(&self, filter: usize) -> Option<usize> {
        self.stages.iter().position(|stage| stage.filter == filter)
    }
}
