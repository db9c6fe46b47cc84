//! One half of a stream, request or response, with its state at each filter.

use crate::traffic::{Body, StreamData};

pub struct Half {
    pub stages: Vec<Stage>,
    pub stopped: bool,
    /// Whether the end of the half was received.
    pub end_seen: bool,
    /// Whether the end of the half has passed the filters.
    pub end_passed: bool,
}

/// The state of a half at one filter.
pub struct Stage {
    pub filter: usize,
    pub hold: Hold,
    /// Whether the headers have passed this filter.
    pub headers_passed: bool,
    /// Whether the filter has seen the end of the half.
    pub end_shown: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    Nothing,
    /// The half waits. The filter still receives bodies and trailers.
    Single,
    /// Everything waits. The filter receives nothing.
    All,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Request,
    Response,
}

impl Half {
    pub fn new(filters: impl Iterator<Item = usize>) -> Self {
        let stage = |filter| Stage { filter, hold: Hold::Nothing, headers_passed: false, end_shown: false };
        Half { stages: filters.map(stage).collect(), stopped: false, end_seen: false, end_passed: false }
    }

    pub fn stop(&mut self) {
        self.stopped = true;
    }

    pub fn stage_of(&self, filter: usize) -> Option<usize> {
        self.stages.iter().position(|stage| stage.filter == filter)
    }
}

impl StreamData {
    pub fn body(&self, way: Way) -> &Body {
        match way {
            Way::Request => &self.request_body,
            Way::Response => &self.response_body,
        }
    }

    pub fn body_mut(&mut self, way: Way) -> &mut Body {
        match way {
            Way::Request => &mut self.request_body,
            Way::Response => &mut self.response_body,
        }
    }

    pub fn has_trailers(&self, way: Way) -> bool {
        match way {
            Way::Request => self.request_trailers.is_some(),
            Way::Response => self.response_trailers.is_some(),
        }
    }
}
