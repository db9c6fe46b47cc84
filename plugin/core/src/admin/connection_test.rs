//! Test Connection: a HEAD request to a webhook's target, without its configured headers, and its result.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::access::Answer;
use crate::admin::endpoints;
use crate::base::UnixMillis;
use crate::delivery::{Scheme, Target};
use crate::host::{Callout, CalloutId, CalloutRefused, CalloutReply, Host, StreamId};

/// The time-out of the request.
const TIMEOUT_MS: u64 = 10_000;

/// The maximum time of a name look-up. Until then the proxy refuses requests to the name, without a reason.
const LOOKUP_MS: u64 = 5000;

/// The tests in progress.
#[derive(Debug, Default)]
pub struct ConnectionTests {
    in_flight: HashMap<CalloutId, Test>,
    /// Tests that were refused at once, to be tried again.
    waiting: Vec<Test>,
}

#[derive(Debug)]
struct Test {
    stream: StreamId,
    webhook: String,
    target: Target,
    since: UnixMillis,
    step: Step,
    /// The cluster that reaches any host without TLS.
    plain_cluster: String,
}

/// The purpose of a test's request. The last two are sent only if no connection could be made, so normally only the
/// proxy sees them. A target's path and query may be its only secret; to be safe, only the first request has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Asks the target.
    Head,
    /// Finds out why there is no connection: the proxy's answer to a HEAD has no text.
    Why,
    /// Finds out whether TLS fails: the proxy does not say, so the same port is asked without TLS.
    Plain,
}

/// The result of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Finding {
    Reachable(u16),
    Unreachable(String),
}

impl ConnectionTests {
    /// Begins a test for a stream. `Some` is its answer, if it is known already.
    pub fn begin(
        &mut self,
        host: &impl Host,
        stream: StreamId,
        webhook: &str,
        target: &Target,
        plain_cluster: &str,
        now: UnixMillis,
    ) -> Option<Answer> {
        let (webhook, plain_cluster) = (webhook.to_owned(), plain_cluster.to_owned());
        let test = Test { stream, webhook, target: target.clone(), since: now, step: Step::Head, plain_cluster };
        self.send(host, test, now)
    }

    /// Tries refused tests again. Returns the answers of those that end.
    pub fn on_tick(&mut self, host: &impl Host, now: UnixMillis) -> Vec<(StreamId, Answer)> {
        let waiting = std::mem::take(&mut self.waiting);
        let again = waiting.into_iter().map(|test| (test.stream, self.send(host, test, now)));
        again.filter_map(|(stream, answer)| Some((stream, answer?))).collect()
    }

    /// The answer to the stream whose test ends with this reply; `None` if none does.
    pub fn on_reply(
        &mut self,
        host: &impl Host,
        id: CalloutId,
        reply: &CalloutReply,
        now: UnixMillis,
    ) -> Option<(StreamId, Answer)> {
        let test = self.in_flight.remove(&id)?;
        let text = || host.reply_body(4096).map(|body| String::from_utf8_lossy(&body).into_owned()).unwrap_or_default();
        let is_proxys = reply.by_proxy && matches!(reply.status, Some(502..=504));
        let finding = match (test.step, reply.status) {
            (Step::Head, None) => Finding::Unreachable("the connection was cut off".to_owned()),
            (Step::Head, Some(503)) if is_proxys => return self.next(host, Test { step: Step::Why, ..test }, now),
            (Step::Why, Some(503)) if is_proxys => match why(503, &text()) {
                NO_CONNECTION if test.target.scheme == Scheme::Https => {
                    return self.next(host, Test { step: Step::Plain, ..test }, now);
                }
                reason => Finding::Unreachable(reason.to_owned()),
            },
            (Step::Plain, Some(status)) if is_proxys => {
                Finding::Unreachable(without_tls(why(status, &text())).to_owned())
            }
            (Step::Plain, _) => Finding::Unreachable(NO_TLS.to_owned()),
            (_, Some(status)) if is_proxys => Finding::Unreachable(why(status, &text()).to_owned()),
            (Step::Why, _) => Finding::Unreachable(
                "the first request had no connection, but the second one had: try again".to_owned(),
            ),
            (Step::Head, Some(status)) => Finding::Reachable(status),
        };
        Some((test.stream, test.answer(&finding, now)))
    }

