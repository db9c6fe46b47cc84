//! HTTP/1.1 as bytes, for both ends, so that no library changes a byte between a case and the host.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::case::Seen;

/// The pause between chunks, long enough for the host to see each part separately.
const BETWEEN_CHUNKS: Duration = Duration::from_millis(40);

/// The time within which a tunnel returns something.
const ANSWERS: Duration = Duration::from_secs(1);

/// A message to send. Headers are `name: value`.
pub struct Message<'m> {
    /// `GET / HTTP/1.1`
    pub start: String,
    /// The headers, without those about the body's length.
    pub headers: Vec<String>,
    /// The body, sent with its length.
    pub body: &'m str,
    /// The chunks, sent instead of `body`, if there are any.
    pub chunks: &'m [String],
    /// The trailers after the chunks.
    pub trailers: &'m [String],
    /// True if the length is sent although the body is empty.
    pub always_length: bool,
    /// True if only half of the body is sent.
    pub cut: bool,
}

impl Message<'_> {
    pub async fn send(&self, stream: &mut BufReader<TcpStream>) -> Result<()> {
        let mut head = format!("{}\r\n", self.start);
        let chunked = !self.chunks.is_empty() || !self.trailers.is_empty();
        for header in &self.headers {
            head.push_str(&format!("{header}\r\n"));
        }
        if chunked {
            head.push_str("transfer-encoding: chunked\r\n\r\n");
        } else if self.always_length || !self.body.is_empty() {
            head.push_str(&format!("content-length: {}\r\n\r\n", self.body.len()));
        } else {
            head.push_str("\r\n");
        }
        if !chunked {
            let sent = if self.cut { self.body.len() / 2 } else { self.body.len() };
            head.push_str(&self.body[..sent]);
            return Ok(stream.write_all(head.as_bytes()).await?);
        }
        stream.write_all(head.as_bytes()).await?;
        for chunk in self.chunks {
            tokio::time::sleep(BETWEEN_CHUNKS).await;
            stream.write_all(format!("{:x}\r\n{chunk}\r\n", chunk.len()).as_bytes()).await?;
        }
        if self.cut {
            return Ok(());
        }
        tokio::time::sleep(BETWEEN_CHUNKS).await;
        let trailers: String = self.trailers.iter().map(|trailer| format!("{trailer}\r\n")).collect();
        Ok(stream.write_all(format!("0\r\n{trailers}\r\n").as_bytes()).await?)
    }
}

/// Reads a message; `None` if the peer closes the connection instead. `has_no_body` means that a response has no body,
/// whatever its headers say.
pub async fn receive(stream: &mut BufReader<TcpStream>, is_response: bool, has_no_body: bool) -> Result<Option<Seen>> {
    let Some(start) = line(stream).await? else { return Ok(None) };
    let mut seen = Seen { start: short_start(&start, is_response)?, ..Seen::default() };
    seen.headers = fields(stream).await?;
    let header = |name: &str| {
        let value = |header: &String| header.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned);
        seen.headers.iter().find_map(value)
    };
    let bodiless =
        has_no_body || ["1", "204", "304"].iter().any(|status| is_response && seen.start.starts_with(status));
    let (body, whole) = if bodiless {
        (Vec::new(), true)
    } else if header("transfer-encoding").is_some() {
        let (body, whole) = chunks(stream).await?;
        if whole {
            seen.trailers = fields(stream).await?;
        }
        (body, whole)
    } else if let Some(length) = header("content-length") {
        let length = length.parse()?;
        let mut body = Vec::new();
        (&mut *stream).take(length).read_to_end(&mut body).await?;
        let whole = body.len() as u64 == length;
        (body, whole)
    } else {
        let mut body = Vec::new();
        if is_response {
            stream.read_to_end(&mut body).await?;
        }
        (body, true)
    };
    seen.body = shown(&body);
    seen.cut = !whole;
    Ok(Some(seen))
}

/// Sends data one after the other, and returns what comes back, until the peer closes the connection.
pub async fn talk(stream: &mut BufReader<TcpStream>, data: &[String]) -> Result<String> {
    let mut back = Vec::new();
    for piece in data {
        // The peer can have closed the connection.
        let _ = stream.write_all(piece.as_bytes()).await;
        let mut patience = ANSWERS;
        while let Ok(read) = tokio::time::timeout(patience, stream.read_buf(&mut back)).await {
            patience = BETWEEN_CHUNKS * 2;
            if read.unwrap_or_default() == 0 {
                return Ok(shown(&back));
            }
        }
    }
    Ok(shown(&back))
}

/// Returns all that a client sends, until it sends `close` or closes the connection. The data is on record.
pub async fn echo(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut received = Vec::new();
    loop {
        let before = received.len();
        if stream.read_buf(&mut received).await.unwrap_or_default() == 0 || received.ends_with(b"close") {
            return Ok(shown(&received));
        }
        let _ = stream.write_all(&received[before..]).await;
    }
}

/// Longer bodies are shown by their beginning and their length.
const SHOWN: usize = 300;

fn shown(bytes: &[u8]) -> String {
    match bytes.get(..SHOWN) {
        None => String::from_utf8_lossy(bytes).into_owned(),
        Some(beginning) => format!("{}.. {} bytes", String::from_utf8_lossy(beginning), bytes.len()),
    }
}

fn short_start(start: &str, is_response: bool) -> Result<String> {
    let mut words = start.split(' ');
    let first = words.next().unwrap_or_default();
    let second = words.next().with_context(|| format!("not HTTP: {start}"))?;
    Ok(match (is_response, first) {
        (true, "HTTP/1.0") => format!("{first} {second}"),
        (true, _) => second.to_owned(),
        (false, _) => format!("{first} {second}"),
    })
}

async fn line(stream: &mut BufReader<TcpStream>) -> Result<Option<String>> {
    let mut line = Vec::new();
    if stream.read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    let line = String::from_utf8_lossy(&line).into_owned();
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
}

async fn fields(stream: &mut BufReader<TcpStream>) -> Result<Vec<String>> {
    let mut fields = Vec::new();
    loop {
        match line(stream).await?.context("closed in the headers")? {
            field if field.is_empty() => return Ok(fields),
            field => fields.push(shown(field.as_bytes())),
        }
    }
}

/// Reads a chunked body. Returns whether it was complete.
async fn chunks(stream: &mut BufReader<TcpStream>) -> Result<(Vec<u8>, bool)> {
    let mut body = Vec::new();
    loop {
        let Some(size) = line(stream).await? else { return Ok((body, false)) };
        let Ok(size) = u64::from_str_radix(&size, 16) else { bail!("not a chunk's size: {size}") };
        if size == 0 {
            return Ok((body, true));
        }
        let before = body.len() as u64;
        (&mut *stream).take(size).read_to_end(&mut body).await?;
        if body.len() as u64 - before < size {
            return Ok((body, false));
        }
        line(stream).await?;
    }
}
