//! The file of requests.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// A file of requests, which are sent one after the other.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requests {
    /// The requests.
    pub requests: Vec<Request>,
    /// The clusters on whose ports nobody listens.
    #[serde(default)]
    pub closed: Vec<String>,
    /// What is not compared.
    #[serde(default)]
    pub ignore: Ignored,
}

/// Regular expressions for what is not compared.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ignored {
    /// Lines of the log, for example those of a tick.
    pub log: Vec<String>,
    /// Lines of responses and of requests to upstreams: `name: value`.
    pub headers: Vec<String>,
    /// Names of statistics.
    pub statistics: Vec<String>,
}

/// A request, and the answers of the upstreams to it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// A name that is unique in the file.
    pub name: String,
    /// The name of the listener; the first one by default.
    pub listener: Option<String>,
    /// The method.
    #[serde(default = "get")]
    pub method: String,
    /// The path and query.
    #[serde(default = "root")]
    pub path: String,
    /// The version of HTTP.
    #[serde(default)]
    pub version: Version,
    /// The host; none if empty.
    #[serde(default = "authority")]
    pub authority: String,
    /// `name: value`.
    #[serde(default)]
    pub headers: Vec<String>,
    /// The body in pieces, with a pause before each. Over HTTP/1.1, several pieces are chunks.
    #[serde(default)]
    pub body: Vec<String>,
    /// The pause before each piece.
    #[serde(default = "pause")]
    pub pause_ms: u64,
    /// The number of repetitions of each piece.
    #[serde(default = "once")]
    pub repeat: usize,
    /// True if several pieces are sent with their length instead of as chunks.
    #[serde(default)]
    pub length: bool,
    /// The trailers.
    #[serde(default)]
    pub trailers: Vec<String>,
    /// Bytes to send instead of a request, in pieces. Each character up to U+00FF is a byte.
    #[serde(default)]
    pub raw: Vec<String>,
    /// Data to send after the head of a response that opens a tunnel: an upgrade or CONNECT.
    #[serde(default)]
    pub tunnel: Vec<String>,
    /// The time after which the client closes the connection.
    pub hang_up_ms: Option<u64>,
    /// The time to wait after the response, for what a module does later.
    #[serde(default)]
    pub wait_ms: u64,
    /// The answer of each upstream.
    #[serde(default)]
    pub answer: Answer,
    /// The answers of upstreams that answer in another way, by cluster.
    #[serde(default)]
    pub answers: BTreeMap<String, Answer>,
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Version {
    /// HTTP/1.0
    #[serde(rename = "1.0")]
    Http10,
    /// HTTP/1.1
    #[default]
    #[serde(rename = "1.1")]
    Http11,
    /// HTTP/2 with prior knowledge
    #[serde(rename = "2")]
    Http2,
}

/// The answer of an upstream.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// `name: value`.
    pub headers: Vec<String>,
    /// The body in pieces; by default, the body of the request, or `ok`.
    pub body: Option<Vec<String>>,
    /// The number of repetitions of each piece.
    pub repeat: usize,
    /// The trailers.
    pub trailers: Vec<String>,
    /// The time before the answer.
    pub delay_ms: u64,
    /// True if the answer comes before the body of the request is read.
    pub early: bool,
    /// True if the server closes the connection in the middle of the body.
    pub cut: bool,
    /// Bytes to send instead of an answer. The server then closes the connection.
    pub raw: Option<String>,
    /// True if the connection is a tunnel after the head: the server returns what it gets.
    pub tunnel: bool,
}

impl Default for Answer {
    fn default() -> Self {
        Answer {
            status: 200,
            headers: vec!["x-upstream: yes".to_owned()],
            body: None,
            repeat: 1,
            trailers: Vec::new(),
            delay_ms: 0,
            early: false,
            cut: false,
            raw: None,
            tunnel: false,
        }
    }
}

fn get() -> String {
    "GET".to_owned()
}

fn root() -> String {
    "/".to_owned()
}

fn authority() -> String {
    "gateway.test".to_owned()
}

/// Long enough for the host to see the pieces separately.
fn pause() -> u64 {
    25
}

fn once() -> usize {
    1
}

impl Requests {
    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, or is not valid.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let requests: Requests = serde_norway::from_str(&text).with_context(|| path.display().to_string())?;
        for (n, request) in requests.requests.iter().enumerate() {
            let is_new = requests.requests.iter().take(n).all(|earlier| earlier.name != request.name);
            ensure!(is_new, "{}: two requests have the name {:?}", path.display(), request.name);
        }
        Ok(requests)
    }
}

impl Request {
    pub(super) fn pause(&self) -> Duration {
        Duration::from_millis(self.pause_ms)
    }

    /// The pieces of the body.
    pub(super) fn pieces(&self) -> Vec<Vec<u8>> {
        self.body.iter().map(|piece| piece.repeat(self.repeat).into_bytes()).collect()
    }

    /// The answer of a cluster's server.
    pub(super) fn answer_of(&self, cluster: &str) -> &Answer {
        self.answers.get(cluster).unwrap_or(&self.answer)
    }
}

/// The bytes of a text in which each character up to U+00FF is a byte.
pub(super) fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for c in text.chars() {
        match u8::try_from(c) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend(c.to_string().bytes()),
        }
    }
    bytes
}

/// A header's name and value.
pub(super) fn name_and_value(header: &str) -> (&str, &str) {
    let (name, value) = header.split_once(':').unwrap_or((header, ""));
    (name, value.strip_prefix(' ').unwrap_or(value))
}
