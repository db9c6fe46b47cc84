//! The admin endpoints: the filter's own answers to clients that have the token.
//!
//! Without the token every path below the prefix except the page gets the same answer, so that it reveals nothing.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::page;
use crate::access::{Answer, Prefix, Readings, Request, decode_query_part, split_once};
use crate::base::UnixMillis;
use crate::notify::MessageOutcome;
use crate::observe;

/// Maximum bytes of a body.
pub const MAX_BODY_BYTES: usize = 256 * 1024;

/// How long the first part of a body may take to arrive.
pub const BODY_PATIENCE_MS: u64 = 5000;

/// The number of sessions in `status` by default.
const STATUS_LIMIT: usize = 100;
const STATUS_MOST: usize = 1000;

/// The configuration of the endpoints.
#[derive(Clone, PartialEq, Eq)]
pub struct Admin {
    /// The prefix of their paths, without a slash at its end.
    prefix: Prefix,
    token_sha256: [u8; 32],
    /// True if the prefix itself is the status page.
    has_page: bool,
}

/// A request to the endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Shows usage, messages and targets.
    Status {
        /// The number of sessions to skip.
        offset: usize,
        /// The number of sessions to show.
        limit: usize,
    },
    /// A HEAD request to a named webhook's target.
    TestWebhook(String),
    /// Sends the failed message with this id again.
    Resend(String),
    /// Takes events from an application.
    Events,
}

impl Admin {
    /// The prefix has no slash at its end. The token is given by its SHA-256.
    pub fn new(prefix: Prefix, token_sha256: [u8; 32], has_page: bool) -> Self {
        Admin { prefix, token_sha256, has_page }
    }

    /// True if a path may mean one of the endpoints, in any reading, so that no such request reaches an upstream. The
    /// endpoints exist on every host.
    pub fn owns(&self, readings: &Readings<'_>) -> bool {
        let prefix = self.prefix.decoded();
        let is_below = |path: &[u8]| path.strip_prefix(prefix).is_some_and(|rest| matches!(rest, [] | [b'/', ..]));
        readings.decoded().iter().any(|reading| is_below(&reading.path))
    }

    /// True if the request has the token. The time that the check takes does not depend on how much of the token is
    /// correct.
    pub fn allows(&self, request: &Request<'_>) -> bool {
        let value = request.header("authorization").unwrap_or_default().trim_ascii();
        let (scheme, token) = value.split_at_checked(7).unwrap_or_default();
        let digest: [u8; 32] = Sha256::digest(token.trim_ascii()).into();
        scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(digest.ct_eq(&self.token_sha256))
    }

    /// The answer to a request for the status page, which needs no token; `None` for any other request.
    pub fn page(&self, request: &Request<'_>, readings: &Readings<'_>) -> Option<Answer> {
        let [reading] = readings.encoded() else { return None };
        let path = std::str::from_utf8(&reading.path).ok()?;
        let is_read = matches!(request.header(":method"), Some(b"GET" | b"HEAD"));
        if !self.has_page || !is_read || self.prefix.rest(path) != Some("/") {
            return None;
        }
        Some(if path.ends_with('/') { page::page() } else { page::redirect(path) })
    }

    /// The command of a request that has the token.
    ///
    /// # Errors
    /// The answer to a request for an unknown endpoint.
    pub fn command(&self, request: &Request<'_>, readings: &Readings<'_>) -> Result<Command, Answer> {
        let paths = readings.encoded().iter().map(|reading| String::from_utf8_lossy(&reading.path));
        let rest = paths.filter_map(|path| self.prefix.rest(&path).map(str::to_owned)).next().unwrap_or_default();
        let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
        let method = request.header(":method").unwrap_or(b"GET");
        let command = match parts[..] {
            ["status"] => ("GET", Command::Status { offset: number(request, "offset", 0), limit: limit(request) }),
            ["webhooks", name, "test"] => ("POST", Command::TestWebhook(decoded(name))),
            ["messages", id, "resend"] => ("POST", Command::Resend(decoded(id))),
            ["events"] => ("POST", Command::Events),
            _ => {
                let known = "GET status, POST webhooks/{name}/test, POST messages/{id}/resend, POST events";
                return Err(answer(
                    404,
                    &json!({ "error": format!("there is no such endpoint; the endpoints are {known}") }),
                ));
            }
        };
        match command {
            (expected, command) if expected.as_bytes() == method => Ok(command),
            (expected, _) => Err(answer(405, &json!({ "error": format!("this is for {expected}") }))),
        }
    }
}

