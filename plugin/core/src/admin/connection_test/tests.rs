use super::*;
use crate::delivery::{EndpointId, Tag};
use crate::testing::MemoryHost;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn target() -> Target {
    Target {
        scheme: crate::delivery::Scheme::Https,
        authority: "crm.test".into(),
        path_and_query: "/services/T0/s3cret?sig=s3cret".into(),
        cluster: "c".into(),
        endpoint: EndpointId(1),
        tag: Tag::of("crm.test"),
    }
}

const FAILURE: &str =
    "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure";

/// The proxy's own answer, because it could make no connection.
fn refused() -> CalloutReply {
    CalloutReply { status: Some(503), by_proxy: true, ..CalloutReply::default() }
}

fn body(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap()
}

#[test]
fn a_head_request_without_headers_returns_status_and_time() {
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

/// A test that has asked the port without TLS, and the requests that it has sent.
fn without_connection(host: &MemoryHost) -> (ConnectionTests, Vec<(CalloutId, Callout)>) {
    let mut tests = ConnectionTests::default();
    host.set_reply(&[], FAILURE.as_bytes());
    tests.begin(host, StreamId(3), "crm", &target(), "plain", UnixMillis(0));
    let mut sent = host.take_sent();
    let head = sent[0].0;
    assert_eq!(tests.on_reply(host, head, &refused(), UnixMillis(1)), None);
    sent.extend(host.take_sent());
    (tests, sent)
}

#[test]
fn without_a_connection_the_proxy_is_asked_for_the_reason() {
    for (reply, text, expected) in [
        (refused(), FAILURE, "the connection was refused"),
        (refused(), "… reset reason: connection termination", NO_TLS),
        (CalloutReply { status: Some(504), ..refused() }, "upstream request timeout", NO_TLS),
        (CalloutReply { status: Some(400), ..CalloutReply::default() }, "", NO_TLS),
        (CalloutReply::default(), "", NO_TLS),
        (refused(), "no healthy upstream", UNDECIDED),
        (refused(), "… reset reason: connection timeout", UNDECIDED),
    ] {
        let host = MemoryHost::default();
        let (mut tests, mut sent) = without_connection(&host);
        assert_eq!(tests.on_reply(&host, sent[1].0, &refused(), UnixMillis(2)), None);
        sent.extend(host.take_sent());
        host.set_reply(&[], text.as_bytes());
        let (_, answer) = tests.on_reply(&host, sent[2].0, &reply, UnixMillis(3)).unwrap();
        assert_eq!(body(&answer)["error"], expected, "{text}");
        let asked: Vec<_> = sent
            .iter()
            .map(|(_, callout)| {
                let values: Vec<&str> = callout.headers.iter().map(|(_, value)| value.as_str()).collect();
                (callout.cluster.as_str(), values[..4].to_vec(), values.len())
            })
            .collect();
        let path = "/services/T0/s3cret?sig=s3cret";
        assert_eq!(
            asked,
            [
                ("c", vec!["HEAD", path, "crm.test", "https"], 5),
                ("c", vec!["OPTIONS", "/", "crm.test", "https"], 5),
                ("plain", vec!["OPTIONS", "/", "crm.test:443", "http"], 5),
            ],
            "the path may be a secret that only the target may see"
        );
    }
}

#[test]
fn without_a_plain_cluster_the_known_reason_is_returned() {
    for (why, later) in [(CalloutRefused::UnknownCluster, None), (CalloutRefused::Immediately, Some(LOOKUP_MS))] {
        let host = MemoryHost::default();
        let (mut tests, sent) = without_connection(&host);
        host.refuse_next_callout(why);
        let mut answer = tests.on_reply(&host, sent[1].0, &refused(), UnixMillis(2));
        if let Some(later) = later {
            assert_eq!(answer, None);
            host.refuse_next_callout(why);
            answer = tests.on_tick(&host, UnixMillis(later)).pop();
        }
        assert_eq!(body(&answer.unwrap().1)["error"], UNDECIDED);
    }
    let (host, mut tests) = (MemoryHost::default(), ConnectionTests::default());
    host.refuse_next_callout(CalloutRefused::UnknownCluster);
    let answer = tests.begin(&host, StreamId(3), "crm", &target(), "plain", UnixMillis(0)).unwrap();
    assert_eq!(body(&answer)["error"], "the cluster is unknown to the proxy", "of its own");
}

#[test]
fn reasons_for_no_connection_are_distinguished() {
    for (status, text, expected) in [
        (504, "upstream request timeout", "no answer in time"),
        (503, "… transport failure reason: delayed connect error: Connection refused", "the connection was refused"),
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
fn a_request_is_repeated_while_its_name_is_looked_up() {
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
