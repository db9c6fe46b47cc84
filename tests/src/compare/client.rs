//! Sends a request, and shows the answer as text.

use std::time::Duration;

use anyhow::Result;
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{sleep, timeout};

use super::http1::{Framing, Message, PAUSE, Received};
use super::requests::{Request, Version, bytes, name_and_value};

/// The maximum time to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(8);

/// The time after which a connection counts as open.
const OPEN: Duration = Duration::from_millis(60);

/// The time without a byte after which there is no answer to raw bytes.
const RAW_PATIENCE: Duration = Duration::from_secs(2);

/// The time without a byte after which the answer to raw bytes is over.
const RAW_QUIET: Duration = Duration::from_millis(250);

/// Sends a request and returns the answer, or what happened instead.
pub(super) async fn send(port: u16, request: &Request) -> Result<String> {
    let patience = request.hang_up_ms.map_or(PATIENCE, Duration::from_millis);
    let answer = async {
        match request.version {
            _ if !request.raw.is_empty() => raw(port, request).await,
            Version::Http2 => http2(port, request).await,
            Version::Http10 | Version::Http11 => http1(port, request).await,
        }
    };
    Ok(match timeout(patience, answer).await {
        Err(_) => "(no answer in time)\n".to_owned(),
        Ok(Err(error)) => format!("(not an answer: {error:#})\n"),
        Ok(Ok(text)) => text,
    })
}

async fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn http1(port: u16, request: &Request) -> Result<String> {
    let (reading, mut writing) = connect(port).await?.into_split();
    let mut reading = BufReader::new(reading);
    let version = if request.version == Version::Http10 { "1.0" } else { "1.1" };
    let mut head = vec![format!("{} {} HTTP/{version}", request.method, request.path)];
    if !request.authority.is_empty() {
        head.push(format!("host: {}", request.authority));
    }
    head.extend(request.headers.clone());
    let framing = match request.body.len() {
        _ if !request.trailers.is_empty() => Framing::Chunks,
        0 => Framing::None,
        1 => Framing::Length,
        _ if request.length => Framing::Length,
        _ => Framing::Chunks,
    };
    let (body, trailers) = (request.pieces(), &request.trailers);
    let message = Message { head, body, trailers, framing, pause: request.pause(), cut: false };
    let sending = async {
        // A host may answer and close the connection before it has read everything.
        let _ = message.send(&mut writing).await;
        for data in &request.tunnel {
            sleep(PAUSE * 4).await;
            let _ = writing.write_all(data.as_bytes()).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = sending => Ok(String::new()),
        text = answers(&mut reading, request) => text,
    }
}

/// Reads interim responses and the response.
async fn answers(reading: &mut BufReader<OwnedReadHalf>, request: &Request) -> Result<String> {
    let mut text = String::new();
    loop {
        let Some(mut received) = Received::head(reading).await? else { return Ok(text + "(closed)\n") };
        let status = received.status();
        let is_tunnel = status == 101 || (request.method == "CONNECT" && status / 100 == 2);
        if is_tunnel {
            received.body = until_quiet(reading, PAUSE * 12).await.0;
            return Ok(text + &received.text());
        }
        if status / 100 == 1 {
            text += &received.text();
            continue;
        }
        if request.method != "HEAD" && status != 204 && status != 304 {
            received.body(reading, true).await?;
        }
        text += &received.text();
        if received.header("connection") == Some("close") {
            // Envoy waits for the client for a second before it closes.
            return Ok(text);
        }
        let mut more = [0];
        match timeout(OPEN, reading.read(&mut more)).await {
            Err(_) => {}
            Ok(Ok(1)) => text += "(more bytes)\n",
            Ok(_) => text += "(closed)\n",
        }
        return Ok(text);
    }
}

async fn raw(port: u16, request: &Request) -> Result<String> {
    let (mut reading, mut writing) = connect(port).await?.into_split();
    let sending = async {
        for piece in &request.raw {
            let _ = writing.write_all(&bytes(piece)).await;
            sleep(PAUSE).await;
        }
    };
    let receiving = async {
        // A slow host may need longer for the first byte.
        let _ = timeout(RAW_PATIENCE, reading.readable()).await;
        until_quiet(&mut reading, RAW_QUIET).await
    };
    let ((), (bytes, is_closed)) = tokio::join!(sending, receiving);
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let lines: String = text.lines().map(|line| format!("{}\n", line.escape_default())).collect();
    // Envoy waits for the client for a second before it closes.
    let closes = text.contains("\r\nconnection: close\r\n");
    Ok(lines + if is_closed || closes { "(closed)\n" } else { "(open)\n" })
}

/// Reads until nothing has come for this time. Returns whether the connection is closed.
async fn until_quiet(reading: &mut (impl AsyncReadExt + Unpin), quiet: Duration) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    loop {
        match timeout(quiet, reading.read_buf(&mut bytes)).await {
            Err(_) => return (bytes, false),
            Ok(Ok(0) | Err(_)) => return (bytes, true),
            Ok(Ok(_)) => {}
        }
    }
}

