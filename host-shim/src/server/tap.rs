//! Reads the heads of HTTP/1 requests before hyper does. hyper gets a plain head with the same framing, and the body as
//! it is. So hyper can refuse nothing that Envoy accepts, and the filters see every line.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::admission::Refusal;
use super::follow::Follow;
use super::http1::{self, Head, Length};

/// How HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
const PIECE: usize = 16 * 1024;

/// The heads that hyper has not handed on, in their order.
pub(super) type Heads = Rc<RefCell<VecDeque<Result<Head, Refusal>>>>;

/// A client's connection.
pub(super) struct Tap<I> {
    io: I,
    heads: Heads,
    /// Bytes of the client that were not handled.
    input: Vec<u8>,
    /// Bytes for hyper.
    output: VecDeque<u8>,
    /// Bytes for the client, before those of hyper.
    continues: VecDeque<u8>,
    state: State,
}

enum State {
    Head,
    Body(Follow),
    /// The bytes go to hyper as they are.
    Through,
    /// The rest is ignored, because the request was refused.
    Refused,
}

impl<I> Tap<I> {
    pub(super) fn new(io: I) -> (Self, Heads) {
        let heads = Heads::default();
        let tap = Tap {
            io,
            heads: Rc::clone(&heads),
            input: Vec::new(),
            output: VecDeque::new(),
            continues: VecDeque::new(),
            state: State::Head,
        };
        (tap, heads)
    }

    /// Handles the input as far as possible. Returns whether there is something for hyper.
    fn advance(&mut self) -> bool {
        while !self.input.is_empty() {
            match &mut self.state {
                State::Head => {
                    if !self.head() {
                        break;
                    }
                }
                State::Body(follow) => {
                    let (taken, is_end) = follow.take(&self.input);
                    self.output.extend(self.input.drain(..taken));
                    if is_end {
                        self.state = State::Head;
                    }
                }
                State::Through => self.output.extend(self.input.drain(..)),
                State::Refused => self.input.clear(),
            }
        }
        !self.output.is_empty()
    }

    /// Handles a head, if it is complete.
    fn head(&mut self) -> bool {
        if self.input.starts_with(PREFACE) {
            self.state = State::Through;
            return true;
        }
        if PREFACE.starts_with(&self.input) {
            return false;
        }
        let blank = self.input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.input.drain(..blank);
        let parsed = match end_of_head(&self.input) {
            Some(end) if end <= http1::MAX_HEAD => http1::parse(&self.input.drain(..end).collect::<Vec<u8>>()),
            None if self.input.len() <= http1::MAX_HEAD => return false,
            _ => Err(too_large(&self.input)),
        };
        let parsed = parsed.and_then(|head| Ok((head.length()?, head)));
        match parsed {
            Ok((length, head)) => self.accept(length, head),
            Err(refusal) => {
                self.output.extend(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n");
                self.heads.borrow_mut().push_back(Err(refusal));
                self.state = State::Refused;
            }
        }
        true
    }

    fn accept(&mut self, length: Length, head: Head) {
        // hyper must not write a body for HEAD. Other methods do not matter to it.
        let method = match (head.method.as_str(), length) {
            ("HEAD", _) => "HEAD",
            (_, Length::Bytes(0)) => "GET",
            _ => "POST",
        };
        let framing = match length {
            Length::Bytes(0) => String::new(),
            Length::Bytes(length) => format!("content-length: {length}\r\n"),
            Length::Chunked => "transfer-encoding: chunked\r\n".to_owned(),
        };
        let closes =
            ["connection", "proxy-connection"].iter().any(|name| head.items(name).iter().any(|item| item == "close"));
        let close = if closes { "connection: close\r\n" } else { "" };
        self.output.extend(format!("{method} / HTTP/1.1\r\n{framing}{close}\r\n").into_bytes());
        // As in Envoy, the filters have no say in this.
        if head.values("expect").any(|value| value.eq_ignore_ascii_case(b"100-continue")) {
            self.continues.extend(CONTINUE);
        }
        self.heads.borrow_mut().push_back(Ok(head));
        self.state = State::Body(Follow::new(length));
        if length == Length::Bytes(0) {
            self.state = State::Head;
        }
    }
}

fn too_large(input: &[u8]) -> Refusal {
    // A head can have too many lines and too many bytes. Envoy counts the lines first.
    let lines = input.iter().filter(|byte| **byte == b'\n').count();
    let details = if lines > 101 { "http1.too_many_headers" } else { "http1.headers_too_large" };
    Refusal::codec(431, "Request Header Fields Too Large", details)
}

/// Returns the length of the head with its empty line.
fn end_of_head(input: &[u8]) -> Option<usize> {
    let mut line = 0;
    for (at, byte) in input.iter().enumerate() {
        match byte {
            b'\n' if line == 0 => return Some(at + 1),
            b'\n' => line = 0,
            b'\r' => {}
            _ => line += 1,
        }
    }
    None
}

impl<I: AsyncWrite + Unpin> Tap<I> {
    fn poll_continue(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while !self.continues.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(context, self.continues.make_contiguous()))?;
            self.continues.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Tap<I> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let me = self.get_mut();
        loop {
            ready!(me.poll_continue(context))?;
            if !me.output.is_empty() || me.advance() {
                let (first, _) = me.output.as_slices();
                let count = first.len().min(buf.remaining());
                buf.put_slice(first.get(..count).unwrap_or_default());
                me.output.drain(..count);
                return Poll::Ready(Ok(()));
            }
            if matches!(me.state, State::Through) {
                return Pin::new(&mut me.io).poll_read(context, buf);
            }
            let mut piece = [0; PIECE];
            let mut read = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut me.io).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            me.input.extend_from_slice(read.filled());
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Tap<I> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let me = self.get_mut();
        ready!(me.poll_continue(context))?;
        Pin::new(&mut me.io).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let me = self.get_mut();
        ready!(me.poll_continue(context))?;
        Pin::new(&mut me.io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let me = self.get_mut();
        ready!(me.poll_continue(context))?;
        Pin::new(&mut me.io).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
