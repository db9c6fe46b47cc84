//! A connection to an upstream, whose heads hyper neither reads nor writes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::follow::Follow;
use super::pieces::{Output, poll_fill, poll_send};
use super::request::{self, end_of_head};
use super::response::{self, After};
use super::writer::Writer;
use super::{FULL, Length};

/// What hyper refuses to read.
const REFUSED: &[u8] = b"refused\r\n\r\n";

pub(in crate::server) struct Upstream<I> {
    io: I,
    writer: Writer,
    /// Bytes of the upstream that were not handled.
    input: Vec<u8>,
    output: Output,
    to_upstream: Vec<u8>,
    state: State,
}

enum State {
    Head,
    Body(Follow),
    /// The bytes go to hyper as they are.
    Through,
    /// So do those of hyper to the upstream.
    Passes,
}

impl<I> Upstream<I> {
    /// Wraps a connection. One with HTTP/2 belongs to hyper.
    pub(in crate::server) fn new(io: I, is_http2: bool) -> Self {
        Upstream {
            io,
            writer: Writer::default(),
            input: Vec::new(),
            output: Output::default(),
            to_upstream: Vec::new(),
            state: if is_http2 { State::Passes } else { State::Head },
        }
    }

    /// Handles the input as far as possible.
    fn advance(&mut self) {
        while !self.input.is_empty() {
            match &mut self.state {
                State::Head if !self.writer.awaits => self.state = State::Through,
                State::Head => {
                    let Some(end) = end_of_head(&self.input) else {
                        if self.input.len() > request::MAX_HEAD {
                            self.refuse();
                        }
                        return;
                    };
                    let head: Vec<u8> = self.input.drain(..end).collect();
                    match response::parse(&head, self.writer.is_head, self.writer.tunnel) {
                        None => self.refuse(),
                        Some((plain, after)) => {
                            self.output.bytes.extend_from_slice(&plain);
                            self.state = match after {
                                After::Head => State::Head,
                                After::Body(Length::Bytes(0)) => self.whole(),
                                After::Body(length) => State::Body(Follow::new(length)),
                                After::UntilClose => State::Through,
                            };
                        }
                    }
                }
                State::Body(follow) => {
                    let (taken, is_end) = follow.take(&self.input);
                    self.output.bytes.extend(self.input.drain(..taken));
                    if is_end {
                        self.state = self.whole();
                    }
                }
                State::Through | State::Passes => self.output.bytes.append(&mut self.input),
            }
        }
    }

    fn whole(&mut self) -> State {
        self.writer.awaits = false;
        State::Head
    }

    fn refuse(&mut self) {
        self.output.bytes.extend_from_slice(REFUSED);
        self.input.clear();
        self.state = State::Through;
    }
}

impl<I: AsyncWrite + Unpin> Upstream<I> {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        poll_send(&mut self.io, &mut self.to_upstream, context)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Upstream<I> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let me = self.get_mut();
        if matches!(me.state, State::Passes) {
            return Pin::new(&mut me.io).poll_read(context, buf);
        }
        loop {
            me.advance();
            if me.output.give(buf) {
                return Poll::Ready(Ok(()));
            }
            if !ready!(poll_fill(&mut me.io, &mut me.input, context))? {
                if matches!(me.state, State::Head) && !me.input.is_empty() {
                    // The head has no end.
                    me.refuse();
                    continue;
                }
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Upstream<I> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let me = self.get_mut();
        if matches!(me.state, State::Passes) {
            return Pin::new(&mut me.io).poll_write(context, bytes);
        }
        if me.to_upstream.len() >= FULL {
            ready!(me.poll_send(context))?;
        }
        me.writer.push(bytes, &mut me.to_upstream, &mut None);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let me = self.get_mut();
        ready!(me.poll_send(context))?;
        Pin::new(&mut me.io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let me = self.get_mut();
        ready!(me.poll_send(context))?;
        Pin::new(&mut me.io).poll_shutdown(context)
    }
}
