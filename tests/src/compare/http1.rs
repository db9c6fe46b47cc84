//! HTTP/1 as bytes, for both ends, so that no library changes or refuses a byte.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The pause before each piece of a response.
pub(super) const PAUSE: Duration = Duration::from_millis(25);

/// A message to send.
pub(super) struct Message<'m> {
    /// The first line and the headers, without those about the body's length.
    pub(super) head: Vec<String>,
    pub(super) body: Vec<Vec<u8>>,
    pub(super) trailers: &'m [String],
    pub(super) framing: Framing,
    /// The pause before each piece.
    pub(super) pause: Duration,
    /// True if only half of the body is sent.
    pub(super) cut: bool,
}

/// The header about the body's length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    Length,
    Chunks,
}

impl Message<'_> {
    pub(super) async fn send(&self, stream: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
        let mut head: String = self.head.iter().map(|line| format!("{line}\r\n")).collect();
        let length: usize = self.body.iter().map(Vec::len).sum();
        match self.framing {
            Framing::None => head += "\r\n",
            Framing::Length => head += &format!("content-length: {length}\r\n\r\n"),
            Framing::Chunks => head += "transfer-encoding: chunked\r\n\r\n",
        }
        stream.write_all(&super::requests::bytes(&head)).await?;
        let mut left = if self.cut { length / 2 } else { length };
        for (n, piece) in self.body.iter().enumerate() {
            // The only piece comes with the head.
            if self.body.len() > 1 || self.framing == Framing::Chunks || n > 0 {
                tokio::time::sleep(self.pause).await;
            }
            let piece = &piece[..piece.len().min(left)];
            left -= piece.len();
            if self.framing == Framing::Chunks && !piece.is_empty() {
                stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
                stream.write_all(piece).await?;
                stream.write_all(b"\r\n").await?;
            } else {
                stream.write_all(piece).await?;
            }
        }
        if self.framing == Framing::Chunks && !self.cut {
            tokio::time::sleep(self.pause).await;
            let trailers: String = self.trailers.iter().map(|trailer| format!("{trailer}\r\n")).collect();
            stream.write_all(format!("0\r\n{trailers}\r\n").as_bytes()).await?;
        }
        Ok(())
    }
}

/// A message that was received.
#[derive(Default)]
pub(super) struct Received {
    pub(super) start: String,
    pub(super) headers: Vec<String>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<String>,
    /// True if the connection was closed before the end.
    pub(super) cut: bool,
}

impl Received {
    /// Reads the first line and the headers; `None` if the peer closes the connection instead.
    pub(super) async fn head(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Self>> {
        let Some(start) = line(stream).await? else { return Ok(None) };
        let headers = fields(stream).await?;
        Ok(Some(Received { start, headers, ..Received::default() }))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|header| header.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(super) fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
    }

    /// Reads the body of a request, or of a response, which can end with the connection.
    pub(super) async fn body(&mut self, stream: &mut (impl AsyncBufRead + Unpin), is_response: bool) -> Result<()> {
        if self.header("transfer-encoding").is_some() {
            self.cut = !self.chunks(stream).await?;
            if !self.cut {
                self.trailers = fields(stream).await?;
            }
        } else if let Some(length) = self.header("content-length") {
            let length = length.parse()?;
            let read = stream.take(length).read_to_end(&mut self.body).await;
            self.cut = read.is_err() || (self.body.len() as u64) < length;
        } else if is_response {
            // A reset also ends it.
            let _ = stream.read_to_end(&mut self.body).await;
        }
        Ok(())
    }

    /// Reads a chunked body. Returns whether it was complete.
    async fn chunks(&mut self, stream: &mut (impl AsyncBufRead + Unpin)) -> Result<bool> {
        loop {
            let Ok(Some(size)) = line(stream).await else { return Ok(false) };
            let Ok(size) = u64::from_str_radix(&size, 16) else { bail!("not a chunk's size: {size}") };
            if size == 0 {
                return Ok(true);
            }
            let before = self.body.len() as u64;
            let read = (&mut *stream).take(size).read_to_end(&mut self.body).await;
            if read.is_err() || (self.body.len() as u64) - before < size {
                return Ok(false);
            }
            line(stream).await?;
        }
    }

    /// The message as text.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}\n", self.start);
        text.extend(self.headers.iter().map(|header| format!("{header}\n")));
        text += &shown(&self.body);
        text.extend(self.trailers.iter().map(|trailer| format!("trailer {trailer}\n")));
        if self.cut {
            text += "(cut short)\n";
        }
        text
    }
}

/// Longer bodies are shown by their beginning, their length and a hash.
const SHOWN: usize = 200;

/// A body as lines; nothing if it is empty.
pub(super) fn shown(body: &[u8]) -> String {
    let hash = body
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    match body.get(..SHOWN) {
        _ if body.is_empty() => String::new(),
        None => format!("> {}\n", body.escape_ascii()),
        Some(beginning) => format!("> {} … {} bytes, hash {hash:016x}\n", beginning.escape_ascii(), body.len()),
    }
}

async fn line(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<String>> {
    let mut line = Vec::new();
    if stream.read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    let end = line.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    let text = line.get(..end).unwrap_or_default().iter().map(|byte| char::from(*byte)).collect();
    Ok(Some(text))
}

async fn fields(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<Vec<String>> {
    let mut fields = Vec::new();
    loop {
        match line(stream).await?.context("closed in the headers")? {
            field if field.is_empty() => return Ok(fields),
            field => fields.push(field),
        }
    }
}
