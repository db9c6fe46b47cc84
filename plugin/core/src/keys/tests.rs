use proptest::prelude::*;
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::metrics::Fetch;
use crate::testing::MemoryHost;

struct World {
    host: MemoryHost,
    config: Config,
    fetcher: KeyFetcher,
    now: UnixMillis,
}

const CONFIG: &str = r#"{
    "apis": [{ "api_id": "orders" }], "policies": { "gold": { "quota_max": 5 } }, "keys": { "own": {} },
    "keys_from": {
        "url": "http://user:pass@keys.test/all?v=1", "interval_s": 10, "headers": { "X-Token": "t" }, "max_bytes": 100000
    }
}"#;

impl World {
    fn new() -> Self {
        let (config, _) = Config::load(CONFIG.as_bytes()).unwrap();
        let now = UnixMillis(1_800_000_000_000);
        let fetcher = KeyFetcher::new(&config, 1, now).unwrap();
        World { host: MemoryHost::default(), config, fetcher, now }
    }

    /// The request of the next look, which is answered; returns whether other sessions are in use.
    fn look(&mut self, status: u16, etag: &str, body: &str) -> (Callout, bool) {
        self.now = self.now.plus(10_000);
        self.tick();
        let (id, callout) = self.host.take_sent().pop().expect("a look");
        self.host.set_reply(&[("etag", etag)], body.as_bytes());
        let reply = CalloutReply { status: Some(status), ..CalloutReply::default() };
        assert!(self.fetcher.on_reply(&self.host, id, &reply, self.now));
        let mut changed = false;
        for _ in 0..1000 {
            changed |= self.tick();
        }
        (callout, changed)
    }

    fn tick(&mut self) -> bool {
        self.fetcher.on_tick(&self.host, &mut self.config, self.now)
    }

    fn knows(&self, key: &str) -> bool {
        self.config.directory.find(&KeyHash::of(key.as_bytes())).is_some()
    }
}

#[test]
fn sessions_are_fetched_and_replaced() {
    let mut world = World::new();
    assert!(!world.config.keys_are_loaded);
    let (callout, changed) = world.look(200, "v1", r#"{ "a": {"apply_policies":["gold"],"unknown":[1]} , "b": {} }"#);
    assert!(changed && world.config.keys_are_loaded && world.knows("a") && world.knows("b") && world.knows("own"));
    for (name, value) in [
        (":method", "GET"),
        (":path", "/all?v=1"),
        (":authority", "keys.test"),
        ("x-token", "t"),
        ("authorization", "Basic dXNlcjpwYXNz"),
    ] {
        assert!(callout.headers.contains(&(name.to_owned(), value.to_owned())), "{name} in {callout:?}");
    }
    assert!(!callout.headers.iter().any(|(name, _)| name == "if-none-match"));

    let (callout, changed) = world.look(304, "", "");
    assert!(!changed && callout.headers.contains(&("if-none-match".to_owned(), "v1".to_owned())));
    let (_, changed) = world.look(200, "v2", r#"{"b":{}}"#);
    assert!(changed && !world.knows("a") && world.knows("b") && world.knows("own"));
    assert_eq!(world.host.metric(Metric::KeysFetched(Fetch::Loaded)), 2);
    assert_eq!(world.host.metric(Metric::KeysFetched(Fetch::Unchanged)), 1);
}

#[test]
fn a_bad_answer_changes_nothing() {
    let mut world = World::new();
    world.look(200, "v1", r#"{"a":{}}"#);
    let huge = format!(r#"{{"b":{{"alias":"{}"}}}}"#, "x".repeat(200_000));
    for body in [
        "",
        "[]",
        "not JSON",
        r#"{"b":{}"#,
        r#"{"b":{}}x"#,
        r#"{"b":{} "c":{}}"#,
        r#"{,"b":{}}"#,
        r#"{"b":{"quota_max":"many"}}"#,
        r#"{"b":{},"b":{}}"#,
        r#"{"b":{"apply_policies":["none"]}}"#,
        r#"{"b":{"monitor":{"trigger_limits":[0]}}}"#,
        r#"{"":{}}"#,
        r#"{"sha256:12":{}}"#,
        r#"{"header:b":{}}"#,
        r#"{"b":[]}"#,
        &huge,
    ] {
        let failed = world.host.metric(Metric::KeysFetched(Fetch::Failed));
        let (callout, changed) = world.look(200, "v2", body);
        assert!(!changed && world.knows("a") && !world.knows("b"), "{body}");
        assert_eq!(world.host.metric(Metric::KeysFetched(Fetch::Failed)), failed + 1, "{body}");
        let asked_for_changes = callout.headers.contains(&("if-none-match".to_owned(), "v1".to_owned()));
        assert!(asked_for_changes, "the tag of a bad answer is not remembered");
    }
    for status in [404, 500, 503] {
        assert!(!world.look(status, "", r#"{"b":{}}"#).1);
    }
    assert!(world.knows("a"));
}

#[test]
fn an_answer_is_read_in_pieces() {
    let mut world = World::new();
    let sessions: serde_json::Map<String, Value> = (0..1000).map(|n| (format!("key-{n}"), json!({}))).collect();
    world.now = world.now.plus(10_000);
    world.tick();
    let (id, _) = world.host.take_sent().pop().unwrap();
    world.host.set_reply(&[], Value::Object(sessions).to_string().as_bytes());
    let reply = CalloutReply { status: Some(200), ..CalloutReply::default() };
    world.fetcher.on_reply(&world.host, id, &reply, world.now);
    let ticks = (1..100).find(|_| world.tick()).unwrap();
    assert_eq!(ticks, 1000 / SESSIONS_A_PIECE / PIECES_WHEN_IDLE + 1);
    let (mut config, _) = Config::load(CONFIG.as_bytes()).unwrap();
    let mut busy = KeyFetcher::new(&config, 3, world.now).unwrap();
    busy.on_request(world.now);
    let ticks = (1..100).find(|_| busy.on_tick(&world.host, &mut config, world.now)).unwrap();
    assert!(ticks > 2, "one that serves requests takes its time");
    let mut other = KeyFetcher::new(&config, 2, world.now).unwrap();
    let ticks = (1..100).find(|_| other.on_tick(&world.host, &mut config, world.now)).unwrap();
    assert!(ticks <= 2 && world.host.take_sent().is_empty(), "another VM finds them in shared data");
    assert!(config.directory.find(&KeyHash::of(b"key-999")).is_some());
    assert!(world.knows("key-999"));
}

proptest! {
    #[test]
    fn every_object_of_objects_is_taken_apart(
        members in prop::collection::btree_map(any::<String>(), prop::collection::btree_map(any::<String>(), any::<i32>(), 0..4), 0..20),
        pretty in any::<bool>(),
    ) {
        let text = if pretty { serde_json::to_string_pretty(&members) } else { serde_json::to_string(&members) }.unwrap();
        let mut found = std::collections::BTreeMap::new();
        let mut parts = Members::new(text.into_bytes());
        while let Some((name, value)) = parts.next().unwrap() {
            found.insert(name, serde_json::from_slice(value).unwrap());
        }
        prop_assert_eq!(found, members);
    }

    #[test]
    fn no_bytes_panic_or_hang(bytes in prop::collection::vec(prop::sample::select(b"{}[]\"\\:, ax1".to_vec()), 0..60)) {
        let mut parts = Members::new(bytes);
        for _ in 0..100 {
            if !matches!(parts.next(), Ok(Some(_))) {
                break;
            }
        }
    }
}
