//! Test Connection: a HEAD request to a webhook's target, without its configured headers, and what it tells.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::admin;
use crate::answer::Answer;
use crate::handler::Target;
use crate::ports::{Callout, CalloutId, CalloutRefused, CalloutReply, Host};
use crate::units::UnixMillis;

/// The time for the request.
const TIMEOUT_MS: u64 = 10_000;

/// How long a name may take to be looked up: the proxy refuses what goes there until then, without saying why.
const LOOKUP_MS: u64 = 5000;

/// A stream of the host, which waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId(pub u32);

/// Tests under way.
#[derive(Debug, Default)]
pub struct ConnectionTests {
    in_flight: HashMap<CalloutId, Test>,
    /// Refused at once, to be tried again.
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

/// What a request of a test is for. The last two are sent only where no connection could be made, so that nobody but the
/// proxy sees them as a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// To ask the target.
    Head,
    /// To hear why there is no connection: the proxy's answer to a HEAD has no text.
    Why,
    /// To hear whether it is TLS that fails: the proxy does not say, so the same port is asked without.
    Plain,
}

/// What a test found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Finding {
    Reachable(u16),
    Unreachable(String),
}

impl ConnectionTests {
    /// Begins one for a stream. `Some` is its answer already.
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

    /// Tries again what was refused at once; returns what is answered with that.
    pub fn on_tick(&mut self, host: &impl Host, now: UnixMillis) -> Vec<(StreamId, Answer)> {
        let waiting = std::mem::take(&mut self.waiting);
        let again = waiting.into_iter().map(|test| (test.stream, self.send(host, test, now)));
        again.filter_map(|(stream, answer)| Some((stream, answer?))).collect()
    }

    /// The answer to the stream whose test this reply ends; `None` where it ends none.
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
                NO_CONNECTION if test.target.scheme == "https" => {
                    return self.next(host, Test { step: Step::Plain, ..test }, now);
                }
                reason => Finding::Unreachable(reason.to_owned()),
            },
            (Step::Plain, Some(503)) if is_proxys && why(503, &text()) == NO_CONNECTION => {
                Finding::Unreachable(NO_CONNECTION.to_owned())
            }
            (Step::Plain, _) => Finding::Unreachable(NO_TLS.to_owned()),
            (_, Some(status)) if is_proxys => Finding::Unreachable(why(status, &text()).to_owned()),
            (Step::Why, _) => Finding::Unreachable("there was no connection, and now there is: try again".to_owned()),
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
        let method = if test.step == Step::Head { "HEAD" } else { "OPTIONS" };
        let (scheme, cluster, authority) = match test.step {
            Step::Plain => ("http", &test.plain_cluster, with_port(authority)),
            Step::Head | Step::Why => (*scheme, cluster, authority.clone()),
        };
        let headers = [
            (":method", method),
            (":path", path_and_query),
            (":authority", &authority),
            (":scheme", scheme),
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
            Err(CalloutRefused::Immediately) => {
                Finding::Unreachable("the name is unknown, or the cluster has no healthy host".to_owned())
            }
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
        admin::answer(200, &body)
    }
}

const NO_CONNECTION: &str = "the connection was refused";
const NO_TLS: &str = "TLS failed: the certificate is not valid for this name, or there is no TLS";

/// An https host with its port.
fn with_port(authority: &str) -> String {
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { authority.to_owned() } else { format!("{authority}:443") }
}

