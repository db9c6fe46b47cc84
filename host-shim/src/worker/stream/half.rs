//! One half of a stream, request or response, with the data that waits at each filter.

use std::collections::VecDeque;

pub struct Half {
    pub stages: Vec<Stage>,
    pub stopped: bool,
    /// Whether the end of the half was received.
    pub end_seen: bool,
}

/// The state of a half at one filter.
pub struct Stage {
    pub filter: usize,
    pub hold: Hold,
    /// Whether the headers wait here. The filter still sees the body.
    pub holds_headers: bool,
    /// Whether the headers were the end of the half.
    pub headers_end: bool,
    /// Data that arrived while everything was held. The filter has not seen it.
    pub unseen: VecDeque<Piece>,
    /// Data that waits after this filter, which does not see it again: Envoy's StopIterationAndWatermark.
    pub unshown: Vec<u8>,
    /// Whether the body that the filter holds contains the end.
    pub body_end: bool,
    pub holds_trailers: bool,
    /// Whether the filter continued its half during a call.
    pub goes_on: bool,
    pub is_called: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    Nothing,
    /// The headers wait. The filter still receives bodies and trailers.
    Single,
    /// Everything waits. The filter receives nothing.
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
