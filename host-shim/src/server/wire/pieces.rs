//! The parts of reading and writing that both sides of hyper share.

use std::io::{ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The number of bytes that are read at once.
const PIECE: usize = 16 * 1024;

/// Writes all of these bytes, and removes them as they are written.
pub(super) fn poll_send<I: AsyncWrite + Unpin>(
    io: &mut I,
    bytes: &mut Vec<u8>,
    context: &mut Context<'_>,
) -> Poll<Result<()>> {
    while !bytes.is_empty() {
        let written = ready!(Pin::new(&mut *io).poll_write(context, bytes))?;
        if written == 0 {
            return Poll::Ready(Err(ErrorKind::WriteZero.into()));
        }
        bytes.drain(..written);
    }
    Poll::Ready(Ok(()))
}

/// Reads a piece. `false` means that the other end has closed its side.
pub(super) fn poll_fill<I: AsyncRead + Unpin>(
    io: &mut I,
    input: &mut Vec<u8>,
    context: &mut Context<'_>,
) -> Poll<Result<bool>> {
    let mut piece = [0; PIECE];
    let mut read = ReadBuf::new(&mut piece);
    ready!(Pin::new(io).poll_read(context, &mut read))?;
    input.extend_from_slice(read.filled());
    Poll::Ready(Ok(!read.filled().is_empty()))
}

/// Bytes for hyper, which takes them as it has room.
#[derive(Default)]
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    /// The number of bytes that hyper has taken.
    given: usize,
}

impl Output {
    /// Gives hyper what it has room for. `false` means that there is nothing left to give.
    pub(super) fn give(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let rest = self.bytes.get(self.given..).unwrap_or_default();
        let count = rest.len().min(buf.remaining());
        if rest.is_empty() {
            self.bytes.clear();
            self.given = 0;
            return false;
        }
        buf.put_slice(rest.get(..count).unwrap_or_default());
        self.given += count;
        true
    }
}
