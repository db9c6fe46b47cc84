use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::access::RequestOutcome;
use crate::event::EventKind;
use crate::host::Metric;
use crate::host::{Callout, HeaderChange, SharedData};
use crate::testing::{MemoryHost, TestStream, TestStreams};

mod access;
mod admin;
mod attempts;
mod conditions;
#[cfg(not(target_arch = "wasm32"))]
mod cost;
mod digests;
mod emails;
mod forecasts;
mod gateway;
mod kinds;
mod observing;
mod passes;
mod receivers;
mod renewals;
mod resend;
mod tyk;
mod updates;
mod usage;
mod versions;
mod waiting;

const START: UnixMillis = UnixMillis(1_800_000_000_000);

/// One process with several VMs.
struct World<C = Counting> {
    host: MemoryHost,
    vms: Vec<Engine<C>>,
    now: UnixMillis,
    /// Properties of the streams to come.
    properties: BTreeMap<String, Vec<u8>>,
    streams: TestStreams,
    last_stream: u32,
}

/// An engine's decision on a request.
#[derive(Debug)]
enum Decision {
    Continue {
        changes: Vec<HeaderChange>,
        followup: Option<Rc<TestStream>>,
    },
    Refuse(Answer),
    /// The request is held, and not answered yet.
    Held(Rc<TestStream>),
}

fn load(config: &Value) -> Config {
    let (config, _) = Config::load(config.to_string().as_bytes()).unwrap_or_else(|errors| panic!("{errors:?}"));
    config
}

impl World {
    fn new(config: &Value) -> Self {
        World::with_vms(config, 1)
    }

    fn with_vms(config: &Value, vms: u64) -> Self {
        World::with_counters(config, vms, || Counting::new(None, String::new()))
    }

    /// Another VM with a configuration.
    fn engine(&self, config: Config, salt: u64) -> Engine {
        self.host.set_now(self.now);
        Engine::new(config, &self.host, &BodyPool::default(), salt)
    }
}

impl<C: Counters> World<C> {
    fn with_counters(config: &Value, vms: u64, counters: impl Fn() -> C) -> Self {
        let host = MemoryHost::guessing();
        host.set_now(START);
        let engine = |salt| Engine::with_counters(load(config), &host, &BodyPool::default(), salt, |_, _| counters());
        let vms = (0..vms).map(engine).collect();
        let properties = BTreeMap::from([("source\0address".to_owned(), b"192.0.2.7:4711".to_vec())]);
        World { host, vms, now: START, properties, streams: TestStreams::default(), last_stream: 0 }
    }

    /// Sets the host's clock, as before every callback.
    fn host(&self) -> &MemoryHost {
        self.host.set_now(self.now);
        &self.host
    }

    fn open(&mut self, headers: &[(&str, &[u8])]) -> Rc<TestStream> {
        self.last_stream += 1;
        let stream = TestStream::new(self.last_stream, headers.iter().map(|(name, value)| (name.as_bytes(), *value)));
        stream.properties.replace(self.properties.clone());
        self.streams.open(stream)
    }

    fn on_vm(&mut self, vm: usize, headers: &[(&str, &[u8])]) -> Decision {
        let stream = self.open(headers);
        self.host();
        let flow = self.vms[vm].on_request_headers(&self.host, &stream, false);
        self.decision(vm, flow, stream)
    }

    fn decision(&mut self, vm: usize, flow: Flow, stream: Rc<TestStream>) -> Decision {
        if let Some(answer) = stream.answered.borrow().clone() {
            assert_eq!(flow, Flow::Pause, "an answered request does not continue");
            return Decision::Refuse(answer);
        }
        match flow {
            Flow::Pause => Decision::Held(stream),
            Flow::Continue => {
                let changes = stream.changes.borrow().clone();
                let is_kept = self.vms[vm].exchanges.get(stream.id()).is_some();
                Decision::Continue { changes, followup: is_kept.then_some(stream) }
            }
        }
    }

    fn get(&mut self, path: &str, key: &str) -> Decision {
        self.on_vm(0, &[(":path", path.as_bytes()), (":authority", b"gw.test"), ("authorization", key.as_bytes())])
    }