fn decoded(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

fn limit(request: &Request<'_>) -> usize {
    number(request, "limit", STATUS_LIMIT).min(STATUS_MOST)
}

fn number(request: &Request<'_>, name: &str, default: usize) -> usize {
    let pairs = request.query().unwrap_or_default().split(|byte| *byte == b'&');
    let value = pairs.filter_map(|pair| split_once(pair, b'=')).find(|(key, _)| *key == name.as_bytes());
    let text = value.map(|(_, value)| decode_query_part(value).into_owned());
    text.and_then(|text| String::from_utf8(text).ok()?.parse().ok()).unwrap_or(default)
}

/// The answer to requests without the token.
pub fn unauthorised() -> Answer {
    let mut answer = answer(401, &json!({ "error": "Unauthorised" }));
    answer.headers.push(("www-authenticate", r#"Bearer realm="tollbell""#.to_owned()));
    answer
}

const ANSWER_HEADERS: [(&str, &str); 3] =
    [("content-type", "application/json"), ("cache-control", "no-store"), ("x-content-type-options", "nosniff")];

/// An answer of the endpoints.
pub fn answer(status: u16, body: &Value) -> Answer {
    Answer {
        status,
        headers: ANSWER_HEADERS.map(|(name, value)| (name, value.to_owned())).to_vec(),
        body: format!("{body:#}\n"),
        details: format!("{}admin", Answer::DETAILS_PREFIX),
    }
}

/// Reads posted events: one event, or a list. If any is wrong, none is taken.
///
/// # Errors
/// The answer with all errors.
pub fn posted_events(body: &[u8], size: usize, now: UnixMillis) -> Result<Vec<observe::Occurrence>, Answer> {
    let refuse = |status, errors: Vec<Value>| Err(answer(status, &json!({ "errors": errors })));
    if size > MAX_BODY_BYTES {
        return refuse(413, vec![json!({ "message": format!("more than {MAX_BODY_BYTES} bytes") })]);
    }
    let value = match crate::base::json::parse(body) {
        Ok(value) => value,
        Err(error) => return refuse(400, vec![json!({ "message": error.to_string() })]),
    };
    let list = if let Value::Array(list) = &value { list.as_slice() } else { std::slice::from_ref(&value) };
    let (mut occurrences, mut errors) = (Vec::new(), Vec::new());
    for (index, event) in list.iter().enumerate() {
        match observe::posted(event, now) {
            Ok(occurrence) => occurrences.push(occurrence),
            Err(found) => errors.extend(found.iter().map(|error| {
                let path = if value.is_array() { format!("[{index}]{}", error.path) } else { error.path.clone() };
                json!({ "path": path, "message": error.message })
            })),
        }
    }
    if errors.is_empty() { Ok(occurrences) } else { refuse(422, errors) }
}

/// The answer to posted events: for each event the number of its handlers, and how many of these will not send it, by
/// reason. The status is 503 if the outbox had no room for one.
pub fn accepted(events: &[Vec<MessageOutcome>]) -> Answer {
    let count = |outcomes: &[MessageOutcome], reason| {
        outcomes.iter().filter(|outcome| outcome.reason() == Some(reason)).count()
    };
    let accepted: Vec<Value> = events
        .iter()
        .map(|outcomes| {
            let reasons = MessageOutcome::REASONS.map(|reason| (reason.to_owned(), count(outcomes, reason)));
            let reasons = reasons.into_iter().filter(|(_, count)| *count > 0);
            let members = std::iter::once(("handlers".to_owned(), outcomes.len())).chain(reasons);
            Value::Object(members.map(|(name, count)| (name, json!(count))).collect())
        })
        .collect();
    if events.iter().any(|outcomes| outcomes.contains(&MessageOutcome::Dropped)) {
        let error = "the table of held messages has no room: post the events with \"dropped\" again later; handlers that \
                     took such an event will send it twice";
        return answer(503, &json!({ "error": error, "accepted": accepted }));
    }
    answer(202, &json!({ "accepted": accepted }))
}

/// The answer if no body arrives.
pub fn no_body() -> Answer {
    let error = "no body came within 5 seconds; if the client sent one, the proxy does not pass it on: set \
                 allow_on_headers_stop_iteration: true beside the plugin's vm_config";
    answer(408, &json!({ "error": error }))
}
