//! The upstream and the callout server.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::case::{Answer, Seen};
use super::http1::{Message, echo, receive};

/// A server that records requests. Dropping it ends it.
pub struct Server {
    /// The port.
    pub port: u16,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    received: Vec<Seen>,
    first_answers: VecDeque<Answer>,
    answer: Answer,
}

impl Server {
    /// Listens on a free port.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                // A host that closes the connection is no error here.
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Ok(Server { port, state, task })
    }

    /// Deletes the recorded requests, and sets the answer from now on.
    pub fn reset(&self, first_answers: &[Answer], answer: &Answer) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State {
            received: Vec::new(),
            first_answers: first_answers.iter().cloned().collect(),
            answer: answer.clone(),
        };
    }

    /// The requests since the last reset.
    pub fn received(&self) -> Vec<Seen> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).received.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some(request) = receive(&mut stream, false, false).await? {
        if let Some(answer) = health_answer(&request) {
            stream.write_all(answer.as_bytes()).await?;
            continue;
        }
        let answer = {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.received.push(request.clone());
            callout_answer(&request.start)
                .or_else(|| state.first_answers.pop_front())
                .unwrap_or_else(|| state.answer.clone())
        };
        tokio::time::sleep(Duration::from_millis(answer.delay_ms)).await;
        if !answer.raw.is_empty() {
            stream.write_all(answer.raw.as_bytes()).await?;
            if answer.tunnel {
                let data = echo(&mut stream).await?;
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(request) = state.received.iter_mut().find(|other| **other == request) {
                    request.body.push_str(&data);
                }
            }
            break;
        }
        let message = Message {
            start: format!("HTTP/1.1 {} Whatever", answer.status),
            headers: answer.headers,
            body: if request.start.starts_with("HEAD") { "" } else { &answer.body },
            chunks: &answer.chunks,
            trailers: &answer.trailers,
            always_length: answer.status != 204,
            cut: answer.cut,
        };
        message.send(&mut stream).await?;
        if answer.cut {
            break;
        }
    }
    Ok(())
}

/// The answer to a health check, which its path determines. It is not on record.
fn health_answer(request: &Seen) -> Option<String> {
    let manner = request.start.split(' ').nth(1)?.strip_prefix("/health/")?;
    let is_plain = request.start == "GET /health/strict"
        && request.headers == ["host: http_checked_strict", "user-agent: Envoy/HC"]
        && request.body.is_empty();
    let is_changed = request.start == "POST /health/changed"
        && request.headers == ["host: other.test", "x-check: 1", "content-length: 4"]
        && request.body == "ping";
    let status = match manner {
        "strict" if is_plain => 200,
        "changed" if is_changed => 200,
        "strict" | "changed" => 500,
        status => status.parse().unwrap_or(404),
    };
    Some(format!("HTTP/1.1 {status} Checked\r\ncontent-length: 7\r\n\r\nhealthy"))
}

/// The answer to a callout, which its path determines.
fn callout_answer(start: &str) -> Option<Answer> {
    let manner = start.split(' ').nth(1)?.strip_prefix("/callout/")?;
    let answer = Answer { headers: vec!["x-callout: yes".to_owned()], body: "called".to_owned(), ..Answer::default() };
    Some(match manner {
        "slow" => Answer { delay_ms: 1000, ..answer },
        "soon" => Answer { delay_ms: 150, ..answer },
        "empty" => Answer { body: String::new(), ..answer },
        "204" => Answer { status: 204, body: String::new(), ..answer },
        "503" => Answer { status: 503, ..answer },
        "endless" => Answer { chunks: vec!["more".to_owned(); 40], ..answer },
        "404" => Answer { status: 404, ..answer },
        "trailers" => {
            Answer { chunks: vec!["cal".into(), "led".into()], trailers: vec!["x-trailer: t".into()], ..answer }
        }
        "cut" => Answer { cut: true, ..answer },
        _ => answer,
    })
}