    fn status(&mut self, path: &str, key: &str) -> u16 {
        match self.get(path, key) {
            Decision::Continue { .. } => 200,
            Decision::Refuse(answer) => answer.status,
            other => panic!("{other:?}"),
        }
    }

    /// The response to a request that continued.
    fn respond(&mut self, vm: usize, stream: &TestStream, status: u16) {
        stream.response.borrow_mut().push((":status".to_owned(), status.to_string().into_bytes()));
        self.host();
        self.vms[vm].on_response_headers(&self.host, stream, true);
    }

    /// The bodies and the response of a request that continued, in parts as a proxy passes them.
    fn exchange(&mut self, stream: &TestStream, request: &str, status: &str, response: &str) {
        self.host();
        let engine = &mut self.vms[0];
        for piece in request.as_bytes().chunks(7) {
            stream.request_body.replace(piece.to_vec());
            assert_eq!(engine.on_request_body(&self.host, stream, piece.len(), false), Flow::Continue);
        }
        let headers = [(":status", status), ("content-type", "application/json")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        stream.response.borrow_mut().extend(headers);
        engine.on_response_headers(&self.host, stream, response.is_empty());
        for piece in response.as_bytes().chunks(5) {
            stream.response_body.replace(piece.to_vec());
            engine.on_response_body(&self.host, stream, piece.len(), false);
        }
        engine.on_response_trailers(&self.host, stream);
    }

    /// The headers that its response will show.
    fn limits(&mut self, stream: &TestStream) -> Vec<(&'static str, String)> {
        let form = self.vms[0].access.limit_headers;
        let Some(exchange) = self.vms[0].exchanges.get(stream.id()) else { return Vec::new() };
        let mut headers = Vec::new();
        if let Some(followup) = &exchange.followup {
            form.show(&followup.usages, self.now, |name, value| headers.push((name, value.to_owned())));
        }
        headers
    }

    fn tick(&mut self, ms: u64) -> Vec<(CalloutId, Callout)> {
        self.now = self.now.plus(ms);
        self.host();
        for vm in &mut self.vms {
            vm.on_tick(&self.host, &self.streams);
        }
        self.host.take_sent()
    }

    fn reply(&mut self, id: CalloutId, status: u16) {
        let reply = CalloutReply { status: Some(status), ..CalloutReply::default() };
        self.host();
        for vm in &mut self.vms {
            vm.on_callout_reply(&self.host, &self.streams, id, &reply);
        }
    }

    /// Lets time pass. Every message is answered with `status`.
    fn deliver(&mut self, ms: u64, status: u16) -> Vec<Callout> {
        let mut sent = Vec::new();
        let mut calls = self.tick(ms);
        while !calls.is_empty() {
            for (id, callout) in calls {
                self.reply(id, status);
                sent.push(callout);
            }
            calls = self.host.take_sent();
        }
        sent
    }

    fn bodies(&mut self) -> Vec<Value> {
        self.deliver(10, 200).iter().map(|callout| serde_json::from_slice(&callout.body).unwrap()).collect()
    }
}

fn hook(path: &str, timeout: u64) -> Value {
    json!({
        "handler_name": "eh_web_hook_handler",
        "handler_meta": { "target_path": format!("http://hooks.test{path}"), "event_timeout": timeout }
    })
}

fn config() -> Value {
    json!({
        "apis": [
            { "api_id": "orders", "org_id": "acme", "listen_path": "/orders/" },
            { "api_id": "open", "org_id": "acme", "listen_path": "/open/", "use_keyless": true },
            { "api_id": "strict", "listen_path": "/strict/", "strip_authorization_data": true,
              "auth": { "fire_on_missing_key": true } }
        ],
        "event_handlers": { "events": {
            "AuthFailure": [hook("/auth", 10)], "KeyExpired": [hook("/expired", 10)],
            "QuotaExceeded": [hook("/quota", 10)], "OrgQuotaExceeded": [hook("/org", 10)]
        } },
        "keys": {
            "ten": { "org_id": "acme", "quota_max": 10, "quota_renewal_rate": 60, "monitor": { "trigger_limits": [80.0, 60.0, 50.0] } },
            "free": { "org_id": "acme" },
            "loner": { "quota_max": 1 },
            "old": { "expires": 1_700_000_000 },
            "off": { "is_inactive": true },
            "strict-only": { "access_rights": { "strict": {} } }
        },
        "orgs": { "acme": { "quota_max": 20, "quota_renewal_rate": 60, "monitor": { "trigger_limits": [75] } } },
        "enforce_org_quotas": true,
        "monitor": {
            "enable_trigger_monitors": true, "monitor_user_keys": true, "monitor_org_keys": true,
            "configuration": { "target_path": "http://hooks.test/monitor", "event_timeout": 10, "header_map": { "X-Secret": "s" } }
        }
    })
}

#[test]
fn the_answers_are_as_documented() {
    let mut world = World::new(&config());
    let answer = |decision: Decision| match decision {
        Decision::Refuse(answer) => (answer.status, answer.body),
        Decision::Continue { .. } => (200, String::new()),
        other => panic!("{other:?}"),
    };
    let refusal = |status, text: &str| (status, format!(r#"{{"error": "{text}"}}"#));
    for (path, key, expected) in [
        ("/orders/1", "", refusal(401, "Authorization field missing")),
        ("/orders/1", "nobody", refusal(403, "Access to this API has been disallowed")),
        ("/orders/1", "strict-only", refusal(403, "Access to this API has been disallowed")),
        ("/orders/1", "old", refusal(401, "Key has expired, please renew")),
        ("/orders/1", "off", refusal(403, "Key is inactive, please renew")),
        ("/strict/1", "strict-only", (200, String::new())),
        ("/open/1", "", (200, String::new())),
        ("/elsewhere", "nobody", (200, String::new())),
        ("/orders/1", "loner", (200, String::new())),
        ("/strict/1", "loner", refusal(403, "Quota exceeded")),
    ] {
        assert_eq!(answer(world.get(path, key)), expected, "{path} {key}");
    }
    assert_eq!(world.host.metric(RequestOutcome::UnknownKey.metric()), 1);
    assert_eq!(world.host.metric(RequestOutcome::Admitted.metric()), 3);
}

#[test]
fn requests_to_no_api_pass_or_are_refused_as_tyk_does() {
    let mut config = config();
    for (unmatched, expected) in [(Value::Null, None), (json!("pass"), None), (json!("refuse"), Some(404))] {
        config["unmatched"] = unmatched;
        if config["unmatched"].is_null() {
            config.as_object_mut().unwrap().remove("unmatched");
        }
        let mut world = World::new(&config);
        match (world.get("/elsewhere", "ten"), expected) {
            (Decision::Continue { .. }, None) => {}
            (Decision::Refuse(answer), Some(status)) => {
                assert_eq!((answer.status, answer.body.as_str()), (status, "Not Found"));
                assert_eq!(answer.headers, [("content-type", "text/plain; charset=utf-8".to_owned())]);
                assert_eq!(answer.details, "tollbell_unmatched");
                assert_eq!(world.host.metric(RequestOutcome::Unmatched.metric()), 1);
            }
            (decision, _) => panic!("{decision:?}"),
        }
        assert_eq!(world.status("/open/1", ""), 200);
        assert_eq!(world.bodies(), Vec::<Value>::new());
    }
}

#[test]
fn quota_10_with_three_thresholds_sends_what_the_seeds_show() {
    let mut world = World::new(&config());
    let statuses: Vec<u16> = (0..12).map(|_| world.status("/orders/1", "ten")).collect();
    assert_eq!(statuses, [[200; 10].as_slice(), &[403, 403]].concat());
    let trigger = |limit: &str| json!({ "event": "TriggerExceeded", "message": "Quota trigger reached", "org": "acme", "key": "ten", "trigger_limit": limit });
    let exceeded = json!({
        "event": "QuotaExceeded", "message": "Key Quota Limit Exceeded", "path": "/orders/1", "origin": "192.0.2.7", "key": "ten"
    });
    assert_eq!(world.bodies(), [trigger("50"), trigger("60"), trigger("80"), exceeded]);
    assert_eq!(world.host.metric(Metric::Suppressed), 1);
    assert_eq!(world.host.metric(EventKind::TriggerExceeded.metric()), 3);
}

#[test]
fn an_organisations_threshold_has_no_key() {
    let mut world = World::new(&config());
    for _ in 0..21 {
        world.get("/orders/1", "free");
    }
    assert_eq!(
        world.bodies(),
        [
            json!({ "event": "TriggerExceeded", "message": "Quota trigger reached", "org": "acme", "key": "", "trigger_limit": "75" }),
            json!({
                "event": "OrgQuotaExceeded", "message": "Organisation quota has been exceeded", "path": "/orders/1",
                "origin": "192.0.2.7", "key": "acme"
            })
        ]
    );
}

#[test]
fn denied_requests_use_up_no_quota_of_the_organisation() {
    let mut world = World::new(&config());
    for key in ["", "nobody", "old", "off", "strict-only"] {
        for _ in 0..30 {
            world.get("/orders/1", key);
        }
    }
    assert_eq!(world.status("/orders/1", "free"), 200);
}

#[test]
fn keyless_requests_count_on_their_apis_organisation() {
    let mut world = World::new(&config());
    for _ in 0..20 {
        assert_eq!(world.status("/open/1", ""), 200);
    }
    assert_eq!(world.status("/open/1", ""), 403);
}

#[test]
fn admitted_and_refused_requests_show_the_tighter_quota() {
    let mut world = World::new(&config());
    let Decision::Continue { followup: Some(followup), .. } = world.get("/orders/1", "ten") else { panic!() };
    let headers = world.limits(&followup);
    assert_eq!(
        headers,
        [
            ("x-ratelimit-limit", "10".to_owned()),
            ("x-ratelimit-remaining", "9".to_owned()),
            ("x-ratelimit-reset", "1800000060".to_owned())
        ]
    );
    for _ in 0..9 {
        world.get("/orders/1", "ten");
    }
    let Decision::Refuse(answer) = world.get("/orders/1", "ten") else { panic!() };
    assert!(answer.headers.contains(&("retry-after", "60".to_owned())), "{answer:?}");
    let Decision::Continue { followup, .. } = world.get("/strict/1", "strict-only") else { panic!() };
    let headers = followup.map(|followup| world.limits(&followup));
    assert_eq!(headers.unwrap_or_default(), [], "a key without limits");
}

#[test]
fn a_flood_of_one_bad_key_is_one_message_per_period() {
    let mut world = World::with_vms(&config(), 3);
    for n in 0..1000 {
        world.on_vm(n % 3, &[(":path", b"/orders/1"), ("authorization", b"bad")]);
    }
    assert_eq!(world.bodies().len(), 1);
    assert_eq!(world.host.metric(Metric::Suppressed), 999);
    world.now = world.now.plus(10_000);
    for _ in 0..10 {
        world.get("/orders/1", "bad");
    }
    assert_eq!(world.bodies().len(), 1);
}

#[test]
fn handlers_with_the_same_target_and_body_do_not_suppress_each_other() {
    let mut config = config();
    config["event_handlers"]["events"]["AuthFailure"] = json!([hook("/auth", 10), hook("/auth", 10)]);
    let mut world = World::new(&config);
    for _ in 0..5 {
        world.get("/orders/1", "bad");
    }
    assert_eq!(world.bodies().len(), 2);
}

#[test]
fn without_a_cool_down_every_event_is_sent() {
    let mut config = config();
    config["event_handlers"]["events"]["AuthFailure"] = json!([hook("/auth", 0)]);
    let mut world = World::new(&config);
    for _ in 0..5 {
        world.get("/orders/1", "bad");
    }
    assert_eq!(world.bodies().len(), 5);
}

#[test]
fn a_missing_key_is_an_event_only_if_configured() {
    let mut world = World::new(&config());
    world.get("/orders/1", "");
    assert_eq!(world.bodies(), Vec::<Value>::new());
    world.get("/strict/1", "");
    assert_eq!(world.bodies()[0]["event"], "AuthFailure");
}

#[test]
fn the_message_has_its_handlers_settings() {
    let mut world = World::new(&config());
    for _ in 0..5 {
        world.get("/orders/1", "ten");
    }
    let [callout] = &world.deliver(10, 200)[..] else { panic!() };
    assert_eq!(callout.cluster, "tollbell_http");
    for header in [
        (":method", "POST"),
        (":path", "/monitor"),
        (":authority", "hooks.test"),
        (":scheme", "http"),
        ("x-secret", "s"),
        ("content-type", "application/json"),
        ("user-agent", concat!("tollbell/", env!("CARGO_PKG_VERSION"))),
    ] {
        assert!(callout.headers.contains(&(header.0.to_owned(), header.1.to_owned())), "{header:?} in {callout:?}");
    }
}

#[test]
fn the_key_is_removed_if_configured() {
    let mut world = World::new(&config());
    let Decision::Continue { changes, .. } = world.get("/strict/1", "strict-only") else { panic!() };
    assert_eq!(changes, [HeaderChange::Remove("authorization".into())]);
}

#[test]
fn hashed_keys_keep_the_key_out_of_events() {
    let mut config = config();
    config["hash_keys"] = json!(true);
    let mut world = World::new(&config);
    for _ in 0..5 {
        world.get("/orders/1", "ten");
    }
    world.get("/orders/1", "bad-key");
    for body in world.bodies() {
        let key = body["key"].as_str().unwrap();
        assert!(key.starts_with("sha256:") && key.len() == 71, "{key}");
    }
}

#[test]
fn client_bytes_of_any_kind_arrive_escaped() {
    let mut world = World::new(&config());
    let hostile = b"\xff\"\\\n{{Type}}{{{x}}}\x00<>";
    let path = [&b"/orders/"[..], hostile].concat();
    world.on_vm(0, &[(":path", &path), ("authorization", hostile)]);
    let body = &world.bodies()[0];
    let text = "\u{fffd}\"\\\n{{Type}}{{{x}}}\0<>";
    assert_eq!(body["key"], text);
    assert_eq!(body["path"], format!("/orders/{text}"));
}

#[test]
fn a_counter_that_cannot_be_stored_refuses_and_is_logged() {
    let mut world = World::new(&config());
    world.host.put("tb1/o/acme", b"not ours").unwrap();
    assert_eq!(world.status("/orders/1", "ten"), 503);
    assert_eq!(world.host.metric(RequestOutcome::CounterUnavailable.metric()), 1);
    world.host.break_shared_data(true);
    assert_eq!(world.status("/orders/1", "loner"), 503);
    assert_eq!(world.status("/orders/1", "nobody"), 403, "a refusal needs no counter, and its event cannot be held");
    assert_eq!(world.host.metric(Metric::Dropped), 1);
}

#[test]
fn a_flood_of_distinct_keys_stays_bounded() {
    let mut config = config();
    config["event_handlers"]["events"]["AuthFailure"][0]["handler_meta"]["max_per_minute"] = json!(0);
    let mut world = World::new(&config);
    for n in 0..5000 {
        world.get("/orders/1", &format!("bad-{n}"));
    }
    assert_eq!(world.host.metric(Metric::Dropped), 5000 - 768);
    let keys = world.host.key_count();
    for n in 5000..10_000 {
        world.get("/orders/1", &format!("bad-{n}"));
    }
    assert_eq!(world.host.key_count(), keys);
    assert!(world.vms[0].known_keys.is_empty());
}

#[test]
fn a_new_configuration_keeps_the_counts() {
    let mut world = World::new(&config());
    for _ in 0..6 {
        world.get("/orders/1", "ten");
    }
    let mut changed = config();
    changed["keys"]["ten"]["quota_max"] = json!(8);
    world.vms[0] = world.engine(load(&changed), 9);
    let statuses: Vec<u16> = (0..3).map(|_| world.status("/orders/1", "ten")).collect();
    assert_eq!(statuses, [200, 200, 403]);
}

#[test]
fn event_ids_are_unique() {
    let mut config = config();
    config["templates"] = json!({ "id.txt": "{{ID}}" });
    config["event_handlers"]["events"]["AuthFailure"] = json!([{
        "handler_name": "eh_web_hook_handler",
        "handler_meta": { "target_path": "http://hooks.test/", "template_path": "id.txt" }
    }]);
    let mut world = World::with_vms(&config, 2);
    for n in 0..20 {
        world.on_vm(n % 2, &[(":path", b"/orders/1"), ("authorization", b"bad")]);
    }
    let ids: std::collections::BTreeSet<_> = world.deliver(10, 200).into_iter().map(|callout| callout.body).collect();
    assert_eq!(ids.len(), 20);
}
