//! Bodies that are written while they are sent. A body counts the bytes that were written and not yet sent, so that the
//! writer can wait.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};

use crate::base::lock;

/// The writer waits if a body holds at least this many bytes.
const HIGH_WATER: usize = 256 * 1024;

/// The writer did not finish the body.
#[derive(Debug, thiserror::Error)]
#[error("the message was cut off")]
pub struct CutOff;

#[derive(Default)]
struct Queue {
    frames: VecDeque<Frame<Bytes>>,
    bytes: usize,
    is_whole: bool,
    is_cut: bool,
    is_dropped: bool,
    /// Whether the headers contain the length. hyper must not compare it.
    has_length: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Queue {
    fn push(&mut self, frame: Frame<Bytes>) {
        self.bytes += frame.data_ref().map_or(0, Bytes::len);
        self.frames.push_back(frame);
        self.wake_reader();
    }

    fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    fn poll(&mut self, context: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        if let Some(frame) = self.frames.pop_front() {
            self.bytes -= frame.data_ref().map_or(0, Bytes::len);
            if let Some(waker) = self.writer.take() {
                waker.wake();
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        if self.is_cut {
            return Poll::Ready(Some(Err(CutOff)));
        }
        if self.is_whole {
            return Poll::Ready(None);
        }
        self.reader = Some(context.waker().clone());
        Poll::Pending
    }

    fn poll_room(&mut self, context: &Context<'_>) -> Poll<()> {
        if self.bytes < HIGH_WATER || self.is_dropped || self.is_cut {
            return Poll::Ready(());
        }
        self.writer = Some(context.waker().clone());
        Poll::Pending
    }

    fn is_end(&self) -> bool {
        self.is_whole && self.frames.is_empty() && !self.is_cut
    }
}

/// The writing end of a body.
pub trait Sink {
    fn data(&self, data: Vec<u8>);
    /// Appends trailers, and ends the body.
    fn trailers(&self, trailers: HeaderMap);
    fn end(&self);
    /// Ends the body early, with an error.
    fn cut(&self);
    async fn room(&self);
}

macro_rules! body {
    ($(#[$doc:meta])* $sink:ident, $body:ident, $shared:ty, |$queue:ident| $borrow:expr) => {
        #[derive(Clone)]
        pub struct $sink($shared);

        $(#[$doc])*
        pub struct $body($shared);

        impl $sink {
            /// Makes a body and its writer.
            pub fn new() -> (Self, $body) {
                let shared = <$shared>::default();
                ($sink(shared.clone()), $body(shared))
            }

            /// Notes that the headers have a content-length.
            pub fn has_length(&self) {
                self.with(|queue| queue.has_length = true);
            }

            fn with<T>(&self, run: impl FnOnce(&mut Queue) -> T) -> T {
                let $queue = &self.0;
                run(&mut $borrow)
            }
        }

        impl Sink for $sink {
            fn data(&self, data: Vec<u8>) {
                if !data.is_empty() {
                    self.with(|queue| queue.push(Frame::data(data.into())));
                }
            }

            fn trailers(&self, trailers: HeaderMap) {
                self.with(|queue| queue.push(Frame::trailers(trailers)));
                self.end();
            }

            fn end(&self) {
                self.with(|queue| {
                    queue.is_whole = true;
                    queue.wake_reader();
                });
            }

            fn cut(&self) {
                self.with(|queue| {
                    queue.is_cut = true;
                    queue.wake_reader();
                });
            }

            async fn room(&self) {
                poll_fn(|context| self.with(|queue| queue.poll_room(context))).await;
            }
        }

        impl Body for $body {
            type Data = Bytes;
            type Error = CutOff;

            fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
                let $queue = &self.0;
                $borrow.poll(context)
            }

            fn is_end_stream(&self) -> bool {
                let $queue = &self.0;
                let queue = $borrow;
                queue.is_end() && !queue.has_length
            }

            // As in Envoy, a message without a content-length is chunked, even if all of it is available.
            fn size_hint(&self) -> SizeHint {
                SizeHint::default()
            }
        }

        impl Drop for $body {
            fn drop(&mut self) {
                let $queue = &self.0;
                let mut queue = $borrow;
                queue.is_dropped = true;
                if let Some(waker) = queue.writer.take() {
                    waker.wake();
                }
            }
        }
    };
}

body!(
    /// A body for an upstream, which another thread can poll.
    UpstreamSink,
    UpstreamBody,
    Arc<Mutex<Queue>>,
    |queue| lock(queue)
);

body!(
    /// A body for the client, which only this thread polls.
    ClientSink,
    ClientBody,
    Rc<RefCell<Queue>>,
    |queue| queue.borrow_mut()
);

impl UpstreamSink {
    /// If the body is not complete, it ends with an error, because nothing can write the rest.
    pub fn give_up(&self) {
        if !self.with(|queue| queue.is_whole) {
            self.cut();
        }
    }
}

impl ClientSink {
    /// Whether the client has disconnected before the end.
    pub fn was_dropped(&self) -> bool {
        self.with(|queue| queue.is_dropped && !queue.is_end())
    }
}
