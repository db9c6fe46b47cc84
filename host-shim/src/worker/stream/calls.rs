//! Calls the VM of a filter, and carries out the effects of the call.

use std::rc::Rc;

use super::Stream;
use super::half::Way;
use crate::base::Headers;
use crate::guest::Vm;
use crate::guest::codes::{DataStatus, HeadersStatus};
use crate::guest::context::Visible;
use crate::guest::effects::{Effect, StreamEffect};
use crate::guest::memory::word;
use crate::traffic::Seen;
use crate::worker::plugin::VmCell;

impl Stream {
    pub(super) fn call_headers(&mut self, way: Way, filter: usize, end: bool) -> HeadersStatus {
        if way == Way::Request {
            self.create_context(filter);
            if let Some(filter) = self.filters.get_mut(filter) {
                filter.started = true;
            }
        } else if !self.is_started(filter) {
            return HeadersStatus::Continue;
        }
        let count = {
            let data = self.data.borrow();
            match way {
                Way::Request => data.request_headers.len(),
                Way::Response => data.response_headers.as_ref().map_or(0, Headers::len),
            }
        };
        let show = |visible: &mut Visible, is_shown: bool| match way {
            Way::Request => visible.request_headers = is_shown,
            Way::Response => visible.response_headers = is_shown,
        };
        let answer = self.call(filter, show, |vm, context| match way {
            Way::Request => {
                let status = vm.request_headers(context, word(count), end);
                (status, status == HeadersStatus::Continue)
            }
            Way::Response => {
                let status = vm.response_headers(context, word(count), end);
                (status, status == HeadersStatus::Continue)
            }
        });
        answer.unwrap_or(HeadersStatus::Continue)
    }

    /// The filter sees the piece, or the data that waits if `piece` is `None`. A filter that already sees the data that
    /// waits sees it with the piece at its end.
    pub(super) fn call_body(&mut self, way: Way, filter: usize, piece: &mut Option<Vec<u8>>, end: bool) -> DataStatus {
        let size = {
            let mut data = self.data.borrow_mut();
            let body = data.body_mut(way);
            match piece.as_mut() {
                Some(piece) if body.shows_held(filter) => body.hold(std::mem::take(piece)),
                Some(piece) => drop(body.show(filter, Seen::Piece(std::mem::take(piece)))),
                None => drop(body.show(filter, Seen::Held)),
            }
            word(body.of(filter).map_or(0, <[u8]>::len))
        };
        let show = |visible: &mut Visible, _is_shown: bool| match way {
            Way::Request => visible.may_add_request_trailers |= end,
            Way::Response => visible.may_add_response_trailers |= end,
        };
        let data = Rc::clone(&self.data);
        let answer = self.call(filter, show, |vm, context| {
            let status = match way {
                Way::Request => vm.request_body(context, size, end),
                Way::Response => vm.response_body(context, size, end),
            };
            let seen = if status == DataStatus::Buffer { Seen::Held } else { Seen::Nothing };
            if let Seen::Piece(seen) = data.borrow_mut().body_mut(way).show(filter, seen) {
                *piece = Some(seen);
            }
            (status, status == DataStatus::Continue)
        });
        if answer.is_none()
            && let Seen::Piece(seen) = self.data.borrow_mut().body_mut(way).show(filter, Seen::Nothing)
        {
            *piece = Some(seen);
        }
        answer.unwrap_or(DataStatus::Continue)
    }

    pub(super) fn call_trailers(&mut self, way: Way, filter: usize) -> bool {
        let count = {
            let data = self.data.borrow();
            let trailers = if way == Way::Request { &data.request_trailers } else { &data.response_trailers };
            word(trailers.as_ref().map_or(0, Headers::len))
        };
        let show = |visible: &mut Visible, is_shown: bool| match way {
            Way::Request => visible.request_trailers = is_shown,
            Way::Response => visible.response_trailers = is_shown,
        };
        let answer = self.call(filter, show, |vm, context| {
            let passes = match way {
                Way::Request => vm.request_trailers(context, count),
                Way::Response => vm.response_trailers(context, count),
            };
            (passes, passes)
        });
        answer.unwrap_or(true)
    }

    /// Calls the VM of a filter. The filter can see a map during the call, and after it unless the filter continues.
    /// Returns `None` if the stream must skip the filter.
    fn call<T>(
        &mut self,
        filter: usize,
        show: impl Fn(&mut Visible, bool),
        run: impl FnOnce(&mut Vm, u32) -> (T, bool),
    ) -> Option<T> {
        let Some((cell, context)) = self.context_of(filter).filter(|(cell, _)| !cell.has_failed()) else {
            if !self.passes_failures(filter) {
                self.refuse_failed();
            }
            return None;
        };
        let (answer, effects) = {
            let mut vm = cell.vm.borrow_mut();
            let set = |vm: &mut Vm, is_shown: bool| {
                if let Some(stream) = vm.state_mut().contexts.stream_mut(context) {
                    show(&mut stream.visible, is_shown);
                }
            };
            set(&mut vm, true);
            let (answer, continues) = run(&mut vm, context);
            if continues {
                set(&mut vm, false);
            }
            (answer, vm.take_effects())
        };
        self.do_effects(&cell, effects);
        if cell.has_failed() {
            // The stream in which a VM fails is refused. The failure policy applies only to later streams.
            self.refuse_failed();
            return None;
        }
        Some(answer)
    }

    /// Carries out the effects of a VM: the stream handles its own effects, and the worker handles the others.
    pub(super) fn do_effects(&mut self, cell: &Rc<VmCell>, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Stream { stream, filter, ask } if stream == self.id => match ask {
                    StreamEffect::ContinueRequest => self.resume(Way::Request, filter),
                    StreamEffect::ContinueResponse => self.resume(Way::Response, filter),
                    StreamEffect::Reply(reply) => self.local_reply(reply),
                    close @ StreamEffect::Close(_) => self.asked(filter, close),
                },
                other => self.worker.do_effect(cell, other),
            }
        }
    }

    fn passes_failures(&self, filter: usize) -> bool {
        self.filters.get(filter).is_some_and(|filter| filter.plugin.passes_failures())
    }

    /// Whether a filter takes part: a filter that has not seen the request's headers sees nothing of the stream.
    pub(super) fn is_started(&self, filter: usize) -> bool {
        self.filters.get(filter).is_some_and(|filter| filter.started)
    }
}