/// What a proxy's own answer says, by its status and text. By default Envoy 1.40 says of a refused connection, and of TLS
/// that fails, only that the connection failed.
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
        "the name is unknown, or the cluster has no healthy host"
    } else if has(&["timeout"]) {
        "no connection in time"
    } else {
        "the connection was cut off"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::EndpointId;
    use crate::delivery::outbox::Tag;
    use crate::testing::MemoryHost;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn target() -> Target {
        Target {
            scheme: "https",
            authority: "crm.test".into(),
            path_and_query: "/in?x=1".into(),
            cluster: "c".into(),
            endpoint: EndpointId(1),
            tag: Tag::of("crm.test"),
        }
    }

    fn body(answer: &Answer) -> Value {
        serde_json::from_str(&answer.body).unwrap()
    }

    #[test]
    fn a_head_request_without_headers_tells_status_and_time() {
        let (host, mut tests) = (MemoryHost::default(), ConnectionTests::default());
        assert_eq!(tests.begin(&host, StreamId(3), "crm", &target(), "plain", UnixMillis(1000)), None);
        let (id, callout) = host.take_sent().pop().unwrap();
        let names: Vec<&str> = callout.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [":method", ":path", ":authority", ":scheme", "user-agent"]);
        assert_eq!(callout.headers[0].1, "HEAD");
        let reply = CalloutReply { status: Some(405), ..CalloutReply::default() };
        assert_eq!(tests.on_reply(&host, CalloutId(id.0 + 1), &reply, UnixMillis(1001)), None);
        let (stream, answer) = tests.on_reply(&host, id, &reply, UnixMillis(1042)).unwrap();
        assert_eq!(stream, StreamId(3));
        let expected = json!({ "webhook": "crm", "host": "crm.test", "reachable": true, "status": 405, "took_ms": 42 });
        assert_eq!(body(&answer), expected);
    }

    #[test]
    fn where_there_is_no_connection_the_proxy_is_asked_why() {
        let (host, mut tests) = (MemoryHost::default(), ConnectionTests::default());
        tests.begin(&host, StreamId(3), "crm", &target(), "plain", UnixMillis(0));
        let refused = CalloutReply { status: Some(503), by_proxy: true, ..CalloutReply::default() };
        let (head, _) = host.take_sent().pop().unwrap();
        assert_eq!(tests.on_reply(&host, head, &refused, UnixMillis(1)), None);
        let (why, callout) = host.take_sent().pop().unwrap();
        assert_eq!(callout.headers[0], (":method".to_owned(), "OPTIONS".to_owned()));
        host.set_reply(
            &[],
            b"upstream connect error or disconnect/reset before headers. reset reason: remote connection failure",
        );
        assert_eq!(tests.on_reply(&host, why, &refused, UnixMillis(2)), None);
        let (plain, callout) = host.take_sent().pop().unwrap();
        assert_eq!((callout.cluster.as_str(), callout.headers[2].1.as_str()), ("plain", "crm.test:443"));
        let (_, answer) = tests.on_reply(&host, plain, &refused, UnixMillis(3)).unwrap();
        assert_eq!(body(&answer)["error"], "the connection was refused");

        tests.begin(&host, StreamId(4), "crm", &target(), "plain", UnixMillis(0));
        for _ in 0..2 {
            let (id, _) = host.take_sent().pop().unwrap();
            assert_eq!(tests.on_reply(&host, id, &refused, UnixMillis(1)), None);
        }
        let (id, _) = host.take_sent().pop().unwrap();
        let (_, answer) = tests.on_reply(&host, id, &CalloutReply::default(), UnixMillis(3)).unwrap();
        assert!(body(&answer)["error"].as_str().unwrap().starts_with("TLS failed"));
    }

    #[test]
    fn what_is_not_reachable_is_told_apart() {
        for (status, text, expected) in [
            (504, "upstream request timeout", "no answer in time"),
            (
                503,
                "… transport failure reason: delayed connect error: Connection refused",
                "the connection was refused",
            ),
            (503, "… TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED", "TLS failed"),
            (503, "no healthy upstream", "the name is unknown"),
            (
                503,
                "upstream connect error or disconnect/reset before headers. reset reason: connection timeout",
                "no connection in time",
            ),
            (503, "", "the connection was cut off"),
        ] {
            assert!(why(status, text).starts_with(expected), "{status} {text}");
        }
    }

    #[test]
    fn a_name_that_is_being_looked_up_is_tried_again_for_a_while() {
        let (host, mut tests) = (MemoryHost::default(), ConnectionTests::default());
        host.refuse_next_callout(CalloutRefused::Immediately);
        assert_eq!(tests.begin(&host, StreamId(3), "crm", &target(), "plain", UnixMillis(0)), None);
        assert!(tests.on_tick(&host, UnixMillis(500)).is_empty());
        assert_eq!(host.take_sent().len(), 1);
        host.refuse_next_callout(CalloutRefused::Immediately);
        tests.begin(&host, StreamId(4), "crm", &target(), "plain", UnixMillis(0));
        host.refuse_next_callout(CalloutRefused::Immediately);
        let [(stream, answer)] = &tests.on_tick(&host, UnixMillis(5000))[..] else { panic!() };
        assert_eq!((*stream, &body(answer)["reachable"]), (StreamId(4), &json!(false)));
    }
}