async fn http2(port: u16, request: &Request) -> Result<String> {
    let (mut client, connection) = h2::client::handshake(connect(port).await?).await?;
    let connection = tokio::spawn(connection);
    let outcome = exchange(&mut client, request).await;
    connection.abort();
    Ok(match outcome {
        Ok(text) => text,
        Err(error) => match error.downcast_ref::<h2::Error>().and_then(h2::Error::reason) {
            Some(reason) => format!("(reset: {reason:?})\n"),
            None => format!("(failed: {error:#})\n"),
        },
    })
}

async fn exchange(client: &mut h2::client::SendRequest<Bytes>, request: &Request) -> Result<String> {
    let uri = match request.method.as_str() {
        "CONNECT" => request.authority.clone(),
        _ => format!("http://{}{}", request.authority, request.path),
    };
    let mut head = hyper::Request::builder().method(request.method.as_str()).uri(uri);
    for (name, value) in request.headers.iter().map(|header| name_and_value(header)) {
        head = head.header(name, hyper::header::HeaderValue::from_bytes(&bytes(value))?);
    }
    let pieces = request.pieces();
    let is_over = pieces.is_empty() && request.trailers.is_empty();
    let mut client = client.clone().ready().await?;
    let (response, mut sending) = client.send_request(head.body(())?, is_over)?;
    let upload = async {
        let last = pieces.len().saturating_sub(1);
        for (n, piece) in pieces.into_iter().enumerate() {
            sleep(request.pause()).await;
            sending.send_data(piece.into(), n == last && request.trailers.is_empty())?;
        }
        if !request.trailers.is_empty() {
            sleep(request.pause()).await;
            sending.send_trailers(fields(&request.trailers)?)?;
        }
        anyhow::Ok(())
    };
    let download = async {
        let (parts, body) = response.await?.into_parts();
        let mut received = Received { start: format!("HTTP/2 {}", parts.status.as_u16()), ..Received::default() };
        received.headers = lines(&parts.headers);
        let end = match rest(&mut received, body).await {
            Err(error) => format!("(reset in the body: {:?})\n", error.reason()),
            Ok(()) => String::new(),
        };
        anyhow::Ok(received.text() + &end)
    };
    // An early answer ends the upload.
    let (_, text) = tokio::join!(upload, download);
    text
}

/// Reads the rest of a response, up to its trailers.
async fn rest(received: &mut Received, mut body: h2::RecvStream) -> Result<(), h2::Error> {
    while let Some(data) = body.data().await {
        let data = data?;
        // The window can be closed already.
        let _ = body.flow_control().release_capacity(data.len());
        received.body.extend(data);
    }
    received.trailers = body.trailers().await?.as_ref().map(lines).unwrap_or_default();
    Ok(())
}

fn fields(lines: &[String]) -> Result<hyper::HeaderMap> {
    let mut map = hyper::HeaderMap::new();
    for (name, value) in lines.iter().map(|line| name_and_value(line)) {
        map.append(hyper::header::HeaderName::try_from(name)?, value.parse()?);
    }
    Ok(map)
}

fn lines(map: &hyper::HeaderMap) -> Vec<String> {
    map.iter().map(|(name, value)| format!("{name}: {}", value.as_bytes().escape_ascii())).collect()
}