    fn next(&mut self, host: &impl Host, test: Test, now: UnixMillis) -> Option<(StreamId, Answer)> {
        let stream = test.stream;
        self.send(host, test, now).map(|answer| (stream, answer))
    }

    fn send(&mut self, host: &impl Host, test: Test, now: UnixMillis) -> Option<Answer> {
        let Target { scheme, authority, path_and_query, cluster, .. } = &test.target;
        let (method, path) = match test.step {
            Step::Head => ("HEAD", path_and_query.as_str()),
            Step::Why | Step::Plain => ("OPTIONS", "/"),
        };
        let (scheme, cluster, authority) = match test.step {
            Step::Plain => (Scheme::Http, &test.plain_cluster, with_port(authority)),
            Step::Head | Step::Why => (*scheme, cluster, authority.clone()),
        };
        let headers = [
            (":method", method),
            (":path", path),
            (":authority", &authority),
            (":scheme", scheme.as_str()),
            ("user-agent", concat!("tollbell/", env!("CARGO_PKG_VERSION"))),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let callout = Callout { cluster: cluster.clone(), headers, body: Vec::new(), timeout_ms: TIMEOUT_MS };
        let finding = match host.send(&callout) {
            Ok(id) => {
                self.in_flight.insert(id, test);
                return None;
            }
            Err(CalloutRefused::Immediately) if now.since(test.since) < LOOKUP_MS => {
                self.waiting.push(test);
                return None;
            }
            // The cluster without TLS shows nothing about the target's own.
            Err(_) if test.step == Step::Plain => Finding::Unreachable(UNDECIDED.to_owned()),
            Err(CalloutRefused::Immediately) => Finding::Unreachable(NO_HOST.to_owned()),
            Err(unknown @ CalloutRefused::UnknownCluster) => Finding::Unreachable(unknown.to_string()),
        };
        Some(test.answer(&finding, now))
    }
}

impl Test {
    fn answer(&self, finding: &Finding, now: UnixMillis) -> Answer {
        let took = now.since(self.since);
        let host = &self.target.authority;
        let body: Value = match finding {
            Finding::Reachable(status) => {
                json!({ "webhook": self.webhook, "host": host, "reachable": true, "status": status, "took_ms": took })
            }
            Finding::Unreachable(why) => {
                json!({ "webhook": self.webhook, "host": host, "reachable": false, "error": why, "took_ms": took })
            }
        };
        endpoints::answer(200, &body)
    }
}

const NO_CONNECTION: &str = "the connection was refused";
const NO_HOST: &str = "the name is unknown, or the cluster has no healthy host";
const TOO_SLOW: &str = "no connection in time";
const UNDECIDED: &str = "no connection: refused, or TLS failed";
const NO_TLS: &str = "TLS failed: the certificate is not valid for this name, or there is no TLS";

/// An https host with its port.
fn with_port(authority: &str) -> String {
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { authority.to_owned() } else { format!("{authority}:443") }
}

/// The reason in a proxy's own answer, from its status and text. By default Envoy 1.40 reports only a failed
/// connection, both for a refused connection and for a failure of TLS.
fn why(status: u16, text: &str) -> &'static str {
    let text = text.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if status == 504 {
        "no answer in time"
    } else if has(&["tls_error", "ssl routines", "certificate"]) {
        NO_TLS
    } else if has(&["connection refused", "remote connection failure"]) {
        NO_CONNECTION
    } else if has(&["no healthy upstream", "dns"]) {
        NO_HOST
    } else if has(&["timeout"]) {
        TOO_SLOW
    } else {
        "the connection was cut off"
    }
}

/// The meaning of the proxy's answer for a port that was asked without TLS.
fn without_tls(reason: &'static str) -> &'static str {
    match reason {
        NO_CONNECTION => NO_CONNECTION,
        NO_HOST | TOO_SLOW => UNDECIDED,
        // Something accepts connections there.
        _ => NO_TLS,
    }
}

#[cfg(test)]
mod tests;
