//! Reads the heads of HTTP/1 requests before hyper does. hyper gets a plain head with the same framing, and the body as
//! it is. So hyper can refuse nothing that Envoy accepts, and the filters see every line.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::follow::Follow;
use super::pieces::{Output, poll_fill, poll_send};
use super::request::{self, Head, end_of_head};
use super::writer::Writer;
use super::{FULL, Length};
use crate::server::admission::Refusal;

/// How HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What passes beside hyper.
#[derive(Default)]
pub(in crate::server) struct Wire {
    /// The heads that hyper has not handed on, in their order.
    heads: RefCell<VecDeque<Result<Head, Refusal>>>,
    /// The lines of the trailers of the response.
    trailers: RefCell<Option<Vec<u8>>>,
    /// Whether the client asked to close the connection after the current request.
    closes: Cell<bool>,
    /// Whether the current request has HTTP/1.0.
    is_http10: Cell<bool>,
    is_gone: Cell<bool>,
    gone: Notify,
}

impl Wire {
    /// Returns the head of the request that hyper hands on.
    pub fn next_head(&self) -> Result<Head, Refusal> {
        let head = self.heads.borrow_mut().pop_front().unwrap_or_else(|| Err(Refusal::malformed()));
        self.closes.set(head.as_ref().is_ok_and(Head::closes));
        self.is_http10.set(head.as_ref().is_ok_and(|head| head.is_http10));
        head
    }

    pub fn closes(&self) -> bool {
        self.closes.get()
    }

    pub fn is_http10(&self) -> bool {
        self.is_http10.get()
    }

    /// Whether the client has closed the connection, even if nothing reads from it now.
    pub fn is_gone(&self) -> bool {
        self.is_gone.get()
    }

    /// Waits until the client has closed the connection.
    pub async fn gone(&self) {
        if !self.is_gone.get() {
            self.gone.notified().await;
        }
    }

    /// Notes that the client has closed the connection.
    pub fn set_gone(&self) {
        self.is_gone.set(true);
        self.gone.notify_waiters();
    }

    /// Sets the trailers of the response, before hyper gets its end.
    pub fn set_trailers(&self, lines: Vec<u8>) {
        *self.trailers.borrow_mut() = Some(lines);
    }
}

/// A client's connection.
pub(in crate::server) struct Tap<I> {
    io: I,
    wire: Rc<Wire>,
    writer: Writer,
    /// Bytes of the client that were not handled.
    input: Vec<u8>,
    output: Output,
    /// Bytes for the client.
    to_client: Vec<u8>,
    state: State,
    accepts_http10: bool,
}

enum State {
    Head,
    Body(Follow),
    /// All that follows belongs to one request. hyper gets it in chunks.
    Tunnel,
    /// The bytes go to hyper as they are.
    Through,
    /// The rest is ignored, because the request was refused.
    Refused,
}

impl<I> Tap<I> {
    pub(in crate::server) fn new(io: I, accepts_http10: bool) -> (Self, Rc<Wire>) {
        let wire = Rc::new(Wire::default());
        let tap = Tap {
            io,
            wire: Rc::clone(&wire),
            writer: Writer::default(),
            input: Vec::new(),
            output: Output::default(),
            to_client: Vec::new(),
            state: State::Head,
            accepts_http10,
        };
        (tap, wire)
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
                    self.output.bytes.extend(self.input.drain(..taken));
                    if is_end {
                        self.state = State::Head;
                    }
                }
                State::Tunnel => {
                    self.output.bytes.extend_from_slice(format!("{:x}\r\n", self.input.len()).as_bytes());
                    self.output.bytes.append(&mut self.input);
                    self.output.bytes.extend_from_slice(b"\r\n");
                }
                State::Through => self.output.bytes.append(&mut self.input),
                State::Refused => self.input.clear(),
            }
        }
        !self.output.bytes.is_empty()
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
            // Envoy does not wait for the rest of the line.
            _ if self.input.first().is_some_and(|byte| !request::is_token(*byte)) => Err(Refusal::malformed()),
            Some(end) if end <= request::MAX_HEAD => {
                request::parse(&self.input.drain(..end).collect::<Vec<u8>>(), self.accepts_http10)
            }
            None if self.input.len() <= request::MAX_HEAD => return false,
            _ => Err(too_large(&self.input)),
        };
        let parsed = parsed.and_then(|head| Ok((head.length()?, head)));
        match parsed {
            Ok((length, head)) => self.accept(length, head),
            Err(refusal) => {
                self.output.bytes.extend_from_slice(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n");
                self.wire.heads.borrow_mut().push_back(Err(refusal));
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
            Length::Chunked | Length::UntilClose => "transfer-encoding: chunked\r\n".to_owned(),
        };
        let close = if head.closes() { "connection: close\r\n" } else { "" };
        self.output.bytes.extend(format!("{method} / HTTP/1.1\r\n{framing}{close}\r\n").into_bytes());
        // As in Envoy, the filters have no say in this.
        if head.values("expect").any(|value| value.eq_ignore_ascii_case(b"100-continue")) {
            let version = if head.is_http10 { "1.0" } else { "1.1" };
            self.to_client.extend_from_slice(format!("HTTP/{version} 100 Continue\r\n\r\n").as_bytes());
        }
        self.wire.heads.borrow_mut().push_back(Ok(head));
        self.state = match length {
            Length::Bytes(0) => State::Head,
            Length::UntilClose => State::Tunnel,
            _ => State::Body(Follow::new(length)),
        };
    }
}

fn too_large(input: &[u8]) -> Refusal {
    // A head can have too many lines and too many bytes. Envoy counts the lines first.
    let lines = input.iter().filter(|byte| **byte == b'\n').count();
    let details = if lines > 101 { "http1.too_many_headers" } else { "http1.headers_too_large" };
    Refusal::codec(431, "Request Header Fields Too Large", details)
}

impl<I: AsyncWrite + Unpin> Tap<I> {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        poll_send(&mut self.io, &mut self.to_client, context)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Tap<I> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let me = self.get_mut();
        loop {
            // The client can be slow to read. hyper then still reads.
            let _ = me.poll_send(context)?;
            if me.output.bytes.is_empty() {
                me.advance();
            }
            if me.output.give(buf) {
                return Poll::Ready(Ok(()));
            }
            if !me.input.is_empty() && me.advance() {
                continue;
            }
            if matches!(me.state, State::Through) {
                return Pin::new(&mut me.io).poll_read(context, buf);
            }
            if !ready!(poll_fill(&mut me.io, &mut me.input, context))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Tap<I> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let me = self.get_mut();
        if me.to_client.len() >= FULL {
            ready!(me.poll_send(context))?;
        }
        if matches!(me.state, State::Through) {
            ready!(me.poll_send(context))?;
            return Pin::new(&mut me.io).poll_write(context, bytes);
        }
        me.writer.push(bytes, &mut me.to_client, &mut me.wire.trailers.borrow_mut());
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
